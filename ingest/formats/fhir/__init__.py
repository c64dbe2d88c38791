"""FHIR R4: Observations, alone, in an array, or as entries of a Bundle (https://hl7.org/fhir/R4/observation.html).

**What it measures.** `code`, and the `code` of each component, by LOINC, MDC or `urn:biotwin:signal`
(`contracts/codes.py`). Values: `valueQuantity` in UCUM, `valueCodeableConcept` of our own codes, and
`valueSampledData` with one dimension for waveforms. One Observation is one reading; a code that is not known refuses it
whole, a component with a reason for its absence is left out.

**When.** `effectiveDateTime` or `effectiveInstant`, with time and zone; of an `effectivePeriod` the end, of sampled
data its start. `issued` is not when it was measured.

**Who.** The device is the MQTT topic's and the patient the device's binding: `subject`, `device`, `performer` and
everything else that may name a person are not read, and `scrub` leaves them out of what goes to quarantine. In a
Bundle, resources of other types are passed over.

**Which.** The session is "fhir". The number is a hash of the source's own identifiers, else of its `id`, else of the
content. An Observation that corrects another has a number of its own.
"""

from __future__ import annotations

import re
from typing import Any

from contracts.codes import QUALITY, UCUM, signals_by_code, value_system
from contracts.quarantine import Reason
from contracts.signals import default_registry
from ingest.draft import Context, Draft, Refusal, finite, shown
from ingest.own_numbers import kept_id, number_of
from ingest.times import instant

SESSION = "fhir"
RESULTS = frozenset({"preliminary", "final", "amended", "corrected"})
"""Statuses that stand for a result; the others say that there is none."""

CORRECTIONS = frozenset({"amended", "corrected"})

_CODE = re.compile(r"[A-Za-z0-9._:/\[\]{}%*^-]{1,64}")
_SYSTEM = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_DATA = re.compile(r"[0-9.eEUL+ -]{1,400000}")


def recognise(item: dict[str, Any]) -> bool:
    """Every FHIR resource says what it is."""
    return "resourceType" in item


def parse(items: list[Any], context: Context) -> list[Draft]:
    """One draft per Observation."""
    drafts: list[Draft] = []
    for item in items:
        if type(item) is not dict or not recognise(item):
            refusal = Refusal(Reason.BAD_FIELD, "a FHIR resource is an object that names its resourceType")
            drafts.append(Draft(None, refusal=refusal))
        elif item["resourceType"] == "Bundle":
            entries = item.get("entry")
            resources = [one.get("resource") for one in entries if type(one) is dict] if type(entries) is list else []
            drafts += [
                _draft(resource, context)
                for resource in resources
                if type(resource) is dict and resource.get("resourceType") == "Observation"
            ]
        elif item["resourceType"] == "Observation":
            drafts.append(_draft(item, context))
        else:
            refusal = Refusal(Reason.BAD_FIELD, "a FHIR resource that is neither an Observation nor a Bundle")
            drafts.append(Draft(scrub(item), refusal=refusal))
    return drafts


def scrub(resource: dict[str, Any]) -> dict[str, Any]:
    """The parts of a resource that are read, without text that a person wrote and without anything that names one."""
    kind = resource.get("resourceType")
    if kind == "Bundle":
        entries = resource.get("entry")
        kept = [
            {"resource": scrub(one["resource"])}
            for one in (entries if type(entries) is list else [])
            if type(one) is dict and type(one.get("resource")) is dict
        ]
        return {"resourceType": "Bundle", "entry": [one for one in kept if one["resource"]]}
    if kind != "Observation":
        return {}
    kept_fields: dict[str, Any] = {"resourceType": "Observation"}
    own = _own_id(resource)
    if own is not None:
        kept_fields["id"] = own
    kept_fields |= _matching(resource, "status", _CODE)
    for name in ("effectiveDateTime", "effectiveInstant"):
        kept_fields |= _time(resource, name)
    period = resource.get("effectivePeriod")
    if type(period) is dict:
        kept_fields["effectivePeriod"] = _time(period, "start") | _time(period, "end")
    kept_fields |= _scrubbed_part(resource)
    components = resource.get("component")
    if type(components) is list:
        kept_fields["component"] = [_scrubbed_part(one) for one in components if type(one) is dict]
    return kept_fields


def _scrubbed_part(part: dict[str, Any]) -> dict[str, Any]:
    """What is read of an Observation and of a component alike."""
    kept: dict[str, Any] = {}
    if "code" in part:
        kept["code"] = _scrubbed_concept(part["code"])
    if "dataAbsentReason" in part:
        kept["dataAbsentReason"] = _scrubbed_concept(part["dataAbsentReason"])
    if type(part.get("valueQuantity")) is dict:
        kept["valueQuantity"] = _scrubbed_quantity(part["valueQuantity"])
    if "valueCodeableConcept" in part:
        kept["valueCodeableConcept"] = _scrubbed_concept(part["valueCodeableConcept"])
    sampled = part.get("valueSampledData")
    if type(sampled) is dict:
        origin = sampled.get("origin")
        numbers = {name: sampled[name] for name in ("period", "factor", "dimensions") if _is_number(sampled.get(name))}
        kept["valueSampledData"] = (
            ({"origin": _scrubbed_quantity(origin)} if type(origin) is dict else {})
            | numbers
            | _matching(sampled, "data", _DATA)
        )
    # Of a value of another kind, that it was there.
    kept |= {name: "" for name in _values_of(part) if name in _OTHER_KINDS and name not in kept}
    quality = _quality(part)
    if quality is not None:
        kept["extension"] = [{"url": QUALITY, "valueDecimal": quality}]
    return kept


def _scrubbed_concept(concept: Any) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code} for system, code in _codings(concept)]}


def _scrubbed_quantity(quantity: dict[str, Any]) -> dict[str, Any]:
    value = {"value": quantity["value"]} if _is_number(quantity.get("value")) else {}
    texts = {
        name: quantity[name]
        for name, pattern in (("unit", _CODE), ("system", _SYSTEM), ("code", _CODE), ("comparator", _COMPARATOR))
        if type(quantity.get(name)) is str and pattern.fullmatch(quantity[name])
    }
    return value | texts


_COMPARATOR = re.compile(r"[<>]=?")


def _matching(fields: dict[str, Any], name: str, pattern: re.Pattern[str]) -> dict[str, Any]:
    value = fields.get(name)
    return {name: value} if type(value) is str and pattern.fullmatch(value) else {}


def _time(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """A time that can be read; of one that cannot, only that it was there."""
    if name not in fields:
        return {}
    return {name: fields[name] if instant(fields[name]) is not None else ""}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _own_id(resource: dict[str, Any]) -> str | None:
    """Stands for the source's identifiers, else for its id; None where it has neither. An identifier may hold a
    patient's number (the pattern of the Personal Health Device guide does)."""
    identifiers = resource.get("identifier")
    named = [
        (one.get("system", ""), one["value"])
        for one in (identifiers if type(identifiers) is list else [])
        if type(one) is dict and type(one.get("value")) is str and type(one.get("system", "")) is str
    ]
    status = _status(resource)
    correction = [status] if status in CORRECTIONS else []
    if named:
        return kept_id("identifier", *(text for one in sorted(named) for text in one), *correction)
    own = resource.get("id")
    if type(own) is not str or not own:
        return None
    if kept_id(own) == own:
        return own
    return kept_id("id", own, *correction)


def _draft(resource: dict[str, Any], context: Context) -> Draft:
    own = _own_id(resource)
    named: dict[str, Any] = {} if own is None else {"session": SESSION, "seq": number_of(own), "hashed": True}
    source = scrub(resource)
    sampled = type(resource.get("valueSampledData")) is dict
    t = _effective(resource, at_start=sampled)
    base = Draft(source, context.device, context.stream, t=t, **named)
    if context.device is None:
        detail = "a FHIR resource comes on its device's own topic: on a gateway's nothing says whose it is"
        return base._replace(refusal=Refusal(Reason.BAD_FIELD, detail))
    status = _status(resource)
    if status not in RESULTS:
        return base._replace(refusal=Refusal(Reason.NO_VALUE, f"its status is {status or 'not one of FHIR'}"))
    if t is None:
        detail = "there is no effectiveDateTime, effectiveInstant or effectivePeriod with time and zone"
        return base._replace(refusal=Refusal(Reason.BAD_TIME, detail))
    return _with_values(base, resource)


def _effective(resource: dict[str, Any], *, at_start: bool) -> float | None:
    for name in ("effectiveDateTime", "effectiveInstant"):
        if name in resource:
            return instant(resource[name])
    period = resource.get("effectivePeriod")
    if type(period) is not dict:
        return None
    order = ("start", "end") if at_start else ("end", "start")
    return next((instant(period[name]) for name in order if name in period), None)


def _with_values(base: Draft, resource: dict[str, Any]) -> Draft:
    components = resource.get("component", [])
    if type(components) is not list or any(type(one) is not dict for one in components):
        return base._replace(refusal=Refusal(Reason.BAD_FIELD, "component is not an array of objects"))
    own = [resource] if _values_of(resource) or not components else []
    present = [part for part in (*own, *components) if "dataAbsentReason" not in part]
    if not present:
        return base._replace(refusal=Refusal(Reason.NO_VALUE, "a dataAbsentReason stands in place of every value"))
    v: dict[str, Any] = {}
    q: dict[str, float] = {}
    units: dict[str, Any] = {}
    hz: float | None = None
    for part in present:
        signal = _signal(part.get("code"))
        if isinstance(signal, Refusal):
            return base._replace(refusal=signal)
        if signal in v:
            return base._replace(refusal=Refusal(Reason.BAD_FIELD, f"{signal} stands in it twice"))
        taken = _value(signal, part)
        if isinstance(taken, Refusal):
            return base._replace(refusal=taken)
        v[signal], unit, rate = taken
        if unit is not None:
            units[signal] = unit
        if rate is not None:
            if hz not in {None, rate}:
                return base._replace(refusal=Refusal(Reason.BAD_FIELD, "its series have different periods"))
            hz = rate
        quality = _quality(part)
        if quality is not None:
            q[signal] = quality
    return base._replace(v=v, q=q or None, units=units or None, hz=hz)


def _values_of(part: dict[str, Any]) -> list[str]:
    return [name for name in part if name.startswith("value")]


def _codings(concept: Any) -> list[tuple[str, str]]:
    codings = concept.get("coding") if type(concept) is dict else None
    return [
        (one["system"], one["code"])
        for one in (codings if type(codings) is list else [])
        if type(one) is dict
        and (type(one.get("system")) is str and _SYSTEM.fullmatch(one["system"]))
        and (type(one.get("code")) is str and _CODE.fullmatch(one["code"]))
    ]


def _signal(concept: Any) -> str | Refusal:
    codings = _codings(concept)
    known = signals_by_code()
    meant = {known[coding] for coding in codings if coding in known}
    if len(meant) == 1:
        return meant.pop()
    named = ", ".join(f"{system}#{code}" for system, code in codings[:4]) or "nothing"
    if meant:
        return Refusal(Reason.BAD_FIELD, f"its codes mean more than one signal: {named}"[:256])
    return Refusal(Reason.UNKNOWN_SIGNAL, f"no signal of the registry is coded by {named}"[:256])


_Taken = tuple[Any, str | None, float | None]


def _value(signal: str, part: dict[str, Any]) -> _Taken | Refusal:
    """The value as sent, its unit, and the sampling rate of a series."""
    present = _values_of(part)
    if not present:
        return Refusal(Reason.NO_VALUE, f"{signal} has no value")
    if len(present) > 1:
        return Refusal(Reason.BAD_FIELD, f"{signal} has more than one value")
    value = part[present[0]]
    if present[0] == "valueQuantity" and type(value) is dict:
        return _quantity(signal, value)
    if present[0] == "valueSampledData" and type(value) is dict:
        return _sampled(signal, value)
    if present[0] == "valueCodeableConcept":
        codes = [code for system, code in _codings(value) if system == value_system(signal)]
        if len(codes) == 1:
            return codes[0], None, None
        return Refusal(Reason.BAD_VALUE, f"{signal} has no code of {value_system(signal)}")
    kind = present[0] if present[0] in _OTHER_KINDS else "a value of another kind"
    return Refusal(Reason.BAD_VALUE, f"{signal} comes as {kind}, which is not taken")


_OTHER_KINDS = frozenset(
    {
        *("valueQuantity", "valueSampledData", "valueString", "valueBoolean", "valueInteger", "valueRange"),
        *("valueRatio", "valueTime", "valueDateTime", "valuePeriod"),
    }
)


def _quantity(signal: str, quantity: dict[str, Any]) -> _Taken | Refusal:
    value = finite(quantity.get("value"))
    if value is None:
        return Refusal(Reason.BAD_VALUE, f"the value of {signal} is not a number")
    if "comparator" in quantity:
        return Refusal(Reason.BAD_VALUE, f"{signal} is a bound ({shown(quantity['comparator'])[:8]}), not a value")
    unit = _unit(signal, quantity)
    if isinstance(unit, Refusal):
        return unit
    return ([value] if default_registry()[signal].shape in {"beats", "waveform"} else value), unit, None


def _unit(signal: str, quantity: dict[str, Any]) -> str | Refusal:
    code = quantity.get("code")
    if quantity.get("system") == UCUM and type(code) is str and _CODE.fullmatch(code):
        return code
    return Refusal(Reason.WRONG_UNIT, f"{signal} has no unit of {UCUM}")


def _sampled(signal: str, sampled: dict[str, Any]) -> _Taken | Refusal:
    origin = sampled.get("origin")
    zero = finite(origin.get("value")) if type(origin) is dict else None
    period_ms = finite(sampled.get("period"))
    factor = finite(sampled.get("factor", 1.0))
    data = sampled.get("data")
    if type(origin) is not dict or zero is None or period_ms is None or period_ms <= 0 or factor is None:
        return Refusal(Reason.BAD_FIELD, f"{signal} needs an origin, a period above 0 ms and, if any, a factor")
    if sampled.get("dimensions") != 1:
        return Refusal(Reason.BAD_FIELD, f"{signal} has other than one dimension")
    unit = _unit(signal, origin)
    if isinstance(unit, Refusal):
        return unit
    if type(data) is not str or not _DATA.fullmatch(data):
        return Refusal(Reason.BAD_VALUE, f"the data of {signal} is no list of numbers")
    try:
        numbers = [float(word) for word in data.split(" ")]
    except ValueError:
        return Refusal(Reason.BAD_VALUE, f"{signal} has samples that are no numbers (E, U and L: error and overrun)")
    return [number * factor + zero for number in numbers], unit, 1000.0 / period_ms


def _quality(part: dict[str, Any]) -> float | None:
    extensions = part.get("extension")
    for one in extensions if type(extensions) is list else []:
        if type(one) is dict and one.get("url") == QUALITY:
            return finite(one.get("valueDecimal"))
    return None


def _status(resource: dict[str, Any]) -> str:
    """The status where it is a code at all."""
    return str(_matching(resource, "status", _CODE).get("status", ""))
