"""A SQLite file that its owner alone may read: for the accounts of a site, and for its directory of names."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

MODE = 0o600
BUSY_TIMEOUT_S = 10.0
BUSY_RETRY_S = 0.005


@contextmanager
def private_database(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """A connection to the file (WAL, mode 0600), made with `schema` where it is missing; one transaction.

    Opened and closed by every caller, so that several processes and threads may use it at once. Freed pages are
    overwritten. Raises `sqlite3.Error` and `OSError` where the file cannot be used.
    """
    _make_private(path)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        _turn_to_wal(connection)
        connection.execute("PRAGMA secure_delete = ON")
        for statement in schema.split(";"):
            connection.execute(statement)
        with connection:
            yield connection


def _make_private(path: Path) -> None:
    """The file with mode 0600, before SQLite sees it: its -wal and -shm files take the same mode."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, MODE))
    if path.stat().st_mode & 0o077:
        path.chmod(MODE)


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    """Give the file a write-ahead log, which it keeps. Of two connections that do so to a new file at once, SQLite
    refuses one without waiting, whatever its timeout. Raises `sqlite3.OperationalError` after `BUSY_TIMEOUT_S`."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(BUSY_RETRY_S)
        else:
            return
