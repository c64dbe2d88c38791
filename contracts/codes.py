"""Code systems, and which of their codes mean a signal of the registry. Used by what reads FHIR and by what writes it.

LOINC as in the FHIR R4 vital signs profiles (https://hl7.org/fhir/R4/observation-vitalsigns.html); MDC as in ISO/IEEE
11073-10101, in the decimal form of the Personal Health Device guide (https://build.fhir.org/ig/HL7/phd). A signal for
which neither has a code, and the codes that are values, stand in code systems of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from contracts.signals import Registry, Signal, default_registry

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
SIGNAL = "urn:biotwin:signal"
"""Codes are the registry's names."""

QUALITY = "urn:biotwin:quality"
"""URL of the extension (valueDecimal, 0..1) that carries a value's quality; 1 where it is absent."""

PRESSURE_PANEL = "85354-9"
"""LOINC of a blood pressure whose parts are components."""

OXYGEN_SATURATION = "2708-6"
"""LOINC that the FHIR profile of oxygen saturation asks for, beside the registry's own (by pulse oximetry)."""

ALSO: Mapping[tuple[str, str], str] = {(LOINC, OXYGEN_SATURATION): "spo2", (MDC, "149530"): "heart_rate"}
"""Further codes that mean a signal: a pulse oximeter's pulse rate is taken as heart rate."""


def codes_of(signal: Signal) -> list[tuple[str, str]]:
    """(system, code) of a signal: its LOINC and MDC codes, else our own."""
    codes = [(LOINC, signal.loinc)] if signal.loinc else []
    if signal.name == "spo2":
        codes.append((LOINC, OXYGEN_SATURATION))
    if signal.mdc:
        codes.append((MDC, str(signal.mdc)))
    return codes or [(SIGNAL, signal.name)]


def value_system(signal: str) -> str:
    """The code system of a signal's codes, such as "urn:biotwin:signal:symptom" with the code "chest_pain"."""
    return f"{SIGNAL}:{signal}"


@cache
def signals_by_code() -> Mapping[tuple[str, str], str]:
    """(system, code) to the name of the signal, for every code that is understood."""
    return _by_code(default_registry())


def _by_code(registry: Registry) -> dict[tuple[str, str], str]:
    own = {(SIGNAL, signal.name): signal.name for signal in registry.signals}
    return {code: signal.name for signal in registry.signals for code in codes_of(signal)} | dict(ALSO) | own
