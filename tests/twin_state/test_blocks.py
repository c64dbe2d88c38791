"""Rows as bytes: carried over to another layout by name, refused where a later build wrote them, whole at any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
import pytest

from contracts.topics import TWIN
from stream.processor import StateVersionError
from tests.twin_state.conftest import (
    START,
    Arrival,
    command,
    every,
    logged,
    make_processor,
    read_outputs,
    reading,
    run_log,
    tick,
)
from twin_state import batch as b
from twin_state.apply import apply
from twin_state.batch import Batch
from twin_state.blocks import block_bytes, load_block
from twin_state.configuration import SignalSpec, TwinConfiguration, configure
from twin_state.rules import ConditionRule
from twin_state.schema import SCHEMA_VERSION
from twin_state.store import Store

PULSE = ConditionRule("pulse", "heart_rate", "at_least", 120, "high", onset_delay_s=10)
SATURATION = ConditionRule("saturation", "spo2", "at_most", 85, "high")
BREATHS = ConditionRule("breaths", "respiratory_rate", "at_least", 25, "medium")
SIGNALS = ("heart_rate", "spo2")


def configured(
    signals: Sequence[str] = SIGNALS,
    rules: Sequence[ConditionRule] = (PULSE, SATURATION),
    models: Sequence[str] = ("baseline",),
) -> TwinConfiguration:
    """A small configuration."""
    return configure([SignalSpec(name, 1, 300, 5.0) for name in signals], rules, models)


def feed(store: Store, rows: Sequence[tuple[float, int, float]], first: int = 0) -> list[tuple[str, str, str, float]]:
    """(t, signal, value) readings of patient p into a store; what is told: (rule, state, stage, t)."""
    n = len(rows)
    t = START + np.array([row[0] for row in rows])
    one = np.ones(n, np.int64)
    number = np.arange(first, first + n)
    batch = Batch(
        np.zeros(n, np.int8), np.full(n, store.row_of(b"p")), number, t, t, np.ones((n, 2), np.int64), one, number,
        number + 1000, np.zeros(n, np.int8), np.arange(n), one, np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows], np.float64), np.ones(n),
    )  # fmt: skip
    return [
        (
            store.configuration.rules[int(part.number[n, b.RULE])].id,
            b.STATES[int(part.number[n, b.WHAT])],
            b.STAGES[int(part.number[n, b.STAGE])],
            float(part.measure[n, b.T]) - START,
        )
        for part in apply(store, batch).transitions
        for n in range(len(part.number))
    ]


def calm_then_fast(configuration: TwinConfiguration) -> Store:
    """A store in which saturation stands, the pulse rule is counting and some readings are not settled yet."""
    store = Store(configuration)
    feed(store, [(float(t), t % 2, (80.0, 97.0)[t % 2]) for t in range(100)])
    told = feed(store, [(100.0, 1, 80.0), (102.0, 0, 130.0), (104.0, 0, 131.0)], 100)
    assert told == [("saturation", "onset", "provisional", 100.0)]
    return store


AFTER = [(110.0, 0, 132.0), (116.0, 0, 133.0), (126.0, 0, 134.0)]


@pytest.mark.parametrize(
    "configuration",
    [
        configured(),
        configured((*SIGNALS, "respiratory_rate")),
        configured(rules=(SATURATION, PULSE)),
        configured((*SIGNALS, "respiratory_rate"), (BREATHS, PULSE, SATURATION)),
        configured(models=("baseline", "news2", "rehabilitation", "moments")),
        configured(models=()),
    ],
    ids=["same", "signal added", "rules reordered", "signal and rule added", "models added", "model removed"],
)
def test_a_build_with_other_signals_rules_or_models_goes_on_from_the_stored_state(
    configuration: TwinConfiguration,
) -> None:
    old = calm_then_fast(configured())
    payload = block_bytes(old, 0)
    new = Store(configuration)
    load_block(new, 0, payload)
    assert feed(new, AFTER, 103) == feed(old, AFTER, 103)
    one, other = old.configuration.layout, new.configuration.layout
    for model, field in [("latest", "value"), ("channels", "t"), ("baseline", "mean"), ("baseline", "count")]:
        if (model, field) in other.places:
            found = new.columns.settled[0, other.place(model, field)][:2]
            assert found.tolist() == old.columns.settled[0, one.place(model, field)][:2].tolist()


def test_the_state_of_a_rule_that_is_gone_goes_and_the_others_stay() -> None:
    old = calm_then_fast(configured())
    new = Store(configured(rules=(BREATHS, PULSE), signals=(*SIGNALS, "respiratory_rate")))
    load_block(new, 0, block_bytes(old, 0))
    told = feed(new, AFTER, 103)
    assert told == [row for row in feed(old, AFTER, 103) if row[0] == "pulse"]
    assert told[0] == ("pulse", "onset", "provisional", 112.0)


def test_a_block_of_a_later_schema_is_refused_by_its_number() -> None:
    processor = make_processor()
    processor.process(logged([reading(0, {"heart_rate": 70}, seq=0)]), START)
    (block,) = processor.changed_blocks()
    head, newline, words = block.payload.partition(b"\n")
    header = orjson.loads(head)
    header["schema"] = SCHEMA_VERSION + 1
    with pytest.raises(StateVersionError, match=f"version {SCHEMA_VERSION + 1}") as refused:
        make_processor().load_block(0, orjson.dumps(header) + newline + words)
    assert (refused.value.found, refused.value.known) == (SCHEMA_VERSION + 1, SCHEMA_VERSION)


def through_blocks(arrivals: list[Arrival], more: list[Arrival]) -> None:
    """A run with a restart in the middle equals one without."""
    records = logged([*arrivals, *more, tick(1e6, closing=True)])
    first, second = make_processor(), make_processor()
    outputs = first.process(records[: len(arrivals)], START)
    for block in first.changed_blocks():
        second.load_block(block.number, block.payload)
    outputs += second.process(records[len(arrivals) :], START)
    outputs += second.flush(START)
    restarted, whole = read_outputs(outputs, {}), run_log(records)
    assert restarted.journal() == whole.journal()
    assert restarted.twins == whole.twins


def test_many_sources_long_beat_lists_and_wide_readings_survive_a_restart() -> None:
    wide = {
        "heart_rate": 70,
        "spo2": 97,
        "respiratory_rate": 16,
        "body_temperature": 37.0,
        "systolic_pressure": 120,
        "diastolic_pressure": 80,
        "mean_pressure": 93,
        "consciousness": "A",
        "supplemental_oxygen": "air",
        "power_w": 50,
        "skin_temperature": 33.5,
    }
    beats = {"rr_ms": [800 + n % 40 for n in range(700)], "heart_rate": 75}
    arrivals = [reading(n / 100, wide, seq=n, device=f"d{n}") for n in range(300)]
    arrivals += [reading(4 + n, beats, seq=n, device="strap", hashed=n % 2 == 0) for n in range(8)]
    arrivals += [reading(6, beats, seq=n, device=f"late-strap-{n}") for n in range(3)]
    more = [*arrivals[-60:], reading(12, {"systolic_pressure": 255}, seq=9, device="strap")]
    through_blocks(arrivals, more)


def test_an_announced_notice_is_settled_under_the_announced_id_after_a_restart() -> None:
    arrivals = [reading(10, {"systolic_pressure": 255}, seq=10), reading(8, {"systolic_pressure": 252}, seq=8)]
    through_blocks(arrivals, every(1, 11, 30, {"heart_rate": 70}))


def test_orders_and_sessions_survive_a_restart() -> None:
    orders = [
        command(0, "admit", age_years=70),
        command(1, "limits", heart_rate_maximum=120.0, expires_at=START + 40),
        command(2, "news2", spo2_scale=2, reason="order"),
        command(3, "session", phase="start"),
        reading(4, {"heart_rate": 80}, seq=0),
    ]
    through_blocks(orders, every(1, 5, 90, {"heart_rate": 125, "spo2": 89}))


def test_ten_thousand_patients_have_their_own_rows() -> None:
    count = 10_000
    processor = make_processor()
    arrivals = [
        reading(t, {"heart_rate": 60 + n % 30}, seq=t, patient=f"p{n}", device=f"d{n}")
        for t in range(2)
        for n in range(count)
    ]
    processor.process(logged(arrivals), START)
    assert processor.counters()["rows"] == processor.counters()["applied"] / 2 == count
    restored = make_processor()
    for block in processor.changed_blocks():
        restored.load_block(block.number, block.payload)
    records = [orjson.loads(output.value or b"") for output in restored.flush(START) if output.topic == TWIN]
    assert len(records) == count
    for record in records:
        expected = 60 + int(record["patient"][1:]) % 30
        assert record["live"]["signals"]["heart_rate"]["value"] == expected
