"""Numbers of the events of a subscription, which a repeat keeps and a restart goes on with: one SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

KEPT = 100_000
"""Events whose number is remembered; a repeat comes within a fraction of that."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE
);
"""


class EventNumbers:
    """Counts from 1. Several processes on one machine may share the file; what they raise is `sqlite3.Error`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._open()) as database:
            database.executescript(_SCHEMA)

    def number(self, key: str) -> int:
        """The number of the notification `key`, a new one where it has none; it is on disk before this returns."""
        with closing(self._open()) as database, database:
            # Looked for first: an insert that is ignored would use up a number and leave a hole.
            database.execute("BEGIN IMMEDIATE")
            known = database.execute("SELECT number FROM event WHERE key = ?", (key,)).fetchone()
            if known is not None:
                return int(known[0])
            number = database.execute("INSERT INTO event (key) VALUES (?)", (key,)).lastrowid or 0
            database.execute("DELETE FROM event WHERE number <= ?", (number - KEPT,))
        return number

    def count(self) -> int:
        """How many events there have been."""
        with closing(self._open()) as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return 0 if row is None else int(row[0])

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=10.0)
