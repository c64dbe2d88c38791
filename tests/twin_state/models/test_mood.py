"""Mood: follows answers, fades between them, and hears the heart."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import mood as model


def shipped() -> Float:
    return np.array(shipped_parameters("mood").flat)


def answered(values: list[float]) -> Float:
    f = np.zeros(model.WIDTH)
    for n, value in enumerate(values, start=1):
        model.observe_answer(f, 0, value, math.nan, n * 43_200.0)
    return f


def test_who_answered_low_is_more_likely_to_again() -> None:
    low, high = (model.forecast(answered([value] * 10), 0, shipped()) for value in (-1.0, 0.0))
    assert low > high + 0.3


def test_before_three_answers_it_abstains() -> None:
    assert math.isnan(model.forecast(answered([-1.0, -1.0]), 0, shipped()))
    assert not math.isnan(model.forecast(answered([-1.0, -1.0, 0.0]), 0, shipped()))


def test_a_bad_day_fades_and_doubt_grows() -> None:
    f = answered([0.0] * 10 + [-2.0])
    before, doubt = f[model.USUAL] + f[model.DAY], model.valence_variance(f, 0)
    model.pass_time(f, 0, float(f[model.T]) + 10 * model.DAY_S)
    assert before < f[model.USUAL] + f[model.DAY] < 0.0
    assert model.valence_variance(f, 0) > doubt


def test_a_fast_and_regular_heart_is_arousal() -> None:
    f = np.zeros(model.WIDTH)
    for n in range(1, 21):
        model.observe_heart(f, 0, 62.0 + n % 3, 50.0 + n % 4, n * 43_200.0)
    calm = f[model.AROUSAL]
    model.observe_heart(f, 0, 90.0, 18.0, 21 * 43_200.0)
    assert f[model.AROUSAL] > calm + 0.5


VALUE = st.one_of(st.floats(-500.0, 500.0), st.sampled_from([math.nan, math.inf, -math.inf]))
ACTS = st.lists(st.tuples(st.booleans(), VALUE, VALUE, st.sampled_from([0.0, 1.0, 3600.0, 86_400.0, 1e7])), max_size=60)


@settings(deadline=None, max_examples=40)
@given(ACTS, st.integers(0, 60))
def test_laws(acts: list[tuple[bool, float, float, float]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; what is earlier than the last changes nothing."""
    p = shipped()

    def after(some: list[tuple[bool, float, float, float]], state: Float, t: float) -> float:
        for heart, first, second, passed in some:
            t += passed
            if heart:
                model.observe_heart(state, 0, first, second, t)
            else:
                model.observe_answer(state, 0, first, second, t)
            said = model.forecast(state, 0, p)
            assert math.isnan(said) or 0.0 <= said <= 1.0
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(acts, whole, 1.0)
    assert np.isfinite(whole).all()
    t = after(acts[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe_answer(copied, 0, -1.0, -1.0, float(copied[model.T]) - 1.0)
    model.observe_heart(copied, 0, 70.0, 30.0, float(copied[model.T]) - 1.0)
    if copied[model.T] > 0.0:
        assert copied.tobytes() == parts.tobytes()
        after(acts[cut:], copied, t)
        assert copied.tobytes() == whole.tobytes()
