"""Latest values of signals as Observations.

LOINC and MDC codes and UCUM units from the signal registry; the profiles of R4's vital signs where there is one
(https://hl7.org/fhir/R4/observation-vitalsigns.html). Blood pressures of one reading stand in one Observation, 85354-9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from alerts.fhir.r4 import concept, identifier, instant, patient_reference
from contracts.codes import LOINC, PRESSURE_PANEL, QUALITY, UCUM, codes_of, value_system
from contracts.signals import Signal, default_registry

CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
AGE = "urn:biotwin:age"
"""URL of the extension that says how old the value is (valueQuantity in s) where it is served."""

STALE = "urn:biotwin:stale"
"""URL of the extension that says whether it is too old to be used (valueBoolean): the registry's `validity_s`."""

PRESSURES = ("systolic_pressure", "diastolic_pressure", "mean_pressure")

_PROFILE = "http://hl7.org/fhir/StructureDefinition/"
_PROFILES = {
    "heart_rate": "heartrate",
    "spo2": "oxygensat",
    "respiratory_rate": "resprate",
    "body_temperature": "bodytemp",
    "body_weight": "bodyweight",
}
_CATEGORIES = {
    **dict.fromkeys((*_PROFILES, *PRESSURES), "vital-signs"),
    **dict.fromkeys(("power_w", "speed_mps", "grade_pct", "cadence_per_min", "steps"), "activity"),
    **dict.fromkeys(("mood", "stress", "rpe", "symptom"), "survey"),
    "glucose_mg_dl": "laboratory",
}


class Measured(NamedTuple):
    """One value of one signal, in the registry's unit, a code as its number; times in s since the epoch.

    `reading` is the reading's id; `received_at` when it arrived; `settled` whether it no longer can change.
    """

    signal: str
    value: float
    t: float
    quality: float
    reading: str
    received_at: float | None = None
    settled: bool = True


def category_of(signal: str) -> str:
    """The category of a signal's Observation, of FHIR's code system of categories."""
    return _CATEGORIES.get(signal, "exam")


def observations(patient: str, values: Iterable[Measured], now: float | None = None) -> list[dict[str, Any]]:
    """One Observation for each value, and one for the blood pressures of each reading, in the order of the values.

    `now` (s since the epoch) adds the age of each. Signals that are not in the registry are left out.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for value in values:
        if value.signal in default_registry():
            panel = "blood-pressure" if value.signal in PRESSURES else value.signal
            groups.setdefault((panel, value.reading), []).append(value)
    return [
        _pressures(patient, group, now) if panel == "blood-pressure" else _single(patient, group[0], now)
        for (panel, _), group in groups.items()
    ]


def _single(patient: str, measured: Measured, now: float | None) -> dict[str, Any]:
    signal = default_registry()[measured.signal]
    built = _frame(patient, measured, measured.signal, now, signal)
    built["code"] = concept(*codes_of(signal), text=signal.name.replace("_", " "))
    built |= _value(signal, measured.value)
    return _with_quality(built, measured.quality)


def _pressures(patient: str, group: Sequence[Measured], now: float | None) -> dict[str, Any]:
    by_signal = {one.signal: one for one in group}
    first = group[0]
    registry = default_registry()
    built = _frame(patient, first, "blood-pressure", now, registry[first.signal])
    built["code"] = concept((LOINC, PRESSURE_PANEL), text="blood pressure")
    built["component"] = []
    for name in PRESSURES:
        part: dict[str, Any] = {"code": concept(*codes_of(registry[name]), text=name.replace("_", " "))}
        measured = by_signal.get(name)
        if measured is not None:
            part |= _value(registry[name], measured.value)
            built["component"].append(_with_quality(part, measured.quality))
        elif name != "mean_pressure":  # R4's profile asks for both others
            absent = ("http://terminology.hl7.org/CodeSystem/data-absent-reason", "unknown")
            built["component"].append(part | {"dataAbsentReason": concept(absent)})
    return built


def _frame(patient: str, measured: Measured, name: str, now: float | None, signal: Signal) -> dict[str, Any]:
    """What an Observation has beside code and value."""
    profile = "bp" if name == "blood-pressure" else _PROFILES.get(name)
    built: dict[str, Any] = {
        "resourceType": "Observation",
        "id": f"{measured.reading}-{name}".replace("_", "-"),
        "identifier": [identifier("reading", f"{measured.reading}:{name}")],
        "status": "final" if measured.settled else "preliminary",
        "category": [concept((CATEGORY, category_of(measured.signal)))],
        "subject": patient_reference(patient),
        "effectiveDateTime": instant(measured.t),
    }
    if profile is not None:
        built["meta"] = {"profile": [_PROFILE + profile]}
    if measured.received_at is not None:
        built["issued"] = instant(measured.received_at)
    if now is not None:
        age_s = round(max(now - measured.t, 0.0), 3)
        seconds = {"value": age_s, "unit": "s", "system": UCUM, "code": "s"}
        built["extension"] = [
            {"url": AGE, "valueQuantity": seconds},
            {"url": STALE, "valueBoolean": age_s > signal.validity_s},
        ]
    return built


def _value(signal: Signal, value: float) -> dict[str, Any]:
    names = [name for name, number in signal.codes.items() if number == value]
    if signal.codes:
        return {"valueCodeableConcept": concept(*((value_system(signal.name), name) for name in names))}
    return {"valueQuantity": {"value": value, "unit": signal.ucum, "system": UCUM, "code": signal.ucum}}


def _with_quality(built: dict[str, Any], quality: float) -> dict[str, Any]:
    if quality == 1.0:
        return built
    return built | {"extension": [*built.get("extension", []), {"url": QUALITY, "valueDecimal": quality}]}
