"""The one way to read history: `read_history`. Every reader goes through it, because it drops repeats.

A reading may stand in Kafka twice (a device sent it again, a process was killed between two steps) and a record may
stand in two files (the sink was killed while it merged them). Both have the same `id`, and the first of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from contracts import topics
from contracts.signals import default_registry
from stream.history_files import SUFFIX
from stream.history_rows import HISTORY_TOPICS, schema

ATTEMPTS = 5
"""A file may be merged away between being listed and being opened; then the files are listed again."""


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
    for attempt in range(ATTEMPTS):
        files = sorted(str(path) for path in Path(directory).glob(f"{topic}-[0-9]*{SUFFIX}"))
        if not files:
            break
        try:
            with duckdb.connect() as connection:
                return connection.sql(query, params={**parameters, "files": files}).to_arrow_table()
        except duckdb.IOException:
            if attempt == ATTEMPTS - 1:
                raise
    kept = [name.strip('"') for name in columns]
    return schema(topic).empty_table().select(kept)


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
