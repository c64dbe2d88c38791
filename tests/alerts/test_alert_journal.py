"""The alert agent on its whole log: conditions, commands and ticks in, the journal of signals out, whatever happens to
it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import default_rules
from contracts.alert_signal import SignalTransition
from contracts.canonical import canonical_bytes
from contracts.command import Acknowledge, AlarmOff, AlertCommand, AudioPause
from contracts.condition import Condition, ConditionState, Evidence, Provenance, Stage, to_builtins
from contracts.configuration import Configuration
from contracts.quarantine import Quarantined, Reason
from contracts.reading import LoggedCommand, Tick
from contracts.topics import JOURNAL, QUARANTINE
from stream.alert_processor import BLOCK_ROWS, STATE_VERSION, AlertProcessor
from stream.processor import Block, OutputRecord
from tests.alerts.test_alert_processor import Record, condition

RULES = default_rules(0.0)
Value = Condition | AlertCommand | Tick


def processor() -> AlertProcessor:
    return AlertProcessor(Configuration(), 3, RULES)


def acknowledge(patient: str = "p1", alert_id: str = "a", command_id: str = "c1") -> Acknowledge:
    return Acknowledge(id=command_id, t=5.0, author="nurse-1", patient=patient, alert=f"{patient}-{alert_id}")


def logged(values: Sequence[Value], first: int = 0) -> list[Record]:
    """The values as records; a command arrives half a second after the tick before it."""
    records: list[Record] = []
    clock = 0.0
    for offset, value in enumerate(values, start=first):
        if isinstance(value, Tick):
            clock = max(clock, value.t)
            records.append(Record(offset, None, msgspec.json.encode(value)))
        elif isinstance(value, Condition):
            body = orjson.dumps(to_builtins(value), option=orjson.OPT_SORT_KEYS)
            records.append(Record(offset, value.patient.encode(), body))
        else:
            command = LoggedCommand(clock + 0.5, msgspec.Raw(msgspec.json.encode(value)))
            records.append(Record(offset, value.patient.encode(), msgspec.json.encode(command)))
    return records


def journal(outputs: Sequence[OutputRecord]) -> list[bytes]:
    return [canonical_bytes(orjson.loads(output.value or b"")) for output in outputs if output.topic == JOURNAL]


def transitions(outputs: Sequence[OutputRecord]) -> list[SignalTransition]:
    return [msgspec.json.decode(line, type=SignalTransition) for line in journal(outputs)]


def test_a_transition_is_written_under_its_patient_in_canonical_form_with_its_provenance() -> None:
    values: list[Value] = [Tick(200.0), condition(), acknowledge(), Tick(381.0)]
    outputs = [one for one in processor().process(logged(values, first=40), now=9.0) if one.topic == JOURNAL]
    assert {(output.key, output.partition) for output in outputs} == {(b"p1", None)}
    raised, taken, again = (msgspec.json.decode(output.value or b"", type=SignalTransition) for output in outputs)
    assert [(one.event, one.to, one.t, one.sequence) for one in (raised, taken, again)] == [
        ("condition_onset", "on", 200.0, 1),
        ("acknowledge", "acknowledged", 200.5, 2),
        ("re_alarm_due", "on", 381.0, 3),
    ]
    assert (taken.actor, taken.command, raised.actor) == ("nurse-1", "c1", "system")
    assert raised.provenance == Provenance(partition=3, offset=41, received_at=101.0, applied_at=9.0)
    assert taken.provenance == Provenance(partition=3, offset=42, received_at=200.5, applied_at=9.0)
    value = outputs[0].value or b""
    assert orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS) == value


def test_ticks_that_repeat_or_go_back_change_nothing() -> None:
    values: list[Value] = [Tick(200.0), condition(), Tick(259.0)]
    repeats: list[Value] = [Tick(200.0), Tick(150.0), Tick(259.0)]
    rest: list[Value] = [condition("p2"), Tick(260.0)]
    plain = journal(processor().process(logged([*values, *rest]), now=1.0))
    assert journal(processor().process(logged([*values, *repeats, *rest]), now=1.0)) == plain
    assert len(plain) == 3


@pytest.mark.parametrize(
    ("value", "key"),
    [(acknowledge(alert_id="no"), b"p1"), (acknowledge("p9"), b"p9"), (acknowledge(), b"p2")],
    ids=["no such alert", "no such patient", "another patient's key"],
)
def test_a_command_that_names_no_alert_is_set_aside(value: Acknowledge, key: bytes) -> None:
    alerts = processor()
    alerts.process(logged([condition()]), now=1.0)
    (record,) = logged([value], first=1)
    (refused,) = alerts.process([record._replace(key=key)], now=1.0)
    assert refused.topic == QUARANTINE
    told = msgspec.json.decode(refused.value or b"", type=Quarantined)
    assert (told.reason, told.payload()) == (Reason.BAD_COMMAND, record.value)


@pytest.mark.parametrize(
    "value",
    [
        b'{"kind":"tick"}',
        b'{"kind":"command","received_at":1.0}',
        b'{"kind":"command","received_at":1.0,"command":{"kind":"admit","id":"a","t":1,"author":"x","patient":"p1"}}',
        b'{"kind":"command","received_at":null,"command":{}}',
        b'{"kind":"dance"}',
    ],
)
def test_a_record_of_a_known_kind_that_is_not_one_is_set_aside(value: bytes) -> None:
    (refused,) = processor().process([Record(0, b"p1", value)], now=1.0)
    assert msgspec.json.decode(refused.value or b"", type=Quarantined).reason is Reason.BAD_RECORD


def test_blocks_of_version_1_are_read_and_their_alerts_get_a_signal_with_what_comes_next() -> None:
    alerts = processor()
    alerts.process(logged([condition()]), now=1.0)
    (block,) = alerts.changed_blocks()
    _, rows = msgspec.msgpack.decode(block.payload[1:])
    old = bytes((1,)) + msgspec.msgpack.encode([row[:3] for row in rows])
    migrated = processor()
    migrated.load_block(0, old)
    worse = msgspec.structs.replace(
        condition(state="update", t=120.0), evidence=Evidence("spo2", 79.0, 84.9, "rule", [], "m", "c")
    )
    (told,) = transitions(migrated.process(logged([Tick(130.0), worse], first=1), now=1.0))
    assert (told.event, told.to, told.t) == ("condition_onset", "on", 130.0)
    (written,) = migrated.changed_blocks()
    assert written.payload[0] == STATE_VERSION


def test_the_clock_is_kept_where_nothing_else_changed() -> None:
    alerts = processor()
    alerts.process(logged([Tick(500.0)]), now=1.0)
    (block,) = alerts.changed_blocks()
    assert (block.number, block.fence, alerts.changed_bytes()) == (0, 1, 0)
    assert alerts.changed_blocks() == []
    recovered = processor()
    recovered.load_block(0, block.payload)
    (told,) = transitions(recovered.process(logged([condition()], first=1), now=1.0))
    assert told.t == 500.0


def test_a_checkpoint_that_was_never_closed_does_not_set_the_clock_forward() -> None:
    values: list[Value] = [Tick(500.0), condition("p1"), Tick(501.0), condition("p2"), Tick(502.0), condition("p3")]
    log = logged(values)
    undisturbed = journal(processor().process(log, now=1.0))
    alerts = processor()
    first = journal(alerts.process(log[:2], now=1.0))
    alerts.changed_blocks()  # closed by its manifest at offset 2
    alerts.process(log[2:5], now=1.0)
    unclosed = alerts.changed_blocks()  # the newest version of the block; its manifest was never written
    recovered = processor()
    for block in unclosed:
        recovered.load_block(block.number, block.payload)
    written = {*first, *journal(recovered.process(log[2:], now=1.0))}
    # What the block already knew was written before the crash; what follows has the times of an undisturbed run.
    assert written | set(journal(alerts.process(log[5:], now=1.0))) <= set(undisturbed)
    assert set(undisturbed) - written == {undisturbed[1]}


# --- Laws ----------------------------------------------------------------------------------------------------------

patients = st.sampled_from([f"p{number}" for number in range(4)])


@st.composite
def logs(draw: st.DrawFn) -> list[Value]:
    """What stands in a partition of `conditions`: of a few patients, in time."""
    values: list[Value] = []
    clock = 100.0
    for number in range(draw(st.integers(0, 40))):
        what = draw(st.sampled_from(["condition", "condition", "tick", "tick", "command"]))
        patient, alert_id = draw(patients), draw(st.sampled_from(["a", "b"]))
        if what == "tick":
            clock += draw(st.sampled_from([1.0, 60.0, 190.0]))
            values.append(Tick(clock))
        elif what == "condition":
            state: ConditionState = draw(st.sampled_from(get_args(ConditionState)))
            stage: Stage = draw(st.sampled_from(get_args(Stage)))
            values.append(condition(patient, state, stage, clock, alert_id))
        else:
            common = {"id": f"c{number}", "t": clock, "author": "nurse-1", "patient": patient}
            named = f"{patient}-{alert_id}"
            acts: list[AlertCommand] = [
                Acknowledge(**common, alert=named),  # type: ignore[arg-type]
                AudioPause(**common, duration_s=30.0),  # type: ignore[arg-type]
                AlarmOff(**common, alert=named, expires_at=clock + 100.0, reason="x"),  # type: ignore[arg-type]
            ]
            values.append(draw(st.sampled_from(acts)))
    return values


@given(logs(), st.lists(st.integers(0, 40), max_size=4))
def test_any_cut_into_batches_gives_the_same_journal_and_state(values: list[Value], cuts: list[int]) -> None:
    log = logged(values)
    whole = processor()
    at_once = whole.process(log, now=1.0)
    pieces = processor()
    edges = [0, *sorted(cuts), len(log)]
    assert [output for a, b in pairwise(edges) for output in pieces.process(log[a:b], now=1.0)] == at_once
    assert pieces.changed_blocks() == whole.changed_blocks()


@given(logs(), st.integers(0, 40), st.integers(0, 40))
def test_a_crash_at_any_record_gives_the_same_journal(values: list[Value], checkpoint: int, crash: int) -> None:
    log = logged(values)
    checkpoint, crash = sorted((min(checkpoint, len(log)), min(crash, len(log))))
    undisturbed = journal(processor().process(log, now=1.0))
    first = processor()
    written = journal(first.process(log[:checkpoint], now=1.0))
    blocks = first.changed_blocks()
    lost = journal(first.process(log[checkpoint:crash], now=1.0))
    second = processor()
    for block in blocks:
        second.load_block(block.number, block.payload)
    rest = journal(second.process(log[checkpoint:], now=2.0))
    assert written + rest == undisturbed
    assert rest[: len(lost)] == lost


@given(logs(), st.integers(0, 40), st.integers(0, 40))
def test_what_the_twin_agent_writes_again_after_a_crash_changes_nothing(
    values: list[Value], crash: int, back: int
) -> None:
    """Its own repeats of one condition may differ from what the alert has become since, so it repeats ticks, commands
    and settled records, as it does: in their order."""
    back, crash = sorted((min(back, len(values)), min(crash, len(values))))
    settled = [one for one in values if not isinstance(one, Condition) or one.stage == "settled"]
    ordered = _in_time(settled)
    repeated = [*ordered[:crash], *ordered[back:crash], *ordered[crash:]]
    records = logged(ordered)
    arrivals = {id(value): record for value, record in zip(ordered, records, strict=True)}
    again = [arrivals[id(value)]._replace(offset=offset) for offset, value in enumerate(repeated)]
    one, other = processor(), processor()
    assert journal(other.process(again, now=1.0)) == journal(one.process(records, now=1.0))


def _in_time(values: list[Value]) -> list[Value]:
    """Settled transitions of one alert as the twin writes them: onset, then a clear later on, each once."""
    kept: list[Value] = []
    state: dict[str, tuple[str, float]] = {}
    for value in values:
        if isinstance(value, Condition):
            last, t = state.get(value.id, ("clear", float("-inf")))
            wanted = {"clear": "onset", "onset": "clear"}[last]
            if value.state != wanted or value.t <= t:
                continue
            state[value.id] = (value.state, value.t)
        kept.append(value)
    return kept


@given(logs(), st.integers(1, 5), st.integers(0, 40), st.integers(0, 40))
def test_a_stale_block_is_repaired_by_reading_again(values: list[Value], spread: int, early: int, late: int) -> None:
    """Patients of two blocks; one block is of an earlier checkpoint than the other, and reading goes on at the
    earlier."""
    fillers = [condition(f"filler{number}") for number in range(BLOCK_ROWS * spread // 5 + BLOCK_ROWS // 2)]
    log = logged([*fillers, *values])
    start = len(fillers)
    early, late = sorted((start + min(early, len(values)), start + min(late, len(values))))
    undisturbed = journal(processor().process(log, now=1.0))
    first = processor()
    written = journal(first.process(log[:early], now=1.0))
    old = {block.number: block for block in first.changed_blocks()}
    written += journal(first.process(log[early:late], now=1.0))
    newest: dict[int, Block] = old | {block.number: block for block in first.changed_blocks()}
    if 0 in old:
        newest[0] = old[0]
    second = processor()
    for number in sorted(newest):
        second.load_block(number, newest[number].payload)
    written += journal(second.process(log[early:], now=2.0))
    assert set(written) == set(undisturbed)
