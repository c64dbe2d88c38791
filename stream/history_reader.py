"""The one way to read history: `read_history`. Every reader of records goes through it, because it drops repeats.
`query_history` answers what needs no record, only a sum; `read_log` and `read_log_of` give the log again as it stood.

A reading may stand in Kafka twice (a device sent it again, a process was killed between two steps) and a record may
stand in two files (the sink was killed while it merged them). Both have the same `id`, and the first of them is kept.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from contracts import topics
from contracts.signals import default_registry
from stream.history_files import SUFFIX
from stream.history_rows import HISTORY_TOPICS, schema
from stream.processor import LoggedRecord

DESCRIPTORS_TO_SPARE = 256
"""What a process may need besides one descriptor of ours and one of DuckDB's a file."""


def read_history(
    directory: str | Path,
    topic: str,
    patient: str | None = None,
    since: float | None = None,
    until: float | None = None,
    signals: Sequence[str] | None = None,
) -> pa.Table:
    """History of `topic` in order of measured time, each record once.

    `since` <= t < `until`, in s since the epoch. `signals` keeps the readings that carry at least one of them, and of
    the signal columns (`v_...`, `q_...`) only theirs. `stream.history_rows` names the columns. Raises
    `ValueError` for a topic or signal that history does not have.
    """
    if topic not in HISTORY_TOPICS:
        raise ValueError(f"history has {', '.join(HISTORY_TOPICS)}, not {topic!r}")
    columns = _columns(topic, signals)
    conditions, parameters = _conditions(patient, since, until, signals)
    query = (
        f"SELECT {', '.join(columns)} FROM ("  # noqa: S608 - names from the schema, values as parameters
        f"SELECT * FROM read_parquet($files, union_by_name = true) {conditions}"
        ' QUALIFY row_number() OVER (PARTITION BY id ORDER BY partition, "offset") = 1)'
        ' ORDER BY t, partition, "offset"'
    )
    with _held_open(Path(directory), topic) as files:
        if files:
            with duckdb.connect() as connection:
                return connection.sql(query, params={**parameters, "files": files}).to_arrow_table()
    kept = [name.strip('"') for name in columns]
    return schema(topic).empty_table().select(kept)


def query_history(directory: str | Path, topic: str, query: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that a query gives over the view `history`: every row of `topic`, repeats included. None without files.

    For sums over more rows than fit into memory; the caller makes sure that a repeat does not change its result.
    """
    with _held_open(Path(directory), topic) as files:
        if not files:
            return []
        with duckdb.connect() as connection:
            view = f"WITH history AS (SELECT * FROM read_parquet($files, union_by_name = true)) {query}"  # noqa: S608
            return connection.execute(view, {**parameters, "files": files}).fetchall()


LOG_OFFSETS_AT_ONCE = 200_000


class LoggedRow(NamedTuple):
    """One record of the log, as it stood in Kafka but for its headers."""

    partition: int
    key: bytes | None
    value: bytes


def read_log(directory: str | Path, since: float, until: float) -> Iterator[LoggedRow]:
    """The log (`telemetry`) again, partition by partition in the order of offsets: what arrived in [since, until), s
    since the epoch by the arrival clock, and before it the commands that arrived earlier, whose effect may last.

    At most `LOG_OFFSETS_AT_ONCE` records are in memory.
    """
    wanted = "arrived < $until AND (kind = 'command' OR arrived >= $since)"
    log = "SELECT *, coalesce(received_at, t) AS arrived FROM read_parquet($files, union_by_name = true)"
    ends = f'SELECT partition, min("offset"), max("offset") FROM ({log}) WHERE {wanted} GROUP BY ALL ORDER BY partition'  # noqa: S608
    rows = (
        f"SELECT partition, key, value FROM ({log})"  # noqa: S608 - constants
        f' WHERE {wanted} AND partition = $partition AND "offset" >= $first AND "offset" < $end'
        ' QUALIFY row_number() OVER (PARTITION BY "offset") = 1 ORDER BY "offset"'
    )
    with _held_open(Path(directory), topics.TELEMETRY) as files:
        if not files:
            return
        with duckdb.connect() as connection:
            span: dict[str, Any] = {"files": files, "since": since, "until": until}
            for partition, first, last in connection.execute(ends, span).fetchall():
                for start in range(first, last + 1, LOG_OFFSETS_AT_ONCE):
                    part = {"partition": partition, "first": start, "end": start + LOG_OFFSETS_AT_ONCE}
                    for number, key, value in connection.execute(rows, span | part).fetchall():
                        yield LoggedRow(number, None if key is None else key.encode(), value.encode())


def read_log_of(directory: str | Path, partition: int, patients: Sequence[str], last: int) -> Iterator[LoggedRecord]:
    """The log (`telemetry`) of one partition up to offset `last`, in order: the records of `patients`, and those that
    belong to nobody (ticks). At most `LOG_OFFSETS_AT_ONCE` offsets are in memory."""
    rows = (
        'SELECT "offset", key, value FROM read_parquet($files, union_by_name = true)'
        " WHERE partition = $partition AND (key IS NULL OR list_contains($patients, key))"
        ' AND "offset" >= $first AND "offset" < $end'
        ' QUALIFY row_number() OVER (PARTITION BY "offset") = 1 ORDER BY "offset"'
    )
    with _held_open(Path(directory), topics.TELEMETRY, str(partition)) as files:
        if not files:
            return
        with duckdb.connect() as connection:
            own: dict[str, Any] = {"files": files, "partition": partition, "patients": list(patients)}
            for first in range(0, last + 1, LOG_OFFSETS_AT_ONCE):
                part = {"first": first, "end": min(first + LOG_OFFSETS_AT_ONCE, last + 1)}
                for offset, key, value in connection.execute(rows, own | part).fetchall():
                    yield LoggedRecord(offset, None if key is None else key.encode(), value.encode())


def missing_from_log(directory: str | Path, partition: int, last: int) -> int:
    """How many of the records 0 to `last` of a partition of the log (`telemetry`) history does not have."""
    query = 'SELECT count(DISTINCT "offset") FROM history WHERE partition = $partition AND "offset" <= $last'
    ((found,),) = query_history(directory, topics.TELEMETRY, query, {"partition": partition, "last": last}) or [(0,)]
    return last + 1 - int(found)


@contextmanager
def _held_open(directory: Path, topic: str, partition: str = "[0-9]*") -> Iterator[list[str]]:
    """The files of a topic, or of one of its partitions, each held open and named by its descriptor.

    DuckDB opens a file more than once in a query. Under its name it may find another version each time, because the
    sink replaces files while they are read; under the descriptor it finds the one that was there first.
    """
    descriptors: list[int] = []
    try:
        while not _open_all(directory, f"{topic}-{partition}-[0-9]*", descriptors):
            _close(descriptors)
        yield [f"/proc/self/fd/{descriptor}" for descriptor in descriptors]
    finally:
        _close(descriptors)


def _open_all(directory: Path, name: str, descriptors: list[int]) -> bool:
    """Open every file of that name (a glob). False where one was merged into another since they were listed: its rows
    are then in a version of that other file which may not be the one opened."""
    paths = sorted(directory.glob(f"{name}{SUFFIX}"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * len(paths) + DESCRIPTORS_TO_SPARE
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    for path in paths:
        try:
            descriptors.append(os.open(path, os.O_RDONLY))
        except FileNotFoundError:
            return False
    return True


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


def _columns(topic: str, signals: Sequence[str] | None) -> list[str]:
    names = schema(topic).names
    if signals is not None:
        if topic != topics.TELEMETRY:
            raise ValueError(f"{topic} has no signal columns")
        wanted = {f"{prefix}_{_checked(signal)}" for signal in signals for prefix in ("v", "q")}
        names = [name for name in names if name[:2] not in ("v_", "q_") or name in wanted]
    return [f'"{name}"' for name in names]


def _checked(signal: str) -> str:
    if f"v_{signal}" not in schema(topics.TELEMETRY).names:
        known = signal in default_registry()
        raise ValueError(f"{signal!r} has no column" if known else f"{signal!r} is not in the signal registry")
    return signal


def _conditions(
    patient: str | None, since: float | None, until: float | None, signals: Sequence[str] | None
) -> tuple[str, dict[str, Any]]:
    terms: list[str] = []
    parameters: dict[str, Any] = {}
    for term, name, value in (
        ("key = $patient", "patient", patient),
        ("t >= $since", "since", since),
        ("t < $until", "until", until),
    ):
        if value is not None:
            terms.append(term)
            parameters[name] = value
    if signals is not None:
        terms.append("(" + " OR ".join(f'"v_{signal}" IS NOT NULL' for signal in signals) + ")" if signals else "false")
    return ("WHERE " + " AND ".join(terms) if terms else ""), parameters
