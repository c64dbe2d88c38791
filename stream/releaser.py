"""The releaser: readings of unbound devices go on into `telemetry` once their device is bound.

It follows `bindings` and `telemetry.quarantine` from their beginnings, and remembers of each waiting reading only where
it stands; the bytes are read again when it is released. A released reading is written to `telemetry` with the time of
its first arrival, then a quarantine record of the same id says so. Either may happen twice after a crash: the twin
drops the repeat by the reading's id. It runs in the worker that owns the first partition of `commands`, so that only
one is active.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from contracts import topics
from contracts.configuration import Configuration
from contracts.quarantine import Quarantined, Reason
from ingest.bindings import BindingTable
from ingest.core import held_reading
from stream.observe import Observer
from stream.recovery import partitions_of

log = structlog.get_logger("stream.releaser")

MAX_WAITING = 1_000_000
"""Readings remembered as waiting. Beyond it the newest wait for the next start, which is said in the log."""

RELEASE_AT_ONCE = 500
SKIP_RECORDS = 2_000
"""A gap longer than this between two wanted records is skipped by seeking instead of reading through it."""

RETRY_S = 2.0


class Place(NamedTuple):
    """Where a waiting reading stands, and what decides whether it may go."""

    device: str
    t: float
    partition: int
    offset: int


class WaitingReadings:
    """Which readings wait, by quarantine id. Fed with every record of the quarantine, in order per partition."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._places: dict[str, Place] = {}
        self._by_device: dict[str, set[str]] = defaultdict(set)
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._places)

    def take(self, record: Quarantined, partition: int, offset: int) -> None:
        """Take in one quarantine record."""
        if record.released:
            self.drop(record.id)
        elif record.reason == Reason.UNBOUND_DEVICE and record.t is not None and record.device:
            if len(self._places) >= self._limit and record.id not in self._places:
                self.overflowed += 1
                return
            self._places[record.id] = Place(record.device, record.t, partition, offset)
            self._by_device[record.device].add(record.id)

    def drop(self, identity: str) -> None:
        """The reading waits no more."""
        place = self._places.pop(identity, None)
        if place is not None:
            waiting = self._by_device[place.device]
            waiting.discard(identity)
            if not waiting:
                del self._by_device[place.device]

    def devices(self) -> list[str]:
        return list(self._by_device)

    def releasable(self, devices: Iterable[str], table: BindingTable) -> dict[str, tuple[Place, str]]:
        """Of the readings of `devices`, those whose device is bound at their time: place and patient, by id."""
        found: dict[str, tuple[Place, str]] = {}
        for device in devices:
            for identity in self._by_device.get(device, ()):
                place = self._places[identity]
                patient = table.lookup(place.device, place.t)
                if patient is not None:
                    found[identity] = (place, patient)
        return found


class Releaser:
    """Releases readings while `owns()` holds."""

    def __init__(self, configuration: Configuration, observer: Observer) -> None:
        self._configuration = configuration
        self._observer = observer

    async def run(self, owns: Callable[[], bool]) -> None:
        """Follow both topics until the ownership is lost; begins again after trouble with Kafka."""
        while owns():
            try:
                await self._follow(owns)
            except (KafkaError, OSError) as error:
                log.warning("the releaser begins again", reason=repr(error))
                await asyncio.sleep(RETRY_S)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._configuration.kafka.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )

    async def _follow(self, owns: Callable[[], bool]) -> None:
        kafka = self._configuration.kafka
        follower, reader = self._consumer(), self._consumer()
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap,
            acks="all",
            linger_ms=5,
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
            max_request_size=16 * 1024 * 1024,
        )
        clients = (follower, reader, producer)
        try:
            for client in clients:
                await client.start()
            partitions = [
                TopicPartition(topic, partition)
                for topic in (topics.BINDINGS, topics.QUARANTINE)
                for partition in await partitions_of(kafka.bootstrap, topic)
            ]
            follower.assign(partitions)
            await follower.seek_to_beginning(*partitions)
            await _Release(self._configuration, self._observer, follower, reader, producer).run(owns)
        finally:
            for client in clients:
                await client.stop()


class _Release:
    """One run of the releaser, from the beginning of both topics."""

    def __init__(
        self,
        configuration: Configuration,
        observer: Observer,
        follower: AIOKafkaConsumer,
        reader: AIOKafkaConsumer,
        producer: AIOKafkaProducer,
    ) -> None:
        self._configuration = configuration
        self._observer = observer
        self._follower = follower
        self._reader = reader
        self._producer = producer
        self._table = BindingTable()
        self._waiting = WaitingReadings()
        self._touched: set[str] = set()

    async def run(self, owns: Callable[[], bool]) -> None:
        ends = await self._follower.end_offsets(self._follower.assignment())
        behind = {tp for tp, end in ends.items() if end > 0}
        while owns():
            fetched = await self._follower.getmany(timeout_ms=200, max_records=5000)
            for records in fetched.values():
                for record in records:
                    self._take(record)
            behind = {tp for tp in behind if await self._follower.position(tp) < ends[tp]}
            if not behind and self._touched:
                touched, self._touched = self._touched, set()
                await self._release(self._waiting.releasable(touched, self._table))
        if self._waiting.overflowed:
            log.error("more readings wait than are remembered", beyond=self._waiting.overflowed)

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic == topics.BINDINGS:
            device = self._table.load(record.key or b"", record.value)
            if device is not None:
                self._touched.add(device)
            return
        try:
            quarantined = msgspec.json.decode(record.value or b"", type=Quarantined)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("quarantine record unreadable", offset=record.offset, reason=str(error))
            return
        self._waiting.take(quarantined, record.partition, record.offset)
        if not quarantined.released:
            self._touched.add(quarantined.device)

    async def _release(self, releasable: Mapping[str, tuple[Place, str]]) -> None:
        wanted = sorted(releasable.items(), key=lambda item: (item[1][0].partition, item[1][0].offset))
        for start in range(0, len(wanted), RELEASE_AT_ONCE):
            await self._release_some(dict(wanted[start : start + RELEASE_AT_ONCE]))
        if wanted:
            log.info("readings released", readings=len(wanted), still_waiting=len(self._waiting))

    async def _release_some(self, wanted: Mapping[str, tuple[Place, str]]) -> None:
        """Telemetry first, the mark only when that is delivered."""
        records = await self._read_again([place for place, _ in wanted.values()])
        telemetry = self._configuration.worker.telemetry_topic
        released = [(record, wanted[record.id][1]) for record in records if record.id in wanted]
        deliveries = []
        for record, patient in released:
            accepted = held_reading(record, patient, self._configuration.site)
            deliveries.append(
                await self._producer.send(telemetry, accepted.value, accepted.key, headers=list(accepted.headers))
            )
        await asyncio.gather(*deliveries)
        marks = []
        for record, _ in released:
            mark = msgspec.structs.replace(record, released=True, raw="")
            marks.append(
                await self._producer.send(topics.QUARANTINE, msgspec.json.encode(mark), record.device.encode())
            )
            self._waiting.drop(record.id)
        await asyncio.gather(*marks)
        self._observer.released(len(released))
        for identity in set(wanted) - {record.id for record, _ in released}:
            self._waiting.drop(identity)  # gone from the log by its retention

    async def _read_again(self, places: list[Place]) -> list[Quarantined]:
        """The records at `places`, which are in order of partition and offset."""
        found: list[Quarantined] = []
        by_partition: dict[int, list[int]] = defaultdict(list)
        for place in places:
            by_partition[place.partition].append(place.offset)
        for partition, offsets in by_partition.items():
            source = TopicPartition(topics.QUARANTINE, partition)
            self._reader.assign([source])
            index = 0
            self._reader.seek(source, offsets[0])
            while index < len(offsets):
                at = await self._reader.position(source)
                if offsets[index] - at > SKIP_RECORDS:
                    self._reader.seek(source, offsets[index])
                fetched = await self._reader.getmany(source, timeout_ms=1000, max_records=SKIP_RECORDS)
                for record in fetched.get(source, ()):
                    while index < len(offsets) and offsets[index] < record.offset:
                        index += 1
                    if index < len(offsets) and offsets[index] == record.offset:
                        found.append(msgspec.json.decode(record.value, type=Quarantined))
                        index += 1
        return found
