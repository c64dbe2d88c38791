"""The site's own accounts, and who is signed in: one SQLite file that its owner alone may read.

Passwords are kept as argon2id hashes, session cookies and one-time links as SHA-256 of what their holder has.
`biotwin account` writes it, the console reads it and keeps its sessions in it, so that they outlive a restart.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from alerts.console.private_database import private_database
from alerts.console.roles import Principal, is_role

SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 256
LINK_S = 3600.0
"""How long a one-time link holds (s)."""

TOUCH_S = 60.0
"""A session's last use is written no more often (s), nor more than ten times within `idle_s`: each is an fsync."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Account names: they stand in Kafka as authors, so that a blank, as in a person's own name, is refused."""

_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("nobody's password")
"""Checked where there is no such account, so that an answer takes as long."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, hash TEXT NOT NULL, disabled INTEGER NOT NULL, changed_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (
    digest TEXT PRIMARY KEY, account TEXT NOT NULL, role TEXT NOT NULL, via TEXT NOT NULL,
    began_at REAL NOT NULL, used_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS link (digest TEXT PRIMARY KEY, account TEXT NOT NULL, until REAL NOT NULL)
STRICT, WITHOUT ROWID
"""


class AccountError(ValueError):
    """An account that cannot be made or changed so; the text says why."""


class Account(msgspec.Struct, frozen=True):
    """One account as `biotwin account list` shows it. `changed_at` is Unix time (s)."""

    name: str
    role: str
    disabled: bool
    changed_at: float


class Accounts:
    """The accounts in one file, made where it is missing. `clock` gives Unix time (s).

    A session ends `idle_s` after its last use and `longest_s` after it began, whatever happens. Raises
    `sqlite3.Error` and `OSError` where the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        idle_s: float = 1800.0,
        longest_s: float = 43_200.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._clock = clock

    def add(self, name: str, role: str, password: str | None) -> None:
        """A new account; without a password (None) only a one-time link leads in. Raises `AccountError`."""
        if not NAME.fullmatch(name):
            raise AccountError(f"{name!r} is no account name: 1 to 64 letters, digits, dots, dashes or underscores")
        if not is_role(role):
            raise AccountError(f"there is no role {role!r}")
        try:
            with self._connection() as connection:
                connection.execute(
                    "INSERT INTO account VALUES (?, ?, ?, 0, ?)",
                    (name, role, "" if password is None else _hashed(password), self._clock()),
                )
        except sqlite3.IntegrityError as error:
            raise AccountError(f"there is an account {name} already") from error

    def all(self) -> list[Account]:
        """Every account by its name."""
        with self._connection() as connection:
            rows = connection.execute("SELECT name, role, disabled, changed_at FROM account ORDER BY name").fetchall()
        return [Account(name, role, bool(disabled), changed_at) for name, role, disabled, changed_at in rows]

    def knows(self, name: str) -> bool:
        """Whether there is such an account."""
        with self._connection() as connection:
            return connection.execute("SELECT 1 FROM account WHERE name = ?", (name,)).fetchone() is not None

    def disable(self, name: str) -> None:
        """Lets the account in no more and ends its sessions and links. Raises `AccountError`."""
        with self._connection() as connection:
            changed = connection.execute(
                "UPDATE account SET disabled = 1, changed_at = ? WHERE name = ?", (self._clock(), name)
            )
            _found(changed, name)
            _end_sessions(connection, name)

    def set_password(self, name: str, password: str) -> None:
        """Replaces the password, lets the account in again, and ends its sessions and links. Raises `AccountError`."""
        hashed = _hashed(password)
        with self._connection() as connection:
            changed = connection.execute(
                "UPDATE account SET hash = ?, disabled = 0, changed_at = ? WHERE name = ?",
                (hashed, self._clock(), name),
            )
            _found(changed, name)
            _end_sessions(connection, name)

    def check(self, name: str, password: str) -> Principal | None:
        """Who that is; None where name or password is wrong or the account is disabled. Takes as long either way."""
        with self._connection() as connection:
            row = connection.execute("SELECT role, hash, disabled FROM account WHERE name = ?", (name,)).fetchone()
        role, hashed, disabled = row or ("", "", 1)
        try:
            right: bool = _HASHER.verify(hashed or _NOBODY, password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            right = False
        return Principal(name, role, "password") if right and hashed and not disabled else None

    def add_link(self, name: str, secret: str) -> None:
        """A one-time link by which the account signs in within `LINK_S`. Raises `AccountError`."""
        with self._connection() as connection:
            _found(connection.execute("SELECT 1 FROM account WHERE name = ? AND NOT disabled", (name,)), name)
            connection.execute("INSERT INTO link VALUES (?, ?, ?)", (_digest(secret), name, self._clock() + LINK_S))

    def take_link(self, secret: str) -> Principal | None:
        """Who has the link, which holds once; None where it is unknown, used or too old."""
        with self._connection() as connection:
            row = connection.execute(
                "DELETE FROM link WHERE digest = ? RETURNING account, until", (_digest(secret),)
            ).fetchone()
            if row is None or row[1] < self._clock():
                return None
            found = connection.execute("SELECT role FROM account WHERE name = ? AND NOT disabled", row[:1]).fetchone()
        return Principal(row[0], found[0], "link") if found else None

    def open_session(self, cookie: str, principal: Principal) -> None:
        """Whoever shows this cookie is the principal from now on; sessions that are over are forgotten."""
        now = self._clock()
        with self._connection() as connection:
            connection.execute(
                "DELETE FROM session WHERE used_at < ? OR began_at < ?", (now - self._idle_s, now - self._longest_s)
            )
            connection.execute("DELETE FROM link WHERE until < ?", (now,))
            connection.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?)",
                (_digest(cookie), principal.account, principal.role, principal.via, now, now),
            )

    def holder(self, cookie: str) -> Principal | None:
        """Whose cookie that is, if the session holds; this is a use of it."""
        if not cookie:
            return None
        now, digest = self._clock(), _digest(cookie)
        with self._connection() as connection:
            row = connection.execute(
                "SELECT account, role, via, began_at, used_at FROM session WHERE digest = ?", (digest,)
            ).fetchone()
            if row is None:
                return None
            account, role, via, began_at, used_at = row
            if now > used_at + self._idle_s or now > began_at + self._longest_s:
                connection.execute("DELETE FROM session WHERE digest = ?", (digest,))
                return None
            if now > used_at + min(TOUCH_S, self._idle_s / 10):
                connection.execute("UPDATE session SET used_at = ? WHERE digest = ?", (now, digest))
        return Principal(account, role, via)

    def close_session(self, cookie: str) -> None:
        """The cookie is worth nothing any more."""
        with self._connection() as connection:
            connection.execute("DELETE FROM session WHERE digest = ?", (_digest(cookie),))

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        return private_database(self.path, _SCHEMA)


def _hashed(password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise AccountError(f"a password takes {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return _HASHER.hash(password)


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _found(cursor: sqlite3.Cursor, name: str) -> None:
    if cursor.rowcount == 0 or (cursor.description and cursor.fetchone() is None):
        raise AccountError(f"there is no account {name} that could be used")


def _end_sessions(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM session WHERE account = ?", (name,))
    connection.execute("DELETE FROM link WHERE account = ?", (name,))
