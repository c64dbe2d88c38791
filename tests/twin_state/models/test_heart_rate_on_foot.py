"""Heart rate on foot: follows the demand of walking and running, learns the person within minutes, knows its doubt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import heart_rate_on_foot as model


def shipped() -> Float:
    return np.array(shipped_parameters("heart_rate_on_foot").flat)


def told(f: Float, t: float) -> tuple[float, float]:
    out = np.zeros(2)
    assert model.heart_rate(f, 0, t, out)
    return float(out[0]), float(out[1])


def go(f: Float, speed_mps: float, seconds: int, begin: float, heart_rate_bpm: float | None = None) -> float:
    t = begin
    for n in range(seconds):
        t = begin + n
        model.observe_speed(f, 0, shipped(), speed_mps, 0.0, t)
        if heart_rate_bpm is not None:
            model.observe_heart_rate(f, 0, heart_rate_bpm, t)
    return t


@pytest.mark.parametrize(("speed_mps", "grade_pct", "uptake"), [(1.5, 0.0, 9.0), (1.5, 10.0, 25.2), (3.0, 0.0, 36.0)])
def test_demand_is_that_of_the_metabolic_equations(speed_mps: float, grade_pct: float, uptake: float) -> None:
    assert 40.0 * model.demand(speed_mps, grade_pct) == pytest.approx(uptake)


def test_it_rises_within_minutes_and_falls_more_slowly() -> None:
    f = np.zeros(model.WIDTH)
    rest, _ = told(f, go(f, 0.0, 60, 1.0))
    running, _ = told(f, go(f, 3.0, 60, 61.0))
    after, _ = told(f, go(f, 0.0, 60, 121.0))
    assert running > rest + 25.0
    assert running > after > running - (running - rest)


def test_heart_rates_teach_it_the_person_and_it_is_surer_then() -> None:
    f = np.zeros(model.WIDTH)
    t = go(f, 0.0, 60, 1.0)
    before = told(f, t)
    after = told(f, go(f, 0.0, 60, 61.0, heart_rate_bpm=before[0] + 15.0))
    assert after[0] == pytest.approx(before[0] + 15.0, abs=3.0)
    assert after[1] < 0.5 * before[1]


def test_without_a_fresh_speed_it_abstains() -> None:
    f, out = np.zeros(model.WIDTH), np.zeros(2)
    assert not model.heart_rate(f, 0, 1.0, out)
    t = go(f, 2.0, 30, 1.0)
    assert not model.heart_rate(f, 0, t + 11.0, out)


STEPS = st.lists(
    st.tuples(
        st.one_of(st.floats(0.0, 13.0), st.sampled_from([math.nan, math.inf, -1.0])),
        st.one_of(st.floats(-30.0, 60.0), st.just(math.nan)),
        st.one_of(st.floats(0.0, 300.0), st.just(math.nan)),
        st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.0, 20.0, 4000.0]),
    ),
    max_size=120,
)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.integers(0, 120))
def test_laws(steps: list[tuple[float, float, float, float]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a second that comes again changes nothing."""
    p = shipped()

    def after(some: list[tuple[float, float, float, float]], state: Float, t: float) -> float:
        for speed, grade, heart_rate, passed in some:
            t += passed
            model.observe_speed(state, 0, p, speed, grade, t)
            model.observe_heart_rate(state, 0, heart_rate, t)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(steps, whole, 1.0)
    assert np.isfinite(whole).all()
    t = after(steps[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe_speed(copied, 0, p, 2.0, 1.0, float(copied[model.T]))
    model.observe_heart_rate(copied, 0, 120.0, float(copied[model.HEART_RATE_T]))
    assert copied.tobytes() == parts.tobytes()
    after(steps[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
