"""SenML packs in JSON (RFC 8428): an array of records with base fields.

`[{"bn": "urn:dev:mac:0024befffe804ff1:chest:", "bt": 1763900000, "n": "heart_rate", "u": "beat/min", "v": 72}, …]`

**Names.** The full name (`bn` + `n`) is `device:stream:signal`, cut at its last two colons, so that a device may be a
URN. On a device's own topic the topic names device and stream; only what follows the last colon, the signal, counts.

**Readings.** Records of one device, stream and time are one reading. It has no session and no counter: its session is
"senml" and its number a hash of the content. Several records of one list signal (`rr_ms`) append to the list.

**Times.** Below 2**28 a time is relative to arrival (RFC 8428 §4.5.3); such a record gets another identity when it is
delivered twice, so a device that needs exact counting sends absolute times.

**Values.** `v` for numbers, `vs` for codes, `vb` for signals with the two codes 0 and 1. `vd` and the sum `s` have no
meaning for a signal and are refused, as is a field that must be understood (a name ending in `_`).
"""

from __future__ import annotations

from typing import Any

from contracts.quarantine import Reason
from ingest.draft import Context, Draft, Refusal, finite, shown

VERSION = 10
"""The version of SenML of RFC 8428 (`bver`)."""

RELATIVE_BELOW = 2**28
"""Times below this many seconds count from now (RFC 8428 §4.5.3)."""

_BASE = ("bn", "bt", "bu", "bv", "bs", "bver")
_VALUES = ("v", "vs", "vb", "vd", "s")
_MAX_NAME = 256


def recognise(item: dict[str, Any]) -> bool:
    """A record has a name of its own or a base name."""
    return "n" in item or "bn" in item


class _Group:
    """The records of one device, stream and time."""

    __slots__ = ("device", "records", "refusal", "stream", "t", "units", "v")

    def __init__(self, device: str | None, stream: str | None, t: float) -> None:
        self.device = device
        self.stream = stream
        self.t = t
        self.v: dict[str, Any] = {}
        self.units: dict[str, Any] = {}
        self.records: list[dict[str, Any]] = []
        self.refusal: Refusal | None = None

    def add(self, signal: str, value: Any, unit: Any) -> Refusal | None:
        if unit is not None:
            former = self.units.setdefault(signal, unit)
            if former != unit:
                return Refusal(Reason.WRONG_UNIT, f"{shown(signal)} comes in {shown(former)} and in {shown(unit)}")
        if signal not in self.v:
            self.v[signal] = value
        else:
            former_value = self.v[signal]
            if not isinstance(former_value, list):
                former_value = self.v[signal] = [former_value]
            former_value.append(value)
        return None

    def draft(self) -> Draft:
        return Draft(
            self.records,
            self.device,
            self.stream,
            t=self.t,
            v=self.v,
            units=self.units or None,
            refusal=self.refusal,
        )


def parse(items: list[Any], context: Context) -> list[Draft]:
    """One draft per (device, stream, time) in order of first appearance, and one per record that names none."""
    base: dict[str, Any] = {}
    refused: list[Draft] = []
    groups: dict[tuple[str | None, str | None, float], _Group] = {}
    for item in items:
        if type(item) is not dict:
            refused.append(Draft(item, refusal=Refusal(Reason.BAD_FIELD, f"a record is an object, not {shown(item)}")))
            continue
        for name in _BASE:
            if name in item:
                base[name] = item[name]
        refusal = _base_refusal(base)
        if refusal is not None:
            # Everything after it would rest on a base that means something else.
            return [Draft(items, refusal=refusal)]
        if "n" not in item and not any(name in item for name in _VALUES):
            continue
        _take_record(item, base, context, groups, refused)
    return [*(group.draft() for group in groups.values()), *refused]


def _base_refusal(base: dict[str, Any]) -> Refusal | None:
    name = base.get("bn", "")
    if type(name) is not str or len(name) > _MAX_NAME:
        return Refusal(Reason.BAD_FIELD, f"base name is {shown(name)}")
    for field in ("bt", "bv"):
        if field in base and finite(base[field]) is None:
            return Refusal(Reason.BAD_FIELD, f"{field} is {shown(base[field])}, not a number")
    version = base.get("bver", VERSION)
    if type(version) is not int or not 1 <= version <= VERSION:
        return Refusal(Reason.BAD_FIELD, f"SenML version {shown(version)}; up to {VERSION} is understood")
    return None


def _take_record(
    item: dict[str, Any],
    base: dict[str, Any],
    context: Context,
    groups: dict[tuple[str | None, str | None, float], _Group],
    refused: list[Draft],
) -> None:
    own_name = item.get("n", "")
    if type(own_name) is not str or len(own_name) > _MAX_NAME:
        refused.append(Draft(item, refusal=Refusal(Reason.BAD_FIELD, f"name is {shown(own_name)}")))
        return
    name = base.get("bn", "") + own_name
    time = finite(item.get("t", 0))
    if time is None:
        refused.append(Draft(item, refusal=Refusal(Reason.BAD_TIME, f"time is {shown(item.get('t'))}, not a number")))
        return
    t = base.get("bt", 0) + time
    if t < RELATIVE_BELOW:
        t += context.received_at
    unit = item.get("u", base.get("bu"))
    record = {"n": name, "t": t} | ({} if unit is None else {"u": unit}) | {k: item[k] for k in _VALUES if k in item}
    head, _, signal = name.rpartition(":")
    device, stream = context.device, context.stream
    if device is None:
        device, _, stream = head.rpartition(":")
        if not device or not stream:
            detail = f"name {shown(name)} is not device:stream:signal"
            refused.append(Draft([record], refusal=Refusal(Reason.BAD_FIELD, detail)))
            return
    key = (device, stream, t)
    group = groups.get(key)
    if group is None:
        group = groups[key] = _Group(device, stream, t)
    value, refusal = _value(item, base)
    if refusal is None and "bv" in base and type(value) in (int, float):
        record["v"] = value
    group.records.append(record)
    if refusal is None:
        refusal = group.add(signal, value, unit)
    if group.refusal is None:
        group.refusal = refusal


def _value(item: dict[str, Any], base: dict[str, Any]) -> tuple[Any, Refusal | None]:
    for field in item:
        if field.endswith("_"):
            return None, Refusal(Reason.BAD_FIELD, f"field {shown(field)} must be understood and is not")
    present = [field for field in _VALUES if field in item]
    if len(present) > 1:
        return None, Refusal(Reason.BAD_VALUE, f"more than one value: {', '.join(present)}")
    if present == ["v"] or (not present and "bv" in base):
        number = finite(item.get("v", 0))
        if number is None:
            return None, Refusal(Reason.BAD_VALUE, f"v is {shown(item['v'])}, not a number")
        return (base["bv"] + number if "bv" in base else number), None
    if present in (["vs"], ["vb"]):
        wanted, value = (str, item["vs"]) if present == ["vs"] else (bool, item["vb"])
        if type(value) is wanted:
            return value, None
        return None, Refusal(Reason.BAD_VALUE, f"{present[0]} is {shown(value)}")
    return None, Refusal(Reason.BAD_VALUE, "a record needs one of v, vs, vb")
