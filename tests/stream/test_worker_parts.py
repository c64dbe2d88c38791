"""The parts of the worker that need no Kafka: ledger, watches, router."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest

from contracts import topics
from contracts.command import Acknowledge, Admit, Bind, Limits, Unbind
from contracts.condition import Alert
from contracts.configuration import Worker
from contracts.metrics import ProcessMetrics
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.reading import DeviceStatus, LoggedCommand
from ingest.bindings import BindingTable
from stream.agents import Agents
from stream.health import Health
from stream.ledger import DeliveryError, Source, WriteLedger
from stream.liveness import FreezeGuard
from stream.observe import Observer
from stream.processor import OutputRecord
from stream.releaser import WaitingReadings
from stream.router import RouterProcessor
from stream.ticks import TickWatch, alert_record, tick_record
from stream.watchdog import PartitionWatch, Standing, stuck

SOURCE = Source("telemetry", 0)


def nobody(_: DeliveryError) -> None:
    """Listens to no failure."""


async def test_the_ledger_knows_what_must_be_delivered_before_an_offset() -> None:
    ledger = WriteLedger(10, nobody)
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    ledger.add(SOURCE, 100, "conditions", first)
    ledger.add(SOURCE, 200, "conditions", second)
    assert ledger.undelivered_before(SOURCE, 99) == 0
    assert ledger.undelivered_before(SOURCE, 100) == 1
    assert ledger.undelivered_before(SOURCE, 200) == 2
    first.set_result(None)
    await asyncio.sleep(0)
    assert ledger.undelivered_before(SOURCE, 100) == 0
    assert ledger.undelivered_before(SOURCE, 200) == 1


async def test_a_refused_write_is_told_once_and_never_counts_as_delivered() -> None:
    told: list[DeliveryError] = []
    ledger = WriteLedger(10, told.append)
    loop = asyncio.get_running_loop()
    for _ in range(2):
        refused = loop.create_future()
        ledger.add(SOURCE, 5, "conditions", refused)
        refused.set_exception(OSError("disk full"))
    await asyncio.sleep(0)
    assert len(told) == 1
    assert "disk full" in str(told[0])
    assert ledger.undelivered_before(SOURCE, 5) == 2
    with pytest.raises(DeliveryError):
        await ledger.delivered(SOURCE, 1.0)
    with pytest.raises(DeliveryError):
        await ledger.room()


async def test_outstanding_writes_are_bounded() -> None:
    ledger = WriteLedger(2, nobody)
    writes = [asyncio.get_running_loop().create_future() for _ in range(2)]
    for write in writes:
        ledger.add(SOURCE, 1, "conditions", write)
    waiting = asyncio.create_task(ledger.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    writes[0].set_result(None)
    await asyncio.wait_for(waiting, 1.0)


async def test_a_write_that_is_never_answered_stops_the_checkpoint() -> None:
    ledger = WriteLedger(2, nobody)
    ledger.add(SOURCE, 1, "conditions", asyncio.get_running_loop().create_future())
    with pytest.raises(DeliveryError, match="not delivered within"):
        await ledger.delivered(SOURCE, 0.05)


def test_nothing_is_committed_after_a_failure() -> None:
    told: list[BaseException] = []
    agents = Agents([], Worker(), Observer(ProcessMetrics()), FreezeGuard(60.0), told.append)
    assert agents.may_commit(SOURCE, 5)
    bug = ValueError("a bug")
    agents.fail(bug)
    assert not agents.may_commit(SOURCE, 5)
    assert told == [bug]


def test_a_process_that_did_not_run_for_a_while_notices() -> None:
    gaps: list[float] = []
    guard = FreezeGuard(0.05, gaps.append)
    guard.check()
    assert gaps == []
    time.sleep(0.1)  # the guard's own thread is not running: to it this is a freeze
    guard.check()
    assert gaps[0] >= 0.1


def test_the_watchdog_names_what_stands_still() -> None:
    moving = Standing("telemetry/0", waiting=10, undurable=10, since_advance_s=1.0, since_checkpoint_s=5.0)
    idle = Standing("telemetry/1", waiting=0, undurable=0, since_advance_s=900.0, since_checkpoint_s=900.0)
    assert stuck([moving, idle], 60.0, 60.0) is None
    still = moving._replace(name="telemetry/2", since_advance_s=61.0)
    assert "telemetry/2: 10 records wait" in (stuck([moving, still], 60.0, 60.0) or "")
    unwritten = moving._replace(since_checkpoint_s=121.0)
    assert "no checkpoint" in (stuck([unwritten], 60.0, 60.0) or "")


def test_what_comes_after_a_quiet_hour_has_as_long_as_anything_else() -> None:
    watch = PartitionWatch(0.0)
    watch.look("commands/0", position=5, durable=5, waiting=0, clock=3600.0)
    come = watch.look("commands/0", position=5, durable=5, waiting=1, clock=3600.5)
    assert come.since_advance_s <= 0.5
    applied = watch.look("commands/0", position=6, durable=5, waiting=0, clock=3601.0)
    assert (applied.undurable, applied.since_checkpoint_s) == (1, 0.5)
    assert stuck([come, applied], 60.0, 60.0) is None


def test_a_partition_that_stands_still_with_work_to_do_is_stuck() -> None:
    watch = PartitionWatch(0.0)
    watch.look("telemetry/0", position=5, durable=5, waiting=3, clock=1.0)
    standing = watch.look("telemetry/0", position=5, durable=5, waiting=9, clock=62.0)
    assert stuck([standing], 60.0, 60.0) is not None
    moving = watch.look("telemetry/0", position=6, durable=5, waiting=9, clock=63.0)
    assert stuck([moving], 60.0, 60.0) is None
    unwritten = watch.look("telemetry/0", position=900, durable=5, waiting=9, clock=184.0)
    assert "no checkpoint" in (stuck([unwritten], 60.0, 60.0) or "")


def test_liveness_fails_before_the_watchdog_ends_the_process() -> None:
    health = Health()
    standing = Standing("telemetry/0", 10, 0, since_advance_s=31.0, since_checkpoint_s=1.0)
    health.update(True, [standing], 60.0)
    assert (health.ready, health.live) == (True, False)


def test_stopped_ticks_raise_one_alarm_and_one_all_clear() -> None:
    watch = TickWatch(3, seen_at=100.0)
    assert watch.judge(109.0, 1009.0, caught_up=True) is None
    assert watch.judge(115.0, 1015.0, caught_up=False) is None, "a backlog is no silence"
    onset = watch.judge(111.0, 1011.0, caught_up=True)
    assert onset is not None
    assert (onset.rule, onset.kind, onset.patient, onset.state) == ("ticks-stopped", "technical", "", "active")
    assert watch.judge(130.0, 1030.0, caught_up=True) is None
    watch.seen_at = 131.0
    clear = watch.judge(131.5, 1031.5, caught_up=True)
    assert clear is not None
    assert (clear.id, clear.state, clear.onset_t, clear.sequence) == (onset.id, "cleared", onset.t, 2)
    assert watch.judge(132.0, 1032.0, caught_up=True) is None
    record = alert_record(onset, 3)
    assert (record.topic, record.key, record.partition) == (topics.ALERTS, None, 3)
    assert msgspec.json.decode(record.value or b"", type=Alert) == onset


def test_a_tick_has_no_key_and_names_its_partition() -> None:
    record = tick_record("telemetry", 2, 1763900000.1234567)
    assert (record.key, record.partition) == (None, 2)
    assert orjson.loads(record.value or b"") == {"kind": "tick", "t": 1763900000.123}


class Sent(NamedTuple):
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 5_000


BIND = msgspec.json.encode(Bind(id="c1", t=10.0, author="nurse", device="d1", patient="p1"))
UNBIND = msgspec.json.encode(Unbind(id="c2", t=20.0, author="nurse", device="d1"))
ADMIT = msgspec.json.encode(Admit(id="c3", t=10.0, author="nurse", patient="p1", age_years=70))


def test_bindings_go_to_bindings_and_only_once() -> None:
    router = RouterProcessor(BindingTable())
    (bound,) = router.process([Sent(0, b"d1", BIND)], 1.0)
    assert (bound.topic, bound.key) == (topics.BINDINGS, b"d1")
    interval = {"patient": "p1", "from": 10.0, "until": None}
    assert orjson.loads(bound.value or b"")["intervals"] == [interval]
    assert router.process([Sent(0, b"d1", BIND)], 2.0) == []
    unbound, told = router.process([Sent(1, b"d1", UNBIND)], 3.0)
    assert orjson.loads(unbound.value or b"")["intervals"] == [interval | {"until": 20.0}]
    assert (told.topic, told.key) == (topics.TELEMETRY, b"p1")
    assert router.process([Sent(1, b"d1", UNBIND)], 4.0) == [told], "had only the binding been written before a crash"


def told_unbound(outputs: list[OutputRecord]) -> list[tuple[bytes | None, DeviceStatus]]:
    """(patient, what he is told) of the records for `telemetry`."""
    return [
        (output.key, msgspec.json.decode(output.value or b"", type=DeviceStatus))
        for output in outputs
        if output.topic == topics.TELEMETRY
    ]


def bind(identity: str, t: float, patient: str, until: float | None = None) -> bytes:
    return msgspec.json.encode(Bind(id=identity, t=t, author="nurse", device="d1", patient=patient, until=until))


def test_the_former_patient_is_told_that_a_device_is_gone_not_before_the_command_came() -> None:
    router = RouterProcessor(BindingTable())
    gone = DeviceStatus("d1", "unbound", 5.0, 5.0)
    assert told_unbound(router.process([Sent(0, b"d1", bind("b1", 1.0, "p1"))], 9.0)) == []
    assert told_unbound(router.process([Sent(1, b"d1", bind("b2", 2.0, "p1"))], 9.0)) == [], "he keeps it"
    assert told_unbound(router.process([Sent(2, b"d1", bind("b3", 3.0, "p2"))], 9.0)) == [(b"p1", gone)]
    assert told_unbound(router.process([Sent(2, b"d1", bind("b3", 3.0, "p2"))], 9.0)) == [(b"p1", gone)]
    same_start = router.process([Sent(3, b"d1", bind("b4", 3.0, "p3"))], 9.0)
    assert told_unbound(same_start) == [(b"p2", gone)]
    ahead = router.process([Sent(4, b"d1", msgspec.json.encode(Unbind(id="u", t=8.0, author="n", device="d1")))], 9.0)
    assert told_unbound(ahead) == [(b"p3", DeviceStatus("d1", "unbound", 8.0, 5.0))]


def test_a_binding_that_ended_by_itself_is_told_with_the_next_command() -> None:
    router = RouterProcessor(BindingTable())
    assert told_unbound(router.process([Sent(0, b"d1", bind("b1", 1.0, "p1", until=2.0))], 9.0)) == []
    gone = DeviceStatus("d1", "unbound", 5.0, 5.0)
    assert told_unbound(router.process([Sent(1, b"d1", bind("b2", 4.0, "p2"))], 9.0)) == [(b"p1", gone)]


def test_a_patients_command_goes_into_telemetry_with_the_time_it_came() -> None:
    router = RouterProcessor(BindingTable())
    (logged,) = router.process([Sent(0, b"p1", ADMIT)], 99.0)
    assert (logged.topic, logged.key) == (topics.TELEMETRY, b"p1")
    decoded = msgspec.json.decode(logged.value or b"", type=LoggedCommand)
    assert decoded.received_at == 5.0
    assert bytes(decoded.command) == ADMIT
    (again,) = router.process([Sent(0, b"p1", ADMIT)], 500.0)
    assert again == logged, "reading the command again gives the same record"
    (replayed,) = router.process([Sent(0, b"p1", ADMIT, (("received_at", b"12.5"),))], 500.0)
    assert msgspec.json.decode(replayed.value or b"", type=LoggedCommand).received_at == 12.5


@pytest.mark.parametrize(("given", "lacking"), [({}, "reason"), ({"reason": "COPD"}, "expires_at")])
def test_limits_without_a_reason_and_an_end_are_quarantined(given: dict[str, Any], lacking: str) -> None:
    limits = Limits(id="c5", t=10.0, author="nurse", patient="p1", spo2_floor=88.0, **given)
    back = Limits(id="c6", t=20.0, author="nurse", patient="p1")
    sent = [Sent(n, b"p1", msgspec.json.encode(one)) for n, one in enumerate((limits, back))]
    refused, logged = RouterProcessor(BindingTable()).process(sent, 99.0)
    quarantined = msgspec.json.decode(refused.value or b"", type=Quarantined)
    assert (quarantined.reason, quarantined.detail) == (Reason.BAD_COMMAND, f"personal limits without {lacking}")
    assert logged.topic == topics.TELEMETRY, "giving the limits back to the rules needs neither"


def test_an_act_about_an_alert_goes_the_same_way() -> None:
    value = msgspec.json.encode(Acknowledge(id="c4", t=10.0, author="nurse", patient="p1", alert="a"))
    (logged,) = RouterProcessor(BindingTable()).process([Sent(0, b"p1", value)], 99.0)
    assert (logged.topic, logged.key) == (topics.TELEMETRY, b"p1")
    assert bytes(msgspec.json.decode(logged.value or b"", type=LoggedCommand).command) == value


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b'{"kind":"sing"}', b'{"kind":"bind","id":1}'])
def test_a_command_that_cannot_be_understood_is_quarantined(value: bytes) -> None:
    router = RouterProcessor(BindingTable())
    (refused, bound) = router.process([Sent(0, b"x", value), Sent(1, b"d1", BIND)], 1.0)
    quarantined = msgspec.json.decode(refused.value or b"", type=Quarantined)
    assert (refused.topic, quarantined.reason) == (topics.QUARANTINE, Reason.BAD_COMMAND)
    assert quarantined.payload() == value
    assert bound.topic == topics.BINDINGS


def held(identity: str, device: str, t: float, *, released: bool = False) -> Quarantined:
    raw = encode_raw(b"{}")
    return Quarantined(identity, Reason.UNBOUND_DEVICE, "", "", 1.0, raw, device=device, t=t, released=released)


def test_readings_wait_until_their_device_is_bound_at_their_time() -> None:
    waiting, table = WaitingReadings(), BindingTable()
    for offset, t in enumerate((5.0, 15.0, 25.0)):
        waiting.take(held(f"r{offset}", "d1", t), 0, offset)
    waiting.take(held("r0", "d1", 5.0), 0, 7)
    assert waiting.releasable(waiting.devices(), table) == {}
    table.apply(msgspec.json.decode(BIND, type=Bind))
    table.apply(msgspec.json.decode(UNBIND, type=Unbind))
    assert set(waiting.releasable(["d1"], table)) == {"r1"}
    waiting.take(held("r1", "d1", 15.0, released=True), 0, 8)
    assert waiting.releasable(["d1"], table) == {}
    assert len(waiting) == 2


def test_waiting_readings_are_bounded() -> None:
    waiting = WaitingReadings(limit=2)
    for offset in range(5):
        waiting.take(held(f"r{offset}", "d1", 1.0), 0, offset)
    assert (len(waiting), waiting.overflowed) == (2, 3)
