"""The alert agent's processor: conditions in, alerts out; blocks carry its state; bad records are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import default_rules
from contracts.canonical import canonical_bytes
from contracts.condition import Alert, Condition, ConditionState, Evidence, Provenance, Stage, to_builtins
from contracts.configuration import Configuration
from contracts.quarantine import Quarantined, Reason
from contracts.topics import ALERTS, QUARANTINE
from stream.alert_processor import BLOCK_ROWS, AlertProcessor
from stream.processor import OutputRecord, StateVersionError

RULES = default_rules(0.0)


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None


def processor() -> AlertProcessor:
    return AlertProcessor(Configuration(), 3, RULES)


def condition(
    patient: str = "p1",
    state: ConditionState = "onset",
    stage: Stage = "settled",
    t: float = 100.0,
    alert_id: str = "a",
) -> Condition:
    return Condition(
        id=f"{patient}-{alert_id}",
        patient=patient,
        rule="spo2-below-85",
        kind="physiological",
        priority="high",
        state=state,
        stage=stage,
        t=t,
        onset_t=100.0,
        evidence=Evidence("spo2", 82.0, 84.9, "rule", [], "m", "c"),
        provenance=Provenance(partition=3, offset=77, received_at=101.0, applied_at=102.0),
    )


def records(conditions: Sequence[Condition], first: int = 0) -> list[Record]:
    return [
        Record(first + n, one.patient.encode(), msgspec.json.encode(to_builtins(one)))
        for n, one in enumerate(conditions)
    ]


def journal(outputs: Sequence[OutputRecord]) -> list[bytes]:
    return [canonical_bytes(orjson.loads(output.value or b"")) for output in outputs if output.topic == ALERTS]


def test_an_alert_is_written_under_its_patient_in_canonical_form_with_its_provenance() -> None:
    output, _ = processor().process(records([condition()], first=41), now=105.5)
    assert (output.topic, output.key, output.partition) == (ALERTS, b"p1", None)
    assert output.value is not None
    assert orjson.dumps(orjson.loads(output.value), option=orjson.OPT_SORT_KEYS) == output.value
    alert = msgspec.json.decode(output.value, type=Alert)
    assert alert.message == "SpO2 is 82 %, below 85 %."
    assert alert.provenance == Provenance(partition=3, offset=41, received_at=101.0, applied_at=105.5)


def test_the_clock_goes_into_provenance_alone() -> None:
    batch = records([condition(), condition(state="clear", t=130.0), condition("p2")])
    assert journal(processor().process(batch, now=1.0)) == journal(processor().process(batch, now=2.0))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"not json",
        b"\xff\xfe",
        b'{"id":"\xff"}',
        b"[]",
        b'{"id":"a"}',
        b'{"x":' + b"[" * 100_000,
        orjson.dumps(to_builtins(condition()) | {"t": None}),
        orjson.dumps(to_builtins(condition()) | {"priority": "urgent"}),
        orjson.dumps(to_builtins(condition())).replace(b'"t":100.0', b'"t":1e400'),
    ],
    ids=["nothing", "empty", "text", "not utf-8", "not utf-8 inside", "list", "half", "deep", "null", "enum", "huge"],
)
def test_a_bad_record_is_set_aside_and_the_next_is_served(value: bytes | None) -> None:
    alerts = processor()
    bad, good, _ = alerts.process([Record(0, b"p1", value), *records([condition()], first=1)], now=5.0)
    assert (bad.topic, bad.key) == (QUARANTINE, b"p1")
    refused = msgspec.json.decode(bad.value or b"", type=Quarantined)
    assert (refused.reason, refused.topic, refused.payload()) == (Reason.BAD_RECORD, "conditions", value or b"")
    assert good.topic == ALERTS
    assert alerts.counters()["quarantined"] == 1
    (again,) = alerts.process([Record(2, b"p1", value)], now=9.0)
    assert again.value == bad.value


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(value: bytes) -> None:
    (output,) = processor().process([Record(0, None, value)], now=5.0)
    assert output.topic == QUARANTINE


def test_blocks_hold_the_state_in_stable_rows_and_only_what_changed() -> None:
    alerts = processor()
    patients = [f"p{number}" for number in range(2 * BLOCK_ROWS + 1)]
    alerts.process(records([condition(patient) for patient in patients]), now=1.0)
    blocks = alerts.changed_blocks()
    assert [block.number for block in blocks] == [0, 1, 2]
    assert {block.fence for block in blocks} == {len(patients)}
    assert (alerts.changed_blocks(), alerts.changed_bytes()) == ([], 0)
    clear = condition(patients[BLOCK_ROWS], "clear", t=130.0)
    alerts.process(records([clear], first=len(patients)), now=2.0)
    assert alerts.changed_bytes() == len(blocks[1].payload)
    (changed,) = alerts.changed_blocks()
    assert (changed.number, changed.fence) == (1, len(patients) + 1)


def test_recovered_state_skips_what_it_holds_and_goes_on() -> None:
    batch = records(
        [condition(), condition("p2"), condition(state="clear", t=130.0), condition("p2", "clear", t=140.0)]
    )
    whole = processor()
    undisturbed = whole.process(batch, now=1.0)
    before = processor()
    first = before.process(batch[:2], now=1.0)
    recovered = processor()
    for block in reversed(before.changed_blocks()):
        recovered.load_block(block.number, block.payload)
    rest = recovered.process(batch, now=2.0)
    assert recovered.counters()["fence_skips"] == 2
    assert journal([*first, *rest]) == journal(undisturbed)
    assert [block.payload for block in recovered.changed_blocks()] == [
        block.payload for block in whole.changed_blocks()
    ]


def test_blocks_may_come_in_any_order() -> None:
    alerts = processor()
    conditions = [condition(f"p{number}") for number in range(BLOCK_ROWS + 3)]
    alerts.process(records(conditions), now=1.0)
    blocks = alerts.changed_blocks()
    recovered = processor()
    for block in reversed(blocks):
        recovered.load_block(block.number, block.payload)
    assert recovered.counters()["rows"] == len(conditions)
    offset = len(conditions)
    again = recovered.process(records(conditions, first=offset), now=2.0)
    assert again == []
    assert recovered.counters()["duplicates"] == len(conditions)
    assert [block.number for block in recovered.changed_blocks()] == [0, 1]


def test_a_block_of_a_later_version_or_a_damaged_one_is_refused() -> None:
    alerts = processor()
    alerts.process(records([condition()]), now=1.0)
    (block,) = alerts.changed_blocks()
    with pytest.raises(StateVersionError, match="version 3"):
        processor().load_block(0, b"\x03" + block.payload[1:])
    with pytest.raises(StateVersionError):
        processor().load_block(0, b"")
    with pytest.raises(ValueError, match="alert block 7 of partition 3 is damaged"):
        processor().load_block(7, block.payload[:-3])


patients = st.sampled_from([f"p{number}" for number in range(5)])
any_conditions = st.lists(
    st.builds(
        condition,
        patient=patients,
        state=st.sampled_from(["onset", "update", "clear", "withdrawn"]),
        stage=st.sampled_from(["provisional", "settled"]),
        t=st.integers(0, 20).map(float),
        alert_id=st.sampled_from(["a", "b"]),
    ),
    max_size=40,
)


@given(any_conditions, st.lists(st.integers(0, 40), max_size=4))
def test_any_cut_into_batches_gives_the_same_alerts_and_state(conditions: list[Condition], cuts: list[int]) -> None:
    batch = records(conditions)
    whole = processor()
    at_once = whole.process(batch, now=1.0)
    pieces = processor()
    edges = [0, *sorted(cuts), len(batch)]
    outputs = [output for a, b in pairwise(edges) for output in pieces.process(batch[a:b], now=1.0)]
    assert outputs == at_once
    assert pieces.changed_blocks() == whole.changed_blocks()


@given(any_conditions, st.integers(0, 40), st.integers(0, 40))
def test_a_crash_at_any_point_repeats_and_changes_nothing(
    conditions: list[Condition], checkpoint: int, crash: int
) -> None:
    batch = records(conditions)
    checkpoint, crash = sorted((min(checkpoint, len(batch)), min(crash, len(batch))))
    whole = processor()
    undisturbed = journal(whole.process(batch, now=1.0))
    first = processor()
    written = journal(first.process(batch[:checkpoint], now=1.0))
    blocks = first.changed_blocks()
    lost = journal(first.process(batch[checkpoint:crash], now=1.0))
    second = processor()
    for block in blocks:
        second.load_block(block.number, block.payload)
    rest = journal(second.process(batch[checkpoint:], now=2.0))
    assert written + rest == undisturbed
    assert rest[: len(lost)] == lost
    assert second.counters()["rows"] == whole.counters()["rows"]
