"""Early warning of infection: tells an illness once, and nothing of what is usual for the person."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import infection as model


def shipped() -> Float:
    return np.array(shipped_parameters("infection").flat)


def lived(f: Float, days: range, *, rest_bpm: float = 60.0, steps: float = 8000.0, seed: int = 1) -> list[int]:
    """The days with an alarm."""
    rng = np.random.default_rng(seed)
    p = shipped()
    return [
        day
        for day in days
        if model.observe_day(f, 0, p, rest_bpm + rng.normal(0.0, 0.7), steps * rng.uniform(0.9, 1.1), float(day))
    ]


def test_an_illness_is_told_once_and_the_parts_say_why() -> None:
    f = np.zeros(model.WIDTH)
    assert lived(f, range(1, 50)) == []
    alarms = lived(f, range(50, 58), rest_bpm=68.0, steps=2500.0)
    assert len(alarms) == 1
    assert alarms[0] in {50, 51}
    assert f[model.PART : model.PART + model.FEATURES].sum() > 0.5


@pytest.mark.parametrize("rest_bpm", [48.0, 60.0, 85.0])
def test_what_is_usual_for_the_person_is_no_illness(rest_bpm: float) -> None:
    assert lived(np.zeros(model.WIDTH), range(1, 60), rest_bpm=rest_bpm, steps=3000.0) == []


def test_it_abstains_without_enough_days_or_lately_none() -> None:
    f = np.zeros(model.WIDTH)
    lived(f, range(1, 8))
    assert math.isnan(model.log_odds(f, 0, 7.0))
    lived(f, range(8, 12))
    assert not math.isnan(model.log_odds(f, 0, 11.0))
    assert math.isnan(model.log_odds(f, 0, 15.0))


def test_the_median_is_that_of_the_window() -> None:
    f, p = np.zeros(model.WIDTH), shipped()
    values = [60.0, 66.0, 61.0, 64.0, 70.0, 59.0, 63.0, 62.0, 90.0]
    for day, value in enumerate(values, start=1):
        model.observe_day(f, 0, p, value, 8000.0, float(day))
    model.observe_day(f, 0, p, 65.0, 8000.0, 10.0)
    window = np.array(values[:8])
    median = np.median(window)
    mad = model.MAD_TO_SD * np.median(np.abs(window - median))
    s = math.sqrt((8 * mad**2 + model.PRIOR_DAYS * 4.0) / (8 + model.PRIOR_DAYS))
    assert f[model.FEATURE] == pytest.approx((65.0 - median) / s)


VALUE = st.one_of(st.floats(-10.0, 250.0), st.sampled_from([math.nan, math.inf, -math.inf, 60.0, 61.0, 62.0]))
DAYS = st.lists(st.tuples(VALUE, st.one_of(VALUE, st.floats(0.0, 1e6)), st.integers(0, 5)), max_size=90)


@settings(deadline=None, max_examples=30)
@given(DAYS, st.integers(0, 90))
def test_laws(days: list[tuple[float, float, int]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a day that comes again changes nothing."""
    p = shipped()

    def after(some: list[tuple[float, float, int]], state: Float, day: float) -> float:
        for heart_rate, steps, passed in some:
            day += passed
            model.observe_day(state, 0, p, heart_rate, steps, day)
        return day

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(days, whole, 100.0)
    assert np.isfinite(whole).all()
    day = after(days[:cut], parts, 100.0)
    copied = parts.copy()
    if copied[model.KNOWN] > 0.0:
        model.observe_day(copied, 0, p, 99.0, 10.0, float(copied[model.DAY]) - 1.0)
    assert copied.tobytes() == parts.tobytes()
    after(days[cut:], copied, day)
    assert copied.tobytes() == whole.tobytes()
