"""The site-local directory: pseudonym to display name, ward, bed and age band.

The only place in BioTwin that holds a name. It is a SQLite file that its owner alone may read; nothing in it reaches
Kafka, logs, metric labels or URLs. `biotwin patient admit` writes it, the console reads it; `biotwin deliver` reads
the wards, and nothing else, where a subscription asks for some.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import structlog

from alerts.console.private_database import private_database

WARD_AGE_S = 5.0
"""How old what is known of wards may be: a transfer takes so long to change who is told."""

MAX_TEXT = 200

log = structlog.get_logger(__name__)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS patient (
    pseudonym TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    ward TEXT NOT NULL,
    bed TEXT NOT NULL,
    age_band TEXT NOT NULL,
    updated_at REAL NOT NULL
) STRICT, WITHOUT ROWID
"""
_COLUMNS = "pseudonym, display_name, ward, bed, age_band, updated_at"


class Entry(msgspec.Struct, frozen=True):
    """What the site knows about one pseudonym. `age_band` is text such as "60-69"; `updated_at` is Unix time (s)."""

    pseudonym: str
    display_name: str = ""
    ward: str = ""
    bed: str = ""
    age_band: str = ""
    updated_at: float = 0.0


class Directory:
    """The directory in one SQLite file (WAL, mode 0600), made where it is missing.

    Every call opens and closes the file, so that several processes and threads may use it at once. Raises
    `sqlite3.Error` where the file cannot be used and `ValueError` for text that cannot be shown.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def put(self, entry: Entry) -> Entry:
        """Writes or replaces the entry of its pseudonym; an `updated_at` of 0 becomes now. Returns what was written."""
        if not entry.pseudonym:
            raise ValueError("a directory entry needs a pseudonym")
        for field in ("pseudonym", "display_name", "ward", "bed", "age_band"):
            _check_text(field, getattr(entry, field))
        if not entry.updated_at:
            entry = msgspec.structs.replace(entry, updated_at=time.time())
        with self._connection() as connection:
            connection.execute(
                f"INSERT INTO patient ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) "  # noqa: S608 - a constant
                "ON CONFLICT (pseudonym) DO UPDATE SET display_name = excluded.display_name, ward = excluded.ward, "
                "bed = excluded.bed, age_band = excluded.age_band, updated_at = excluded.updated_at",
                msgspec.structs.astuple(entry),
            )
        return entry

    def get(self, pseudonym: str) -> Entry | None:
        """The entry of that pseudonym, or None."""
        with self._connection() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM patient WHERE pseudonym = ?",  # noqa: S608 - a constant
                (pseudonym,),
            ).fetchone()
        return Entry(*row) if row else None

    def all(self) -> dict[str, Entry]:
        """Every entry by its pseudonym."""
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM patient ORDER BY pseudonym").fetchall()  # noqa: S608
        return {row[0]: Entry(*row) for row in rows}

    def wards(self) -> dict[str, str]:
        """The ward of every pseudonym that has one, and nothing else about anybody."""
        with self._connection() as connection:
            rows = connection.execute("SELECT pseudonym, ward FROM patient WHERE ward <> ''").fetchall()
        return dict(rows)

    def remove(self, pseudonym: str) -> bool:
        """Removes the entry; says whether there was one. The freed page is overwritten (`secure_delete`)."""
        with self._connection() as connection:
            return connection.execute("DELETE FROM patient WHERE pseudonym = ?", (pseudonym,)).rowcount > 0

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        return private_database(self.path, _SCHEMA)


class WardBook:
    """Who lies where, read again at most every `WARD_AGE_S`. Where the file cannot be read, nobody's ward is known."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._wards: dict[str, str] = {}
        self._read_at = -WARD_AGE_S

    def ward_of(self, pseudonym: str) -> str | None:
        """The ward, or None where nobody knows it."""
        now = time.monotonic()
        if now - self._read_at >= WARD_AGE_S:
            self._read_at = now
            try:
                self._wards = self._directory.wards()
            except (sqlite3.Error, OSError) as error:
                self._wards = {}
                log.warning("directory_not_read", reason=str(error))
        return self._wards.get(pseudonym)


def _check_text(field: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise ValueError(f"{field} is longer than {MAX_TEXT} characters")
    if _CONTROL.search(text):
        raise ValueError(f"{field} holds a control character")
