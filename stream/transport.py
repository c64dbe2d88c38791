"""Faust's Kafka transport, changed in four ways. It is chosen by the URL scheme `biotwin+kafka://`.

1. An event is everything that one fetch brought for one partition, so that an agent pays Faust's price once a fetch.
2. Acknowledgement is one number per partition, set by the checkpoint. Faust's lists of acknowledged offsets stay empty.
3. Before an offset is committed the write ledger is asked; a commit that would pass an undelivered write is refused.
4. A fetch that leaves partitions out, because records of theirs still wait here, is a short one.

`FAUST_NAMES` and `AIOKAFKA_NAMES` list every name used here that Faust and aiokafka do not document; a contract test
looks at each of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from aiokafka import ConsumerRecord
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import ensure_aiokafka_TP

from stream.ledger import Source
from stream.processor import OutputRecord

SCHEME = "biotwin+kafka"

ROUND_S = 0.003
"""Shortest time between two fetches while little comes: each costs a third of a millisecond of CPU however small it is,
so that at a few thousand records a second waiting a little costs less time than it saves."""

LITTLE = 500
"""Fetches of at least so many records follow each other at once."""

FAUST_NAMES: dict[str, tuple[str, ...]] = {
    "faust.transport.drivers.aiokafka:Consumer": (
        "_getmany",
        "_add_gap",
        "_new_offset",
        "_filter_tps_with_pending_acks",
        "_commit_offsets",
        "wait_empty",
        "wait_first",
        "perform_seek",
        "ack",
        "track_message",
        "flow_active",
        "_buffered_partitions",
        "_thread",
        "_new_consumer_thread",
    ),
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread": ("_ensure_consumer", "call_thread", "on_start"),
    "faust.transport.drivers.aiokafka:Producer": ("_ensure_producer",),
}
"""Undocumented names of Faust, by class, that this module overrides or calls."""

AIOKAFKA_NAMES: dict[str, tuple[str, ...]] = {
    "aiokafka:AIOKafkaConsumer": ("highwater", "committed", "beginning_offsets", "end_offsets"),
    "aiokafka:AIOKafkaProducer": ("send",),
    "aiokafka.consumer.fetcher:Fetcher": ("_get_actions_per_node",),
}


WHILE_BEHIND_S = 0.005
"""How long a fetch may wait for records while partitions are left out because their agent is behind."""

LEFT_OUT_MS = 20
"""How long the broker may hold a fetch in which partitions are left out because records of theirs wait here."""


class FetchBatch:
    """What one fetch brought for one partition, in the shape of one record; `offset` is that of its last record."""

    __slots__ = (
        "checksum",
        "headers",
        "key",
        "offset",
        "partition",
        "serialized_key_size",
        "serialized_value_size",
        "timestamp",
        "timestamp_type",
        "topic",
        "value",
    )

    def __init__(self, records: Sequence[ConsumerRecord]) -> None:
        last = records[-1]
        self.topic, self.partition, self.offset = last.topic, last.partition, last.offset
        self.timestamp, self.timestamp_type = last.timestamp, last.timestamp_type
        self.headers: tuple[tuple[str, bytes], ...] = ()
        self.key = None
        self.value = records
        self.checksum = None
        self.serialized_key_size = self.serialized_value_size = 0


class Custodian(Protocol):
    """Who keeps the state behind the transport: it decides what may be committed and where reading starts."""

    async def settle(self) -> None:
        """Checkpoint every partition, because they are about to be given up."""
        ...

    def may_commit(self, source: Source, offset: int) -> bool:
        """Whether everything that follows from the records below `offset` is delivered."""
        ...

    def start_positions(self) -> Mapping[Source, int]:
        """Where reading must start for the partitions whose state is held; others start at their committed offset."""
        ...


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread in which aiokafka's consumer runs."""

    async def on_start(self) -> None:
        await super().on_start()
        hold_short_while_left_out(self._ensure_consumer()._fetcher)  # noqa: SLF001


def hold_short_while_left_out(fetcher: Any) -> None:
    """Let the broker hold a fetch for at most `LEFT_OUT_MS` when it does not ask for every partition.

    aiokafka has one fetch under way to a broker. Once records have waited here for 0.1 s it fetches the partitions that
    have none, with the usual patience of one and a half seconds; if those stay quiet, a busy partition that has been
    read empty meanwhile is not asked for until then.
    """
    usual_ms = fetcher._fetch_max_wait_ms  # noqa: SLF001
    actions_per_node = fetcher._get_actions_per_node  # noqa: SLF001

    def actions(assignment: Any) -> Any:
        fetcher._fetch_max_wait_ms = LEFT_OUT_MS if fetcher._records else usual_ms  # noqa: SLF001
        return actions_per_node(assignment)

    fetcher._get_actions_per_node = actions  # noqa: SLF001


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Delivers fetches, keeps one acknowledged offset per partition, commits only what is safe."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._acknowledged: dict[Source, int] = {}
        self._next_round_at = 0.0
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def custodian(self) -> Custodian:
        custodian: Custodian = self.app.custodian
        return custodian

    async def _getmany(self, active_partitions: Any, timeout: float) -> dict[Any, list[FetchBatch]]:  # noqa: ASYNC109
        wait_s = self._next_round_at - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if self._buffered_partitions:
            # Faust leaves out partitions whose agent is behind, and asks for the others alone. They may have nothing
            # for as long as the timeout, while the agent has caught up long since.
            timeout = min(timeout, WHILE_BEHIND_S)
        fetched = await super()._getmany(active_partitions, timeout)
        if 0 < sum(map(len, fetched.values())) < LITTLE:
            self._next_round_at = time.monotonic() + ROUND_S
        return {tp: [FetchBatch(records)] for tp, records in fetched.items() if records}

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109
        """Faust waits for a callback and for the end of the flow at once, at the price of four tasks an event. While
        nothing can block, awaiting the callback is the same."""
        if (
            len(coros) == 2
            and all(asyncio.iscoroutine(coro) for coro in coros)
            and self.flow_active
            and not self._buffered_partitions
            and self.app.flow_control.is_active()
        ):
            coros[1].close()
            return await coros[0]
        return await super().wait_first(*coros, timeout=timeout)

    def track_message(self, message: Any) -> None:
        """Events are not tracked one by one."""

    def ack(self, message: Any) -> bool:
        """An event that has passed through a stream says nothing about its effects: only a checkpoint does."""
        message.acked = True
        return False

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Offsets between two events belong to the second of them."""

    def acknowledge(self, source: Source, offset: int) -> None:
        """Every effect of the records below `offset` is delivered."""
        self._acknowledged[source] = offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        return [
            ensure_TP(source)
            for source in tuple(self._acknowledged)
            if topics is None or source in topics or source.topic in topics
        ]

    def _new_offset(self, tp: Any) -> int | None:
        return self._acknowledged.get(Source(tp.topic, tp.partition))

    async def _commit_offsets(self, offsets: Mapping[Any, int], start_new_transaction: bool = True) -> bool:
        safe = {tp: at for tp, at in offsets.items() if self.custodian.may_commit(Source(tp.topic, tp.partition), at)}
        if not safe:
            return False
        committed: bool = await super()._commit_offsets(safe, start_new_transaction)
        return committed

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await super().on_partitions_revoked(revoked)
        self._acknowledged.clear()

    async def wait_empty(self) -> None:
        """Called before partitions are given up, at a rebalance and at shutdown."""
        await self.custodian.settle()
        await self.commit()

    async def perform_seek(self) -> None:
        """Start each partition where its state ends."""
        await super().perform_seek()
        assigned = self.assignment()
        starts = {
            ensure_TP(source): offset
            for source, offset in self.custodian.start_positions().items()
            if source in assigned
        }
        if starts:
            await self.seek_wait(starts)

    async def committed_offsets(self, sources: Sequence[Source]) -> dict[Source, int | None]:
        """What the group has committed, as the broker knows it."""
        return {source: await self._in_thread("committed", ensure_aiokafka_TP(source)) for source in sources}

    async def beginning_offsets(self, sources: Sequence[Source]) -> dict[Source, int]:
        """The first offset the log still has."""
        return await self._offsets("beginning_offsets", sources)

    async def end_offsets(self, sources: Sequence[Source]) -> dict[Source, int]:
        """The next offset that the log will give, asked of the broker."""
        return await self._offsets("end_offsets", sources)

    async def _offsets(self, method: str, sources: Sequence[Source]) -> dict[Source, int]:
        if not sources:
            return {}
        found = await self._in_thread(method, [ensure_aiokafka_TP(source) for source in sources])
        return {source: found[source] for source in sources}

    def end_offset(self, source: Source) -> int | None:
        """The end of the partition as the last fetch saw it."""
        end: int | None = self.highwater(ensure_TP(source))
        return end

    async def seek_to(self, source: Source, offset: int) -> None:
        """Read a partition again from `offset`."""
        await self.seek_wait({ensure_TP(source): offset})

    async def _in_thread(self, method: str, *args: Any) -> Any:
        consumer = self._thread._ensure_consumer()  # noqa: SLF001
        return await self._thread.call_thread(getattr(consumer, method), *args)


class Producer(driver.Producer):  # type: ignore[misc]
    """Hands records straight to aiokafka, so that the caller gets the delivery and can wait for it later."""

    async def write(self, record: OutputRecord) -> asyncio.Future[Any]:
        """Hand a record over; returns its delivery. Waits while aiokafka's own buffer is full."""
        delivery: Awaitable[asyncio.Future[Any]] = self._ensure_producer().send(
            record.topic, record.value, record.key, record.partition, headers=list(record.headers)
        )
        return await delivery


class Transport(driver.Transport):  # type: ignore[misc]
    Consumer = Consumer
    Producer = Producer


def register() -> None:
    """Make Faust know the URL scheme."""
    TRANSPORTS.aliases[SCHEME] = "stream.transport:Transport"


def broker_url(bootstrap: str) -> list[str]:
    """`host:port[,host:port]` as Faust wants it."""
    return [f"{SCHEME}://{server.strip()}" for server in bootstrap.split(",") if server.strip()]
