"""Freezing of gait: trembling is told from stepping, whatever the packets, and for people with other habits too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.parameters import shipped_parameters
from twin_state.batch import Float
from twin_state.models import freezing_of_gait as model


def shipped() -> Float:
    return np.array(shipped_parameters("freezing_of_gait").flat)


def walking(seconds: float, hz: float, *, freeze_from_s: float = math.inf, tremor: float = 0.0, seed: int = 1) -> Float:
    """Acceleration (g) of three sensors: steps, and from then on trembling."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * hz)) / hz
    steps = 0.4 * np.sin(2.0 * np.pi * 1.8 * t) + tremor * np.sin(2.0 * np.pi * 6.0 * t)
    trembling = 0.08 * np.sin(2.0 * np.pi * 5.0 * t)
    swing = np.where(t < freeze_from_s, steps, trembling)
    return np.asarray(1.0 + swing[:, None] + rng.normal(0.0, 0.01, (len(t), model.SENSORS)), np.float64)


def taken(samples: Float, hz: float, packet: int) -> Float:
    f = np.zeros(model.WIDTH)
    for begin in range(0, len(samples), packet):
        model.take(f, 0, samples[begin : begin + packet], 100.0 + begin / hz, hz)
    return f


def said(f: Float) -> float:
    return float(model.probability(f, 0, shipped(), float(f[model.T])))


@pytest.mark.parametrize("hz", [40.0, 64.0, 128.0])
@pytest.mark.parametrize("tremor", [0.0, 0.1])
def test_a_freeze_is_told_from_steps_at_any_rate_and_for_one_who_trembles_always(hz: float, tremor: float) -> None:
    assert said(taken(walking(60, hz, tremor=tremor), hz, 16)) < 0.5
    assert said(taken(walking(62, hz, tremor=tremor, freeze_from_s=60), hz, 16)) > 0.5


def test_the_first_seconds_and_what_is_old_are_abstentions() -> None:
    assert math.isnan(said(taken(walking(5, 64.0), 64.0, 16)))
    f = taken(walking(20, 64.0), 64.0, 16)
    assert not math.isnan(said(f))
    assert math.isnan(model.probability(f, 0, shipped(), float(f[model.T]) + 2.0))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(0, 1000))
def test_packets_may_be_cut_anyhow(cuts: list[int], seed: int) -> None:
    samples = walking(12, 64.0, seed=seed)
    f = np.zeros(model.WIDTH)
    begin = 0
    for cut in [*cuts, len(samples)]:
        if begin < len(samples):
            model.take(f, 0, samples[begin : begin + cut], 100.0 + begin / 64.0, 64.0)
            begin = min(begin + cut, len(samples))
    whole = taken(samples, 64.0, len(samples))
    assert f[model.SCORE] == pytest.approx(whole[model.SCORE], abs=1e-9)
    assert f[model.SENSOR :] == pytest.approx(whole[model.SENSOR :], abs=1e-9)


VALUE = st.one_of(st.floats(-20.0, 20.0), st.sampled_from([math.nan, math.inf, -math.inf, 1e300]))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.lists(VALUE, min_size=1, max_size=30), st.sampled_from([0.0, 0.0, 5.0])), max_size=20))
def test_laws(packets: list[tuple[list[float], float]]) -> None:
    """Finite whatever comes; a packet that comes again changes nothing; a state copied midway goes on alike."""
    whole, t = np.zeros(model.WIDTH), 100.0
    copied = None
    for number, (values, gap) in enumerate(packets):
        samples = np.repeat(np.array(values)[:, None], model.SENSORS, axis=1)
        t += gap
        for state in (whole, copied) if copied is not None else (whole,):
            model.take(state, 0, samples, t, 64.0)
            before = state.copy()
            model.take(state, 0, samples[:1], t, 64.0) if len(values) > 1 else None
            assert state.tobytes() == before.tobytes()
        if number == len(packets) // 2:
            copied = whole.copy()
        t += len(values) / 64.0
    assert np.isfinite(whole).all()
    if copied is not None:
        assert copied.tobytes() == whole.tobytes()
