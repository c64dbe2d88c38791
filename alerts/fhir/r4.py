"""FHIR R4 (4.0.1) by the models of R4B (4.3.0), and a guard against what only R4B has.

The package `fhir.resources` keeps no models of R4. Of the resources that are written here R4 and R4B have the same
elements; types of data and resources that came with R4B are refused (https://hl7.org/fhir/R4B/diff.html).
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson
from fhir.resources.R4B import get_fhir_model_class

FHIR_VERSION = "4.0.1"

WRITTEN = frozenset(
    {
        *("Bundle", "CapabilityStatement", "Communication", "DetectedIssue", "Flag", "Observation", "OperationOutcome"),
        *("Parameters", "Provenance"),
    }
)
"""Types of resources that are written; R4 has them all."""

ONLY_IN_R4B = frozenset(
    {
        *("valueCodeableReference", "valueRatioRange", "defaultValueCodeableReference", "defaultValueRatioRange"),
        *("fixedCodeableReference", "fixedRatioRange", "patternCodeableReference", "patternRatioRange"),
        *("subjectCanonical", "versionAlgorithmString", "versionAlgorithmCoding"),
    }
)
"""Elements that a model of R4B takes and a reader of R4 does not know."""


class NotR4Error(ValueError):
    """A resource is none of R4."""


def r4(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource as plain JSON types, checked against its model.

    Raises `NotR4Error` for a type that is not written here and for anything that R4 does not have, and pydantic's
    `ValidationError` (a `ValueError` too) for what the model refuses.
    """
    _refuse_r4b(resource, resource.get("resourceType", "resource"))
    model = get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    built: dict[str, Any] = orjson.loads(model.model_dump_json())
    return built


def _refuse_r4b(value: Any, where: str) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_r4b(item, f"{where}[{index}]")
        return
    if not isinstance(value, dict):
        return
    kind = value.get("resourceType")
    if kind is not None and kind not in WRITTEN:
        raise NotR4Error(f"{where}: {kind} is not written as R4")
    if value.get("fhirVersion", FHIR_VERSION) != FHIR_VERSION:
        raise NotR4Error(f"{where}: FHIR version {value['fhirVersion']} is not {FHIR_VERSION}")
    for name, item in value.items():
        if name.removeprefix("_") in ONLY_IN_R4B:
            raise NotR4Error(f"{where}.{name} came with R4B")
        _refuse_r4b(item, f"{where}.{name}")


def instant(t: float) -> str:
    """A time in s since the epoch as FHIR writes it, to the microsecond, in UTC."""
    try:
        return datetime.fromtimestamp(t, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00.000000Z"


def full_url(kind: str, name: str) -> str:
    """A `urn:uuid` that is the same for the same resource in every repeat (RFC 9562, version 8 from a hash)."""
    digest = bytearray(blake2b(f"{kind}/{name}".encode(), digest_size=16).digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def concept(*codings: tuple[str, str], text: str = "") -> dict[str, Any]:
    """A CodeableConcept of (system, code) pairs."""
    coded: dict[str, Any] = {"coding": [{"system": system, "code": code} for system, code in codings]}
    return coded | ({"text": text} if text else {})


def identifier(kind: str, value: str) -> dict[str, str]:
    """An Identifier of ours: system `urn:biotwin:{kind}`."""
    return {"system": f"urn:biotwin:{kind}", "value": value}


def patient_reference(pseudonym: str) -> dict[str, Any]:
    """A patient, by pseudonym alone; who that is, no resource of ours says."""
    return {"type": "Patient", "identifier": identifier("patient", pseudonym)}


def software_reference() -> dict[str, Any]:
    """This program as author."""
    return {"type": "Device", "identifier": identifier("software", "biotwin"), "display": "BioTwin"}
