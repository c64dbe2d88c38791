"""What names a person in a payload of FHIR or Open mHealth never gets to Kafka, whatever becomes of the payload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.command import Bind
from contracts.configuration import Ingest
from contracts.quarantine import Reason
from contracts.signals import default_registry
from ingest.bindings import BindingTable
from ingest.core import IngestCore, Outcome
from ingest.formats import without_persons

FORMATS = Path(__file__).parents[2] / "ingest" / "formats"
GOLDEN = [
    orjson.loads(path.read_bytes()) for name in ("fhir", "openmhealth") for path in FORMATS.glob(f"{name}/golden/*")
]
NOW = 1_763_900_000.5
TOPIC = "biotwin/v1/site/chest-1/fhir"
NAME = "Jane Roe"


def take(topic: str, payload: bytes, *, bound: bool = True, **limits: Any) -> Outcome:
    bindings = BindingTable()
    if bound:
        bindings.apply(Bind(id="b", t=1.7e9, author="test", device="chest-1", patient="p1"))
    return IngestCore(default_registry(), Ingest(**limits), "site", bindings).take(topic, payload, NOW)


def written(outcome: Outcome) -> bytes:
    """Everything that goes to Kafka, quarantined bytes as they can be read there."""
    parts = [record.value + repr(record.headers).encode() + record.key for record in outcome.accepted]
    parts += [one.payload() + repr(one).encode() for one in outcome.quarantined]
    return b"\n".join(parts).replace(b'"', b"'")


OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": NAME,
    "identifier": [{"system": "urn:hospital", "value": NAME}],
    "status": "final",
    "subject": {"display": NAME},
    "performer": [{"display": NAME}],
    "note": [{"text": NAME}],
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": NAME}], "text": NAME},
    "effectiveDateTime": "2025-11-23T12:13:20Z",
    "valueQuantity": {"value": 72, "unit": NAME, "system": "http://unitsofmeasure.org", "code": "/min"},
    "contained": [{"resourceType": "Patient", "name": [{"text": NAME}]}],
}
PATIENT = {"resourceType": "Patient", "name": [{"text": NAME}], "birthDate": "1950-01-01"}


@pytest.mark.parametrize(
    ("topic", "document", "reason"),
    [
        (TOPIC, OBSERVATION, None),
        (TOPIC, OBSERVATION | {"status": NAME}, Reason.NO_VALUE),
        (TOPIC, OBSERVATION | {"effectiveDateTime": NAME}, Reason.BAD_TIME),
        (TOPIC, OBSERVATION | {"effectiveDateTime": "2025-11-23T12:13:90Z"}, Reason.BAD_TIME),
        (TOPIC, OBSERVATION | {"code": {"text": NAME}}, Reason.UNKNOWN_SIGNAL),
        (TOPIC, OBSERVATION | {"valueQuantity": {"value": NAME, "unit": NAME}}, Reason.BAD_VALUE),
        (TOPIC, OBSERVATION | {"valueQuantity": {"value": 7, "comparator": NAME}}, Reason.BAD_VALUE),
        (TOPIC, PATIENT, Reason.BAD_FIELD),
        (TOPIC, {"resourceType": "Bundle", "entry": [{"resource": PATIENT}]}, Reason.BAD_FIELD),
        (TOPIC, [PATIENT, NAME], Reason.BAD_FIELD),
        (TOPIC, [{"session": "s"}, PATIENT], Reason.BAD_FIELD),
        (TOPIC, {"v": {"heart_rate": 72}, "subject": {"of": PATIENT}}, Reason.BAD_FIELD),
        (TOPIC, {"payload": PATIENT}, Reason.UNKNOWN_FORMAT),
        ("biotwin/v1/site/gateway/batch", OBSERVATION, Reason.BAD_FIELD),
        ("elsewhere", OBSERVATION, Reason.UNKNOWN_TOPIC),
        ("biotwin/v1/site/chest-1/status", OBSERVATION, Reason.BAD_FIELD),
        (TOPIC, {"header": {"user_id": NAME, "id": NAME}, "body": {"note": NAME}}, Reason.UNKNOWN_SIGNAL),
        (TOPIC, {"header": {"schema_id": {"namespace": "omh", "name": NAME}}}, Reason.UNKNOWN_SIGNAL),
    ],
)
def test_no_name_reaches_kafka(topic: str, document: Any, reason: Reason | None) -> None:
    outcome = take(topic, json.dumps(document).encode())
    assert {one.reason for one in outcome.quarantined} == ({reason} if reason else set())
    assert NAME.encode() not in written(outcome)
    assert b"1950" not in written(outcome)


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(PATIENT).encode()[:-1],
        json.dumps(PATIENT).encode() + b"\xff",
        json.dumps(PATIENT).encode("utf-16"),
        json.dumps({"a": json.loads("[" * 300 + "]" * 300), **PATIENT}).encode(),
        json.dumps(PATIENT).replace("resourceType", "resource\\u0054ype").encode()[:-1],
        json.dumps([OBSERVATION] * 20).encode(),
    ],
    ids=["cut off", "noise", "utf-16", "deep", "escaped", "too large"],
)
def test_what_cannot_be_read_and_may_name_a_person_is_not_kept(payload: bytes) -> None:
    outcome = take(TOPIC, payload, max_payload_bytes=2000)
    assert len(outcome.quarantined) == 1
    assert NAME.encode() not in written(outcome).replace(b"\0", b"")


def test_an_unbound_device_waits_without_names() -> None:
    outcome = take(TOPIC, json.dumps(OBSERVATION).encode(), bound=False)
    assert [one.reason for one in outcome.quarantined] == [Reason.UNBOUND_DEVICE]
    assert NAME.encode() not in written(outcome)


def test_a_refused_observation_has_the_same_number_when_it_is_taken_again() -> None:
    """Mended units: what stood in quarantine is the reading that the source sends again."""
    payload = json.dumps(OBSERVATION | {"status": "registered"}).encode()
    refused = take(TOPIC, payload).quarantined[0]
    kept = orjson.loads(refused.payload()) | {"status": "final"}
    assert take(TOPIC, orjson.dumps(kept)).accepted == take(TOPIC, json.dumps(OBSERVATION).encode()).accepted


def test_a_correction_is_another_reading_and_a_repeat_is_none() -> None:
    variants: list[dict[str, Any]] = [{}, {"note": []}, {"status": "corrected"}]
    first, again, corrected = (
        take(TOPIC, json.dumps(OBSERVATION | changes).encode()).accepted[0].reading for changes in variants
    )
    assert first == again != corrected


@given(st.sampled_from(GOLDEN), st.data())
@settings(max_examples=150)
def test_names_anywhere_do_not_reach_kafka(golden: dict[str, Any], data: st.DataObject) -> None:
    """A name in place of any field's value, or as a field of any object, at any depth."""

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {name: spoil(item) for name, item in value.items()}
            return kept | ({"display": NAME, "text": NAME} if data.draw(st.booleans()) else {})
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return NAME if data.draw(st.integers(0, 9)) == 0 else value

    payload = json.dumps(spoil(golden["payload"])).encode()
    outcome = take(golden["topic"], payload)
    assert NAME.encode() not in written(outcome)
    for one in outcome.quarantined:
        raw = one.payload()
        assert without_persons(raw) == raw


@given(st.sampled_from(GOLDEN))
def test_scrubbing_changes_no_reading(golden: dict[str, Any]) -> None:
    payload = orjson.dumps(golden["payload"])
    before, after = take(golden["topic"], payload), take(golden["topic"], without_persons(payload))
    assert before.accepted == after.accepted
    assert [one.reason for one in before.quarantined] == [one.reason for one in after.quarantined]


WORDS = st.sampled_from(
    [
        *(
            "Observation",
            "Bundle",
            "Patient",
            "final",
            "http://loinc.org",
            "8867-4",
            "http://unitsofmeasure.org",
            "/min",
        ),
        *("2025-11-23T12:13:20Z", "omh", "heart-rate", "beats/min", "0 1 2", "chest-1"),
    ]
)
FIELDS = st.sampled_from(
    [
        *("resourceType", "id", "identifier", "system", "value", "status", "code", "coding", "component", "entry"),
        *("resource", "effectiveDateTime", "effectivePeriod", "start", "end", "valueQuantity", "valueSampledData"),
        *("origin", "period", "factor", "dimensions", "data", "dataAbsentReason", "extension", "url", "header"),
        *("body", "schema_id", "namespace", "name", "heart_rate", "unit", "effective_time_frame", "time_interval"),
        *("start_date_time", "duration", "descriptive_statistic", "valueCodeableConcept"),
    ]
)
RUBBISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=6),
    max_leaves=25,
)


@given(RUBBISH, st.sampled_from([{"resourceType": "Observation"}, {"resourceType": "Bundle"}, {"header": {}}]))
@settings(max_examples=500)
def test_any_rubbish_gives_an_outcome(rubbish: Any, known: dict[str, Any]) -> None:
    fields = rubbish if isinstance(rubbish, dict) else {"component": rubbish, "entry": rubbish, "body": rubbish}
    for document in (known | fields, fields | known, [known, rubbish]):
        outcome = take(TOPIC, json.dumps(document).encode())
        assert outcome.accepted or outcome.quarantined
        for one in outcome.quarantined:
            assert without_persons(one.payload()) == one.payload()
