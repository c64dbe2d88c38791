"""Open mHealth and IEEE 1752.1 data points: a `header` that names a schema, and a `body` that follows it.

`{"header": {"id": "…", "schema_id": {"namespace": "omh", "name": "heart-rate", "version": "2.0"}}, "body":
{"heart_rate": {"value": 72, "unit": "beats/min"}, "effective_time_frame": {"date_time": "2026-01-31T14:05:00Z"}}}`
(https://www.openmhealth.org/documentation/#/schema-docs; IEEE Std 1752.1-2021 keeps the same two parts.)

**What it measures.** The schemas of `SCHEMAS`, in the namespaces omh, ieee and granola, any version. Of descriptive
statistics an average and a median are taken; the lowest or highest of an interval is no value of its end.

**When.** `date_time`, or the end of `time_interval`, with time and zone.

**Who.** The device is the MQTT topic's and the patient the device's binding: `user_id`, `acquisition_provenance` and
notes are not read, and `scrub` leaves them out of what goes to quarantine.

**Which.** The session is "openmhealth". The number is a hash of the header's `id` (in IEEE 1752.1 its `uuid`), else of
the content.
"""

from __future__ import annotations

import re
from typing import Any

from contracts.quarantine import Reason
from contracts.signals import default_registry
from ingest.draft import Context, Draft, Refusal, finite, shown
from ingest.own_numbers import kept_id, number_of
from ingest.times import instant

SESSION = "openmhealth"
NAMESPACES = frozenset({"omh", "ieee", "granola"})

SCHEMAS: dict[str, dict[str, str]] = {
    "blood-glucose": {"blood_glucose": "glucose_mg_dl"},
    "blood-pressure": {
        "systolic_blood_pressure": "systolic_pressure",
        "diastolic_blood_pressure": "diastolic_pressure",
        "mean_blood_pressure": "mean_pressure",
    },
    "body-temperature": {"body_temperature": "body_temperature"},
    "body-weight": {"body_weight": "body_weight"},
    "heart-rate": {"heart_rate": "heart_rate"},
    "oxygen-saturation": {"oxygen_saturation": "spo2"},
    "respiratory-rate": {"respiratory_rate": "respiratory_rate"},
    "rr-interval": {"rr_interval": "rr_ms"},
    "speed": {"speed": "speed_mps"},
    "step-count": {"step_count": "steps"},
}
"""Schema name to the fields of its body and the signals they are."""

UNITS = {
    "beats/min": "/min",
    "breaths/min": "/min",
    "mmHg": "mm[Hg]",
    "C": "Cel",
    "F": "[degF]",
    "sec": "s",
    "lb": "[lb_av]",
    "steps": "{steps}",
}
"""Units as the schemas write them, where that is not UCUM."""

TAKEN_STATISTICS = frozenset({"average", "median"})

_SECONDS = {"ms": 0.001, "sec": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WORD = re.compile(r"[A-Za-z0-9._/%\[\]{}-]{1,48}")


def recognise(item: dict[str, Any]) -> bool:
    """A data point has a header."""
    return type(item.get("header")) is dict


def parse(items: list[Any], context: Context) -> list[Draft]:
    """One draft per data point."""
    return [_draft(item, context) for item in items]


def scrub(point: dict[str, Any]) -> dict[str, Any]:
    """The parts of a data point that are read."""
    header, body = point.get("header"), point.get("body")
    kept_header: dict[str, Any] = {}
    kept_body: dict[str, Any] = {}
    if type(header) is dict:
        own = _own_id(header)
        if own is not None:
            kept_header["id"] = own
        schema = header.get("schema_id")
        if type(schema) is dict:
            kept_header["schema_id"] = {
                name: schema[name] for name in ("namespace", "name", "version") if _is_word(schema.get(name))
            }
    if type(body) is dict:
        for field in SCHEMAS.get(_schema_name(point), {}):
            if field in body:
                kept_body[field] = _scrubbed_value(body[field])
        if _is_word(body.get("descriptive_statistic")):
            kept_body["descriptive_statistic"] = body["descriptive_statistic"]
        frame = body.get("effective_time_frame")
        if type(frame) is dict:
            kept_body["effective_time_frame"] = _scrubbed_frame(frame)
    return {"header": kept_header, "body": kept_body}


def _scrubbed_value(value: Any) -> Any:
    if type(value) is not dict:
        return value if type(value) in (int, float) else None
    number = {"value": value["value"]} if type(value.get("value")) in (int, float) else {}
    return number | ({"unit": value["unit"]} if _is_word(value.get("unit")) else {})


def _scrubbed_frame(frame: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if "date_time" in frame:
        kept["date_time"] = _time_text(frame["date_time"])
    interval = frame.get("time_interval")
    if type(interval) is dict:
        kept["time_interval"] = {
            name: _time_text(interval[name]) for name in ("start_date_time", "end_date_time") if name in interval
        }
        if "duration" in interval:
            kept["time_interval"]["duration"] = _scrubbed_value(interval["duration"])
    return kept


def _time_text(value: Any) -> str:
    """A time that can be read; of one that cannot, only that it was there."""
    return str(value) if instant(value) is not None else ""


def _is_word(value: Any) -> bool:
    return type(value) is str and _WORD.fullmatch(value) is not None


def _own_id(header: dict[str, Any]) -> str | None:
    own = header.get("id", header.get("uuid"))
    return kept_id(own) if type(own) is str and own else None


def _schema_name(point: dict[str, Any]) -> str:
    header = point.get("header")
    schema = header.get("schema_id") if type(header) is dict else None
    if type(schema) is not dict or type(schema.get("name")) is not str or schema.get("namespace") not in _NAMESPACES:
        return ""
    return str(schema["name"])


_NAMESPACES: tuple[Any, ...] = tuple(NAMESPACES)


def _draft(point: Any, context: Context) -> Draft:
    if type(point) is not dict or not recognise(point):
        refusal = Refusal(Reason.BAD_FIELD, f"a data point has a header and a body, it is not {_kind(point)}")
        return Draft(None, refusal=refusal)
    own = _own_id(point["header"])
    named: dict[str, Any] = {} if own is None else {"session": SESSION, "seq": number_of(own), "hashed": True}
    body = point.get("body")
    t = _effective(body.get("effective_time_frame")) if type(body) is dict else None
    base = Draft(scrub(point), context.device, context.stream, t=t, **named)
    if context.device is None:
        detail = "a data point comes on its device's own topic: on a gateway's nothing says whose it is"
        return base._replace(refusal=Refusal(Reason.BAD_FIELD, detail))
    fields = SCHEMAS.get(_schema_name(point))
    if fields is None:
        name = base.source["header"].get("schema_id", {}).get("name")
        return base._replace(refusal=Refusal(Reason.UNKNOWN_SIGNAL, f"schema {shown(name)} holds no known signal"))
    if type(body) is not dict:
        return base._replace(refusal=Refusal(Reason.BAD_FIELD, "the body is not an object"))
    if t is None:
        detail = "there is no effective_time_frame with a date, a time and its zone"
        return base._replace(refusal=Refusal(Reason.BAD_TIME, detail))
    statistic = body.get("descriptive_statistic", "average")
    if type(statistic) is not str or statistic not in TAKEN_STATISTICS:
        return base._replace(refusal=Refusal(Reason.BAD_VALUE, "a statistic other than the average and the median"))
    v: dict[str, Any] = {}
    units: dict[str, str] = {}
    for field, signal in fields.items():
        if field not in body:
            continue
        value = body[field]
        number = finite(value.get("value") if type(value) is dict else value)
        if number is None:
            return base._replace(refusal=Refusal(Reason.BAD_VALUE, f"{signal} is not a number"))
        unit = value.get("unit") if type(value) is dict else "{steps}" if signal == "steps" else None
        if not _is_word(unit):
            return base._replace(refusal=Refusal(Reason.WRONG_UNIT, f"{signal} has no unit"))
        v[signal] = [number] if default_registry()[signal].shape == "beats" else number
        units[signal] = UNITS.get(str(unit), str(unit))
    if not v:
        return base._replace(refusal=Refusal(Reason.NO_VALUE, "the body holds no value of its schema"))
    return base._replace(v=v, units=units)


def _kind(point: Any) -> str:
    return "an object without one" if type(point) is dict else "a value of another kind"


def _effective(frame: Any) -> float | None:
    if type(frame) is not dict:
        return None
    if "date_time" in frame:
        return instant(frame["date_time"])
    interval = frame.get("time_interval")
    if type(interval) is not dict:
        return None
    if "end_date_time" in interval:
        return instant(interval["end_date_time"])
    start, duration = instant(interval.get("start_date_time")), interval.get("duration")
    if start is None or type(duration) is not dict or type(duration.get("unit")) is not str:
        return None
    length, scale = finite(duration.get("value")), _SECONDS.get(duration["unit"])
    return start + length * scale if length is not None and scale is not None else None
