"""History's files: `{topic}-{partition}-{first_offset}.parquet`, each replaced only by one that holds more.

A file grows by being written anew beside itself, synced, and renamed over its own name, so that a reader sees the old
rows or the new ones and a crash leaves at most a temporary file. A lock per partition keeps two writers, of which one
does not know yet that it was replaced, from taking turns.

Files are ordered, so two of them become one row group by row group, and however large they are only one is in memory.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream.history_rows import FILE_ORDER, ordered

SUFFIX = ".parquet"
LAST_OFFSET = b"biotwin.last_offset"
ROW_GROUP_ROWS = 50_000
ROW_GROUP_BYTES = 4 << 20
ROWS_AT_ONCE = 500
NEWEST = 16
"""How many files of a partition are looked at when it is sealed; of a year's thousands the others are finished."""

REPEATING = (
    "key",
    "kind",
    "device",
    "stream",
    "session",
    "rule",
    "priority",
    "state",
    "transition",
    "stage",
    "event",
    "actor",
)
"""Columns in which few values stand often; for the others a dictionary costs more time than it saves space."""

_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d+)\.parquet")


class Segment(NamedTuple):
    """One file. `last` is the offset of its last record, from the file's own metadata."""

    path: Path
    topic: str
    partition: int
    first: int
    last: int
    rows: int


def segment_path(directory: Path, topic: str, partition: int, first: int) -> Path:
    return directory / f"{topic}-{partition}-{first}{SUFFIX}"


def read_segment(path: Path) -> Segment | None:
    """What a file says of itself; None where there is none, or none of ours."""
    match = _NAME.fullmatch(path.name)
    if match is None or not path.exists():
        return None
    metadata = pq.read_metadata(path)
    last = int((metadata.metadata or {}).get(LAST_OFFSET, b"-1"))
    return Segment(path, match["topic"], int(match["partition"]), int(match["first"]), last, metadata.num_rows)


def segments(directory: Path, topic: str, partition: int, newest: int | None = None) -> list[Segment]:
    """The files of one partition in order of their first offset: all, or the `newest`."""
    matches = (_NAME.fullmatch(path.name) for path in directory.glob(f"{topic}-{partition}-*{SUFFIX}"))
    firsts = sorted(int(match["first"]) for match in matches if match is not None and match["topic"] == topic)
    chosen = firsts if newest is None else firsts[-newest:]
    found = (read_segment(segment_path(directory, topic, partition, first)) for first in chosen)
    return [segment for segment in found if segment is not None]


@contextmanager
def partition_lock(directory: Path, topic: str, partition: int) -> Iterator[None]:
    """Only one process at a time changes the files of a partition. The lock ends with the process."""
    with (directory / f".{topic}-{partition}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class SegmentMissingError(OSError):
    """A file that was written is gone, or holds less than it did."""


def write_segment(path: Path, rows: pa.Table, last: int, written: int = -1) -> bool:
    """Let the file at `path` hold `rows`, up to offset `last`, besides what it holds already. True if written.

    `rows`, from `stream.history_rows.table`, need not hold what the file does: of them those are added whose offsets
    lie beyond it. `written` is the offset up to which the caller relies on the file (-1: it need not exist). Call with
    the partition's lock held. Raises `SegmentMissingError` where the file does not reach so far and `OSError` where the
    disk does not take it; the old file then stands.
    """
    standing = read_segment(path)
    reached = -1 if standing is None else standing.last
    if reached < written:
        raise SegmentMissingError(f"{path} ends at offset {reached}, not at {written} where it was written")
    if standing is None:
        _replace(path, [_of_table(rows)], last)
        return True
    if reached >= last:
        return False
    with _of_file(path) as old:
        _replace(path, [old, _of_table(rows.filter(pc.greater(rows["offset"], reached)))], last)
    return True


class _Rows:
    """Rows in the order of files, taken from the front. `keys` are the columns of that order, of all of them."""

    def __init__(self, schema: pa.Schema, keys: pa.Table, size_bytes: int, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self.keys = keys
        self.size_bytes = size_bytes
        self._batches = batches
        self._next = schema.empty_table()

    def take(self, count: int) -> pa.Table:
        """The next `count` rows, of which there must be as many."""
        parts = [self._next]
        missing = count - len(self._next)
        while missing > 0:
            part = pa.Table.from_batches([next(self._batches)])
            parts.append(part)
            missing -= len(part)
        found = pa.concat_tables(parts)
        self._next = found.slice(count)
        return found.slice(0, count)


def _of_table(rows: pa.Table) -> _Rows:
    return _Rows(rows.schema, rows.select(FILE_ORDER), rows.nbytes, iter(rows.to_batches()))


@contextmanager
def _of_file(path: Path) -> Iterator[_Rows]:
    with pq.ParquetFile(path) as file:
        size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
        keys = file.read(columns=list(FILE_ORDER), use_threads=False)
        yield _Rows(file.schema_arrow, keys, size, file.iter_batches(ROWS_AT_ONCE, use_threads=False))


def _merged(sources: Sequence[_Rows], schema: pa.Schema) -> Iterator[pa.Table]:
    """All rows of the sources in the order of files, one row group after the other."""
    keys = pa.concat_tables([source.keys for source in sources])
    belongs_to = np.repeat(np.arange(len(sources)), [len(source.keys) for source in sources])
    by_order = belongs_to[pc.sort_indices(keys, [(name, "ascending") for name in FILE_ORDER]).to_numpy()]
    size = max(1, sum(source.size_bytes for source in sources))
    step = max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES * len(keys) // size))
    for start in range(0, len(keys), step):
        # Each source is in order itself, so that what a stretch takes from it lies at its front.
        counts = np.bincount(by_order[start : start + step], minlength=len(sources))
        parts = [source.take(int(count)) for source, count in zip(sources, counts, strict=True)]
        yield ordered(pa.concat_tables([schema.empty_table(), *parts], promote_options="default"))


def _replace(path: Path, sources: Sequence[_Rows], last: int) -> None:
    """Put the rows of all sources, up to offset `last`, under `path`."""
    schema = pa.unify_schemas([source.schema for source in sources])
    schema = schema.with_metadata({**(sources[-1].schema.metadata or {}), LAST_OFFSET: str(last).encode()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with pq.ParquetWriter(
                file,
                schema,
                compression="zstd",
                use_dictionary=[name for name in REPEATING if name in schema.names],
                write_statistics=[name for name in schema.names if name != "value"],
            ) as writer:
                for rows in _merged(sources, schema):
                    writer.write_table(rows, row_group_size=len(rows))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def merge_backwards(directory: Path, topic: str, partition: int, limit_rows: int) -> int:
    """Merge finished files of a partition into those before them, so that a quiet day leaves few; returns how many
    files are fewer.

    The newest file goes into the one before it if that has at most twice its rows, and so on, so that a row is written
    again only about log2 times. A crash in between leaves rows in two files, which a reader drops by their ids. Call
    with the partition's lock held, while no file of it is growing.
    """
    found = segments(directory, topic, partition, NEWEST)
    standing = _without_contained(found)
    while len(standing) > 1:
        older, newer = standing[-2], standing[-1]
        if older.rows > 2 * newer.rows or older.rows + newer.rows > limit_rows:
            break
        with _of_file(older.path) as before, _of_file(newer.path) as after:
            _replace(older.path, [before, after], newer.last)
        newer.path.unlink()
        standing[-2:] = [older._replace(last=newer.last, rows=older.rows + newer.rows)]
    _sync_directory(directory)
    return len(found) - len(standing)


def _without_contained(found: list[Segment]) -> list[Segment]:
    """Delete files whose records all stand in the file before them: what a crash within a merge left."""
    kept: list[Segment] = []
    for segment in found:
        if kept and segment.last <= kept[-1].last:
            segment.path.unlink()
        else:
            kept.append(segment)
    return kept


def remove_leftovers(directory: Path) -> None:
    """Delete temporary files of writers that are gone."""
    for path in directory.glob(f".*{SUFFIX}.*.tmp"):
        pid = path.name.rsplit(".", 2)[1]
        if not Path(f"/proc/{pid}").exists():
            path.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
