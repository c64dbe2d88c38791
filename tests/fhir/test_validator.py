"""The validator knows a good resource from a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from deploy.cli.fhir import app
from deploy.fhir.validator import FhirValidator

HEART_RATE: dict[str, Any] = {
    "resourceType": "Observation",
    "meta": {"profile": ["http://hl7.org/fhir/StructureDefinition/heartrate"]},
    "status": "final",
    "category": [
        {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}
    ],
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"identifier": {"system": "urn:example", "value": "p1"}},
    "effectiveDateTime": "2025-01-01T00:00:00Z",
    "valueQuantity": {"value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min"},
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"status": "finished"}, "finished"),
        ({"effectiveDateTime": "yesterday"}, "yesterday"),
        ({"value": 72}, "Unrecognized property 'value'"),
        ({"subject": None}, "subject"),
        ({"valueQuantity": HEART_RATE["valueQuantity"] | {"code": "mm[Hg]"}}, "/min"),
        ({"resourceType": "SubscriptionStatus"}, "SubscriptionStatus"),
    ],
)
def test_what_is_wrong_is_named(validator: FhirValidator, changes: dict[str, Any], expected: str) -> None:
    resource = {name: value for name, value in (HEART_RATE | changes).items() if value is not None}
    refused = [issue for issue in validator.issues(resource) if issue.refused]
    assert bool(refused) == bool(expected)
    assert expected in " ".join(map(str, refused))


def test_the_command_says_which_file_is_no_r4(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(orjson.dumps(HEART_RATE))
    bad.write_bytes(orjson.dumps(HEART_RATE | {"bogus": 1}))
    done = CliRunner().invoke(app, ["validate", str(good), str(bad)])
    assert done.exit_code == 1
    assert f"{good}: valid\n" in done.stdout
    assert f"{bad}: refused\n  error: Observation: Unrecognized property 'bogus'" in done.stdout
