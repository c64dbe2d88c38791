"""Pulses in a photoplethysmogram whose beats are known."""

from __future__ import annotations

import numpy as np
import pytest

from twin_state.batch import Float
from twin_state.models import pulses
from twin_state.models.beat_detector import BEAT_COLUMNS, BEAT_T, QUALITY, RR_MS

START_T = 1000.0


def photoplethysmogram(beats_s: Float, duration_s: float, hz: float) -> Float:
    """A systolic wave and a reflected one at each beat, on the slow swing that breathing makes."""
    t = np.arange(int(duration_s * hz)) / hz
    signal: Float = 5.0 * np.sin(2.0 * np.pi * 0.22 * t)
    for beat in beats_s:
        signal += 10.0 * np.exp(-0.5 * ((t - beat - 0.2) / 0.07) ** 2)
        signal += 4.0 * np.exp(-0.5 * ((t - beat - 0.45) / 0.09) ** 2)
    return signal


def found(signal: Float, hz: float, packet: int) -> Float:
    """What the kernel tells of the signal in packets of so many samples."""
    f = np.zeros(pulses.WIDTH)
    rows = []
    for begin in range(0, len(signal), packet):
        out = np.zeros((packet + 2, BEAT_COLUMNS))
        told = pulses.take(f, 0, signal[begin : begin + packet], START_T + begin / hz, hz, out)
        rows.append(out[:told])
    return np.concatenate(rows)


def beats(count: int) -> Float:
    """Times (s) of beats with a respiratory swing."""
    return np.asarray(0.4 + np.cumsum(0.8 + 0.1 * np.sin(np.arange(count) / 4.0)), np.float64)


@pytest.mark.parametrize("hz", [25.0, 64.0, 125.0, 500.0])
def test_pulse_intervals_follow_the_beats_at_any_rate(hz: float) -> None:
    truth = beats(60)
    told = found(photoplethysmogram(truth, 50.0, hz), hz, packet=32)
    nearest = np.abs(told[:, BEAT_T, np.newaxis] - START_T - 0.13 - truth).argmin(axis=1)
    assert (np.diff(nearest) == 1).all(), "each beat once, none between"
    error = told[1:, RR_MS] - 1000.0 * np.diff(truth[nearest])
    assert np.sqrt(np.mean(error**2)) < 8.0
    assert np.median(told[:, QUALITY]) > 0.6


def test_packets_of_any_size_give_the_same_pulses() -> None:
    signal = photoplethysmogram(beats(40), 32.0, 64.0)
    whole = found(signal, 64.0, packet=len(signal))
    for packet in (1, 7, 32, 333):
        np.testing.assert_allclose(found(signal, 64.0, packet), whole, rtol=0.0, atol=1e-6)


def test_movement_makes_pulses_of_poor_quality() -> None:
    hz = 64.0
    signal = photoplethysmogram(beats(60), 50.0, hz)
    moving = signal + 30.0 * np.random.default_rng(2).normal(size=len(signal)).cumsum() * 0.2
    assert np.median(found(moving, hz, 32)[:, QUALITY]) < 0.7 * np.median(found(signal, hz, 32)[:, QUALITY])
