"""Judging payloads: from any bytes to validated readings and quarantined ones. Pure; arrival time is an argument."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from contracts.configuration import Ingest
from contracts.identity import identity_text, reading_identity, session_identity, source_identity
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.reading import DeviceStatus
from contracts.signals import Registry, Signal
from ingest import formats
from ingest.bindings import BindingTable
from ingest.clocks import DeviceClocks
from ingest.draft import Context, Draft, Refusal, finite, shown
from ingest.sequences import SequenceGaps
from ingest.units import conversion

EARLIEST_T: Final = 946_684_800.0
"""2000-01-01. What says it was measured earlier has lost its clock."""

LATEST_T: Final = 4_102_444_800.0
"""2100-01-01. What says it was measured later counts in milliseconds or worse."""

MAX_RAW_BYTES: Final = 3_000_000
"""Most that is kept of refused bytes: in base64 it stays below the record limit with which `biotwin kafka init` creates
the topic, and above what the shipped MQTT broker lets through."""

BATCH: Final = "batch"
STATUS: Final = "status"
ALERTS: Final = "alerts"
"""Third level of the topics on which alerts go out; no device can be called so."""

_MAX_TOPIC = 512
_MAX_HZ = 100_000.0
_MAX_SEQ = 2**63
_MAX_SKEWS = 16
_NAME: Callable[[str], re.Match[str] | None] = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}").fullmatch
_NUMBER = (int, float)
_NUMBERS = frozenset(_NUMBER)


class Accepted(NamedTuple):
    """One record for `telemetry`. `reading` is the reading's id, `t` its measured time in s since the epoch."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    reading: str
    device: str
    t: float


class Status(NamedTuple):
    """What a device says of itself on its retained status topic: its birth, or its last will.

    `key` and `value` are its record for `telemetry`; `key` is None while no patient is bound, whom it would concern.
    """

    device: str
    online: bool
    key: bytes | None = None
    value: bytes = b""


class Outcome(NamedTuple):
    """What became of one payload.

    `format` is a format's name, "status", "alerts" (our own, left alone) or "unknown". `lost` counts sequence numbers
    that turned out missing by it; `skews_s` are the clock offsets in s of the devices heard, where they can be told.
    """

    format: str
    accepted: list[Accepted]
    quarantined: list[Quarantined]
    status: Status | None = None
    lost: int = 0
    skews_s: tuple[float, ...] = ()


class IngestCore:
    """Judges payloads one by one, in the order of arrival.

    `take` is total: any bytes on any topic give an outcome, in time and memory bounded by the limits of the
    configuration. The only state is the estimate of each device's clock (`DeviceClocks` tells the method and its
    limits) and the last sequence numbers of each stream, both bounded and both a function of the payloads taken.

    A time is `future_time` when t > received_at + `future_tolerance_s` + the device's clock correction.
    A refused reading is refused whole: nothing of it is half applied.
    """

    def __init__(self, registry: Registry, configuration: Ingest, site: str, bindings: BindingTable) -> None:
        self.bindings = bindings
        self._signals: dict[str, Signal] = {signal.name: signal for signal in registry.signals}
        self._configuration = configuration
        self._site = site
        self._clocks = DeviceClocks()
        self._sequences = SequenceGaps()

    def take(self, topic: str, payload: bytes, received_at: float) -> Outcome:
        """Judge one PUBLISH; `received_at` in s since the epoch."""
        topic = topic[:_MAX_TOPIC].encode("utf-8", "replace").decode()
        levels = topic.split("/")
        if levels[:3] == ["biotwin", "v1", self._site] and len(levels) == 6 and levels[3] == ALERTS:
            return Outcome(ALERTS, [], [])
        if levels[:3] != ["biotwin", "v1", self._site] or len(levels) != 5:
            detail = f"not a topic of the form biotwin/v1/{self._site}/device/stream"
            return self._refuse_payload(Refusal(Reason.UNKNOWN_TOPIC, detail), topic, payload, received_at)
        device, stream = levels[3], levels[4]
        if device == ALERTS or not _NAME(device) or not _NAME(stream) or ":" in stream:
            detail = f"device {shown(device)} or stream {shown(stream)} is no allowed name"
            return self._refuse_payload(Refusal(Reason.UNKNOWN_TOPIC, detail), topic, payload, received_at)
        if len(payload) > self._configuration.max_payload_bytes:
            detail = f"{len(payload)} bytes; at most {self._configuration.max_payload_bytes} are taken"
            return self._refuse_payload(Refusal(Reason.TOO_LARGE, detail), topic, payload, received_at, device)
        document = _decoded(payload)
        if isinstance(document, Refusal):
            if stream == STATUS and not payload:
                return Outcome(STATUS, [], [])
            return self._refuse_payload(document, topic, payload, received_at, device)
        if stream == STATUS:
            return self._take_status(device, document, topic, payload, received_at)
        context = Context(None if stream == BATCH else device, None if stream == BATCH else stream, received_at)
        return self._take_readings(context, document, topic, payload, device)

    def _take_status(self, device: str, document: Any, topic: str, payload: bytes, received_at: float) -> Outcome:
        state = document.get("state") if type(document) is dict else None
        if state not in ("online", "offline"):
            refusal = Refusal(Reason.BAD_FIELD, f'a status has "state": "online" or "offline", not {shown(state)}')
            return self._refuse_payload(refusal, topic, payload, received_at, device)
        online = state == "online"
        patient = self.bindings.lookup(device, received_at)
        if patient is None:
            return Outcome(STATUS, [], [], Status(device, online))
        value = msgspec.json.encode(DeviceStatus(device, "online" if online else "offline", received_at, received_at))
        return Outcome(STATUS, [], [], Status(device, online, patient.encode(), value))

    def _take_readings(self, context: Context, document: Any, topic: str, payload: bytes, device: str) -> Outcome:
        packed = type(document) is list
        items: list[Any] = document if packed else [document]
        if len(items) > self._configuration.max_readings_per_payload:
            detail = f"{len(items)} items; at most {self._configuration.max_readings_per_payload} are taken"
            refusal = Refusal(Reason.TOO_MANY_VALUES, detail)
            return self._refuse_payload(refusal, topic, payload, context.received_at, device)
        known = formats.recognise(items)
        if known is None:
            refusal = Refusal(Reason.UNKNOWN_FORMAT, f"{shown(document)} that is no known format")
            return self._refuse_payload(refusal, topic, payload, context.received_at, device)
        outcome = _Building(topic, payload, context.received_at)
        drafts = known.parse(items, context)
        if len(drafts) > self._configuration.max_readings_per_payload:
            detail = f"{len(drafts)} readings; at most {self._configuration.max_readings_per_payload} are taken"
            refusal = Refusal(Reason.TOO_MANY_VALUES, detail)
            return self._refuse_payload(refusal, topic, payload, context.received_at, device)
        for draft in drafts:
            self._judge(draft, known.name, outcome, alone=not packed and len(drafts) == 1)
        if not outcome.accepted and not outcome.quarantined:
            refusal = Refusal(Reason.BAD_FIELD, "there is no reading in it")
            return self._refuse_payload(refusal, topic, payload, context.received_at, device)
        return Outcome(known.name, outcome.accepted, outcome.quarantined, None, outcome.lost, tuple(outcome.skews_s))

    def _refuse_payload(
        self, refusal: Refusal, topic: str, payload: bytes, received_at: float, device: str = ""
    ) -> Outcome:
        return Outcome("unknown", [], [_quarantined(refusal, topic, payload, received_at, device)])

    def _judge(self, draft: Draft, format_name: str, outcome: _Building, *, alone: bool) -> None:
        """Accept or refuse one reading."""
        device, stream, session, seq = draft.device, draft.stream, draft.session, draft.seq
        named = _named(device, stream)
        identity = None
        if named and session is not None and _is_name(session) and type(seq) is int and 0 <= seq < _MAX_SEQ:
            identity = reading_identity(source_identity(device, stream), session_identity(session), seq)
        refusal = draft.refusal
        if refusal is None and not named:
            refusal = Refusal(Reason.BAD_FIELD, f"device {shown(device)} or stream {shown(stream)} is no allowed name")
        hashed = session is None and seq is None
        if refusal is None and not hashed and identity is None:
            refusal = Refusal(Reason.BAD_FIELD, f"session {shown(session)} or seq {shown(seq)} is not allowed")
        t: Any = draft.t
        if refusal is None:
            refusal = self._refused_time(device, t, outcome)
        v: dict[str, Any] = {}
        q: dict[str, float] = {}
        if refusal is None:
            refusal = self._normalise(draft, v, q)
        if refusal is not None:
            outcome.refuse(refusal, draft, identity, alone=alone)
            return
        if hashed:
            session = format_name
            seq = _content_number(t, v)
            identity = reading_identity(source_identity(device, stream), session_identity(session), seq)
        elif draft.hashed is not True:
            outcome.lost += self._sequences.observe(device, stream, session, seq)
        reading: dict[str, Any] = {"device": device, "stream": stream, "session": session, "seq": seq, "t": t}
        rest: dict[str, Any] = {"v": v}
        if q:
            rest["q"] = q
        if draft.hz is not None:
            rest["hz"] = draft.hz
        if hashed or draft.hashed is True:
            rest["hashed"] = True
        reading_id = identity_text(identity or 0)
        patient = self.bindings.lookup(device, t)
        if patient is None:
            outcome.hold(reading | rest, reading_id)
            return
        value = orjson.dumps({"kind": "reading", **reading, "received_at": outcome.received_at, **rest})
        headers = _headers(f"/{self._site}/{device}/{stream}".encode(), reading_id, t)
        outcome.accepted.append(Accepted(patient.encode(), value, headers, reading_id, device, t))

    def _refused_time(self, device: str, t: Any, outcome: _Building) -> Refusal | None:
        if type(t) not in _NUMBERS or not EARLIEST_T <= t < LATEST_T:
            return Refusal(Reason.BAD_TIME, f"t is {shown(t)}, not seconds since 1970 between the years 2000 and 2100")
        clocks = self._clocks
        clocks.observe(device, t, outcome.received_at)
        offset_s = clocks.offset_s(device)
        if offset_s is not None and len(outcome.skews_s) < _MAX_SKEWS:
            outcome.skews_s.append(offset_s)
        ahead_s = t - outcome.received_at
        if ahead_s <= self._configuration.future_tolerance_s:
            return None
        if ahead_s <= self._configuration.future_tolerance_s + clocks.correction_s(device):
            return None
        return Refusal(
            Reason.FUTURE_TIME, f"measured {ahead_s:.3f} s after it arrived; the device's clock may be wrong"
        )

    def _normalise(self, draft: Draft, v: dict[str, Any], q: dict[str, float]) -> Refusal | None:
        """Fill `v` and `q` with registry units; a refusal where anything about the values is wrong."""
        sent, quality, units, hz = draft.v, draft.q, draft.units, draft.hz
        if type(sent) is not dict or not sent:
            return Refusal(Reason.BAD_FIELD, f"v is {shown(sent)}, not an object with at least one signal")
        if quality is not None and type(quality) is not dict:
            return Refusal(Reason.BAD_FIELD, f"q is {shown(quality)}, not an object")
        if units is not None and type(units) is not dict:
            return Refusal(Reason.BAD_FIELD, f"u is {shown(units)}, not an object")
        if hz is not None and (type(hz) not in _NUMBERS or not 0 < hz <= _MAX_HZ):
            return Refusal(Reason.BAD_FIELD, f"hz is {shown(hz)}, not a rate in 1/s")
        room = self._configuration.max_values_per_reading
        for name, raw in sent.items():
            signal = self._signals.get(name)
            if signal is None:
                return Refusal(Reason.UNKNOWN_SIGNAL, f"{shown(name)} is not in the signal registry")
            unit = None if units is None else units.get(name)
            if type(raw) is list and len(raw) > room:
                return Refusal(Reason.TOO_MANY_VALUES, f"{name} brings the reading to more values than are taken")
            value = _value(signal, raw, unit)
            if type(value) is Refusal:
                return value
            v[name] = value
            room -= len(value) if type(value) is list else 1
            if room < 0:
                return Refusal(Reason.TOO_MANY_VALUES, f"{name} brings the reading to more values than are taken")
            if quality is not None and name in quality:
                rating = quality[name]
                if type(rating) not in _NUMBERS or not 0 <= rating <= 1:
                    return Refusal(Reason.BAD_VALUE, f"quality of {name} is {shown(rating)}, not a number in 0..1")
                q[name] = rating
        return None


class _Building:
    """An outcome while its payload is being judged."""

    __slots__ = ("accepted", "lost", "payload", "quarantined", "received_at", "skews_s", "topic", "whole_kept")

    def __init__(self, topic: str, payload: bytes, received_at: float) -> None:
        self.topic = topic
        self.payload = payload
        self.received_at = received_at
        self.accepted: list[Accepted] = []
        self.quarantined: list[Quarantined] = []
        self.lost = 0
        self.skews_s: list[float] = []
        self.whole_kept = False

    def refuse(self, refusal: Refusal, draft: Draft, identity: int | None, *, alone: bool) -> None:
        raw = self.payload if alone else _encoded(draft.source)
        if raw is None:
            # Too deep to be written on its own: the payload is kept whole, once.
            if self.whole_kept:
                return
            self.whole_kept = True
            raw = self.payload
        reading = "" if identity is None else identity_text(identity)
        t = finite(draft.t)
        device = draft.device if _is_name(draft.device) else ""
        stream = draft.stream if _is_name(draft.stream) else ""
        self.quarantined.append(
            _quarantined(refusal, self.topic, raw, self.received_at, device, stream=stream, t=t, reading=reading)
        )

    def hold(self, reading: dict[str, Any], reading_id: str) -> None:
        device, t = reading["device"], reading["t"]
        refusal = Refusal(Reason.UNBOUND_DEVICE, "no patient was bound to the device at the time of measurement")
        raw = orjson.dumps(reading)
        stream = reading["stream"]
        self.quarantined.append(
            _quarantined(refusal, self.topic, raw, self.received_at, device, stream=stream, t=t, reading=reading_id)
        )


def held_reading(record: Quarantined, patient: str, site: str) -> Accepted:
    """The telemetry record of a reading that waited in quarantine for its device to be bound, with the time of its
    first arrival. `record.reason` must be `unbound_device`: what it holds was validated then."""
    fields = orjson.loads(record.payload())
    t = fields["t"]
    rest = {name: fields[name] for name in ("v", "q", "hz", "hashed") if name in fields}
    head = {name: fields[name] for name in ("device", "stream", "session", "seq", "t")}
    value = orjson.dumps({"kind": "reading", **head, "received_at": record.received_at, **rest})
    return Accepted(
        patient.encode(),
        value,
        _headers(f"/{site}/{fields['device']}/{fields['stream']}".encode(), record.reading, t),
        record.reading,
        fields["device"],
        t,
    )


def _headers(source: bytes, reading_id: str, t: float) -> tuple[tuple[str, bytes], ...]:
    """CloudEvents attributes in Kafka's binary mode."""
    time = datetime.fromtimestamp(t, UTC).isoformat(timespec="microseconds")
    return (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"biotwin.reading.v1"),
        ("ce_source", source),
        ("ce_id", reading_id.encode()),
        ("ce_time", time.encode()),
        ("ce_dataschema", b"biotwin:reading:1"),
    )


def _is_name(value: Any) -> bool:
    return type(value) is str and _NAME(value) is not None


def _named(device: Any, stream: Any) -> bool:
    return _is_name(device) and _is_name(stream) and ":" not in stream and device != ALERTS


def _decoded(payload: bytes) -> Any:
    """The JSON document, or a `Refusal`.

    What orjson refuses gets a second look by the standard library, which reads NaN, Infinity, 1e400 and lone
    surrogates: so one bad number in a gateway's batch costs its own reading, not the batch.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        return Refusal(Reason.NOT_UTF8, f"byte {error.start} is not UTF-8")
    try:
        return json.loads(text)
    except RecursionError:
        return Refusal(Reason.NOT_JSON, "nested too deeply")
    except json.JSONDecodeError as error:
        return Refusal(Reason.NOT_JSON, f"{error.msg} at character {error.pos}")
    except ValueError:
        return Refusal(Reason.NOT_JSON, "a number with too many digits")


def _encoded(source: Any) -> bytes | None:
    """JSON of one refused item; None when it is nested too deeply to be written."""
    try:
        encoded = orjson.dumps(source)
    except TypeError:
        encoded = b"null"
    if b"null" not in encoded:
        return encoded
    # orjson writes NaN and infinities as null and takes no lone surrogates; the standard library keeps both.
    try:
        return json.dumps(source, separators=(",", ":")).encode()
    except (RecursionError, ValueError):
        return None


def _value(signal: Signal, raw: Any, unit: Any) -> Any:
    """The value in the registry's unit, or a `Refusal`."""
    kind = type(raw)
    if signal.shape == "code":
        return _code(signal, raw, unit)
    scale = None
    if unit is not None:
        scale = conversion(unit, signal.ucum) if type(unit) is str else None
        if scale is None:
            return Refusal(Reason.WRONG_UNIT, f"{signal.name} in {shown(unit)} cannot be turned into {signal.ucum}")
        if unit == signal.ucum:
            scale = None
    if signal.shape == "scalar":
        if kind not in _NUMBERS or (scale is not None and finite(raw) is None):
            return Refusal(Reason.BAD_VALUE, f"{signal.name} is {shown(raw)}, not a number")
        value = raw if scale is None else raw * scale.scale + scale.offset
        if signal.low <= value <= signal.high:
            return value
        return _implausible(signal, value)
    values: list[Any] = raw if kind is list else [raw]
    if not values:
        return values
    if not _NUMBERS.issuperset(map(type, values)):
        return Refusal(Reason.BAD_VALUE, f"{signal.name} holds something that is not a number")
    if scale is not None:
        if any(finite(value) is None for value in values):
            return Refusal(Reason.BAD_VALUE, f"{signal.name} holds a number that is not finite")
        values = [value * scale.scale + scale.offset for value in values]
    low, high = signal.low, signal.high
    for value in values:
        if not low <= value <= high:
            return _implausible(signal, value)
    return values


def _implausible(signal: Signal, value: float) -> Refusal:
    if value - value != 0.0:
        return Refusal(Reason.BAD_VALUE, f"{signal.name} is not a finite number")
    limits = f"{signal.low:g} to {signal.high:g} {signal.ucum}"
    return Refusal(Reason.IMPLAUSIBLE_VALUE, f"{signal.name} is {shown(value)}, outside {limits}")


def _code(signal: Signal, raw: Any, unit: Any) -> Any:
    if unit is not None and unit != signal.ucum:
        return Refusal(Reason.WRONG_UNIT, f"{signal.name} is a code and has no unit {shown(unit)}")
    if type(raw) is str and raw in signal.codes:
        return raw
    if type(raw) is bool and len(signal.codes) == 2:
        for code, number in signal.codes.items():
            if number == int(raw):
                return code
    return Refusal(Reason.BAD_VALUE, f"{signal.name} is {shown(raw)}, not one of {', '.join(signal.codes)}")


def _content_number(t: float, v: dict[str, Any]) -> int:
    """A reading's number where its format has none: the first 63 bits of BLAKE2b over canonical (t, values).

    63, not 64: the number stands in signed 64-bit columns and in JSON.
    """
    content = orjson.dumps([float(t), v], option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") >> 1


def _quarantined(
    refusal: Refusal,
    topic: str,
    raw: bytes,
    received_at: float,
    device: str = "",
    *,
    stream: str = "",
    t: float | None = None,
    reading: str = "",
) -> Quarantined:
    """A quarantine record. Its id comes from topic and bytes alone: delivered twice, it is the same record."""
    whole = len(raw)
    raw = formats.without_persons(raw)
    identity = blake2b(topic.encode() + b"\x1f" + raw, digest_size=8).hexdigest()
    detail = refusal.detail
    if whole and not raw:
        detail = f"{detail}; its {whole} bytes may name a person and are not kept"
    if len(raw) > MAX_RAW_BYTES:
        detail = f"{detail}; only the first {MAX_RAW_BYTES} of {len(raw)} bytes are kept"
        raw = raw[:MAX_RAW_BYTES]
    return Quarantined(
        id=identity,
        reason=refusal.reason,
        detail=detail,
        topic=topic,
        received_at=received_at,
        raw=encode_raw(raw),
        device=device,
        stream=stream,
        t=t,
        reading=reading,
    )
