"""The outbox of one subscription: reads `alerts` and `alerts.calls` in a consumer group of its own and hands on what
was asked for.

The topic is the queue: an offset is committed only after everything below it is through, so a crash repeats and never
loses, and a receiver that is away holds up nobody else and takes no more memory than one window.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from alerts.delivery.channel import Channel, Declined, Delivered, Outcome, Retry
from alerts.delivery.notification import (
    AnySubscription,
    DeliveredMemory,
    Notification,
    NotificationKey,
    decode_notification,
    is_expired,
    is_wanted,
)
from alerts.delivery.receipt_log import ReceiptLog
from alerts.delivery.receipts import AnswerState, Reference, channel_of, receipt, reference_of
from alerts.delivery.retry import Backoff
from alerts.delivery.window import Window
from contracts.configuration import MQTT, Configuration
from contracts.metrics import ProcessMetrics
from contracts.receipt import ReceiptState
from contracts.topics import ALERTS, CALLS, METADATA_MAX_AGE_MS

WINDOW = 500
"""Notifications held at once: what a dead receiver costs in memory."""

POLL_MS = 500
BUSY_POLL_MS = 50
"""How long a poll waits while notifications are under way: their offsets are committed after it."""

DRAIN_S = 5.0
"""How long a stop waits for acknowledgements that are under way."""

log = structlog.get_logger(__name__)


class _Pending:
    """A notification under way, and the records that wait for it: a repeat waits for the first."""

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self.records: list[tuple[Window, int]] = []


class Outbox:
    """Delivers to one subscription until `stop` is set. `ward_of` gives a patient's ward, None where nobody knows.

    `failing_since` is since when the receiver takes nothing (s since the epoch; None where it takes, or nothing was
    tried), `proved` whether it ever took anything.
    """

    def __init__(
        self,
        configuration: Configuration,
        subscription: AnySubscription,
        channel: Channel,
        receipts: ReceiptLog,
        metrics: ProcessMetrics,
        stop: asyncio.Event,
        *,
        ward_of: Callable[[str], str | None],
        on_kafka: Callable[[bool], None],
    ) -> None:
        self.subscription = subscription
        self._configuration = configuration
        self._channel = channel
        self._receipts = receipts
        self._metrics = metrics
        self._stop = stop
        self._ward_of = ward_of
        self._on_kafka = on_kafka
        self._labels = (channel_of(subscription), subscription.name)
        self._agent = "deliver" if subscription.name == MQTT else f"deliver-{subscription.name}"
        self._delivered = DeliveredMemory()
        self._pending: dict[NotificationKey, _Pending] = {}
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._windows: dict[TopicPartition, Window] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._backoff = Backoff(configuration.ingest.reconnect_min_s, configuration.ingest.reconnect_max_s)
        self._slots = asyncio.Semaphore(channel.in_flight)
        self._probing = asyncio.Lock()
        self._failures = 0
        self._next_at = 0.0
        self.failing_since: float | None = None
        self.proved = False
        self._broken: BaseException | None = None
        for state in ("declined", "failed", "expired"):  # from 0 on: Prometheus sees no rise to a counter's first value
            metrics.counter("biotwin_notifications_failed_total").labels(*self._labels, state)

    async def run(self) -> None:
        """Deliver until `stop` is set, then wait shortly for what is under way."""
        channel = asyncio.create_task(self._channel.run())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait({channel, reader}, return_when=asyncio.FIRST_COMPLETED)
            for task in (channel, reader):
                if task.done():
                    task.result()
            await reader
        finally:
            under_way = [reader, *self._tasks, channel]
            for task in under_way:
                task.cancel()
            await asyncio.wait(under_way)

    def answered(self, about: Reference, state: AnswerState, detail: str = "") -> None:
        """The receiver said something about a notification."""
        self._metrics.counter("biotwin_answers_total").labels(self._labels[0], state).inc()
        if state == "failed":
            self._metrics.counter("biotwin_notifications_failed_total").labels(*self._labels, state).inc()
        self._receipts.put(receipt(self.subscription, about, state, time.time(), detail=detail))

    async def _read(self) -> None:
        """Consume until `stop`; a consumer that fails is replaced after a pause."""
        failures = 0
        while not self._stop.is_set():
            consumer = self._consumer()
            try:
                consumer.subscribe([ALERTS, CALLS], listener=_Assignment(self, consumer))
                await consumer.start()
                self._on_kafka(True)
                failures = 0
                await self._consume(consumer)
            except KafkaError as error:
                self._on_kafka(False)
                failures += 1
                delay = self._backoff.delay_s(failures, random.random())
                log.warning(
                    "kafka_away", bootstrap=self._configuration.kafka.bootstrap, reason=str(error), retry_s=delay
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), delay)
            finally:
                await consumer.stop()

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        self._windows.clear()
        while not self._stop.is_set():
            room = WINDOW - len(self._pending)
            # A consumer that is not polled loses its partitions: with a full window it is polled with all paused.
            if room > 0:
                consumer.resume(*consumer.paused())
            else:
                consumer.pause(*consumer.assignment())
            poll_ms = BUSY_POLL_MS if self._pending else POLL_MS
            batch = await consumer.getmany(timeout_ms=poll_ms, max_records=max(room, 1))
            for partition, records in batch.items():
                self._metrics.counter("biotwin_records_total").labels(self._agent).inc(len(records))
                self._take(self._windows.setdefault(partition, Window()), records)
            if self._broken is not None:
                raise self._broken
            self._show_age()
            await self._commit(consumer)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_S)
        await self._commit(consumer)

    def _take(self, window: Window, records: Sequence[ConsumerRecord]) -> None:
        for record in records:
            window.add(record.offset)
            try:
                arrived_at = record.timestamp / 1000.0
                notification = decode_notification(record.value or b"", arrived_at, call=record.topic == CALLS)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                log.error("not_an_alert", partition=record.partition, offset=record.offset, reason=str(error))
                self._metrics.counter("biotwin_quarantined_total").labels("bad_record").inc()
                window.done(record.offset)
                continue
            key = notification.key
            pending = self._pending.get(key)
            if pending is not None:
                pending.records.append((window, record.offset))
            elif key in self._delivered or not self._asks_for(notification):
                window.done(record.offset)
            else:
                self._begin(notification, window, record.offset)

    def _asks_for(self, notification: Notification) -> bool:
        patient = notification.alert.patient
        ward = self._ward_of(patient) if self.subscription.wards and patient else None
        return is_wanted(self.subscription, notification.alert, ward)

    def _begin(self, notification: Notification, window: Window, offset: int) -> None:
        pending = self._pending[notification.key] = _Pending(notification)
        pending.records.append((window, offset))
        self._metrics.counter("biotwin_notifications_queued_total").labels(*self._labels).inc()
        self._write(notification, "queued")
        lane = notification.alert.patient if self._channel.ordered else str(notification.key)
        task = asyncio.create_task(self._deliver(pending, self._lanes.get(lane)))
        self._lanes[lane] = task
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if self._lanes.get(lane) is done:
                del self._lanes[lane]
            if not done.cancelled():
                self._broken = self._broken or done.exception()

        task.add_done_callback(forget)

    async def _deliver(self, pending: _Pending, before: asyncio.Task[None] | None) -> None:
        """One notification to its end: delivered, declined or given up; then its records are through."""
        if before is not None:
            await asyncio.wait({before})
        notification = pending.notification
        attempt = 0
        while True:
            outcome = await self._attempt(notification, attempt + 1)
            if not isinstance(outcome, Retry):
                break
            attempt += 1
            self._metrics.counter("biotwin_notification_retries_total").labels(*self._labels).inc()
            self._write(notification, "queued", attempt, outcome.detail)
            if attempt > 1:
                await asyncio.sleep(self._backoff.delay_s(attempt - 1, random.random()))
        attempt += 1
        written = self._finish(notification, attempt, outcome)
        await written
        del self._pending[notification.key]
        for window, offset in pending.records:
            window.done(offset)

    async def _attempt(self, notification: Notification, attempt: int) -> Outcome | None:
        """One attempt; None where the time for it is over.

        While the receiver fails, one attempt at a time probes it; where a channel sends all at once, all do.
        """
        async with self._slots:
            if self._failures and self._channel.ordered:
                async with self._probing:
                    if self._failures:
                        await self._wait_out(notification)
                        return await self._send(notification, attempt)
            elif self._failures:
                await self._wait_out(notification)
            return await self._send(notification, attempt)

    async def _wait_out(self, notification: Notification) -> None:
        if not is_expired(self.subscription, notification, time.time()):
            await asyncio.sleep(max(self._next_at - time.monotonic(), 0.0))

    async def _send(self, notification: Notification, attempt: int) -> Outcome | None:
        if is_expired(self.subscription, notification, time.time()):
            return None
        outcome = await self._channel.send(notification, lambda: self._sending(notification, attempt))
        if isinstance(outcome, Retry):
            self.failing_since = self.failing_since or time.time()
            # Several that fail together count as one failure.
            self._failures += time.monotonic() >= self._next_at
            delay = self._backoff.delay_s(self._failures, random.random(), outcome.asked_s)
            self._next_at = max(self._next_at, time.monotonic() + delay)
            log.warning("not_delivered", subscription=self.subscription.name, reason=outcome.detail, retry_s=delay)
        else:
            self._failures = 0
            self.failing_since, self.proved = None, True
        return outcome

    def _sending(self, notification: Notification, attempt: int) -> None:
        self._write(notification, "sent", attempt)

    def _finish(self, notification: Notification, attempt: int, outcome: Outcome | None) -> asyncio.Future[None]:
        if isinstance(outcome, Delivered):
            self._delivered.add(notification.key)
            self._metrics.counter("biotwin_alerts_delivered_total").labels(self._labels[0]).inc()
            applied_at = notification.alert.provenance.applied_at
            if applied_at > 0.0:
                waited_s = max(time.time() - applied_at, 0.0)
                self._metrics.histogram("biotwin_alert_to_delivered_seconds").labels(self._labels[0]).observe(waited_s)
            written = self._write(notification, "delivered", attempt, outcome.detail)
            if outcome.answer is not None:
                self.answered(reference_of(notification), outcome.answer)
            return written
        if isinstance(outcome, Declined):
            state: ReceiptState = "declined"
            detail = outcome.detail
        else:
            state, detail, attempt = "expired", "its time is over", attempt - 1
        self._metrics.counter("biotwin_notifications_failed_total").labels(*self._labels, state).inc()
        log.error("given_up", subscription=self.subscription.name, alert=notification.alert.id, reason=detail)
        return self._write(notification, state, attempt, detail)

    def _write(
        self, notification: Notification, state: ReceiptState, attempt: int = 0, detail: str = ""
    ) -> asyncio.Future[None]:
        about = reference_of(notification)
        return self._receipts.put(receipt(self.subscription, about, state, time.time(), attempt, detail))

    def _show_age(self) -> None:
        oldest = min((one.notification.arrived_at for one in self._pending.values()), default=None)
        age = 0.0 if oldest is None else max(time.time() - oldest, 0.0)
        self._metrics.gauge("biotwin_oldest_undelivered_seconds").labels(*self._labels).set(age)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """A commit that fails repeats deliveries at worst; the memory drops them."""
        own = consumer.assignment()
        offsets = {
            partition: position
            for partition, window in self._windows.items()
            if partition in own
            and (position := window.position) is not None
            and self._committed.get(partition) != position
        }
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
            self._committed.update(offsets)
        except KafkaError as error:
            log.warning("commit_failed", reason=str(error))

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        """A subscription that is new begins where its patience reaches, not with the alerts of a whole year."""
        patience_s = self.subscription.expire_after_s
        new = [partition for partition in partitions if await consumer.committed(partition) is None]
        if not new or not patience_s:
            return
        since_ms = int((time.time() - patience_s) * 1000)
        ends = await consumer.end_offsets(new)
        found = await consumer.offsets_for_times(dict.fromkeys(new, since_ms))
        starts = {partition: ends[partition] if at is None else at.offset for partition, at in found.items()}
        for partition, offset in starts.items():
            consumer.seek(partition, offset)
        # Committed at once: a first start that ends before its first delivery must not begin later the next time.
        await consumer.commit(starts)

    def revoked(self, partitions: set[TopicPartition]) -> None:
        """Somebody else delivers these from here on; what is under way ends, and may come twice."""
        for partition in partitions:
            self._windows.pop(partition, None)
            self._committed.pop(partition, None)

    def _consumer(self) -> AIOKafkaConsumer:
        kafka = self._configuration.kafka
        return AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap,
            group_id=f"{kafka.group}-{self._agent}",
            client_id=f"biotwin-{self._agent}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.heartbeat_s * 1000),
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells the outbox which partitions are its own."""

    def __init__(self, outbox: Outbox, consumer: AIOKafkaConsumer) -> None:
        self._outbox = outbox
        self._consumer = consumer

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Before the first fetch."""
        await self._outbox.assigned(self._consumer, assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Before others get them."""
        self._outbox.revoked(revoked)
