"""The personal baseline: what it learns, from what, and that no alarm ever depends on it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin_state.conftest import START, Arrival, Outcome, command, every, logged, reading, run_log, tick
from twin_state.apply import apply
from twin_state.batch import Batch
from twin_state.configuration import SignalSpec, configure
from twin_state.store import Store

Run = Callable[..., Outcome]


def baseline(outcome: Outcome, signal: str = "heart_rate") -> dict[str, float]:
    """The settled baseline of a signal in the twin record."""
    found: dict[str, float] = orjson.loads(outcome.twins["p1"])["signals"][signal]["baseline"]
    return found


def minutes_of(values: list[float], step_s: float = 60.0) -> dict[str, float]:
    """Baseline after one value each `step_s`, straight through the core."""
    configuration = configure([SignalSpec("heart_rate", 1, 300, 5.0)], [], ("baseline",))
    store = Store(configuration)
    n = len(values)
    one, zero = np.ones(n, np.int64), np.zeros(n, np.int64)
    t = START + step_s * np.arange(n, dtype=np.float64)
    row = np.full(n, store.row_of(b"p1"))
    batch = Batch(
        zero.astype(np.int8), row, np.arange(n), t, t, np.ones((n, 2), np.int64), one, np.arange(n), np.arange(n),
        zero.astype(np.int8), np.arange(n), one, zero, np.array(values), np.ones(n),
    )  # fmt: skip
    apply(store, batch)
    f = store.columns.live[0]
    place = configuration.layout.place
    return {name: float(f[place("baseline", name)][0]) for name in ("mean", "scale", "count")}


def normal(count: int, mean: float = 70.0, sigma: float = 4.0, seed: int = 1) -> list[float]:
    """Normally distributed values."""
    source = random.Random(seed)
    return [source.gauss(mean, sigma) for _ in range(count)]


def test_it_comes_to_the_mean_and_scale_of_what_it_sees() -> None:
    found = minutes_of(normal(3000))
    assert math.isclose(found["mean"], 70, abs_tol=1.0)
    assert math.isclose(found["scale"], 4, rel_tol=0.25)
    moved = minutes_of([*normal(3000), *normal(14_400, mean=78)])
    assert math.isclose(moved["mean"], 78, abs_tol=1.0)


def test_one_outlier_in_twenty_hardly_moves_it() -> None:
    clean = normal(3000)
    dirty = [250.0 if n > 100 and n % 20 == 0 else value for n, value in enumerate(clean)]
    assert abs(minutes_of(dirty)["mean"] - minutes_of(clean)["mean"]) < 1.5  # their plain mean moves by 8.7


def test_equal_values_at_first_do_not_shut_it_for_good() -> None:
    found = minutes_of([97.0] * 100 + [94.0] * 7200)
    assert math.isclose(found["mean"], 94, abs_tol=0.2)


def test_it_stands_still_while_the_patient_is_abnormal_or_exercises(run: Run) -> None:
    rest = [reading(10.0 * t, {"heart_rate": 70 + t % 3, "spo2": 97}, seq=t) for t in range(100)]
    calm = baseline(run(rest))
    ill = every(10, 1000, 3000, {"heart_rate": 95, "spo2": 88}, first_seq=100)
    # No rule looks at SpO2 before its fall within ten seconds has lasted long enough to be believed.
    assert baseline(run([*rest, *ill]))["count"] <= calm["count"] + 12
    assert baseline(run([*rest, *ill]), "spo2")["count"] <= baseline(run(rest), "spo2")["count"] + 1
    exercise = every(10, 1000, 3000, {"heart_rate": 110, "spo2": 97}, first_seq=100)
    start = command(999, "session", phase="start")
    assert baseline(run([*rest, start, *exercise])) == calm
    poor = every(10, 1000, 3000, {"heart_rate": 95}, first_seq=100, q={"heart_rate": 0.1})
    assert baseline(run([*rest, *poor])) == calm


def alarms(outcome: Outcome, since: float) -> list[tuple[str, str, float, float]]:
    """What settled after `since` (s after START): (rule, state, t, threshold)."""
    return sorted(
        (c["rule"], c["state"], c["t"], c["evidence"]["threshold"])
        for c in outcome.conditions
        if c["stage"] == "settled" and c["t"] >= START + since
    )


HISTORY_S = 40_000.0


@given(
    st.lists(st.tuples(st.integers(55, 88), st.integers(96, 100), st.integers(12, 20)), max_size=300),
    st.lists(
        st.fixed_dictionaries(
            {
                "heart_rate": st.sampled_from([35, 60, 95, 125, 150]),
                "spo2": st.sampled_from([80, 84, 88, 92, 97]),
                "respiratory_rate": st.sampled_from([6, 10, 16, 23, 28]),
                "systolic_pressure": st.sampled_from([85, 105, 120, 255]),
            }
        ),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
@settings(max_examples=40)
def test_no_history_of_normal_readings_changes_whether_a_limit_alarm_comes(
    history: list[tuple[int, int, int]], episode: list[dict[str, Any]], personal: bool
) -> None:
    step = HISTORY_S / 2 / max(1, len(history))
    before = [
        reading(n * step, {"heart_rate": pulse, "spo2": spo2, "respiratory_rate": breaths}, seq=n, device="old")
        for n, (pulse, spo2, breaths) in enumerate(history)
    ]
    orders = [command(-1, "limits", heart_rate_maximum=120.0, spo2_floor=86.0)] if personal else []
    present: list[Arrival] = []
    for n, values in enumerate(episode):
        present += every(5, HISTORY_S + 40 * n, HISTORY_S + 40 * n + 40, values, first_seq=8 * n)
    end = tick(1e6, closing=True)
    without = run_log(logged([*orders, *present, end]))
    with_history = run_log(logged([*orders, *before, *present, end]))
    assert alarms(with_history, HISTORY_S) == alarms(without, HISTORY_S)
    assert [c for c in with_history.conditions if c["t"] < START + HISTORY_S] == []


def test_slow_deterioration_over_hours_raises_the_alarm_at_the_same_value_as_a_sudden_one(run: Run) -> None:
    """Baseline creep: what an adaptive limit would have learned away."""
    slowly = [
        reading(60.0 * n, {"spo2": round(98 - n / 30, 1), "heart_rate": 75}, seq=n) for n in range(390)
    ]  # 98 % to 85 % in 6.5 h
    steps = run([*slowly, *every(5, 390 * 60, 390 * 60 + 30, {"spo2": 84}, first_seq=390)])
    onset = next(c for c in steps.conditions if c["rule"] == "spo2-below-85" and c["stage"] == "settled")
    assert (onset["t"] - START, onset["evidence"]["threshold"]) == (390 * 60 + 10, 84.9)
    assert baseline(steps, "spo2")["mean"] > 92
