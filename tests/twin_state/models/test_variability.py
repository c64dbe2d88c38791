"""Heart rate variability: known series give known measures, doubtful ones none, and streaming is batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.evaluation.heart_rate_variability import equal_share, in_batch, run_model
from twin_state.batch import Float
from twin_state.models import beats
from twin_state.models import variability as model


def rhythm(count: int, seed: int = 1) -> Float:
    """Intervals (s) about 0.8 with a respiratory swing and a little chance."""
    rng = np.random.default_rng(seed)
    return np.asarray(0.8 + 0.04 * np.sin(np.arange(count) / 2.5) + rng.normal(0.0, 0.01, count), np.float64)


def measured(intervals_s: Float) -> Float:
    windows, _, _ = run_model(intervals_s, 1.0 + np.cumsum(intervals_s))
    assert windows[-1].valid > 0.0
    return windows[-1].measures


def test_alternating_intervals_have_the_variability_that_one_computes_by_hand() -> None:
    found = measured(np.resize([0.80, 0.84], 300))
    assert found[model.MEAN_NN] == pytest.approx(0.82, abs=0.001)
    assert found[model.RMSSD] == pytest.approx(0.04)
    assert found[model.SDNN] == pytest.approx(0.02, rel=0.01)
    assert found[model.PNN50] == 0.0
    assert found[model.SD1] == pytest.approx(0.04 / math.sqrt(2.0))


@pytest.mark.parametrize(("slope", "alpha1"), [(0.0, 0.5), (2.0, 1.5)])
def test_alpha1_tells_noise_from_what_remembers(slope: float, alpha1: float) -> None:
    """White noise has a half; Brownian motion, whose increments are white, one and a half; short boxes say more."""
    noise = np.random.default_rng(4).normal(0.0, 0.004, 400)
    series = noise if slope == 0.0 else np.cumsum(noise) - np.linspace(0.0, np.sum(noise), 400)
    assert measured(0.6 + series)[model.ALPHA1] == pytest.approx(alpha1, abs=0.2)


def test_artefacts_are_left_out_and_many_of_them_silence_the_measures() -> None:
    clean = rhythm(300)
    few, many = clean.copy(), clean.copy()
    few[[200, 250]] *= 0.6
    many[160::8] *= 0.6
    assert measured(few)[model.RMSSD] == pytest.approx(measured(clean)[model.RMSSD], rel=0.05)
    assert measured(few)[model.DISTRUSTED_SHARE] == pytest.approx(2 / 149, abs=0.002)
    windows, _, _ = run_model(many, 1.0 + np.cumsum(many))
    assert windows[-1].valid == 0.0


def test_a_rate_that_changes_at_once_is_believed_after_a_few_beats() -> None:
    f = np.zeros(beats.WIDTH)
    said = [beats.trusted(f, 0, interval) for interval in [0.9] * 20 + [0.5] * 10]
    assert said == [True] * 20 + [False] * (beats.RELEARN - 1) + [True] * (10 - beats.RELEARN + 1)


def test_an_early_beat_and_its_pause_are_distrusted_and_the_next_is_not() -> None:
    f = np.zeros(beats.WIDTH)
    said = [beats.trusted(f, 0, interval) for interval in [0.8] * 20 + [0.5, 1.1, 0.8]]
    assert said[-3:] == [False, False, True]


def test_what_is_old_or_broken_off_abstains() -> None:
    f = np.zeros(model.WIDTH)
    t = 1.0
    for interval in rhythm(200):
        t += interval
        model.observe(f, 0, interval, t)
    assert not math.isnan(model.measure(f, 0, model.RMSSD, t))
    assert math.isnan(model.measure(f, 0, model.RMSSD, t + 30.0))
    model.observe(f, 0, 0.8, t + 600.0)
    assert math.isnan(model.measure(f, 0, model.RMSSD, t + 600.0))


INTERVALS = st.lists(
    st.one_of(st.floats(0.4, 1.4), st.sampled_from([0.8, 0.0, -1.0, 1e9, math.nan, math.inf])), min_size=1, max_size=400
)


@settings(deadline=None, max_examples=30)
@given(INTERVALS, st.integers(0, 400))
def test_laws(intervals: list[float], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a beat that comes again changes nothing."""

    def after(some: list[float], state: Float, t: float) -> float:
        for interval in some:
            t += interval if math.isfinite(interval) and 0.0 < interval < 5.0 else 0.5
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


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.0, 0.1))
def test_streaming_equals_batch(seed: int, artefacts: float) -> None:
    intervals = rhythm(500, seed)
    chance = np.random.default_rng(seed)
    intervals[chance.random(500) < artefacts] *= 0.6
    t = 1.0 + np.cumsum(intervals)
    t[300:] += 60.0
    assert equal_share(intervals, t) == 1.0
    assert in_batch(intervals, t, np.ones(500), 10)[model.RMSSD] == 0.0, "too few beats"
