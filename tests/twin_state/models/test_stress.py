"""Probability of stress: rises with what rises in stress, says nothing in exercise, and follows the person's labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import stress as model


def shipped() -> Float:
    return np.array(shipped_parameters("stress").flat)


def wear(f: Float, seconds: int, begin: float, *, stressed: bool = False, movement_g: float = 0.03) -> float:
    rng = np.random.default_rng(int(begin))
    t = begin
    for n in range(seconds):
        t = begin + n
        level = 1.0 - math.exp(-n / 40.0) if stressed else 0.0
        heart_rate = 70.0 + 14.0 * level + rng.normal(0.0, 1.0)
        model.observe(f, 0, heart_rate, 1.0 + level + rng.normal(0.0, 0.01), 32.0 - 0.3 * level, movement_g, t)
    return t


def test_the_shipped_parameters_fit_the_kernel() -> None:
    assert len(shipped()) == model.PARAMETERS
    assert len(model.NAMES) == model.FEATURES


def test_a_stressor_raises_it_and_the_parts_say_why() -> None:
    f = np.zeros(model.WIDTH)
    calm = model.probability(f, 0, shipped(), wear(f, 600, 1.0))
    stressed = model.probability(f, 0, shipped(), wear(f, 120, 601.0, stressed=True))
    assert stressed > calm + 0.3
    parts = dict(zip(model.NAMES, f[model.PART : model.PART + model.FEATURES].tolist(), strict=True))
    assert sum(value for name, value in parts.items() if "skin conductance" in name) > 0.5


def test_exercise_too_little_and_too_old_are_abstentions() -> None:
    f = np.zeros(model.WIDTH)
    assert math.isnan(model.probability(f, 0, shipped(), wear(f, 30, 1.0)))
    t = wear(f, 300, 31.0)
    assert not math.isnan(model.probability(f, 0, shipped(), t))
    assert math.isnan(model.probability(f, 0, shipped(), t + 31.0))
    assert math.isnan(model.probability(f, 0, shipped(), wear(f, 120, t + 1.0, movement_g=0.8)))


def test_labels_move_what_is_said_of_this_person_within_bounds() -> None:
    f = np.zeros(model.WIDTH)
    t = wear(f, 600, 1.0)
    before = model.probability(f, 0, shipped(), t)
    model.learn(f, 0, math.nan, 1.0)
    assert model.probability(f, 0, shipped(), t) == before
    for _ in range(50):
        model.learn(f, 0, before, 1.0)
    assert model.probability(f, 0, shipped(), t) > before + 0.05
    for _ in range(10_000):
        model.learn(f, 0, 0.0, 1.0)
    assert f[model.OFFSET] == pytest.approx(model.MOST_OFFSET)


def test_doubt_is_greatest_where_either_answer_is_likely() -> None:
    p = shipped()
    assert model.variance(p, 0.5) > model.variance(p, 0.9) > 0.0
    assert math.isnan(model.variance(p, math.nan))


VALUE = st.one_of(st.floats(-10.0, 400.0), st.sampled_from([math.nan, math.inf, -math.inf]))
SECONDS = st.lists(
    st.tuples(VALUE, VALUE, VALUE, VALUE, st.sampled_from([0.0, 0.5, 1.0, 1.0, 1.0, 100.0, 1e5])), max_size=100
)


@settings(deadline=None, max_examples=40)
@given(SECONDS, st.integers(0, 100))
def test_laws(seconds: list[tuple[float, float, float, float, float]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a second that comes again changes nothing."""
    p = shipped()

    def after(some: list[tuple[float, float, float, float, float]], state: Float, t: float) -> float:
        for heart_rate, conductance, temperature, movement, passed in some:
            t += passed
            model.observe(state, 0, heart_rate, conductance, temperature, movement, t)
            said = model.probability(state, 0, p, t)
            assert math.isnan(said) or 0.0 <= said <= 1.0
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(seconds, whole, 1.0)
    assert np.isfinite(whole).all()
    t = after(seconds[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe(copied, 0, 70.0, 2.0, 30.0, 0.1, float(copied[model.T]))
    assert copied.tobytes() == parts.tobytes()
    after(seconds[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
