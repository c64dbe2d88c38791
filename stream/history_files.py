"""History's files: `{topic}-{partition}-{first_offset}.parquet`, each replaced only by one that holds more.

A file grows by being written anew beside itself, synced, and renamed over its own name, so that a reader sees the old
rows or the new ones and a crash leaves at most a temporary file. A lock per partition keeps two writers, of which one
does not know yet that it was replaced, from taking turns.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stream.history_rows import ordered

SUFFIX = ".parquet"
LAST_OFFSET = b"biotwin.last_offset"
ROW_GROUP = 50_000
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


def segments(directory: Path, topic: str, partition: int) -> list[Segment]:
    """The files of one partition in order of their first offset."""
    found = (read_segment(path) for path in directory.glob(f"{topic}-{partition}-*{SUFFIX}"))
    return sorted((each for each in found if each is not None and each.topic == topic), key=lambda each: each.first)


@contextmanager
def partition_lock(directory: Path, topic: str, partition: int) -> Iterator[None]:
    """Only one process at a time changes the files of a partition. The lock ends with the process."""
    with (directory / f".{topic}-{partition}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_segment(path: Path, rows: pa.Table, last: int) -> bool:
    """Put `rows`, up to offset `last`, under `path`, unless the file there holds as much already. True if written.

    Call with the partition's lock held. Raises `OSError` where the disk does not take it; the old file then stands.
    """
    standing = read_segment(path)
    if standing is not None and standing.last >= last:
        return False
    metadata = {**(rows.schema.metadata or {}), LAST_OFFSET: str(last).encode()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(rows.replace_schema_metadata(metadata), file, compression="zstd", row_group_size=ROW_GROUP)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    return True


def merge_backwards(directory: Path, topic: str, partition: int, limit_rows: int) -> int:
    """Merge finished files of a partition into those before them, so that a quiet day leaves few; returns how many
    files are fewer.

    The newest file goes into the one before it if that has at most twice its rows, and so on, so that a row is written
    again only about log2 times. A crash in between leaves rows in two files, which a reader drops by their ids. Call
    with the partition's lock held, while no file of it is growing.
    """
    removed = _remove_contained(segments(directory, topic, partition))
    standing = segments(directory, topic, partition)
    while len(standing) > 1:
        older, newer = standing[-2], standing[-1]
        if older.rows > 2 * newer.rows or older.rows + newer.rows > limit_rows:
            break
        whole = pa.concat_tables([pq.read_table(older.path), pq.read_table(newer.path)], promote_options="default")
        write_segment(older.path, ordered(whole), newer.last)
        newer.path.unlink()
        standing[-2:] = [older._replace(last=newer.last, rows=len(whole))]
        removed += 1
    _sync_directory(directory)
    return removed


def _remove_contained(standing: list[Segment]) -> int:
    """Delete files whose records all stand in the file before them: what a crash within a merge left."""
    removed = 0
    for older, newer in pairwise(standing):
        if newer.last <= older.last:
            newer.path.unlink()
            removed += 1
    return removed


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
