"""What BioTwin writes as FHIR: valid R4 4.0.1 by HAPI's validator, the same in every repeat, and readable by ingest."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.delivery.fhir.notifications import event, sign_of_life
from alerts.delivery.notification import Notification
from alerts.fhir.observations import Measured, observations
from alerts.fhir.r4 import NotR4Error, r4
from contracts.command import Bind
from contracts.condition import Alert, Evidence, Input, Provenance
from contracts.configuration import Ingest
from contracts.signals import Signal, default_registry
from deploy.fhir.validator import FhirValidator
from ingest.bindings import BindingTable
from ingest.core import IngestCore

T = 1_763_900_000.25
EVIDENCE = Evidence(
    channel="spo2",
    value=82.0,
    threshold=85.0,
    limit_from="rule",
    inputs=[
        Input("spo2", 82.0, T, 0.5, 0.9, "00000000000000ab"),
        Input("systolic_pressure", 90.0, T - 10, 10, 1.0, "00000000000000ac"),
        Input("diastolic_pressure", 60.0, T - 10, 10, 1.0, "00000000000000ac"),
        Input("mean_pressure", 70.0, T - 90, 90, 1.0, "00000000000000ae"),
        Input("symptom", 1.0, T - 10, 10, 1.0, "00000000000000ad"),
    ],
    model="a" * 32,
    configuration="b" * 32,
    missing=["body_temperature"],
)
ALERT = Alert(
    id="00000000000000aa",
    patient="p-001",
    rule="spo2-below-85",
    kind="physiological",
    priority="high",
    state="active",
    transition="onset",
    stage="settled",
    t=T,
    onset_t=T,
    sequence=1,
    message="SpO2 is 82 %, below 85 %.",
    source="a book",
    evidence=EVIDENCE,
    provenance=Provenance(0, 5, T + 0.25, T + 0.5),
)
WAYS: dict[str, dict[str, Any]] = {
    "onset": {},
    "provisional": {"stage": "provisional"},
    "cleared": {"state": "cleared", "transition": "clear", "t": T + 60, "sequence": 2},
    "ended before its onset": {"state": "cleared", "transition": "clear", "t": T - 60},
    "withdrawn": {"state": "withdrawn", "transition": "withdrawn", "t": T + 60},
    "medium": {"priority": "medium"},
    "low": {"priority": "low"},
    "kept back": {"state": "suppressed", "suppressed_by": "news2-emergency"},
    "joined": {"state": "suppressed", "suppressed_by": "spo2-below-usual", "group_lead": "00000000000000bb"},
    "advisory": {"priority": "none", "kind": "advisory"},
    "system": {"patient": "", "kind": "technical", "evidence": None, "rule": "partition-silent"},
    "without inputs": {"evidence": msgspec.structs.replace(EVIDENCE, inputs=[], limit_from="patient")},
    "without a run": {"provenance": Provenance()},
}


def notified(number: int = 3, **changes: Any) -> dict[str, Any]:
    alert = msgspec.structs.replace(ALERT, **changes)
    return event("ehr", "ward-7", Notification(alert, b"", T + 1), number)


def resources(bundle: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}


def refused(validator: FhirValidator, resource: dict[str, Any]) -> list[str]:
    return [str(issue) for issue in validator.issues(resource) if issue.refused]


@pytest.mark.parametrize("way", WAYS)
def test_every_notification_is_valid_r4(validator: FhirValidator, way: str) -> None:
    bundle = notified(**WAYS[way])
    assert refused(validator, bundle) == []
    for resource in resources(bundle).values():
        assert refused(validator, resource) == []


@pytest.mark.parametrize("kind", ["handshake", "heartbeat"])
def test_signs_of_life_are_valid_r4(validator: FhirValidator, kind: Any) -> None:
    bundle = sign_of_life("ehr", kind, 7, T)
    assert refused(validator, bundle) == []
    (status,) = resources(bundle).values()
    told = {one["name"]: next(value for name, value in one.items() if name != "name") for one in status["parameter"]}
    assert (bundle["type"], told["type"], told["events-since-subscription-start"]) == ("history", kind, "7")


@pytest.mark.parametrize("signal", default_registry().signals, ids=lambda signal: str(signal.name))
def test_every_signal_is_a_valid_observation(validator: FhirValidator, signal: Signal) -> None:
    value = float(max(signal.codes.values())) if signal.codes else max(signal.low, 1.0)
    measured = Measured(signal.name, value, T, 0.5, "00000000000000ab", T + 1)
    for settled in (True, False):
        (built,) = observations("p-1", [measured._replace(settled=settled)], T + 100)
        assert refused(validator, r4(built)) == []


def test_the_validator_refuses_a_notification_that_was_broken(validator: FhirValidator) -> None:
    bundle = notified()
    bundle["entry"][1]["resource"]["severity"] = "terrible"
    del bundle["entry"][2]["resource"]["subject"]
    said = " ".join(refused(validator, bundle))
    assert "terrible" in said
    assert "Flag.subject" in said


def test_a_repeat_is_the_same_byte_for_byte_and_a_later_transition_replaces() -> None:
    assert orjson.dumps(notified()) == orjson.dumps(notified())
    first, later = notified(), notified(4, **WAYS["cleared"])
    assert first["id"] != later["id"]
    before, after = resources(first), resources(later)
    for kind in ("DetectedIssue", "Flag"):
        assert before[kind]["id"] == after[kind]["id"]
    for kind in ("Communication", "Provenance"):
        assert before[kind]["id"] != after[kind]["id"]
    assert (before["Flag"]["status"], after["Flag"]["status"]) == ("active", "inactive")


def test_an_alert_says_how_urgent_what_it_rests_on_and_by_which_rules() -> None:
    built = resources(notified())
    issue = built["DetectedIssue"]
    assert (issue["severity"], issue["status"], issue["detail"]) == ("high", "final", ALERT.message)
    assert issue["patient"] == {
        "type": "Patient",
        "identifier": {"system": "urn:biotwin:patient", "value": "p-001"},
    }
    codes = [one["code"]["coding"][0]["code"] for one in issue["contained"]]
    assert codes == ["59408-5", "85354-9", "85354-9", "75325-1"]
    assert issue["evidence"][0]["code"][0]["text"] == "spo2 82, the rule's limit 85; missing: body_temperature"
    assert [one["what"]["identifier"]["value"] for one in built["Provenance"]["entity"]] == [
        *("spo2-below-85", "b" * 32, "a" * 32, "0/5")
    ]
    severities = {way: resources(notified(**WAYS[way]))["DetectedIssue"].get("severity") for way in WAYS}
    assert [severities[way] for way in ("onset", "medium", "low", "advisory")] == ["high", "moderate", "low", None]


def test_an_alert_that_joined_another_is_no_call_of_its_own_and_says_which_calls() -> None:
    alone, joined = resources(notified())["Communication"], resources(notified(**WAYS["joined"]))
    told = joined["Communication"]
    assert (alone["priority"], told["priority"]) == ("stat", "routine")
    assert [one["contentString"] for one in told["payload"]] == [ALERT.message, "Calls nobody: spo2-below-usual does."]
    lead = msgspec.structs.replace(ALERT, id="00000000000000bb")
    own, other = (event("ehr", "ward-7", Notification(one, b"", T + 1), 1)["entry"] for one in (ALERT, lead))
    issues = [entry["fullUrl"] for entry in (*own, *other) if entry["resource"]["resourceType"] == "DetectedIssue"]
    assert [one["reference"] for one in told["about"]] == issues
    assert (joined["Flag"]["status"], joined["DetectedIssue"]["severity"]) == ("active", "high")


def test_the_event_names_its_number_and_its_resources() -> None:
    bundle = notified(12)
    parts = bundle["entry"][0]["resource"]["parameter"][-1]["part"]
    named = {part["name"]: part for part in parts}
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert named["event-number"]["valueString"] == "12"
    assert named["focus"]["valueReference"]["reference"] == urls[1]
    context = [part["valueReference"]["reference"] for part in parts if part["name"] == "additional-context"]
    assert context == urls[2:]


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "SubscriptionStatus", "type": "heartbeat"},
        {"resourceType": "Parameters", "parameter": [{"name": "a", "valueRatioRange": {}}]},
        {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": {"resourceType": "NutritionProduct"}}]},
        {"resourceType": "Flag", "extension": [{"url": "urn:a", "valueCodeableReference": {}}]},
        {"resourceType": "CapabilityStatement", "fhirVersion": "4.3.0"},
    ],
)
def test_what_came_with_r4b_is_refused(resource: dict[str, Any]) -> None:
    with pytest.raises(NotR4Error):
        r4(resource)


def test_what_no_model_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="bogus"):
        r4({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "bogus": 1})


def _ingest() -> IngestCore:
    bindings = BindingTable()
    bindings.apply(Bind(id="b", t=1.0e9, author="test", device="chest-1", patient="p1"))
    return IngestCore(default_registry(), Ingest(), "site", bindings)


SCALARS = [signal for signal in default_registry().signals if signal.shape in {"scalar", "code"}]


@st.composite
def measured_values(draw: st.DrawFn) -> Measured:
    signal = draw(st.sampled_from(SCALARS))
    value = draw(st.sampled_from(sorted(signal.codes.values())) if signal.codes else st.floats(signal.low, signal.high))
    # To the microsecond: finer times are not written.
    t = round(draw(st.floats(1.0e9, 1.7e9)), 6)
    quality = draw(st.floats(0.001, 1.0))
    return Measured(signal.name, float(value), t, quality, draw(st.text("0123456789abcdef", min_size=16, max_size=16)))


@given(measured_values())
@settings(max_examples=200)
def test_an_observation_that_goes_out_comes_in_as_the_same_reading(measured: Measured) -> None:
    """Values to 15 digits, as decimals travel; the time to the microsecond."""
    (built,) = observations("p1", [measured])
    payload = orjson.dumps(r4(built))
    (accepted,) = _ingest().take("biotwin/v1/site/chest-1/fhir", payload, 1.75e9).accepted
    reading = orjson.loads(accepted.value)
    registry = default_registry()
    value = reading["v"][measured.signal]
    number = registry[measured.signal].codes[value] if isinstance(value, str) else value
    assert number == pytest.approx(measured.value, rel=1e-14, abs=1e-300)
    assert reading["t"] == pytest.approx(measured.t, abs=1e-6)
    assert reading.get("q", {}).get(measured.signal, 1.0) == pytest.approx(measured.quality, rel=1e-14)
    assert set(reading["v"]) == {measured.signal}
    assert accepted.key == b"p1"


@given(st.floats(0, 370), st.floats(0, 300), st.none() | st.floats(0, 330), st.floats(0.001, 1.0))
@settings(max_examples=50)
def test_blood_pressures_go_out_together_and_come_in_together(
    systolic: float, diastolic: float, mean: float | None, quality: float
) -> None:
    pressures = {"systolic_pressure": systolic, "diastolic_pressure": diastolic, "mean_pressure": mean}
    sent = {name: value for name, value in pressures.items() if value is not None}
    (built,) = observations("p1", [Measured(name, value, T, quality, "0" * 16) for name, value in sent.items()])
    (accepted,) = _ingest().take("biotwin/v1/site/chest-1/fhir", orjson.dumps(r4(built)), 1.8e9).accepted
    assert orjson.loads(accepted.value)["v"] == pytest.approx(sent, rel=1e-14, abs=1e-300)


@pytest.mark.parametrize("name", ["systolic_pressure", "diastolic_pressure", "mean_pressure"])
def test_a_single_pressure_is_a_valid_panel_and_comes_in_alone(validator: FhirValidator, name: str) -> None:
    (built,) = observations("p1", [Measured(name, 90.0, T, 1.0, "0" * 16)])
    assert refused(validator, r4(built)) == []
    (accepted,) = _ingest().take("biotwin/v1/site/chest-1/fhir", orjson.dumps(r4(built)), 1.8e9).accepted
    assert orjson.loads(accepted.value)["v"] == {name: 90.0}
