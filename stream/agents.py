"""The agents: what stands between Faust's streams and the pure processors.

An agent decides nothing. It hands each fetch of its partition to the partition's processor, sends what comes back at
once, and remembers how far it is. Checkpoints make that durable (`stream.checkpoint`), recovery brings it back
(`stream.recovery`). Every unexpected exception ends the process: the log is read again from the last checkpoint, so a
crash repairs where skipping a record would lose it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiokafka import ConsumerRecord

from contracts.configuration import Worker
from stream.checkpoint import Manifest, block_record, interval_s, manifest_record
from stream.ledger import Delivery, DeliveryError, Source, WriteLedger
from stream.liveness import FreezeGuard
from stream.observe import Observer
from stream.processor import Block, OutputRecord, PartitionProcessor
from stream.recovery import Recovered

log = structlog.get_logger("stream.agents")

OUTSTANDING_WRITES = 20_000
DELIVERY_TIMEOUT_S = 60.0
RESEEK_AFTER_S = 1.5
"""A fetch asked for before a seek may still come for about a second after it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One agent: where it reads, where its checkpoints go (None: it has no state) and how a partition is restored."""

    name: str
    source: str
    changelog: str | None
    restore: Callable[[int, Callable[[int], None]], Awaitable[Recovered]]


class Kafka(Protocol):
    """The part of the transport that the agents use."""

    async def write(self, record: OutputRecord) -> asyncio.Future[Any]: ...
    async def commit(self) -> None: ...
    def acknowledge(self, source: Source, offset: int) -> None: ...
    async def seek(self, source: Source, offset: int) -> None: ...
    async def committed(self, sources: Sequence[Source]) -> Mapping[Source, int | None]: ...
    async def beginnings(self, sources: Sequence[Source]) -> Mapping[Source, int]: ...
    async def ends(self, sources: Sequence[Source]) -> Mapping[Source, int]: ...
    def end(self, source: Source) -> int | None: ...


@dataclass(slots=True)
class PartitionState:
    """One partition while this worker owns it. `position` is the next offset to apply, `durable` that of the last
    finished checkpoint, `end` the end of the log at the assignment; `working` is held while a fetch is applied and its
    outputs are handed over, so that a checkpoint sees both or neither."""

    stage: Stage
    source: Source
    processor: PartitionProcessor
    position: int
    checkpoint: int = 0
    block_positions: dict[int, int] = field(default_factory=dict)
    durable: int = -1
    due_at: float = 0.0
    checkpointed_at: float = field(default_factory=time.monotonic)
    newest_s: float = 0.0
    end: int = 0
    tick_seen_at: float = field(default_factory=time.monotonic)
    reseek_at: float = 0.0
    reseeks: int = 0
    counted: dict[str, int] = field(default_factory=dict)
    working: asyncio.Lock = field(default_factory=asyncio.Lock)
    checkpointing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Agents:
    """All partitions this worker owns, their checkpoints and their writes. It is the transport's custodian."""

    def __init__(
        self,
        stages: Sequence[Stage],
        settings: Worker,
        observer: Observer,
        guard: FreezeGuard,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.stages = {stage.source: stage for stage in stages}
        self.states: dict[Source, PartitionState] = {}
        self.failed = False
        self.recovering_at = 0.0
        self._settings = settings
        self._observer = observer
        self._guard = guard
        self._on_failure = on_failure
        self._kafka: Kafka | None = None
        self._assignment = 0
        self._accepting = False
        self.ledger = WriteLedger(OUTSTANDING_WRITES, self.fail)

    def connect(self, kafka: Kafka) -> None:
        """Give the agents their way to Kafka, once the app has one."""
        self._kafka = kafka

    @property
    def kafka(self) -> Kafka:
        if self._kafka is None:
            raise RuntimeError("the agents are not connected to Kafka yet")
        return self._kafka

    def fail(self, error: BaseException) -> None:
        """The process cannot go on: no checkpoint and no commit from here."""
        if not self.failed:
            self.failed = True
            self._accepting = False
            self._on_failure(error)

    # The stream

    async def consume(self, events: AsyncIterable[Any]) -> None:
        """Body of every agent: one event is one fetch of one partition."""
        async for event in events:
            records: Sequence[ConsumerRecord] = event.value
            try:
                await self.take(records)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.fail(error)
                raise

    async def take(self, records: Sequence[ConsumerRecord]) -> None:
        """Apply one fetch and hand over what follows from it."""
        source = Source(records[0].topic, records[0].partition)
        state = self.states.get(source)
        if state is None or not self._accepting:
            return  # given up in the meantime: whoever owns the partition next reads it
        async with state.working:
            if not self._accepting or self.states.get(source) is not state:
                return
            fresh = await self._fresh(state, records)
            if fresh:
                await self._apply(state, fresh)

    async def _fresh(self, state: PartitionState, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """The records from the state's position on; empty where the fetch begins beyond it."""
        first, last = records[0].offset, records[-1].offset
        if last < state.position:
            return ()
        if first < state.position:
            return records[bisect_left(records, state.position, key=lambda record: record.offset) :]
        if first == state.position:
            return records
        now = time.monotonic()
        if now < state.reseek_at:
            return ()
        if state.reseeks < 2:
            # A fetch that was asked for before the last seek, or one that Faust dropped: read again from where we are.
            state.reseeks += 1
            state.reseek_at = now + RESEEK_AFTER_S
            await self.kafka.seek(state.source, state.position)
            return ()
        state.reseeks = 0
        log.warning("the log has no records here", topic=state.source.topic, first=state.position, next=first)
        return records

    async def _apply(self, state: PartitionState, records: Sequence[ConsumerRecord]) -> None:
        self._guard.check()
        try:
            outputs = state.processor.process(records, time.time())
            position = records[-1].offset + 1
            for output in outputs:
                await self._send(state.source, position, output)
        except BaseException:
            # Applied in part: this state must never be written.
            self.states.pop(state.source, None)
            raise
        state.position = position
        state.reseeks = 0
        state.newest_s = records[-1].timestamp / 1000.0
        if any(record.key is None for record in records):
            state.tick_seen_at = time.monotonic()
        self._observer.batch(state.stage.name, state, records, outputs)

    async def _send(self, source: Source, position: int, record: OutputRecord) -> None:
        await self.ledger.room()
        self.ledger.add(source, position, record.topic, await self._write(record))

    async def _write(self, record: OutputRecord) -> Delivery:
        self._guard.check()
        try:
            return await self.kafka.write(record)
        except Exception as error:
            raise DeliveryError(f"Kafka did not take a record for {record.topic!r}: {error!r}") from error

    async def write_aside(self, record: OutputRecord) -> None:
        """Write what follows from no record (ticks, system alarms). A failure shows in the log."""
        try:
            delivery = await self._write(record)
        except DeliveryError as error:
            log.warning("not written", reason=str(error))
            return
        delivery.add_done_callback(_say_if_lost)

    @property
    def accepting(self) -> bool:
        """Whether partitions are assigned, recovered and being read."""
        return self._accepting

    def owns(self, topic: str, partition: int) -> bool:
        """Whether this worker has the partition now."""
        return self._accepting and Source(topic, partition) in self.states

    # Assignment

    async def on_assigned(self, sources: Sequence[Source]) -> None:
        """Bring back every partition that is new, or that another worker has moved on while this one had lost it."""
        self._assignment += 1
        assignment = self._assignment
        owned = [source for source in sources if source.topic in self.stages]
        self._release(owned)
        committed = await self.kafka.committed(owned)
        beginnings = await self.kafka.beginnings(owned)
        ends = await self.kafka.ends(owned)
        for source in owned:
            held = self.states.get(source)
            if held is not None and (committed[source] or 0) <= held.position:
                held.end = ends[source]
                continue
            self.states.pop(source, None)
            state = await self._restore(source, committed[source], beginnings[source])
            if assignment != self._assignment:
                return  # revoked while we were reading: the next assignment starts over
            state.end = ends[source]
            self.states[source] = state
        self._stagger()
        self._accepting = not self.failed

    async def _restore(self, source: Source, committed: int | None, beginning: int) -> PartitionState:
        stage = self.stages[source.topic]
        started = time.perf_counter()

        def progress(left: int) -> None:
            self.recovering_at = time.monotonic()
            self._observer.recovery(stage.name, source.partition, left)

        recovered = await stage.restore(source.partition, progress)
        progress(0)
        position = recovered.position
        if position is None:
            position = 0 if stage.changelog is not None else (committed or 0)
        if position < beginning:
            if position > 0:
                log.error(
                    "records that were not applied are gone from the log",
                    topic=source.topic,
                    partition=source.partition,
                    records=beginning - position,
                )
            position = beginning
        log.info(
            "recovered",
            agent=stage.name,
            partition=source.partition,
            position=position,
            blocks=len(recovered.block_positions),
            seconds=round(time.perf_counter() - started, 3),
        )
        return PartitionState(
            stage=stage,
            source=source,
            processor=recovered.processor,
            position=position,
            checkpoint=recovered.checkpoint,
            block_positions=dict(recovered.block_positions),
            durable=position,
        )

    def start_positions(self) -> Mapping[Source, int]:
        return {source: state.position for source, state in self.states.items()}

    def may_commit(self, source: Source, offset: int) -> bool:
        if self.failed:
            return False  # the crash ends the consumer's thread: a commit asked of it now may never be answered
        undelivered = self.ledger.undelivered_before(source, offset)
        if undelivered == 0 and self.ledger.failure is None:
            return True
        self._observer.commit_refused()
        self.fail(DeliveryError(f"{undelivered} records were not delivered before the commit of {offset} in {source}"))
        return False

    async def settle(self) -> None:
        """Checkpoint all partitions because they are about to be given up; the states stay until another assignment
        shows who goes on with them."""
        self._assignment += 1
        self._accepting = False
        if self.failed:
            return
        try:
            await asyncio.gather(*(self.checkpoint(state, ending=True) for state in tuple(self.states.values())))
        except DeliveryError as error:
            self.fail(error)

    def _release(self, kept: Sequence[Source]) -> None:
        """Drop the states of partitions that another worker has now."""
        for source in [source for source in self.states if source not in kept]:
            del self.states[source]
            self.ledger.forget(source)

    # Checkpoints

    def _stagger(self) -> None:
        """Spread the partitions' checkpoints over the shortest interval, so that they do not fall together."""
        now = time.monotonic()
        for place, state in enumerate(self.states.values()):
            state.due_at = now + self._settings.checkpoint_min_s * (1.0 + place / len(self.states))

    async def run_checkpoints(self) -> None:
        """Checkpoint each partition at its beat, one at a time, for as long as the worker lives."""
        while not self.failed:
            await asyncio.sleep(min(0.1, self._settings.checkpoint_min_s / 4))
            for state in tuple(self.states.values()):
                if not self._accepting or self.failed or time.monotonic() < self._due(state):
                    continue
                try:
                    if await self.checkpoint(state):
                        await self.kafka.commit()
                except BaseException as error:
                    if not isinstance(error, asyncio.CancelledError):
                        self.fail(error)
                    raise

    def _due(self, state: PartitionState) -> float:
        wait_s = interval_s(
            state.processor.changed_bytes(),
            len(self.states),
            self._settings.checkpoint_bytes_per_s,
            self._settings.checkpoint_min_s,
            self._settings.checkpoint_max_s,
        )
        return max(state.due_at, state.checkpointed_at + wait_s)

    async def checkpoint(self, state: PartitionState, *, ending: bool = False) -> bool:
        """Make everything applied so far durable and acknowledge it. False where there was nothing to do."""
        async with state.checkpointing:
            async with state.working:
                if self.states.get(state.source) is not state:
                    return False
                if ending:
                    for output in state.processor.flush(time.time()):
                        await self._send(state.source, state.position, output)
                position = state.position
                advanced = position != state.durable
                blocks = state.processor.changed_blocks() if advanced else []
            await self.ledger.delivered(state.source, DELIVERY_TIMEOUT_S)
            if not advanced:
                # What is applied is durable already: the last checkpoint is as good as one made now.
                state.checkpointed_at = time.monotonic()
                return False
            written = await self._write_changelog(state, position, blocks)
            state.durable = position
            state.checkpointed_at = time.monotonic()
            self.kafka.acknowledge(state.source, position)
            self._observer.checkpoint(state.stage.name, written)
            return True

    async def _write_changelog(self, state: PartitionState, position: int, blocks: Sequence[Block]) -> int:
        """Blocks first, the manifest only after they are delivered. Returns bytes written."""
        topic = state.stage.changelog
        if topic is None:
            return 0
        partition = state.source.partition
        state.checkpoint += 1
        records = [block_record(topic, partition, state.checkpoint, position, block) for block in blocks]
        await self._deliver(records)
        for block in blocks:
            state.block_positions[block.number] = position
        closing = manifest_record(topic, partition, Manifest(state.checkpoint, position, state.block_positions))
        await self._deliver([closing])
        return sum(len(record.value or b"") for record in (*records, closing))

    async def _deliver(self, records: Sequence[OutputRecord]) -> None:
        deliveries = [await self._write(record) for record in records]
        for record, delivery in zip(records, deliveries, strict=True):
            try:
                await asyncio.wait_for(asyncio.shield(delivery), DELIVERY_TIMEOUT_S)
            except Exception as error:
                raise DeliveryError(f"Kafka did not take a record for {record.topic!r}: {error!r}") from error

    def lag(self, state: PartitionState) -> int:
        """Records between what is applied and the end of the partition, as the assignment or the last fetch saw it."""
        end = max(self.kafka.end(state.source) or 0, state.end)
        return max(end - state.position, 0)


def _say_if_lost(delivery: Delivery) -> None:
    if not delivery.cancelled() and (error := delivery.exception()) is not None:
        log.warning("not written", reason=repr(error))
