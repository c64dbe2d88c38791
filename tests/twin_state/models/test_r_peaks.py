"""R peaks in an electrocardiogram whose beats are known: found, timed, and nothing else taken for one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_state.batch import Float
from twin_state.models import r_peaks
from twin_state.models.beat_detector import BEAT_COLUMNS, BEAT_T, QUALITY, RR_MS

WAVES = ((-0.17, 0.025, 0.12), (-0.03, 0.008, -0.12), (0.0, 0.010, 1.0), (0.03, 0.009, -0.22), (0.28, 0.045, 0.28))
"""P, Q, R, S and T: place from the R peak (s), width (s), height (mV); about those of McSharry et al. 2003."""

START_T = 1000.0


def electrocardiogram(beats_s: Float, duration_s: float, hz: float, noise_mv: float = 0.0, seed: int = 1) -> Float:
    """Samples (mV) of `duration_s` with R peaks at `beats_s` after the start, on a wandering baseline."""
    t = np.arange(int(duration_s * hz)) / hz
    signal = 0.3 * np.sin(2.0 * np.pi * 0.25 * t)
    for beat in beats_s:
        for place, width, height in WAVES:
            signal += height * np.exp(-0.5 * ((t - beat - place) / width) ** 2)
    return signal + np.random.default_rng(seed).normal(0.0, noise_mv, len(t)) if noise_mv else signal


def found(signal: Float, hz: float, cuts: list[int] | None = None, state: Float | None = None) -> Float:
    """What the kernel tells of the signal, taken in one packet or cut at `cuts`."""
    f = np.zeros(r_peaks.WIDTH) if state is None else state
    rows = []
    edges = [0, *sorted(cuts or []), len(signal)]
    for begin, end in itertools.pairwise(edges):
        out = np.zeros((end - begin + 2, BEAT_COLUMNS))
        told = r_peaks.take(f, 0, signal[begin:end], START_T + begin / hz, hz, out)
        rows.append(out[:told])
    return np.concatenate(rows)


def beats(count: int, seed: int = 3) -> Float:
    """Times (s) of beats with a respiratory swing and a little chance, at 50 to 110 a minute."""
    rng = np.random.default_rng(seed)
    intervals = 0.8 + 0.12 * np.sin(np.arange(count) / 4.0) + rng.normal(0.0, 0.02, count)
    return np.asarray(0.4 + np.cumsum(intervals), np.float64)


@pytest.mark.parametrize("hz", [100.0, 130.0, 250.0, 300.0, 512.0, 1000.0])
def test_every_beat_is_found_and_timed_at_any_rate(hz: float) -> None:
    truth = beats(60)
    told = found(electrocardiogram(truth, 50.0, hz, noise_mv=0.03), hz)
    expected = truth[(truth > 2.3) & (truth < 49.5)]
    assert len(told) == pytest.approx(len(expected), abs=1)
    assert np.abs(told[:, BEAT_T, np.newaxis] - START_T - truth).min(axis=1).max() < 0.025
    intervals = told[1:, RR_MS]
    nearest = np.abs(told[:, BEAT_T, np.newaxis] - START_T - truth).argmin(axis=1)
    error = intervals - 1000.0 * np.diff(truth[nearest])
    assert np.sqrt(np.mean(error**2)) < 4.0
    assert told[:, QUALITY].min() > 0.5


def test_a_tall_t_wave_is_no_beat() -> None:
    truth = beats(40)
    hz = 130.0
    signal = electrocardiogram(truth, 32.0, hz)
    t = np.arange(len(signal)) / hz
    for beat in truth:
        signal += 0.6 * np.exp(-0.5 * ((t - beat - 0.28) / 0.045) ** 2)
    told = found(signal, hz)
    assert np.abs(told[:, BEAT_T, np.newaxis] - START_T - truth).min(axis=1).max() < 0.025


def test_a_premature_beat_gives_a_short_and_a_long_interval() -> None:
    truth = np.asarray(0.5 + 0.8 * np.arange(30), np.float64)
    truth[20] -= 0.3
    told = found(electrocardiogram(truth, 24.0, 250.0), 250.0)
    at = np.abs(told[:, BEAT_T] - START_T - truth[20]).argmin()
    assert told[at, RR_MS] == pytest.approx(500.0, abs=5.0)
    assert told[at + 1, RR_MS] == pytest.approx(1100.0, abs=5.0)


def test_beats_in_noise_are_of_poor_quality() -> None:
    truth = beats(60)
    clean = found(electrocardiogram(truth, 50.0, 250.0), 250.0)
    noisy = found(electrocardiogram(truth, 50.0, 250.0, noise_mv=0.4), 250.0)
    assert np.median(clean[:, QUALITY]) > 0.8
    assert np.median(noisy[:, QUALITY]) < 0.6


def test_a_flat_line_has_no_beats() -> None:
    assert len(found(np.full(5000, 0.7), 250.0)) == 0


def test_the_first_beat_after_a_gap_gives_no_interval() -> None:
    hz = 250.0
    signal = electrocardiogram(beats(60), 50.0, hz)
    f = np.zeros(r_peaks.WIDTH)
    out = np.zeros((100, BEAT_COLUMNS))
    before = r_peaks.take(f, 0, signal[:5000], START_T, hz, out)
    assert before > 10
    later = START_T + 30.0
    after = r_peaks.take(f, 0, signal[7500:], later, hz, out)
    assert np.isnan(out[0, RR_MS])
    assert not np.isnan(out[1:after, RR_MS]).any()
    assert out[0, BEAT_T] > later


def test_a_packet_that_comes_twice_changes_nothing() -> None:
    hz = 130.0
    signal = electrocardiogram(beats(20), 16.0, hz)
    once, twice = np.zeros(r_peaks.WIDTH), np.zeros(r_peaks.WIDTH)
    out = np.zeros((50, BEAT_COLUMNS))
    for begin in range(0, len(signal), 65):
        r_peaks.take(once, 0, signal[begin : begin + 65], START_T + begin / hz, hz, out)
        for _ in range(2):
            r_peaks.take(twice, 0, signal[begin : begin + 65], START_T + begin / hz, hz, out)
    assert once.tobytes() == twice.tobytes()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 2599), max_size=12))
def test_packets_may_be_cut_anywhere(cuts: list[int]) -> None:
    hz = 130.0
    signal = electrocardiogram(beats(25), 20.0, hz, noise_mv=0.05)
    whole = found(signal, hz)
    # A packet's own time is rounded: bits may differ, beats may not.
    np.testing.assert_allclose(found(signal, hz, cuts), whole, rtol=0.0, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([0.0, -5.0, 5.0, float("nan"), float("inf"), 1e300]), min_size=1, max_size=400))
def test_whatever_comes_the_state_stays_finite(values: list[float]) -> None:
    f = np.zeros(r_peaks.WIDTH)
    out = np.zeros((len(values) + 2, BEAT_COLUMNS))
    r_peaks.take(f, 0, np.array(values), START_T, 130.0, out)
    assert np.isfinite(f).all()
