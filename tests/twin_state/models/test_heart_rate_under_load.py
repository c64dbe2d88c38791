"""Heart rate under load: rises and falls with it, learns the person and the session, and says how sure it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import heart_rate_under_load as model


def shipped() -> Float:
    return np.array(shipped_parameters("heart_rate_under_load").flat)


def ride(f: Float, watts: list[float], *, begin: float = 1.0, heart_rate_bpm: float | None = None) -> float:
    p = shipped()
    t = begin
    for n, load in enumerate(watts):
        t = begin + n
        model.observe_load(f, 0, p, load, math.nan, t)
        if heart_rate_bpm is not None:
            model.observe_heart_rate(f, 0, heart_rate_bpm, t)
    return t


def test_it_rises_with_the_load_and_falls_after_it() -> None:
    f = np.zeros(model.WIDTH)
    easy = model.heart_rate(f, 0, ride(f, [80.0] * 300))
    hard = model.heart_rate(f, 0, ride(f, [260.0] * 300, begin=301.0))
    after = model.heart_rate(f, 0, ride(f, [0.0] * 180, begin=601.0))
    assert easy + 20.0 < hard
    assert after < hard - 20.0


def test_three_minutes_with_a_heart_rate_are_enough_to_know_the_person_today() -> None:
    f = np.zeros(model.WIDTH)
    t = ride(f, [150.0] * 60)
    unsure = model.variance(f, 0, t)
    other = model.heart_rate(f, 0, t) + 12.0
    t = ride(f, [150.0] * 180, begin=61.0, heart_rate_bpm=other)
    assert model.heart_rate(f, 0, t) == pytest.approx(other, abs=3.0)
    assert model.variance(f, 0, t) < 0.7 * unsure


def test_what_is_the_persons_own_is_carried_to_the_next_session() -> None:
    f = np.zeros(model.WIDTH)
    before = model.heart_rate(f, 0, ride(f, [150.0] * 300))
    for session in range(1, 6):
        ride(f, [150.0] * 900, begin=1.0 + 86_400.0 * session, heart_rate_bpm=before + 12.0)
    again = model.heart_rate(f, 0, ride(f, [150.0] * 300, begin=1.0 + 86_400.0 * 7))
    assert again > before + 4.0


def test_foretelling_a_copy_leaves_the_state_alone_and_grows_less_sure() -> None:
    f = np.zeros(model.WIDTH)
    t = ride(f, [150.0] * 300, heart_rate_bpm=140.0)
    kept, copy = f.copy(), f.copy()
    ahead = ride(copy, [150.0] * 120, begin=t + 1.0)
    assert model.variance(copy, 0, ahead) > model.variance(f, 0, t)
    assert f.tobytes() == kept.tobytes()


def test_without_a_fresh_load_it_abstains() -> None:
    f = np.zeros(model.WIDTH)
    assert math.isnan(model.heart_rate(f, 0, 1.0))
    t = ride(f, [150.0] * 60)
    assert math.isnan(model.heart_rate(f, 0, t + 11.0))
    assert math.isnan(model.variance(f, 0, t + 11.0))


def test_one_slip_of_the_sensor_is_not_believed() -> None:
    f = np.zeros(model.WIDTH)
    t = ride(f, [150.0] * 300, heart_rate_bpm=140.0)
    before = model.heart_rate(f, 0, t)
    model.observe_load(f, 0, shipped(), 150.0, math.nan, t + 1.0)
    model.observe_heart_rate(f, 0, 220.0, t + 1.0)
    assert model.heart_rate(f, 0, t + 1.0) < before + 12.0


STEPS = st.lists(
    st.tuples(
        st.one_of(st.floats(0.0, 1200.0), st.sampled_from([math.nan, math.inf, -1.0])),
        st.one_of(st.floats(0.0, 60.0), st.just(math.nan)),
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
        for watts, speed, heart_rate, passed in some:
            t += passed
            model.observe_load(state, 0, p, watts, speed, t)
            model.observe_heart_rate(state, 0, heart_rate, t)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    t = after(steps, whole, 1.0)
    assert np.isfinite(whole).all()
    if not math.isnan(model.heart_rate(whole, 0, t)):
        assert model.variance(whole, 0, t) > 0.0
    t = after(steps[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe_load(copied, 0, p, 200.0, 20.0, float(copied[model.T]))
    model.observe_heart_rate(copied, 0, 120.0, float(copied[model.HEART_RATE_T]))
    assert copied.tobytes() == parts.tobytes()
    after(steps[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
