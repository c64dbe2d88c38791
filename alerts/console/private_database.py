"""A SQLite file that its owner alone may read, for what stays at the site: names, accounts."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

MODE = 0o600
BUSY_TIMEOUT_S = 10.0


@contextmanager
def private_database(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """A connection to the file (WAL, mode 0600), made with `schema` where it is missing; one transaction.

    Opened and closed by every caller, so that several processes and threads may use it at once. Freed pages are
    overwritten. Raises `sqlite3.Error` and `OSError` where the file cannot be used.
    """
    _make_private(path, schema)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        _create(connection, schema)  # an empty file that somebody made will do too
        with connection:
            yield connection


def _make_private(path: Path, schema: str) -> None:
    """The file with mode 0600 and its tables; the -wal and -shm files of SQLite take the same mode.

    A file that is missing is made beside its place and then linked into it, whole: of two processes that turn one
    file to WAL at once, SQLite refuses the second without waiting.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, made = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        try:
            with closing(sqlite3.connect(made)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                _create(connection, schema)
            with suppress(FileExistsError):  # another process was first: its file stands
                os.link(made, path)
        finally:
            Path(made).unlink()
    if path.stat().st_mode & 0o077:
        path.chmod(MODE)


def _create(connection: sqlite3.Connection, schema: str) -> None:
    for statement in schema.split(";"):
        connection.execute(statement)
