"""What an agent runs on: a pure processor of one partition's records. The agents, `biotwin replay --through core` and
the tests all drive the same processors, so live, crash and replay agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class SourceRecord(Protocol):
    """The part of a Kafka record that a processor reads; aiokafka's `ConsumerRecord` fits."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class LoggedRecord(NamedTuple):
    """A `SourceRecord` that came from elsewhere than Kafka's client."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class OutputRecord(NamedTuple):
    """A record to be written. `partition` None leaves the choice to the key (murmur2, as Kafka's own producer)."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Block(NamedTuple):
    """One changed block of a checkpoint. `fence` is the lowest next offset over its rows: a reader that has only this
    version of the block must read the source again from there."""

    number: int
    fence: int
    payload: bytes


class PartitionProcessor(Protocol):
    """State and decisions for one partition of one source topic. Pure: no I/O, no clock; `now` goes into provenance
    and nowhere else. Not safe for concurrent calls; each call may take as long as its batch needs."""

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:
        """Apply records in offset order and return what to write. Records below a row's fence are skipped and counted.
        A record that cannot be understood is answered with a quarantine record, never an exception."""
        ...

    def flush(self, now: float) -> list[OutputRecord]:
        """What has been held back to save writes (twin records), for a checkpoint that ends a stay."""
        ...

    def changed_blocks(self) -> list[Block]:
        """Blocks changed since the last call, which are then regarded as written."""
        ...

    def load_block(self, number: int, payload: bytes) -> None:
        """Take in a block at recovery; raises `StateVersionError` for a schema that cannot be migrated.

        Blocks come once each, by rising number. After a late write of a dead worker one may be missing, or shorter than
        the rows of a later block imply: rows stand at block number x block size, whatever lies between."""
        ...

    def changed_bytes(self) -> int:
        """About how many bytes `changed_blocks` would return: the checkpoint's beat depends on it."""
        ...

    def counters(self) -> dict[str, int]:
        """Totals since creation (applied, late, duplicates, quarantined, fence_skips, records, provisional_withdrawn)
        and `rows`, the rows held."""
        ...


class StateVersionError(Exception):
    """A stored block has a schema version this build cannot read."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"stored state has schema version {found}; this build reads up to {known}")
        self.found = found
        self.known = known
