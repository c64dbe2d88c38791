"""Risk of deterioration: explained by its parts, silent without signs, the same however the hours come."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import deterioration as model

CALM = (72.0, 97.0, 36.8, 124.0, 85.0, 66.0, 15.0)
ILL = (124.0, 91.0, 39.2, 92.0, 58.0, 44.0, 31.0)


def shipped() -> Float:
    return np.array(shipped_parameters("deterioration").flat)


def risk(hours: Sequence[tuple[float, ...]], oxygen: float = math.nan) -> tuple[float, Float]:
    f, x = np.zeros(model.WIDTH), np.zeros(2 * model.FEATURES)
    for n, signs in enumerate(hours, start=1):
        model.observe_hour(f, 0, np.array(signs), oxygen, n * model.HOUR_S, float(n))
    model.features(f, 0, x)
    odds = model.log_odds(x, shipped())
    return 1.0 / (1.0 + math.exp(-odds)), x[model.FEATURES :]


def test_the_shipped_parameters_fit_the_kernel() -> None:
    assert len(shipped()) == model.PARAMETERS
    assert len(model.NAMES) == model.FEATURES


def test_one_who_is_ill_is_at_greater_risk_and_the_parts_say_why() -> None:
    calm, _ = risk([CALM] * 12)
    ill, parts = risk([CALM] * 8 + [ILL] * 4)
    assert ill > 3.0 * calm
    named = dict(zip(model.NAMES, parts.tolist(), strict=True))
    assert named["temperature"] > 0.2
    assert named["respiratory rate"] > 0.2
    assert max(named.values()) < 5.0


def test_a_sign_that_was_never_taken_adds_nothing() -> None:
    without = tuple(math.nan if n == model.TEMPERATURE else value for n, value in enumerate(ILL))
    _, parts = risk([without] * 6)
    assert parts[model.LEVEL + model.TEMPERATURE] == 0.0


def test_it_has_nothing_to_go_by_before_a_sign_and_a_day_after_the_last() -> None:
    f = np.zeros(model.WIDTH)
    nothing = np.full(model.SIGNS, math.nan)
    model.observe_hour(f, 0, nothing, math.nan, 3600.0, 1.0)
    assert not model.known(f, 0, 3600.0)
    model.observe_hour(f, 0, np.array(CALM), math.nan, 7200.0, 2.0)
    assert model.known(f, 0, 7200.0)
    assert not model.known(f, 0, 7200.0 + 25 * 3600.0)


def test_hours_that_bring_nothing_may_be_left_out() -> None:
    said, left_out = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    nothing = np.full(model.SIGNS, math.nan)
    for n in (1, 2, 7):
        model.observe_hour(left_out, 0, np.array(CALM), 0.4, n * 3600.0, float(n))
    for n in range(1, 8):
        brings = n in (1, 2, 7)
        signs = np.array(CALM) if brings else nothing
        model.observe_hour(said, 0, signs, 0.4 if brings else math.nan, n * 3600.0, float(n))
    assert left_out.tobytes() == said.tobytes()


@pytest.mark.parametrize(("heart_rate", "systolic", "index"), [(90.0, 120.0, 0.75), (70.0, 0.0, math.nan)])
def test_shock_index(heart_rate: float, systolic: float, index: float) -> None:
    assert model.shock_index(heart_rate, systolic) == pytest.approx(index, nan_ok=True)


SIGN = st.one_of(st.floats(0.0, 400.0), st.sampled_from([math.nan, math.inf, -math.inf]))
HOURS = st.lists(st.tuples(st.lists(SIGN, min_size=7, max_size=7), SIGN, st.integers(-1, 30)), max_size=40)


@settings(deadline=None, max_examples=50)
@given(HOURS, st.integers(0, 40))
def test_laws(hours: list[tuple[list[float], float, int]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; an hour that comes again changes nothing."""

    def after(some: list[tuple[list[float], float, int]], state: Float, hour: float) -> float:
        for signs, oxygen, passed in some:
            hour += passed
            model.observe_hour(state, 0, np.array(signs), oxygen, 3600.0 * hour, hour)
        return hour

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(hours, whole, 100.0)
    assert np.isfinite(whole).all()
    hour = after(hours[:cut], parts, 100.0)
    copied = parts.copy()
    model.observe_hour(copied, 0, np.array(ILL), 0.9, float(copied[model.T]), hour)
    assert copied.tobytes() == parts.tobytes()
    after(hours[cut:], copied, hour)
    assert copied.tobytes() == whole.tobytes()
    x = np.zeros(2 * model.FEATURES)
    model.features(whole, 0, x)
    assert math.isfinite(model.log_odds(x, shipped()))
    assert np.isfinite(x[model.FEATURES :]).all()
