"""The history sink: `telemetry`, `twin`, `alerts` and `alerts.journal` into Parquet, by a plain consumer group.

Per partition one growing file; its offset is committed only once the file is finished ("sealed"), so a crash at any
moment reads its records again and grows the same file under the same name. What is committed is on the disk; what is on
the disk twice is dropped by `stream.history_reader`. Only what was read since the file last grew is in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.topics import METADATA_MAX_AGE_MS
from stream.history_files import merge_backwards, partition_lock, remove_leftovers, segment_path, write_segment
from stream.history_rows import HISTORY_TOPICS, table

log = structlog.get_logger("stream.history")

GROUP_SUFFIX = "-history"
GROWTHS_PER_SEAL = 6
"""How often a file is written anew before it is sealed; between two times new rows are not yet visible."""

MAX_FRESH_RECORDS = 50_000
MAX_FRESH_BYTES = 32 << 20
"""What is in memory, of all partitions together, before everything is sealed: while a backlog is read."""

FETCH_MIN_BYTES = 1 << 20
RETRY_S = 1.0


@dataclass(slots=True)
class Growing:
    """The unsealed records of one partition: those in its file, up to offset `written`, and the `fresh` ones beyond."""

    first: int
    last: int = -1
    written: int = -1
    records: int = 0
    fresh: list[ConsumerRecord] = field(default_factory=list)
    fresh_bytes: int = 0
    since: float = field(default_factory=time.monotonic)
    grown_at: float = field(default_factory=time.monotonic)


class HistorySink(ConsumerRebalanceListener):  # type: ignore[misc]
    """One process of the sink; several share the partitions as members of one group."""

    def __init__(self, configuration: Configuration, metrics: ProcessMetrics) -> None:
        self._configuration = configuration
        self._settings = configuration.history
        self._metrics = metrics
        self._directory = Path(configuration.history.directory)
        self._growing: dict[TopicPartition, Growing] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._up = False

    @property
    def ready(self) -> bool:
        """Whether partitions are assigned and Kafka answers."""
        return self._up

    async def run(self, stop: asyncio.Event) -> None:
        """Write history until `stop` is set; then seal everything and commit it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._directory)
        said = ""
        while not stop.is_set():
            try:
                await self._consume(stop)
            except (KafkaError, OSError) as error:
                # What was not committed is read again.
                self._growing.clear()
                self._set_up(up=False)
                if str(error) != said:
                    said = str(error)
                    log.warning("history waits and tries again", reason=repr(error))
                await _wait(stop, RETRY_S)

    async def _consume(self, stop: asyncio.Event) -> None:
        kafka = self._configuration.kafka
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap,
            group_id=kafka.group + GROUP_SUFFIX,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(kafka.session_timeout_s * 1000),
            heartbeat_interval_ms=int(kafka.heartbeat_s * 1000),
            max_poll_interval_ms=600_000,
            # Nobody waits for history: without this Kafka answers hundreds of times a second with a record or two.
            fetch_min_bytes=FETCH_MIN_BYTES,
            fetch_max_wait_ms=1000,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )
        await consumer.start()
        self._consumer = consumer
        try:
            consumer.subscribe(HISTORY_TOPICS, listener=self)
            while not stop.is_set():
                fetched = await consumer.getmany(timeout_ms=500, max_records=20_000)
                self._set_up(up=True)
                for source, records in fetched.items():
                    self._take(source, records)
                await self._write_what_is_due()
            await self._seal(list(self._growing))
        finally:
            self._consumer = None
            await consumer.stop()

    def _set_up(self, *, up: bool) -> None:
        self._up = up
        self._metrics.gauge("biotwin_kafka_up").set(1.0 if up else 0.0)

    def _take(self, source: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        growing = self._growing.get(source)
        if growing is None:
            growing = self._growing[source] = Growing(first=records[0].offset)
        fresh = [record for record in records if record.offset > growing.last]
        growing.fresh += fresh
        growing.fresh_bytes += sum(len(record.value or b"") for record in fresh)
        growing.records += len(fresh)
        growing.last = records[-1].offset

    async def _write_what_is_due(self) -> None:
        now = time.monotonic()
        settings = self._settings
        full = [
            source
            for source, growing in self._growing.items()
            if growing.records >= settings.seal_after_records or now - growing.since >= settings.seal_after_s
        ]
        if (
            sum(len(growing.fresh) for growing in self._growing.values()) > MAX_FRESH_RECORDS
            or sum(growing.fresh_bytes for growing in self._growing.values()) > MAX_FRESH_BYTES
        ):
            full = list(self._growing)
        await self._seal(full)
        for source, growing in tuple(self._growing.items()):
            if growing.fresh and now - growing.grown_at >= settings.seal_after_s / GROWTHS_PER_SEAL:
                await self._grow(source, growing)

    async def _grow(self, source: TopicPartition, growing: Growing) -> None:
        """Add the partition's fresh records to its file."""
        fresh, last = growing.fresh, growing.last
        growing.fresh, growing.fresh_bytes = [], 0
        await asyncio.to_thread(self._write, source, fresh, growing.first, growing.written, last)
        growing.written = last
        growing.grown_at = time.monotonic()

    def _write(
        self, source: TopicPartition, fresh: Sequence[ConsumerRecord], first: int, written: int, last: int
    ) -> None:
        rows = table(source.topic, fresh)
        with partition_lock(self._directory, source.topic, source.partition):
            write_segment(segment_path(self._directory, source.topic, source.partition, first), rows, last, written)

    async def _seal(self, sources: Iterable[TopicPartition]) -> None:
        """Finish the files of `sources`, then commit their offsets."""
        offsets: dict[TopicPartition, int] = {}
        finished: list[tuple[TopicPartition, Growing]] = []
        for source in sources:
            growing = self._growing.get(source)
            if growing is None:
                continue
            await self._grow(source, growing)
            if self._growing.get(source) is growing:  # not revoked meanwhile
                offsets[source] = growing.last + 1
                finished.append((source, growing))
        if not offsets or self._consumer is None:
            return
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("partitions have gone to another member; it reads their records again", reason=str(error))
            for source in offsets:
                self._growing.pop(source, None)
            return
        for source, growing in finished:
            self._growing.pop(source, None)
            self._metrics.counter("biotwin_history_rows_total").labels(source.topic).inc(growing.records)
            await asyncio.to_thread(self._merge, source)

    def _merge(self, source: TopicPartition) -> None:
        with partition_lock(self._directory, source.topic, source.partition):
            merge_backwards(self._directory, source.topic, source.partition, self._settings.seal_after_records)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """What was not committed belongs to the next owner; the files that stand are grown by it."""
        for source in revoked:
            self._growing.pop(source, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Reading goes on at the committed offsets."""


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
