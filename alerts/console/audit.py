"""The audit journal: who looked at what and did what, each record chained to the one before by its hash.

One line of JSON a record, appended to a site-local file of mode 0600 and on the disk before the view or act goes on.
Holds accounts and pseudonyms; no names, no values, no reasons. A line that a crash cut short stays, ends with the next
record, and is counted; the chain runs over whole lines, so that nothing can be hidden as such a remnant.

The chain shows what was changed, removed or put in between. Who may write the file could chain it anew from some
record on, or cut its end: against that the head's hash is kept elsewhere and given to `verify`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Literal

import msgspec

MODE = 0o600
FIRST = "0" * 64
"""What the first record has for the hash of the one before."""

TAIL_BYTES = 65_536
"""Where the newest record is looked for: more than two lines are long."""

Outcome = Literal["allowed", "refused"]


class AuditRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One view or act. `t` is Unix time (s); `previous` the SHA-256 (hex) of the line before, `FIRST` in the first.

    `what` is "view", "act", "sign-in", "sign-out" or "account"; `target` the page, API route or command. `names` says
    that names could be read in it.
    """

    previous: str
    t: float
    account: str
    role: str
    via: str
    what: str
    target: str
    outcome: Outcome
    patient: str = ""
    alert: str = ""
    command: str = ""
    names: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What `verify` found. `head` is the newest whole record's hash; `fault` empty where the chain holds."""

    records: int
    torn: int
    head: str
    fault: str


class AuditJournal:
    """The journal in one file; several processes may append. `clock` gives Unix time (s)."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock = Lock()

    def append(
        self,
        *,
        account: str,
        role: str,
        via: str,
        what: str,
        target: str,
        outcome: Outcome,
        patient: str = "",
        alert: str = "",
        command: str = "",
        names: bool = False,
    ) -> None:
        """Writes a record and waits until the disk has it; raises `OSError` where it cannot be written."""
        with self._lock:  # flock tells processes apart, not threads of one
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                previous, whole = _newest(file)
                record = AuditRecord(
                    *(previous, self._clock(), account, role, via, what, target, outcome),
                    *(patient, alert, command, names),
                )
                line = (b"" if whole else b"\n") + msgspec.json.encode(record) + b"\n"
                if os.write(file, line) != len(line):
                    raise OSError(f"{self.path}: written only in part")
                os.fsync(file)
            finally:
                os.close(file)

    def newest(self, count: int) -> list[AuditRecord]:
        """The newest records, newest first; none where there is no file."""
        kept: deque[AuditRecord] = deque(maxlen=count)
        for line in self._lines():
            if (record := _decoded(line)) is not None:
                kept.append(record)
        return list(reversed(kept))

    def verify(self, head: str = "") -> Verdict:
        """Whether every record holds the hash of the one before, and `head`, if given, is among the hashes."""
        previous, records, torn, seen = FIRST, 0, 0, not head
        for number, line in enumerate(self._lines(), 1):
            record = _decoded(line)
            if record is None:
                torn += 1
                continue
            if record.previous != previous:
                return Verdict(records, torn, previous, f"line {number} does not follow on the record before it")
            records += 1
            previous = _hash(line)
            seen = seen or previous == head
        return Verdict(records, torn, previous, "" if seen else f"there is no record with the hash {head}")

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                yield from (line.rstrip(b"\n") for line in file)
        except FileNotFoundError:
            return


def _newest(file: int) -> tuple[str, bool]:
    """The hash of the newest whole record, and whether the file ends with the end of a line."""
    size = os.lseek(file, 0, os.SEEK_END)
    tail = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
    ended = not tail or tail.endswith(b"\n")
    for line in reversed(tail.split(b"\n")):
        if _decoded(line) is not None:
            return _hash(line), ended
    if size > len(tail):
        raise OSError("no whole record at the end of the audit journal")
    return FIRST, ended


def _decoded(line: bytes) -> AuditRecord | None:
    try:
        return msgspec.json.decode(line, type=AuditRecord)
    except msgspec.DecodeError:
        return None


def _hash(line: bytes) -> str:
    return sha256(line).hexdigest()
