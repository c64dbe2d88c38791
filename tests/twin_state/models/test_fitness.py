"""Fitness and fatigue: what was trained shows in what is forecast, with an interval that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_state.batch import Float
from twin_state.models import fitness as model
from twin_state.models import training_load

DAY_S = model.DAY_S


def forecast(f: Float) -> tuple[float, float]:
    out = np.full(2, np.nan)
    assert model.forecast(f, 0, out)
    return float(out[0]), float(out[1])


def athlete(seed: int, days: int, every: int) -> tuple[list[float], list[tuple[int, float]]]:
    """Loads by day, and tests of someone whose performance follows the model exactly but for 2 W of chance."""
    rng = np.random.default_rng(seed)
    loads = list(rng.uniform(0.0, 120.0, days) * (rng.random(days) < 0.8))
    g = h = 0.0
    tests = []
    for day, load in enumerate(loads):
        g, h = g * math.exp(-1.0 / 42.0), h * math.exp(-1.0 / 10.0)
        if day % every == every - 1:
            tests.append((day, 250.0 + 0.05 * g - 0.06 * h + float(rng.normal(0.0, 2.0))))
        g, h = g + load, h + load
    return loads, tests


def test_tests_of_an_athlete_who_follows_the_model_are_forecast_within_their_intervals() -> None:
    errors, of_last, inside = [], [], []
    for seed in range(6):
        loads, tests = athlete(seed, 240, 12)
        f = np.zeros(model.WIDTH)
        results = dict(tests)
        last = math.nan
        for day, load in enumerate(loads):
            if day in results:
                model.pass_time(f, 0, (day + 1) * DAY_S)
                if f[model.TESTS] >= 3.0:
                    mean, variance = forecast(f)
                    errors.append(abs(mean - results[day]))
                    of_last.append(abs(last - results[day]))
                    inside.append(errors[-1] <= 1.645 * math.sqrt(variance))
                model.observe_test(f, 0, results[day], (day + 1) * DAY_S)
                last = results[day]
            model.observe_load(f, 0, load, (day + 1) * DAY_S)
    assert np.mean(errors) < 0.8 * np.mean(of_last)
    assert np.mean(inside) > 0.85


def test_there_is_no_forecast_before_the_first_test() -> None:
    f = np.zeros(model.WIDTH)
    model.observe_load(f, 0, 100.0, DAY_S)
    assert not model.forecast(f, 0, np.zeros(2))
    model.observe_test(f, 0, 270.0, 2 * DAY_S)
    assert forecast(f)[0] == pytest.approx(270.0, abs=1.0)


def test_a_forecast_grows_less_certain_with_time() -> None:
    f = np.zeros(model.WIDTH)
    model.observe_test(f, 0, 270.0, DAY_S)
    sooner = forecast(f)[1]
    model.pass_time(f, 0, 60 * DAY_S)
    assert forecast(f)[1] > sooner


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["load", "test"]),
        st.one_of(st.floats(0.0, 400.0), st.sampled_from([math.nan, math.inf, -5.0])),
        st.floats(-2.0, 30.0),
    ),
    min_size=1,
    max_size=60,
)


@settings(deadline=None, max_examples=50)
@given(EVENTS, st.integers(0, 60))
def test_laws(events: list[tuple[str, float, float]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; what comes late changes nothing."""

    def after(some: list[tuple[str, float, float]], state: Float, t: float) -> float:
        for kind, value, days in some:
            t += days * DAY_S
            (model.observe_load if kind == "load" else model.observe_test)(state, 0, value, t)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    after(events, whole, 100 * DAY_S)
    assert np.isfinite(whole).all()
    t = after(events[:cut], parts, 100 * DAY_S)
    copied = parts.copy()
    model.observe_test(copied, 0, 300.0, copied[model.T] - 1.0)
    model.observe_load(copied, 0, 300.0, copied[model.T] - 1.0)
    assert copied.tobytes() == parts.tobytes()
    after(events[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()


def test_trimp_is_banisters() -> None:
    f = np.zeros(training_load.WIDTH)
    training_load.begin(f, 0, 20_000.0)
    for second in range(1, 1802, 5):
        training_load.observe_heart_rate(f, 0, 130.0, float(second), 60.0, 190.0, training_load.MALE)
    share = 70.0 / 130.0
    assert f[training_load.TRIMP] == pytest.approx(30.0 * share * 0.64 * math.exp(1.92 * share))
    before = f[training_load.TRIMP]
    training_load.observe_heart_rate(f, 0, 190.0, 1801.0, 60.0, 190.0, training_load.MALE)
    training_load.observe_heart_rate(f, 0, math.nan, 1900.0, 60.0, 190.0, training_load.MALE)
    assert f[training_load.TRIMP] == before
    training_load.observe_heart_rate(f, 0, 130.0, 9000.0, 60.0, 190.0, training_load.MALE)
    gap = training_load.LONGEST_STEP_S / 60.0 * training_load.trimp_per_minute(130.0, 60.0, 190.0, training_load.MALE)
    assert f[training_load.TRIMP] == pytest.approx(before + gap), "an outage costs as much as its longest step"


def test_work_above_critical_power_draws_w_prime_and_rest_gives_it_back() -> None:
    f = np.zeros(training_load.WIDTH)
    training_load.begin(f, 0, 20_000.0)
    for second in range(1, 122):
        training_load.observe_power(f, 0, 300.0, float(second), 250.0, 20_000.0)
    assert f[training_load.BALANCE] == pytest.approx(20_000.0 - 50.0 * 120.0)
    for second in range(122, 3000):
        training_load.observe_power(f, 0, 100.0, float(second), 250.0, 20_000.0)
    assert 19_900.0 < f[training_load.BALANCE] <= 20_000.0
    assert f[training_load.LEAST] == pytest.approx(14_000.0)


def test_session_rpe_is_rating_times_minutes() -> None:
    assert training_load.session_rpe(5.0, 40.0) == 200.0
