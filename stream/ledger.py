"""What has been written and is not yet known to be delivered, by the source partition it came from.

The rule of the whole stage stands here: an offset is committed only after everything that the records before it led to
has been acknowledged by Kafka.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

Delivery = asyncio.Future[Any]


class Source(NamedTuple):
    """One partition of one source topic. Equal to, and hashes as, Kafka's own TopicPartition."""

    topic: str
    partition: int


class DeliveryError(Exception):
    """Kafka did not take a write. The worker starts again from its last checkpoint; nothing is lost."""


class WriteLedger:
    """Undelivered writes of all partitions of one process.

    `limit` bounds how many may be outstanding; `on_failure` is called once for the first write that Kafka refused.
    """

    def __init__(self, limit: int, on_failure: Callable[[DeliveryError], None]) -> None:
        self._limit = limit
        self._on_failure = on_failure
        self._writes: dict[Source, deque[tuple[int, Delivery]]] = defaultdict(deque)
        self._outstanding = 0
        self._room = asyncio.Event()
        self._room.set()
        self.failure: DeliveryError | None = None

    @property
    def outstanding(self) -> int:
        return self._outstanding

    async def room(self) -> None:
        """Wait until another write may be handed over; raises `DeliveryError` once a write has failed."""
        if self.failure is not None:
            raise self.failure
        if self._outstanding >= self._limit:
            await self._room.wait()

    def add(self, source: Source, position: int, topic: str, delivery: Delivery) -> None:
        """Register a write that follows from the records of `source` below `position`."""
        self._writes[source].append((position, delivery))
        self._outstanding += 1
        if self._outstanding >= self._limit:
            self._room.clear()
        delivery.add_done_callback(lambda done: self._settled(source, topic, done))

    def _settled(self, source: Source, topic: str, delivery: Delivery) -> None:
        self._outstanding -= 1
        if self._outstanding < self._limit:
            self._room.set()
        error = None if delivery.cancelled() else delivery.exception()
        if error is not None or delivery.cancelled():
            if self.failure is None:
                self.failure = DeliveryError(f"Kafka did not take a record for {topic!r}: {error!r}")
                self._on_failure(self.failure)
            return
        writes = self._writes[source]
        while writes and writes[0][1].done() and not writes[0][1].cancelled() and writes[0][1].exception() is None:
            writes.popleft()

    async def delivered(self, source: Source, timeout_s: float) -> None:
        """Wait until every write of `source` registered so far is delivered; raises `DeliveryError` if one is not."""
        waiting = [delivery for _, delivery in self._writes[source]]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout_s)
        for delivery in waiting:
            if not delivery.done():
                raise DeliveryError(f"{len(waiting)} records were not delivered within {timeout_s:g} s")
            if delivery.cancelled() or delivery.exception() is not None:
                raise self.failure or DeliveryError("a write was given up")

    def undelivered_before(self, source: Source, offset: int) -> int:
        """How many writes that follow from records of `source` below `offset` are not delivered."""
        return sum(
            1
            for position, delivery in self._writes[source]
            if position <= offset and (not delivery.done() or delivery.cancelled() or delivery.exception() is not None)
        )

    def undelivered(self, source: Source) -> int:
        """How many writes of a partition are on their way, or were refused."""
        return len(self._writes.get(source, ()))

    def forget(self, source: Source) -> None:
        """Stop keeping account of a partition that now belongs to another worker."""
        self._writes.pop(source, None)
