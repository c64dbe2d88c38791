"""`biotwin deliver`: reads `alerts` in a consumer group of its own and publishes over MQTT.

The topic is the outbox: an offset is committed only after the broker has acknowledged everything below it, so a crash
repeats and never loses. Repeats that come while the process lives are dropped; a subscriber can drop those of a crash
by (id, transition, stage, sequence).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from alerts.delivery.outbox import DeliveredMemory, Outgoing, outgoing
from alerts.delivery.publisher import Publisher
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.topics import ALERTS

CHANNEL = "mqtt"
BATCH_RECORDS = 500
POLL_MS = 500
DRAIN_S = 5.0
"""How long a stop waits for acknowledgements that are under way."""

log = structlog.get_logger(__name__)


class Deliverer:
    """Delivers alerts until `stop` is set; nothing is lost while Kafka or the MQTT broker is away."""

    def __init__(
        self,
        configuration: Configuration,
        metrics: ProcessMetrics,
        stop: asyncio.Event,
        on_ready: Callable[[bool], None] = lambda _ready: None,
    ) -> None:
        self._configuration = configuration
        self._metrics = metrics
        self._stop = stop
        self._on_ready = on_ready
        self._delivered = DeliveredMemory()
        self._kafka_up = False
        self._mqtt_up = False
        self._publisher = Publisher(
            configuration.mqtt,
            backoff_s=(configuration.ingest.reconnect_min_s, configuration.ingest.reconnect_max_s),
            on_delivered=self._on_delivered,
            on_connected=self._on_connected,
        )

    async def run(self) -> None:
        """Deliver until `stop` is set, then wait shortly for what is under way."""
        publisher = asyncio.create_task(self._publisher.run())
        reader = asyncio.create_task(self._read())
        try:
            done, _ = await asyncio.wait({publisher, reader}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (reader, publisher):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _read(self) -> None:
        """Consume until `stop`; a consumer that fails is replaced after a pause."""
        delay = shortest = self._configuration.ingest.reconnect_min_s
        while not self._stop.is_set():
            consumer = self._consumer()
            try:
                await consumer.start()
                self._metrics.gauge("biotwin_kafka_up").set(1.0)
                self._kafka_up = True
                self._judge_ready()
                delay = shortest
                await self._consume(consumer)
            except KafkaError as error:
                self._metrics.gauge("biotwin_kafka_up").set(0.0)
                self._kafka_up = False
                self._judge_ready()
                log.warning(
                    "kafka_away", bootstrap=self._configuration.kafka.bootstrap, reason=str(error), retry_s=delay
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), delay)
                delay = min(delay * 2, self._configuration.ingest.reconnect_max_s)
            finally:
                await consumer.stop()

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        while not self._stop.is_set():
            batch = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            if not batch:
                continue
            for records in batch.values():
                self._metrics.counter("biotwin_records_total").labels("deliver").inc(len(records))
            messages = [message for records in batch.values() for message in self._new(records)]
            if not await self._published(messages):
                return
            await self._commit(consumer, {partition: records[-1].offset + 1 for partition, records in batch.items()})

    async def _published(self, messages: list[Outgoing]) -> bool:
        """Whether all of `messages` are acknowledged; False when a stop came and they were not in time."""
        publishing = asyncio.create_task(self._publisher.publish(messages))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({publishing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                await asyncio.wait({publishing}, timeout=DRAIN_S)
            return publishing.done()
        finally:
            publishing.cancel()
            stopping.cancel()

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """A commit that fails repeats deliveries at worst; the memory drops them."""
        try:
            await consumer.commit(offsets)
        except KafkaError as error:
            log.warning("commit_failed", reason=str(error))

    def _new(self, records: Sequence[ConsumerRecord]) -> list[Outgoing]:
        messages: dict[tuple[str, str, str, int], Outgoing] = {}
        for record in records:
            try:
                message = outgoing(self._configuration.site, record.value or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                log.error("not_an_alert", partition=record.partition, offset=record.offset, reason=str(error))
                self._metrics.counter("biotwin_quarantined_total").labels("bad_record").inc()
                continue
            if message.key not in self._delivered:
                messages.setdefault(message.key, message)
        return list(messages.values())

    def _on_connected(self, up: bool) -> None:
        self._metrics.gauge("biotwin_mqtt_connected").set(float(up))
        self._mqtt_up = up
        self._judge_ready()

    def _judge_ready(self) -> None:
        self._on_ready(self._kafka_up and self._mqtt_up)

    def _on_delivered(self, message: Outgoing) -> None:
        self._delivered.add(message.key)
        self._metrics.counter("biotwin_alerts_delivered_total").labels(CHANNEL).inc()
        if message.written_at > 0.0:
            waited_s = max(time.time() - message.written_at, 0.0)
            self._metrics.histogram("biotwin_alert_to_delivered_seconds").labels(CHANNEL).observe(waited_s)

    def _consumer(self) -> AIOKafkaConsumer:
        kafka = self._configuration.kafka
        return AIOKafkaConsumer(
            ALERTS,
            bootstrap_servers=kafka.bootstrap,
            group_id=f"{kafka.group}-deliver",
            client_id="biotwin-deliver",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.heartbeat_s * 1000),
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
        )
