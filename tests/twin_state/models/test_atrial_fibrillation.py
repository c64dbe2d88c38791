"""Atrial fibrillation is told from rhythms that only look irregular; whatever comes leaves a state that is sound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import atrial_fibrillation as model

PARAMETERS = np.array(shipped_parameters("atrial_fibrillation").values["network"])
START_T = 1_700_000_000.0


def after(intervals_s: Float, state: Float | None = None, begin_t: float = START_T) -> tuple[Float, list[float]]:
    """State and labels after these intervals in a row."""
    f = np.zeros(model.WIDTH) if state is None else state
    t = begin_t
    labels = []
    for interval_s in intervals_s:
        t += interval_s if math.isfinite(interval_s) and interval_s > 0.0 else 0.5
        labels.append(model.observe(f, 0, PARAMETERS, interval_s, t))
    return f, labels


def sinus(count: int, seed: int = 1) -> Float:
    rng = np.random.default_rng(seed)
    return np.asarray(0.85 + 0.05 * np.sin(np.arange(count) / 3.5) + rng.normal(0.0, 0.01, count), np.float64)


def fibrillating(count: int, seed: int = 1) -> Float:
    """Intervals without order, as those that an atrioventricular node passes on."""
    return np.asarray(0.35 + np.random.default_rng(seed).gamma(3.0, 0.1, count), np.float64)


def with_ectopics(count: int) -> Float:
    """Every seventh beat comes early and is followed by a pause."""
    intervals = sinus(count)
    intervals[5::7] *= 0.65
    intervals[6::7] *= 1.3
    return intervals


@pytest.mark.parametrize(
    ("rhythm", "expected"),
    [(sinus, False), (with_ectopics, False), (fibrillating, True)],
    ids=["sinus rhythm", "ectopic beats", "fibrillation"],
)
def test_fibrillation_is_told_from_other_irregularity(rhythm: object, expected: bool) -> None:
    f, labels = after(rhythm(400))  # type: ignore[operator]
    assert (model.probability(f, 0, f[model.T]) > 0.5) is expected
    known = [label for label in labels if not math.isnan(label)]
    assert len(known) == 400 - model.KEPT + 1
    share = np.mean([label > 0.5 for label in known])
    assert share > 0.9 if expected else share == 0.0


def test_an_episode_is_told_soon_and_its_burden_is_its_share_of_the_time() -> None:
    before, during, later = sinus(600), fibrillating(600), sinus(600, seed=2)
    f, _ = after(before)
    told = 0
    t = f[model.T]
    for told, interval_s in enumerate(during, 1):  # noqa: B007
        t += interval_s
        model.observe(f, 0, PARAMETERS, interval_s, t)
        if model.probability(f, 0, t) > 0.5:
            break
    assert told <= 90
    after(during[told:], f, t)
    after(later, f, f[model.T])
    share = during.sum() / (before.sum() + during.sum() + later.sum())
    assert model.burden(f, 0) == pytest.approx(share, abs=0.04)


def test_few_beats_and_old_ones_are_no_answer() -> None:
    f, _ = after(fibrillating(model.WINDOW - 1))
    assert math.isnan(model.probability(f, 0, f[model.T]))
    assert math.isnan(model.burden(f, 0))
    f, _ = after(fibrillating(200))
    assert not math.isnan(model.probability(f, 0, f[model.T] + 5.0))
    assert math.isnan(model.probability(f, 0, f[model.T] + 60.0))


def test_a_gap_begins_anew() -> None:
    f, _ = after(fibrillating(200))
    after(sinus(5), f, f[model.T] + 3600.0)
    assert math.isnan(model.probability(f, 0, f[model.T]))


INTERVALS = st.lists(
    st.one_of(st.floats(0.2, 3.0), st.sampled_from([0.0, -1.0, 1e9, math.nan, math.inf])), min_size=1, max_size=300
)


@settings(deadline=None, max_examples=40)
@given(INTERVALS, st.integers(0, 300))
def test_laws(intervals: list[float], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a beat that comes again changes nothing."""
    whole, _ = after(np.array(intervals))
    assert np.isfinite(whole).all()
    cut = min(cut, len(intervals))
    first, _ = after(np.array(intervals[:cut]))
    t = START_T
    for interval_s in intervals[:cut]:
        t += interval_s if math.isfinite(interval_s) and interval_s > 0.0 else 0.5
    again = first.copy()
    model.observe(again, 0, PARAMETERS, 0.8, again[model.T])
    assert again.tobytes() == first.tobytes()
    second, _ = after(np.array(intervals[cut:]), again, t)
    assert second.tobytes() == whole.tobytes()
