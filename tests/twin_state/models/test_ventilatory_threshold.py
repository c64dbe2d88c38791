"""Ventilatory thresholds: evidence narrows the prior, is taken once, and is carried to the next session."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_state.batch import Float
from twin_state.models import ventilatory_threshold as model

PARAMETERS = np.array([140.0, 10.0, 170.0, 9.0, 0.0, 1.0, 5.0, 0.0, 1.0, 8.0, 0.0, 1.0, 6.0])


def said(f: Float, which: int, t: float = 1e6) -> tuple[float, float]:
    out = np.zeros(2)
    model.threshold(f, 0, PARAMETERS, which, t, out)
    return float(out[0]), float(out[1])


def session(f: Float, *, floor_at_bpm: float, begin: float = 1.0) -> float:
    """Heart rate rises by 1/min a window; RMSSD and alpha1 fall through their marks at the rates given."""
    t = begin
    for n in range(90):
        heart_rate = 100.0 + n
        t = begin + 5.0 * n
        rmssd = 9.0 if heart_rate < floor_at_bpm else 2.0
        alpha1 = 1.1 if heart_rate < floor_at_bpm else (0.6 if heart_rate < floor_at_bpm + 30 else 0.3)
        model.observe(f, 0, heart_rate, rmssd, alpha1, 50.0 + 2 * n, t)
    return t


def test_without_evidence_it_is_the_prior() -> None:
    f = np.zeros(model.WIDTH)
    assert said(f, 0) == pytest.approx((140.0, 10.0))
    assert said(f, 1) == pytest.approx((170.0, 9.0))


def test_what_a_session_shows_moves_and_narrows_it() -> None:
    f = np.zeros(model.WIDTH)
    session(f, floor_at_bpm=125.0)
    first, second = said(f, 0), said(f, 1)
    assert 125.0 < first[0] < 136.0
    assert 155.0 < second[0] < 169.0
    assert first[1] < 5.0
    assert second[1] < 6.0


def test_only_what_was_seen_first_counts() -> None:
    f = np.zeros(model.WIDTH)
    t = session(f, floor_at_bpm=125.0)
    before = said(f, 0)
    for n in range(20):
        model.observe(f, 0, 180.0, 30.0 if n < 10 else 1.0, 1.2 if n < 10 else 0.2, 200.0, t + 5.0 * (n + 1))
    assert said(f, 0) == before


def test_the_next_session_begins_where_the_last_ended_and_doubt_grows() -> None:
    f = np.zeros(model.WIDTH)
    t = session(f, floor_at_bpm=125.0)
    mean, sd = said(f, 0)
    model.carry(f, 0, PARAMETERS, t, np.zeros(2))
    assert said(f, 0, t) == pytest.approx((mean, sd))
    month = said(f, 0, t + 30 * model.DAY_S)
    assert month[0] == pytest.approx(mean)
    assert sd < month[1] < 10.0
    assert said(f, 0, t + 1e5 * model.DAY_S)[1] == pytest.approx(10.0)
    session(f, floor_at_bpm=125.0, begin=t + 7 * model.DAY_S)
    assert said(f, 0, t + 7 * model.DAY_S)[1] < sd


VALUE = st.one_of(st.floats(-10.0, 400.0), st.sampled_from([math.nan, math.inf, -math.inf]))
WINDOWS = st.lists(
    st.tuples(VALUE, VALUE, st.floats(-1.0, 4.0), VALUE, st.sampled_from([0.0, 5.0, 5.0, 1e4])), max_size=60
)


@settings(deadline=None, max_examples=40)
@given(WINDOWS, st.integers(0, 60))
def test_laws(windows: list[tuple[float, float, float, float, float]], cut: int) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a window that comes again changes nothing."""

    def after(some: list[tuple[float, float, float, float, float]], state: Float, t: float) -> float:
        for heart_rate, rmssd, alpha1, watts, passed in some:
            t += passed
            model.observe(state, 0, heart_rate, rmssd, alpha1, watts, t)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    t = after(windows, whole, 1.0)
    assert np.isfinite(whole).all()
    mean, sd = said(whole, 0, t)
    assert 0.0 < sd <= 10.0
    assert math.isfinite(mean)
    t = after(windows[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe(copied, 0, 120.0, 2.0, 0.4, 100.0, float(copied[model.T]))
    assert copied.tobytes() == parts.tobytes()
    after(windows[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
