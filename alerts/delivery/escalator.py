"""Calls people when nobody answers, and raises the alarm when whoever must be told of alerts is not there.

A shell around `escalation` and `system_alarms`. It keeps nothing: at each start it reads the last day of `alerts`,
`alerts.journal`, `alerts.receipts` and `alerts.calls`, and decides only when it has read them to their ends. Of several
processes each sees to the partitions that the consumer group gives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from alerts.delivery.escalation import KEPT_S, Escalations, decode_call
from alerts.delivery.notification import AnySubscription
from alerts.delivery.retry import Backoff
from alerts.delivery.system_alarms import CONSOLE_LOST, ESCALATION_EXHAUSTED, SUBSCRIBER_LOST, SystemAlarms, Wanted
from alerts.on_call import OnCallTable
from contracts.alert_signal import SignalTransition
from contracts.canonical import canonical_bytes
from contracts.condition import Alert, to_builtins
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.receipt import Receipt
from contracts.topics import ALERT_RECEIPTS, ALERTS, CALLS, HEARTBEATS, JOURNAL, METADATA_MAX_AGE_MS, ON_CALL

READ = (ALERTS, JOURNAL, ALERT_RECEIPTS, CALLS)
POLL_MS = 200
PEOPLE_POLL_MS = 500
FORGET_EVERY_S = 600.0
LOST_PARTITION = 0
"""Whoever has this partition of `alerts` watches over consoles and subscribers."""

log = structlog.get_logger(__name__)

_alert_of = msgspec.json.Decoder(Alert).decode
_signal_of = msgspec.json.Decoder(SignalTransition).decode
_receipt_of = msgspec.json.Decoder(Receipt).decode

Failing = Callable[[], Mapping[str, float | None]]
"""By subscription: since when it takes nothing (s since the epoch), None where it takes. Those of which nothing is
known are not in it."""


class Escalator:
    """Runs until `stop` is set. `failing` tells how the subscriptions of this process do."""

    def __init__(
        self,
        configuration: Configuration,
        subscriptions: Sequence[AnySubscription],
        metrics: ProcessMetrics,
        stop: asyncio.Event,
        *,
        ward_of: Callable[[str], str | None],
        failing: Failing,
    ) -> None:
        self._configuration = configuration
        self._subscriptions = subscriptions
        self._metrics = metrics
        self._stop = stop
        self._ward_of = ward_of
        self._failing = failing
        self._backoff = Backoff(configuration.ingest.reconnect_min_s, configuration.ingest.reconnect_max_s)
        self._people = OnCallTable()
        self._people_known = asyncio.Event()
        self._seen: dict[str, float] = {}
        self._present: dict[str, bool] = {}
        self._began = time.time()
        self._forgot_at = self._began
        self._caught_up = False
        self._begin_anew()
        for name in ("biotwin_escalations_waiting", "biotwin_escalations_exhausted", "biotwin_escalation_ready"):
            metrics.gauge(name).set(0.0)

    async def run(self) -> None:
        """Read, decide and write; a connection to Kafka that fails is replaced after a pause."""
        working = [asyncio.create_task(self._again_and_again(work)) for work in (self._follow_people, self._escalate)]
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({*working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # Whatever is cut off here is done by whoever starts next: all of it follows from the topics.
        for task in (*working, stopping):
            task.cancel()
        for result in await asyncio.gather(*working, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    def presence(self, name: str, there: bool) -> None:
        """An MQTT subscriber said that it is there, or its last will that it is not."""
        if name in self._configuration.watch.subscribers:
            self._present[name] = there
            self._seen[f"subscriber:{name}"] = time.time()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await work()
            except KafkaError as error:
                failures = 1 if time.monotonic() - began > self._backoff.longest_s else failures + 1
                delay = self._backoff.delay_s(failures, random.random())
                log.warning("escalation_without_kafka", reason=str(error) or type(error).__name__, retry_s=delay)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), delay)

    # Who is on call, and who is there

    async def _follow_people(self) -> None:
        """Keep `oncall` and the consoles' heartbeats: all of both, from their beginning."""
        consumer = AIOKafkaConsumer(ON_CALL, HEARTBEATS, **self._common("people"), auto_offset_reset="earliest")
        await consumer.start()
        try:
            while not self._stop.is_set():
                batch = await consumer.getmany(timeout_ms=PEOPLE_POLL_MS)
                for records in batch.values():
                    for record in records:
                        self._take_person(record)
                if not self._people_known.is_set() and consumer.assignment() and await _at_end(consumer):
                    self._people_known.set()
        finally:
            await consumer.stop()

    def _take_person(self, record: ConsumerRecord) -> None:
        if record.topic == ON_CALL:
            self._people.load(record.key or b"", record.value)
        elif record.key:
            name = record.key.decode("utf-8", "replace")
            self._seen[name] = max(record.timestamp / 1000.0, self._seen.get(name, 0.0))

    # Escalation

    async def _escalate(self) -> None:
        await self._people_known.wait()
        consumer = AIOKafkaConsumer(
            **self._common("escalation"),
            group_id=f"{self._configuration.kafka.group}-escalation",
            auto_offset_reset="earliest",
            session_timeout_ms=int(self._configuration.kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(self._configuration.kafka.heartbeat_s * 1000),
            partition_assignment_strategy=(
                RangePartitionAssignor,
            ),  # a patient's partition of every topic to one member
        )
        producer = AIOKafkaProducer(
            bootstrap_servers=self._configuration.kafka.bootstrap,
            client_id="biotwin-escalation",
            acks="all",
            enable_idempotence=True,
        )
        consumer.subscribe(READ, listener=_Assignment(self, consumer))
        try:
            await producer.start()
            await consumer.start()
            while not self._stop.is_set():
                batch = await consumer.getmany(timeout_ms=POLL_MS, max_records=5_000)
                for records in batch.values():
                    self._take(records)
                if consumer.assignment():
                    await self._decide(consumer, producer)
        finally:
            self._metrics.gauge("biotwin_escalation_ready").set(0.0)
            await consumer.stop()
            with contextlib.suppress(KafkaError):
                await producer.stop()

    def _take(self, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            value = record.value or b""
            try:
                if record.topic == JOURNAL:
                    self._escalations.take_signal(_signal_of(value))
                elif record.topic == ALERT_RECEIPTS:
                    self._escalations.take_receipt(_receipt_of(value))
                elif record.topic == CALLS:
                    self._escalations.take_call(decode_call(value))
                else:
                    alert = _alert_of(value)
                    self._partitions[alert.id] = record.partition
                    self._alarms.take(alert, record.partition)
                    self._escalations.take_alert(alert, record.timestamp / 1000.0)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                log.error("not_a_record", topic=record.topic, offset=record.offset, reason=str(error))
                self._metrics.counter("biotwin_quarantined_total").labels("bad_record").inc()

    async def _decide(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        now = time.time()
        wanted, unknown = self._wanted(consumer, now)
        nothing = not self._escalations.due(now) and not self._alarms.changes(wanted, unknown, now)
        if self._caught_up and nothing:
            return
        # What people answered meanwhile may stand in Kafka and not here yet: after an outage above all.
        if not await _at_end(consumer):
            return
        if not self._caught_up:
            self._caught_up = True
            self._metrics.gauge("biotwin_escalation_ready").set(1.0)
        for call in self._escalations.due(now):
            value = canonical_bytes(to_builtins(call))
            await producer.send_and_wait(CALLS, value, key=call.patient.encode())
            self._escalations.take_call(call)
            step = call.escalated
            self._metrics.counter("biotwin_escalations_total").labels(step.chain, str(step.step)).inc()
            log.warning("escalated", alert=call.id, chain=step.chain, step=step.step, because=step.because)
        wanted, unknown = self._wanted(consumer, now)
        for written in self._alarms.changes(wanted, unknown, now):
            value = canonical_bytes(to_builtins(written.alert))
            await producer.send_and_wait(ALERTS, value, partition=written.partition)
            self._alarms.take(written.alert, written.partition)
            log.warning("delivery_alarm", rule=written.alert.rule, transition=written.alert.transition)
        if now - self._forgot_at > FORGET_EVERY_S:
            self._forgot_at = now
            self._escalations.forget(now)
            self._alarms.forget(now - KEPT_S)

    def _wanted(
        self, consumer: AIOKafkaConsumer, now: float
    ) -> tuple[dict[tuple[str, str], Wanted], set[tuple[str, str]]]:
        wanted = {
            (ESCALATION_EXHAUSTED, end.name): Wanted(
                self._partitions.get(end.alert, LOST_PARTITION),
                f"Nobody has answered an alert: escalation {end.chain} is at its end.",
            )
            for end in self._escalations.exhausted(now)
        }
        self._metrics.gauge("biotwin_escalations_waiting").set(self._escalations.waiting())
        self._metrics.gauge("biotwin_escalations_exhausted").set(len(wanted))
        unknown: set[tuple[str, str]] = set()
        if TopicPartition(ALERTS, LOST_PARTITION) in consumer.assignment():
            self._judge_parts(now, wanted, unknown)
        return wanted, unknown

    def _judge_parts(self, now: float, wanted: dict[tuple[str, str], Wanted], unknown: set[tuple[str, str]]) -> None:
        watch = self._configuration.watch
        away_s: dict[tuple[str, str], float | None] = {}
        for name in watch.consoles:
            away_s[CONSOLE_LOST, name] = self._away_s(f"console:{name}", now)
        for name in watch.subscribers:
            there = self._present.get(name, False)
            away_s[SUBSCRIBER_LOST, f"mqtt:{name}"] = 0.0 if there else self._away_s(f"subscriber:{name}", now)
        failing = self._failing()
        for subscription in self._subscriptions:
            since = failing.get(subscription.name)
            known = subscription.name in failing
            away_s[SUBSCRIBER_LOST, subscription.name] = (now - since if since else 0.0) if known else None
        for (rule, subject), away in away_s.items():
            lost = away is not None and away > watch.lost_after_s
            if away is None:
                unknown.add((rule, subject))
            if lost:
                what = "The console" if rule == CONSOLE_LOST else "The subscriber"
                message = f"{what} {subject.removeprefix('mqtt:')} has been away for {watch.lost_after_s:g} s."
                wanted[rule, subject] = Wanted(LOST_PARTITION, f"{message} Alerts do not reach whoever relies on it.")
            self._metrics.gauge("biotwin_lost").labels(rule.partition("-")[0], subject).set(float(lost))

    def _away_s(self, key: str, now: float) -> float | None:
        """How long nothing was heard of a part; None where that is not known yet."""
        seen = self._seen.get(key)
        if seen is not None:
            return now - seen
        return now - self._began if now - self._began > self._configuration.watch.lost_after_s else None

    # The partitions

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """Read the last day of every partition, of those that were here before too."""
        self._begin_anew()
        if not partitions:
            return
        since_ms = int((time.time() - KEPT_S) * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        ends = await consumer.end_offsets(list(partitions))
        for partition, at in found.items():
            consumer.seek(partition, ends[partition] if at is None else at.offset)

    def _begin_anew(self) -> None:
        self._caught_up = False
        self._escalations = Escalations(
            self._configuration.escalation, self._subscriptions, self._ward_of, self._people.shift_at
        )
        self._alarms = SystemAlarms()
        self._partitions: dict[str, int] = {}

    def _common(self, name: str) -> dict[str, object]:
        return {
            "bootstrap_servers": self._configuration.kafka.bootstrap,
            "client_id": f"biotwin-{name}",
            "enable_auto_commit": False,
            "request_timeout_ms": int(self._configuration.kafka.request_timeout_s * 1000),
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        }


async def _at_end(consumer: AIOKafkaConsumer) -> bool:
    """Whether the consumer has read every partition it has to its present end."""
    partitions = consumer.assignment()
    ends = await consumer.end_offsets(list(partitions))
    for partition in partitions:
        if partition not in ends or await consumer.position(partition) < ends[partition]:
            return False
    return True


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the escalator which partitions are its own."""

    def __init__(self, escalator: Escalator, consumer: AIOKafkaConsumer) -> None:
        self._escalator = escalator
        self._consumer = consumer

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Before the first fetch."""
        await self._escalator.assigned(self._consumer, assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """What is read next tells everything anew."""
