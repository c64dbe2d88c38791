"""Latest values over HTTP as FHIR Observations: valid R4, what was asked for, to whom may ask."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.applications import Starlette

from alerts.console.access import COOKIE, Access
from alerts.console.accounts import Accounts
from alerts.console.audit import AuditJournal
from alerts.console.records import decode_twin
from alerts.console.roles import Principal
from alerts.console.ward import Ward
from contracts.configuration import Configuration
from deploy.fhir.api import fhir_routes
from deploy.fhir.validator import FhirValidator
from tests.console.console_harness import running_console, twin, write
from tests.waiting import until

NOW = 1_763_900_100.0
TOKEN = {"Authorization": "Bearer secret"}
VALUES = {
    "heart_rate": 72.0,
    "spo2": 97.5,
    "systolic_pressure": 120.0,
    "diastolic_pressure": 80.0,
    "symptom": 1.0,
    "steps": 40.0,
}


class Loaded:
    """A feed that has read everything."""

    up = True
    loaded = True


def record(**changes: Any) -> bytes:
    value = twin("p-001", NOW - 100, VALUES, ages={"heart_rate": 400.0}, qualities={"spo2": 0.5})[2]
    assert value is not None
    for signals in (value["signals"], value["live"]["signals"]):
        signals["systolic_pressure"]["reading"] = signals["diastolic_pressure"]["reading"]
    return orjson.dumps(value | changes)


class Site:
    """The routes over one ward, with the accounts and the audit journal in a folder."""

    def __init__(self, folder: Path) -> None:
        self.accounts = Accounts(folder / "accounts.sqlite")
        self.audit = AuditJournal(folder / "audit.jsonl")
        self.access = Access(self.accounts, self.audit, tokens={"secret": "ehr"}, clock=time.monotonic)

    def client(self, source: Any = None) -> httpx.AsyncClient:
        ward = Ward()
        ward.apply_twin(decode_twin(record()))
        application = Starlette(routes=fhir_routes(self.access, ward, source or Loaded(), lambda: NOW))
        return httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://site")

    async def get(
        self, query: str, *, status: int = 200, source: Any = None, headers: Mapping[str, str] = TOKEN
    ) -> dict[str, Any]:
        async with self.client(source) as http:
            answer = await http.get(f"/fhir/R4/{query}", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/fhir+json")
        body: dict[str, Any] = answer.json()
        return body


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def texts(bundle: dict[str, Any]) -> list[str]:
    return [entry["resource"]["code"]["text"] for entry in bundle.get("entry", [])]


async def test_all_values_come_as_valid_observations_with_age_and_quality(site: Site, validator: FhirValidator) -> None:
    bundle = await site.get("Observation?patient=p-001")
    assert [str(issue) for issue in validator.issues(bundle) if issue.refused] == []
    assert texts(bundle) == ["heart rate", "spo2", "blood pressure", "symptom", "steps"]
    assert (bundle["type"], bundle["total"]) == ("searchset", 5)
    heart_rate, spo2, pressure = (entry["resource"] for entry in bundle["entry"][:3])
    extensions = {one["url"]: one for one in heart_rate["extension"]}
    assert extensions["urn:biotwin:age"]["valueQuantity"]["value"] == 500
    assert extensions["urn:biotwin:stale"]["valueBoolean"] is True
    assert {one["url"]: one for one in spo2["extension"]}["urn:biotwin:quality"]["valueDecimal"] == 0.5
    assert heart_rate["valueQuantity"] == {
        "value": 72,
        "unit": "/min",
        "system": "http://unitsofmeasure.org",
        "code": "/min",
    }
    assert [one["valueQuantity"]["value"] for one in pressure["component"]] == [120, 80]
    assert pressure["code"]["coding"][0]["code"] == "85354-9"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("category=vital-signs", ["heart rate", "spo2", "blood pressure"]),
        ("category=http://terminology.hl7.org/CodeSystem/observation-category|survey", ["symptom"]),
        ("code=8867-4", ["heart rate"]),
        ("code=2708-6,8867-4", ["heart rate", "spo2"]),
        ("code=http://loinc.org|8480-6", ["blood pressure"]),
        ("code=urn:iso:std:iso:11073:10101|150456&_format=json", ["spo2"]),
        ("code=8867-4&category=survey", []),
    ],
)
async def test_a_search_gives_what_was_asked_for(site: Site, query: str, found: list[str]) -> None:
    assert texts(await site.get(f"Observation?patient=p-001&{query}")) == found
    assert texts(await site.get(f"Observation?patient=urn:biotwin:patient|p-001&{query}")) == found


async def test_a_patient_whom_nobody_knows_has_no_values(site: Site) -> None:
    assert (await site.get("Observation?patient=p-999"))["total"] == 0


@pytest.mark.parametrize("query", ["", "?category=vital-signs", "?patient=p-001&date=gt2025", "?patient=a&patient=b"])
async def test_a_search_that_is_not_understood_is_refused(site: Site, query: str, validator: FhirValidator) -> None:
    outcome = await site.get(f"Observation{query}", status=400)
    assert [str(issue) for issue in validator.issues(outcome) if issue.refused] == []


async def test_what_cannot_be_known_is_said(site: Site, validator: FhirValidator) -> None:
    class Loading(Loaded):
        loaded = False

    class Away(Loaded):
        up = False

    assert (await site.get("Observation?patient=p-001", status=503, source=Loading()))["issue"][0][
        "code"
    ] == "transient"
    bundle = await site.get("Observation?patient=p-001&code=8867-4", source=Away())
    assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["match", "outcome"]
    assert [str(issue) for issue in validator.issues(bundle) if issue.refused] == []


async def test_the_capability_statement_is_valid_and_open(site: Site, validator: FhirValidator) -> None:
    statement = await site.get("metadata", headers={})
    assert statement["fhirVersion"] == "4.0.1"
    assert [str(issue) for issue in validator.issues(statement) if issue.refused] == []


async def test_only_who_has_a_token_or_a_role_that_sees_values_may_look(site: Site, validator: FhirValidator) -> None:
    for role in ("clinician", "operator"):
        site.accounts.add(role, role, None)
        site.accounts.open_session(role, Principal(role, role, "link"))
    answers = {
        "Bearer secret": (200, ""),
        "Bearer other": (401, "login"),
        "Basic secret": (401, "login"),
        "": (401, "login"),
        f"{COOKIE}=clinician": (200, ""),
        f"{COOKIE}=operator": (403, "forbidden"),
        f"{COOKIE}=nobody": (401, "login"),
    }
    for shown, (status, code) in answers.items():
        headers = {"Cookie" if COOKIE in shown else "Authorization": shown}
        answer = await site.get("Observation?patient=Patient/p-001", status=status, headers=headers)
        if code:
            assert answer["issue"][0]["code"] == code
            assert [str(issue) for issue in validator.issues(answer) if issue.refused] == []
    views = [(view.account, view.patient, view.outcome) for view in reversed(site.audit.newest(9))]
    assert views == [("ehr", "p-001", "allowed"), ("clinician", "p-001", "allowed"), ("operator", "p-001", "refused")]


async def test_nothing_is_shown_that_cannot_be_written_down(site: Site) -> None:
    site.audit.path.mkdir()
    assert (await site.get("Observation?patient=p-001", status=503))["issue"][0]["code"] == "transient"


@pytest.mark.kafka
async def test_the_console_serves_them(kafka: Any, tmp_path: Path) -> None:
    configuration: Configuration = await kafka.create(partitions=1)
    await write(configuration.kafka.bootstrap, [twin("p-001", time.time(), {"heart_rate": 61.0})])
    try:
        async with (
            running_console(tmp_path, configuration.kafka.bootstrap, tokens={"secret": "ehr"}) as console,
            httpx.AsyncClient(timeout=20, headers={"Authorization": "Bearer secret"}) as http,
        ):

            async def found() -> Any:
                answer = await http.get(f"{console.url}/fhir/R4/Observation?patient=p-001&category=vital-signs")
                entries = answer.json().get("entry", []) if answer.status_code == 200 else []
                # For a moment after its start the console does not know yet whether Kafka stays.
                return entries if {one["search"]["mode"] for one in entries} == {"match"} else []

            entries = await until(found)
    finally:
        await kafka.wipe()
    assert [one["resource"]["valueQuantity"]["value"] for one in entries] == [61]
