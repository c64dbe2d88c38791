"""Records of `telemetry` as columns. A value that cannot be understood is rejected with its reason, never guessed at.

Whole fetches are parsed in one call; only when that fails are values looked at one by one.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import orjson

from contracts.command import Admit, AlertCommand, Discharge, Limits, News2, PatientCommand, Session
from contracts.identity import device_identity, reading_identities, session_identity, source_identity, text_identity
from contracts.reading import DeviceStatus
from contracts.signals import Registry
from stream.processor import SourceRecord
from twin_state import batch as b
from twin_state.batch import Batch
from twin_state.models import devices, patient
from twin_state.rules import LIMITS
from twin_state.store import Store

COMMAND_SOURCE = text_identity("command")
STATUS_SOURCE = text_identity("status of a device")
STATES = {"offline": devices.OFFLINE, "online": devices.ONLINE, "unbound": devices.UNBOUND}
_SEPARATOR = secrets.randbits(62)
_JOINT = f",{_SEPARATOR},".encode()
LATEST_TIME_S = 1e11
"""Measured times beyond this (the year 5138) are nonsense whatever the device says."""


class Rejected(NamedTuple):
    """A record that is not telemetry: its place among the records and why."""

    record: int
    detail: str


class Decoder(Protocol):
    """A payload adapter."""

    def decode(self, records: Sequence[SourceRecord], store: Store) -> tuple[Batch, list[Rejected]]:
        """Records in offset order as a batch for `store`; those rejected are left out of it, and so are commands that
        change no twin, which are passed on."""
        ...


def parse_values(records: Sequence[SourceRecord]) -> list[Any]:
    """The values as Python objects; an `Exception` stands where one could not be parsed."""
    try:
        parsed: list[Any] = orjson.loads(b"[" + _JOINT.join([record.value or b"" for record in records]) + b"]")
    except orjson.JSONDecodeError:
        parsed = []
    # Values such as `1,2`, or `{"a":[1` and `2]}` side by side, parse in a list of others though none is a value. No
    # value can know the separator: where it stands between all of them at the top, each was parsed by itself.
    if len(parsed) == 2 * len(records) - 1 and parsed[1::2].count(_SEPARATOR) == len(records) - 1:
        return parsed[::2]
    return [_parse_one(record.value) for record in records]


def _parse_one(value: bytes | None) -> Any:
    try:
        return orjson.loads(value or b"")
    except orjson.JSONDecodeError as error:
        return error


def signed(identity: int) -> int:
    """A 64-bit identity as a signed number, as columns hold it."""
    return identity - (1 << 64) if identity >= 1 << 63 else identity


class ReadingDecoder:
    """Readings, device statuses, commands and ticks in the form of `contracts.reading`."""

    def __init__(self, registry: Registry) -> None:
        self._index = registry.index
        self._signals = registry.signals
        self._shapes = {signal.name: signal.shape for signal in registry.signals}
        self._codes = {signal.name: frozenset(signal.codes.values()) for signal in registry.signals if signal.codes}
        self._sources: dict[tuple[str, str], tuple[int, int]] = {}
        self._sessions: dict[str, int] = {}

    def decode(self, records: Sequence[SourceRecord], store: Store) -> tuple[Batch, list[Rejected]]:
        """See `Decoder`. Values of waveform signals stay in the log: no model here folds them."""
        columns = _Columns()
        rejected: list[Rejected] = []
        for place, (record, document) in enumerate(zip(records, parse_values(records), strict=True)):
            start = len(columns.signal)
            try:
                self._take(columns, record, document, store)
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError, msgspec.DecodeError) as error:
                columns.cut(start)
                rejected.append(Rejected(place, f"{type(error).__name__}: {error}"))
        return columns.batch(), rejected

    def _take(self, columns: _Columns, record: SourceRecord, document: Any, store: Store) -> None:
        if isinstance(document, Exception):
            raise document
        kind = document["kind"]
        if kind == "reading":
            self._take_reading(columns, record, document, store)
        elif kind == "tick":
            tick = _time(document["t"])
            tick_kind = b.CLOSING if document.get("closing") else b.TICK
            columns.add(tick_kind, 0, record.offset, tick, tick, 0, 0, 0, 0, 0, 0)
        elif kind == "device":
            self._take_status(columns, record, document, store)
        elif kind == "command":
            self._take_command(columns, record, document, store)
        else:
            raise ValueError(f"unknown kind of record {kind!r}")

    def _take_reading(self, columns: _Columns, record: SourceRecord, d: dict[str, Any], store: Store) -> None:
        name = (d["device"], d["stream"])
        known = self._sources.get(name)
        if known is None:
            known = self._sources[name] = (signed(source_identity(*name)), signed(device_identity(name[0])))
        source, device = known
        session = self._sessions.get(d["session"])
        if session is None:
            session = self._sessions[d["session"]] = signed(session_identity(d["session"]))
        sequence = d["seq"]
        if type(sequence) is not int or not -(1 << 63) <= sequence < 1 << 63:
            raise ValueError("seq is not a 64-bit integer")
        quality = d.get("q")
        for signal, value in d["v"].items():
            at = self._index[signal]
            trust = 1.0 if quality is None else quality.get(signal, 1.0)
            kind = type(value)
            if kind is float or kind is int:
                if signal in self._codes and value not in self._codes[signal]:
                    raise ValueError(f"{signal} has no code {value!r}")
                columns.signal.append(at)
                columns.value.append(value)
                columns.quality.append(trust)
            elif kind is str:
                columns.signal.append(at)
                columns.value.append(self._signals[at].codes[value])
                columns.quality.append(trust)
            elif kind is list and self._shapes[signal] == "beats":
                columns.signal.extend([at] * len(value))
                columns.value.extend(value)
                columns.quality.extend([trust] * len(value))
            elif kind is not list or self._shapes[signal] != "waveform":
                raise TypeError(f"{signal} is neither a number nor a code nor a fitting list")
        t, received_at = _time(d["t"]), _time(d["received_at"])
        hashed = 1 if d.get("hashed") else 0
        columns.check()
        row = _row(store, record.key)
        columns.add(b.READING, row, record.offset, t, received_at, source, session, sequence, 0, hashed, device)

    def _take_command(self, columns: _Columns, record: SourceRecord, d: dict[str, Any], store: Store) -> None:
        command = msgspec.convert(d["command"], PatientCommand | AlertCommand)
        if record.key != command.patient.encode():
            raise ValueError("a command under another patient's key")
        if isinstance(command, AlertCommand):
            _time(d["received_at"])
            return
        kind, arguments = command_arguments(command)
        for number, value in arguments:
            columns.signal.append(number)
            columns.value.append(value)
            columns.quality.append(1.0)
        identity = signed(text_identity(command.id))
        t, received_at = _time(command.t), _time(d["received_at"])
        columns.check()
        columns.add(
            kind,
            _row(store, record.key),
            record.offset,
            t,
            received_at,
            signed(COMMAND_SOURCE),
            signed(COMMAND_SOURCE),
            identity,
            identity,
            1,
            0,
        )

    def _take_status(self, columns: _Columns, record: SourceRecord, d: dict[str, Any], store: Store) -> None:
        status = msgspec.convert(d, DeviceStatus)
        state = STATES[status.state]
        t, received_at = _time(status.t), _time(status.received_at)
        row = _row(store, record.key)
        device = signed(device_identity(status.device))
        if state == devices.OFFLINE:
            store.device_names[device] = status.device
        columns.signal.append(0)
        columns.value.append(state)
        columns.quality.append(1.0)
        identity = signed(text_identity(status.device, status.state, repr(t)))
        source = signed(STATUS_SOURCE)
        # Where the session stands, the state: it orders what is said of one instant, as the kernels want it.
        columns.add(b.DEVICE, row, record.offset, t, received_at, source, int(state), identity, identity, 1, device)


def command_arguments(command: PatientCommand) -> tuple[int, list[tuple[int, float]]]:
    """A command as the kernels take it: its kind and numbered arguments. A limit must be above 0, and its end a time
    (`ValueError`)."""
    match command:
        case Admit():
            arguments = [
                (patient.ARGUMENT_PREGNANT, float(command.pregnant)),
                (patient.ARGUMENT_SPINAL_INJURY, float(command.spinal_injury)),
            ]
            if command.age_years is not None:
                arguments.append((patient.ARGUMENT_AGE, float(command.age_years)))
            return b.ADMIT, arguments
        case Discharge():
            return b.DISCHARGE, []
        case News2():
            return b.NEWS2, [(patient.ARGUMENT_SCALE, float(command.spo2_scale))]
        case Session():
            return b.SESSION, [(patient.ARGUMENT_ACTIVE, 1.0 if command.phase == "start" else 0.0)]
        case Limits():
            arguments = [(patient.ARGUMENT_RESET, 1.0)]
            for number, name in enumerate(LIMITS):
                limit = getattr(command, name)
                if limit is None:
                    continue
                if not limit > 0.0:
                    raise ValueError(f"limit {name} must be above 0, got {limit}")
                arguments.append((number, float(limit)))
            if command.expires_at is not None:
                arguments.append((patient.ARGUMENT_EXPIRES, _time(command.expires_at)))
            return b.LIMITS, arguments


def _row(store: Store, key: bytes | None) -> int:
    """The patient's row. A key is looked at before it makes a new one, so that every name in the store is text."""
    if not key:
        raise ValueError("no patient's key")
    if key not in store.index:
        key.decode()
    return store.row_of(key)


def _time(value: Any) -> float:
    t = float(value)
    if isinstance(value, str | bool) or not 0.0 < t < LATEST_TIME_S:
        raise ValueError(f"not a time in s since 1970: {value!r}")
    return t


class _Columns:
    """Columns as they grow. `add` closes a record: the values appended since the last one are its own, once `check`
    has looked at them."""

    def __init__(self) -> None:
        self.signal: list[int] = []
        self.value: list[float] = []
        self.quality: list[float] = []
        self._records: list[tuple[int, int, int, float, float, int, int, int, int, int, int, int, int]] = []
        self._start = 0

    def check(self) -> None:
        """Raises `ValueError` where a value of the record that is open is not a finite number."""
        for value in self.value[self._start :]:
            if type(value) not in (float, int) or not math.isfinite(value):
                raise ValueError(f"not a finite number: {value!r}")
        for value in self.quality[self._start :]:
            if type(value) not in (float, int) or not 0.0 <= value <= 1.0:
                raise ValueError(f"quality is not in 0..1: {value!r}")

    def add(
        self,
        kind: int,
        row: int,
        offset: int,
        t: float,
        received_at: float,
        source: int,
        session: int,
        sequence: int,
        reading: int,
        hashed: int,
        device: int,
    ) -> None:
        """Close a record."""
        end = len(self.signal)
        self._records.append(
            (
                kind,
                row,
                offset,
                t,
                received_at,
                source,
                session,
                sequence,
                reading,
                hashed,
                device,
                self._start,
                end - self._start,
            )
        )
        self._start = end

    def cut(self, start: int) -> None:
        """Forget the values of a record that was given up."""
        del self.signal[start:], self.value[start:], self.quality[start:]
        self._start = start

    def batch(self) -> Batch:
        """The records closed so far."""
        kind, row, offset, t, received_at, source, session, sequence, reading, hashed, device, first, values = (
            zip(*self._records, strict=True) if self._records else ((),) * 13
        )

        def integers(column: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
            return np.array(column, np.int64)

        kinds = np.array(kind, np.int8)
        sources, sessions, sequences = integers(source), integers(session), integers(sequence)
        identities = reading_identities(sources.view(np.uint64), sessions.view(np.uint64), sequences).view(np.int64)
        return Batch(
            kind=kinds,
            row=integers(row),
            offset=integers(offset),
            t=np.array(t, np.float64),
            received_at=np.array(received_at, np.float64),
            source=np.stack((sources, integers(device)), axis=1),
            session=sessions,
            sequence=sequences,
            reading=np.where(kinds == b.READING, identities, integers(reading)),
            hashed=np.array(hashed, np.int8),
            first=integers(first),
            values=integers(values),
            signal=integers(self.signal),
            value=np.array(self.value, np.float64),
            quality=np.array(self.quality, np.float64),
        )
