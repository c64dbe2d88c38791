"""One ingest slot: MQTT in, judged, Kafka out, acknowledged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.quarantine import Reason
from contracts.signals import Registry, default_registry
from contracts.topics import QUARANTINE, TELEMETRY
from ingest.bindings import BindingTable
from ingest.core import IngestCore, Outcome, Status
from ingest.follower import BindingsFollower
from ingest.formats import FORMATS
from ingest.kafka import KafkaWriter, Record
from ingest.mqtt import Delivery, MqttSession

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Judged records that may wait for Kafka; what comes beyond waits unjudged, within receive-maximum."""

DRAIN_S = 10.0
"""How long a stop waits for Kafka. What is not acknowledged then is delivered again by the MQTT broker."""

QUIET_S = 3.0
"""A slot counts as drained when nothing came for so long."""

MAX_DEVICES = 65_536

_log = structlog.get_logger("biotwin.ingest")


class IngestMetrics:
    """The metrics of this stage, resolved once."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self.readings = metrics.counter("biotwin_ingest_readings_total")
        payloads = metrics.counter("biotwin_ingest_payloads_total")
        names = (*(known.name for known in FORMATS), "status", "unknown")
        self.payloads = {name: payloads.labels(format=name) for name in names}
        quarantined = metrics.counter("biotwin_quarantined_total")
        self.quarantined = {reason: quarantined.labels(reason=reason.value) for reason in Reason}
        self.gaps = metrics.counter("biotwin_sequence_gaps_total")
        self.skew = metrics.histogram("biotwin_clock_skew_seconds")
        self.connected = metrics.gauge("biotwin_mqtt_connected")
        self.unacknowledged = metrics.gauge("biotwin_mqtt_unacknowledged")
        self.kafka_up = metrics.gauge("biotwin_kafka_up")
        self.latency = metrics.histogram("biotwin_publish_to_ingest_seconds")


class IngestService:
    """Wires the session, the core and the writer. All of it runs in one event loop; no call blocks.

    Deliveries wait in `_inbox`, unjudged, while the bindings are not read yet or the writer is full; then they are
    judged in order of arrival. A delivery is settled when Kafka has all its records, telemetry and quarantine alike.
    """

    def __init__(
        self,
        configuration: Configuration,
        metrics: ProcessMetrics,
        registry: Registry | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        name = f"biotwin-ingest-{configuration.ingest.slot}"
        self.bindings = BindingTable()
        self.core = IngestCore(registry or default_registry(), configuration.ingest, configuration.site, self.bindings)
        self.session = MqttSession(configuration, self, clock)
        self.writer = KafkaWriter(configuration.kafka, (TELEMETRY, QUARANTINE), name, self._kafka_health)
        self.follower = BindingsFollower(configuration.kafka, self.bindings, name)
        self._metrics = IngestMetrics(metrics)
        self._max_payloads = configuration.ingest.receive_maximum
        self._inbox: deque[Delivery] = deque()
        self._statuses: dict[str, bool] = {}
        self._subscribed = asyncio.Event()
        self._metrics.unacknowledged.set_function(lambda: float(self.session.unacknowledged))

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None] = lambda: None) -> None:
        """Take in until `stop` is set, then drain: nothing new, wait for Kafka, acknowledge, disconnect.

        The MQTT session is taken up at once, so that the broker keeps what comes while Kafka is away; nothing is
        judged before `bindings` was read to its end. `on_ready` is called once both are so.
        """
        # aiokafka reports each of its own repeats; this stage says once that Kafka is away and once that it is back.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        background = [asyncio.create_task(self.writer.run()), asyncio.create_task(self.follower.run())]
        session = asyncio.create_task(self.session.run())
        ready = asyncio.create_task(self._when_read(on_ready))
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({*background, session, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain()
        finally:
            await _cancelled(stopping, ready, session)
            await _cancelled(*background)

    async def end_slot(self) -> None:
        """Drain the slot and end its MQTT session: the only way to give up a slot without losing what it holds.

        Raises `aiomqtt.MqttError` when the MQTT broker cannot be reached.
        """
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        background = [asyncio.create_task(self.writer.run()), asyncio.create_task(self.follower.run())]
        try:
            await self.follower.ready.wait()
            await self.session.end(QUIET_S)
        finally:
            await _cancelled(*background)

    def delivered(self, delivery: Delivery) -> None:
        """A message came (`MqttListener`)."""
        if self._inbox or not self._may_judge():
            self._inbox.append(delivery)
        else:
            self._judge(delivery)

    def connected(self) -> None:
        """`MqttListener`."""
        self._metrics.connected.set(1)
        self._subscribed.set()

    def disconnected(self) -> None:
        """`MqttListener`: what waits unjudged comes again with the next connection."""
        self._metrics.connected.set(0)
        self._inbox.clear()

    def _may_judge(self) -> bool:
        return (
            self.follower.ready.is_set()
            and self.writer.payloads < self._max_payloads
            and self.writer.bytes < MAX_PENDING_BYTES
        )

    def _judge(self, delivery: Delivery) -> None:
        outcome = self.core.take(delivery.topic, delivery.payload, delivery.received_at)
        self._count(outcome, delivery)
        timestamp_ms = int(delivery.received_at * 1000)
        records = [
            Record(TELEMETRY, accepted.key, accepted.value, timestamp_ms, accepted.headers)
            for accepted in outcome.accepted
        ]
        for refused in outcome.quarantined:
            key = refused.device.encode() or None
            records.append(Record(QUARANTINE, key, msgspec.json.encode(refused), timestamp_ms))
        if outcome.status is not None:
            self._note_status(outcome.status)
            if outcome.status.key is not None:
                records.append(Record(TELEMETRY, outcome.status.key, outcome.status.value, timestamp_ms))
        if records:
            self.writer.write(records, partial(self._written, delivery, len(outcome.accepted)))
        else:
            self.session.settle(delivery)

    def _written(self, delivery: Delivery, readings: int) -> None:
        self._metrics.readings.inc(readings)
        self.session.settle(delivery)
        self._judge_waiting()

    def _judge_waiting(self) -> None:
        while self._inbox and self._may_judge():
            self._judge(self._inbox.popleft())

    def _count(self, outcome: Outcome, delivery: Delivery) -> None:
        metrics = self._metrics
        known = metrics.payloads.get(outcome.format)
        if known is not None:
            known.inc()
        for refused in outcome.quarantined:
            metrics.quarantined[refused.reason].inc()
        if outcome.lost:
            metrics.gaps.inc(outcome.lost)
        for skew_s in outcome.skews_s:
            metrics.skew.observe(abs(skew_s))
        if outcome.accepted:
            metrics.latency.observe(max(delivery.received_at - outcome.accepted[0].t, 0.0))

    def _note_status(self, status: Status) -> None:
        """Remember what devices say of themselves, for the log alone: what it means for a patient the twin judges."""
        known = self._statuses.pop(status.device, None)
        if known is None and len(self._statuses) >= MAX_DEVICES:
            del self._statuses[next(iter(self._statuses))]
        self._statuses[status.device] = status.online
        if known is not None and known != status.online:
            _log.info("device_online" if status.online else "device_offline", device=status.device)

    def _kafka_health(self, up: bool) -> None:
        self._metrics.kafka_up.set(1 if up else 0)

    async def _when_read(self, on_ready: Callable[[], None]) -> None:
        await self.follower.ready.wait()
        self._judge_waiting()
        await self._subscribed.wait()
        on_ready()

    async def _drain(self) -> None:
        self.session.pause()
        self._inbox.clear()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.writer.drained()
        except TimeoutError:
            _log.warning(
                "drain_unfinished", payloads=self.writer.payloads, action="the MQTT broker delivers them again"
            )


async def _cancelled(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
