"""What the console reads from Kafka: topics `twin` and `oncall` from their beginning, topics `alerts` and
`alerts.journal` from the beginning they retain, `alerts.receipts` and `alerts.calls` of the last day.

A plain consumer without a group: a console keeps no position and disturbs nobody. It starts before Kafka does and
outlives its outages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from alerts.console.records import decode_twin
from alerts.console.ward import Ward
from contracts.alert_signal import SignalTransition
from contracts.condition import Alert
from contracts.escalation import Call
from contracts.receipt import Receipt
from contracts.topics import ALERT_RECEIPTS, ALERTS, CALLS, JOURNAL, METADATA_MAX_AGE_MS, ON_CALL, TWIN

READ = (ALERTS, JOURNAL, ALERT_RECEIPTS, CALLS, ON_CALL, TWIN)

RECEIPTS_S = 86_400.0
"""How far back receipts and calls are read."""

POLL_MS = 500
PROBE_S = 2.0
PROBE_TIMEOUT_S = 4.0
RETRY_S = 1.0


def _nobody() -> None:
    """Who is told until somebody asks."""


log = structlog.get_logger(__name__)
_decode_alert = msgspec.json.Decoder(Alert).decode
_decode_receipt = msgspec.json.Decoder(Receipt).decode
_decode_call = msgspec.json.Decoder(Call).decode
_decode_signal = msgspec.json.Decoder(SignalTransition).decode


class Feed:
    """Keeps a ward up to date until it is cancelled.

    `up` says whether the last exchange with Kafka succeeded; `loaded` that everything written before the start is in
    the ward; `refused` counts records that could not be read. `changed` is called after each batch.
    """

    def __init__(self, ward: Ward, bootstrap: str) -> None:
        self.ward = ward
        self.bootstrap = bootstrap
        self.up = False
        self.loaded = False
        self.refused = 0
        self.changed: Callable[[], None] = _nobody
        self._said = ""
        self._ends: dict[TopicPartition, int] = {}
        self._journal_offsets: dict[int, int] = {}

    async def run(self) -> None:
        """Reads until cancelled; comes back by itself when Kafka was away."""
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap,
                client_id="biotwin-console",
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=POLL_MS,
                metadata_max_age_ms=METADATA_MAX_AGE_MS,
            )
            try:
                await consumer.start()
                partitions = await self._assign(consumer)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(consumer))
                    tasks.create_task(self._probe(consumer, partitions))
            except* KafkaError as errors:
                self._say("kafka_unreachable", error=str(errors.exceptions[0]))
            finally:
                await consumer.stop()
            await asyncio.sleep(RETRY_S)

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        while not all(counts := await _partition_counts(self.bootstrap, READ)):
            missing = [topic for topic, count in zip(READ, counts, strict=True) if not count]
            self._say("topics_missing", topics=missing, advice="run `biotwin kafka init`")
            await asyncio.sleep(RETRY_S)
        partitions = [
            TopicPartition(topic, number) for topic, count in zip(READ, counts, strict=True) for number in range(count)
        ]
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        told = [partition for partition in partitions if partition.topic in {ALERT_RECEIPTS, CALLS}]
        ends = await consumer.end_offsets(told)
        since_ms = int((time.time() - RECEIPTS_S) * 1000)
        for partition, at in (await consumer.offsets_for_times(dict.fromkeys(told, since_ms))).items():
            begins[partition] = ends[partition] if at is None else at.offset
        for partition in partitions:
            begin = begins[partition]
            if partition.topic == ALERTS:
                begin = max(begin, self.ward.next_offsets.get(partition.partition, 0))
            elif partition.topic == JOURNAL:
                begin = max(begin, self._journal_offsets.get(partition.partition, 0))
            consumer.seek(partition, begin)
        self._ends = await consumer.end_offsets(partitions)
        return partitions

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        self._note_progress(consumer, await self._positions(consumer))
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=2_000)
            for partition, records in batches.items():
                self._apply(partition, records)
            if not self.loaded:
                self._note_progress(consumer, await self._positions(consumer))
            if batches:
                self.changed()

    async def _positions(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        return {partition: await consumer.position(partition) for partition in self._ends}

    def _note_progress(self, consumer: AIOKafkaConsumer, positions: dict[TopicPartition, int]) -> None:
        if not self.loaded and all(positions[partition] >= end for partition, end in self._ends.items()):
            self.loaded = True
            log.info("ward_loaded", patients=len(self.ward.patients), partitions=len(consumer.assignment()))
            self.changed()

    async def _probe(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        """Asks Kafka something at intervals: a consumer whose broker is away just returns nothing."""
        while True:
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    await consumer.end_offsets(partitions)
            except (KafkaError, TimeoutError) as error:
                self._say("kafka_unreachable", error=str(error) or "no answer")
            else:
                self._say("")
            await asyncio.sleep(PROBE_S)

    def _apply(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        for record in records:
            try:
                if partition.topic == ALERTS:
                    self.ward.apply_alert(_decode_alert(record.value or b""), partition.partition, record.offset)
                elif partition.topic == JOURNAL:
                    self._journal_offsets[partition.partition] = record.offset + 1
                    self.ward.apply_signal(_decode_signal(record.value or b""))
                elif partition.topic == ALERT_RECEIPTS:
                    self.ward.receipts.take_receipt(_decode_receipt(record.value or b""))
                elif partition.topic == CALLS:
                    self.ward.receipts.take_call(_decode_call(record.value or b""))
                elif partition.topic == ON_CALL:
                    self.ward.on_call.load(record.key or b"", record.value)
                elif record.value is None:
                    self.ward.remove_twin((record.key or b"").decode("utf-8", "replace"))
                else:
                    self.ward.apply_twin(decode_twin(record.value))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.refused += 1
                if self.refused == 1:
                    log.warning(
                        "record_refused",
                        topic=partition.topic,
                        partition=partition.partition,
                        offset=record.offset,
                        error=type(error).__name__,
                    )

    def _say(self, trouble: str, **fields: object) -> None:
        """Logs a trouble once and its end once; an empty `trouble` means that all is well."""
        self.up = not trouble
        if trouble == self._said:
            return
        if trouble:
            log.warning(trouble, bootstrap=self.bootstrap, **fields)
        else:
            log.info("reading_kafka", bootstrap=self.bootstrap)
        self._said = trouble
        self.changed()


async def _partition_counts(bootstrap: str, topics: tuple[str, ...]) -> list[int]:
    """How many partitions each topic has, 0 where it does not exist."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="biotwin-console")
    try:
        await admin.start()
        described = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    finally:
        await admin.close()
    return [described.get(topic, 0) for topic in topics]
