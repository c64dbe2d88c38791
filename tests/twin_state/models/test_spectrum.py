"""Spectrum of heart rate variability: waves of known size and frequency are found, doubtful ones are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lombscargle

from twin_state.batch import Float
from twin_state.models import spectrum as model


def heart(
    seconds: float,
    *,
    mean_s: float = 0.85,
    waves: tuple[tuple[float, float], ...] = (),
    noise_ms: float = 2.0,
    seed: int = 1,
) -> tuple[Float, Float]:
    """Times of beats (s) and intervals (s) with waves of (Hz, ms)."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0.0, 2.0 * np.pi, len(waves))
    t, times, intervals = 1.0, [], []
    while t < seconds:
        wave = sum(size * math.sin(2.0 * math.pi * hz * t + p) for (hz, size), p in zip(waves, phases, strict=True))
        interval = mean_s + (wave + rng.normal(0.0, noise_ms)) / 1000.0
        t += interval
        times.append(t)
        intervals.append(interval)
    return np.array(times), np.array(intervals)


def run(times: Float, intervals: Float) -> Float:
    f = np.zeros(model.WIDTH)
    for t, interval in zip(times, intervals, strict=True):
        model.observe(f, 0, interval, t)
    out = np.zeros(6)
    model.measure(f, 0, times[-1], out)
    return out


@pytest.mark.parametrize("breath_per_min", [10.0, 15.0, 22.0])
@pytest.mark.parametrize("mean_s", [0.6, 0.85, 1.1])
def test_power_is_that_of_the_waves_and_breathing_is_found(breath_per_min: float, mean_s: float) -> None:
    waves = ((0.095, 25.0), (breath_per_min / 60.0, 30.0))
    out = run(*heart(600, mean_s=mean_s, waves=waves))
    assert out[model.RESPIRATION] == pytest.approx(breath_per_min, abs=0.5)
    assert abs(out[model.RESPIRATION] - breath_per_min) < 2.0 * out[model.RESPIRATION_SD]
    assert out[model.LF] == pytest.approx(25.0**2 / 2.0, rel=0.1)
    assert out[model.HF] == pytest.approx(30.0**2 / 2.0, rel=0.1)
    assert out[model.LF_TO_HF] == pytest.approx(out[model.LF] / out[model.HF])


def test_it_agrees_with_a_periodogram_of_lomb_over_the_same_beats() -> None:
    times, intervals = heart(900, waves=((0.06, 15.0), (0.11, 20.0), (0.27, 18.0)), noise_ms=6.0, seed=4)
    late = times > 600
    hz = np.arange(0.04, 0.40, 1.0 / 1200.0)
    x_ms = 1000.0 * (intervals[late] - intervals[late].mean())
    power = lombscargle(times[late], x_ms, 2.0 * np.pi * hz) * 2.0 * (times[late][-1] - times[late][0]) / late.sum()
    low, high = (float(power[chosen].sum() / 1200.0) for chosen in (hz < 0.145, hz >= 0.145))
    out = run(times, intervals)
    assert out[model.LF] == pytest.approx(low, rel=0.1)
    assert out[model.HF] == pytest.approx(high, rel=0.1)


def test_without_a_clear_peak_there_is_no_breathing_and_no_high_frequency() -> None:
    out = run(*heart(600, noise_ms=20.0))
    assert [math.isnan(out[n]) for n in (model.LF, model.HF, model.LF_TO_HF, model.RESPIRATION)] == [False, *[True] * 3]


def test_fast_breathing_is_told_and_high_frequency_is_not() -> None:
    out = run(*heart(600, mean_s=0.5, waves=((0.5, 12.0),)))
    assert out[model.RESPIRATION] == pytest.approx(30.0, abs=0.5)
    assert math.isnan(out[model.HF])


def test_too_early_too_old_or_too_many_artefacts_abstain() -> None:
    times, intervals = heart(600, waves=((0.25, 30.0),))
    assert np.isnan(run(times[:100], intervals[:100])).all()
    f, out = np.zeros(model.WIDTH), np.zeros(6)
    for t, interval in zip(times, intervals, strict=True):
        model.observe(f, 0, interval, t)
    assert model.measure(f, 0, times[-1] + 5.0, out)
    assert not model.measure(f, 0, times[-1] + 11.0, out)
    many = intervals.copy()
    many[::9] *= 0.6
    assert np.isnan(run(times, many)).all()


INTERVALS = st.lists(
    st.one_of(st.floats(0.4, 1.4), st.sampled_from([0.8, 0.0, -1.0, 1e9, math.nan, math.inf])), min_size=1, max_size=300
)


@settings(deadline=None, max_examples=30)
@given(INTERVALS, st.integers(0, 300))
def test_laws(intervals: list[float], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a beat that comes again changes nothing."""

    def after(some: list[float], state: Float, t: float) -> float:
        for interval in some:
            t += interval if math.isfinite(interval) and 0.0 < interval < 15.0 else 0.5
            model.observe(state, 0, interval, t)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(intervals, whole, 1.0)
    assert np.isfinite(whole).all()
    t = after(intervals[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe(copied, 0, 0.7, copied[model.T])
    assert copied.tobytes() == parts.tobytes()
    after(intervals[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
