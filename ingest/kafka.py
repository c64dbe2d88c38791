"""Writing to Kafka so that nothing is ever given up: batches by partition, sent again until they are acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from contracts.configuration import Kafka

LINGER_S = 0.005
"""How long the first record of a batch waits for company. While a batch is on its way the next one fills anyway."""

BATCH_BYTES = 512 * 1024
MAX_REQUEST_BYTES = 8 * 1024 * 1024
STALLED_AFTER_S = 3.0
"""An acknowledgement that takes longer is reported as "Kafka does not answer"."""

STOP_S = 1.0
RETRY_MIN_S = 0.2
RETRY_MAX_S = 5.0

STALLED = "no acknowledgement; is it stopped, out of disk, short of in-sync replicas, or without its topics?"

_log = structlog.get_logger("biotwin.ingest.kafka")


class Record(NamedTuple):
    """A record to be written; `timestamp_ms` is the arrival time."""

    topic: str
    key: bytes | None
    value: bytes
    timestamp_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()


class _Ticket:
    """What is to be told when the last of a payload's records is acknowledged."""

    __slots__ = ("done", "left")

    def __init__(self, left: int, done: Callable[[], None]) -> None:
        self.left = left
        self.done = done


class _Lane:
    """What waits for one partition of one topic, in order; of it the first `sent` records are on their way since
    `sent_at` (monotonic)."""

    __slots__ = ("partition", "sent", "sent_at", "topic", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[tuple[Record, _Ticket]] = deque()
        self.sent = 0
        self.sent_at = 0.0


class KafkaWriter:
    """Writes records and tells when all records of a payload are acknowledged by all in-sync replicas.

    One batch a partition is on its way at a time, so order is kept. The producer is idempotent: what it repeats by
    itself is not written twice. When it gives up a batch, or Kafka was set up anew, it is replaced and everything that
    has no acknowledgement is sent again; that may write a record twice, and the twin drops repeats.

    `write` never blocks and never refuses: its caller bounds what it hands over by looking at `payloads` and `bytes`.
    """

    def __init__(
        self, configuration: Kafka, topics: Sequence[str], client_id: str, on_health: Callable[[bool], None]
    ) -> None:
        self._configuration = configuration
        self._client_id = client_id
        self._on_health = on_health
        self._lanes = {
            (topic, partition): _Lane(topic, partition)
            for topic in topics
            for partition in range(configuration.partitions)
        }
        self._producer: AIOKafkaProducer | None = None
        self._ready = asyncio.Event()
        self._replace = asyncio.Event()
        self._healthy: bool | None = None
        self._failing_since = 0.0
        self._waiting_since = 0.0
        self._wake = asyncio.Event()
        self.payloads = 0
        self.bytes = 0
        self.records_acknowledged = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def write(self, records: Sequence[Record], done: Callable[[], None]) -> None:
        """Queue a payload's records; `done` is called in the event loop once all of them are acknowledged."""
        ticket = _Ticket(len(records), done)
        self.payloads += 1
        self._idle.clear()
        partitions = self._configuration.partitions
        for record in records:
            partition = 0 if record.key is None else (murmur2(record.key) & 0x7FFF_FFFF) % partitions
            lane = self._lanes[record.topic, partition]
            lane.waiting.append((record, ticket))
            self.bytes += len(record.value)
        self._wake.set()

    async def drained(self) -> None:
        """Returns when nothing waits for an acknowledgement."""
        await self._idle.wait()

    async def run(self) -> None:
        """Keep a producer and write, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_for_ever())
            tasks.create_task(self._watch())
            try:
                await self._keep_producer()
            finally:
                await self._close()

    async def _keep_producer(self) -> None:
        backoff_s = RETRY_MIN_S
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._configuration.bootstrap,
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                max_batch_size=BATCH_BYTES,
                max_request_size=MAX_REQUEST_BYTES,
                request_timeout_ms=int(self._configuration.request_timeout_s * 1000),
                retry_backoff_ms=int(RETRY_MIN_S * 1000),
            )
            try:
                # aiokafka asks for a producer id for ever when the broker dies in between.
                async with asyncio.timeout(self._configuration.request_timeout_s):
                    await producer.start()
            except (KafkaError, OSError, TimeoutError) as error:
                self._failed(error)
                await _stop(producer)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, RETRY_MAX_S)
                continue
            except asyncio.CancelledError:
                await _stop(producer)
                raise
            self._producer = producer
            self._replace.clear()
            self._ready.set()
            self._wake.set()
            await self._replace.wait()
            await self._close()
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, RETRY_MAX_S) if not self._healthy else RETRY_MIN_S

    async def _close(self) -> None:
        self._ready.clear()
        producer, self._producer = self._producer, None
        for lane in self._lanes.values():
            lane.sent = 0
        if producer is not None:
            await _stop(producer)

    async def _send_for_ever(self) -> None:
        """Send what waits, all partitions together: they share one request, and requests are what costs."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(LINGER_S)
            await self._ready.wait()
            self._wake.clear()
            producer = self._producer
            if producer is None:
                continue
            try:
                for lane in self._lanes.values():
                    if lane.waiting and not lane.sent:
                        await self._send(producer, lane)
            except (KafkaError, OSError) as error:
                self._broken(producer, error)

    async def _send(self, producer: AIOKafkaProducer, lane: _Lane) -> None:
        """Send the front of the lane as one batch."""
        self._waiting_since = self._waiting_since or time.monotonic()
        partitions = await producer.partitions_for(lane.topic)
        if len(partitions) != self._configuration.partitions:
            raise KafkaError(
                f"topic {lane.topic} has {len(partitions)} partitions, the configuration says "
                f"{self._configuration.partitions}; a patient's records would change their partition"
            )
        batch = producer.create_batch()
        append = batch.append
        count = 0
        for record, _ in lane.waiting:
            if (
                append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers))
                is None
            ):
                break
            count += 1
        batch.close()
        delivery = await producer.send_batch(batch, lane.topic, partition=lane.partition)
        lane.sent, lane.sent_at = count, time.monotonic()
        self._waiting_since = 0.0
        delivery.add_done_callback(partial(self._delivered, producer, lane))

    def _delivered(self, producer: AIOKafkaProducer, lane: _Lane, delivery: asyncio.Future[object]) -> None:
        """A batch was acknowledged, or its producer gave it up."""
        error = None if delivery.cancelled() else delivery.exception()
        if producer is not self._producer:
            return  # everything it had not acknowledged is sent by its successor
        if delivery.cancelled() or error is not None:
            self._broken(producer, error or KafkaError("the batch was dropped"))
            return
        count, lane.sent = lane.sent, 0
        self._succeeded()
        self._acknowledge(lane, count)
        if lane.waiting:
            self._wake.set()

    def _broken(self, producer: AIOKafkaProducer, error: BaseException) -> None:
        self._failed(error)
        if producer is self._producer:
            self._ready.clear()
            self._replace.set()

    def _acknowledge(self, lane: _Lane, count: int) -> None:
        self.records_acknowledged += count
        for _ in range(count):
            record, ticket = lane.waiting.popleft()
            self.bytes -= len(record.value)
            ticket.left -= 1
            if ticket.left == 0:
                self.payloads -= 1
                ticket.done()
        if self.payloads == 0:
            self._idle.set()

    async def _watch(self) -> None:
        """Say so when Kafka keeps a batch waiting: the producer repeats refused writes by itself, without an error."""
        while True:
            await asyncio.sleep(STALLED_AFTER_S / 4)
            since = [lane.sent_at for lane in self._lanes.values() if lane.sent]
            if self._waiting_since:
                since.append(self._waiting_since)
            if since and time.monotonic() - min(since) > STALLED_AFTER_S:
                self._failed(KafkaError(STALLED))

    def _failed(self, error: BaseException) -> None:
        if self._healthy is not False:
            self._healthy = False
            self._failing_since = time.monotonic()
            self._on_health(False)
            _log.error(
                "kafka_not_writable",
                bootstrap=self._configuration.bootstrap,
                error=str(error) or type(error).__name__,
                action="acknowledgements to MQTT are withheld; trying again",
            )

    def _succeeded(self) -> None:
        if not self._healthy:
            if self._healthy is False:
                _log.info("kafka_writable_again", after_s=round(time.monotonic() - self._failing_since, 1))
            self._healthy = True
            self._on_health(True)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Close a producer. What it could not deliver within a moment is dropped here and sent again by the next one."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(STOP_S):
            await producer.stop()
            return
    # `stop` waits for its batches; without connections they fail, and its sender task (a private name of aiokafka's,
    # held by tests/ingest/test_client_names.py) can be ended.
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(STOP_S):
            await producer.client.close()
            await producer._sender.close()  # noqa: SLF001
