"""An alert as DetectedIssue (what was found, with its evidence), Flag (that it stands), Communication (who is told)
and Provenance (by which rules and model, from which position of the log).

Each comes from one record of `alerts` alone, so that a repeat is the same byte for byte. Ids and identifiers of
DetectedIssue and Flag are the alert's: a later transition replaces them. Communication and Provenance are one each
transition.
"""

from __future__ import annotations

from typing import Any

from alerts.fhir.observations import Measured, observations
from alerts.fhir.r4 import concept, full_url, identifier, instant, patient_reference, software_reference
from contracts.condition import Alert, Evidence

SEVERITIES = {"high": "high", "medium": "moderate", "low": "low"}
URGENCIES = {"high": "stat", "medium": "urgent", "low": "routine", "none": "routine"}
FLAG_STATUS = {"active": "active", "suppressed": "active", "cleared": "inactive", "withdrawn": "entered-in-error"}
RULE = "urn:biotwin:rule"

_FLAG_CATEGORY = "http://terminology.hl7.org/CodeSystem/flag-category"
_AGENT_TYPE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def detected_issue(alert: Alert) -> dict[str, Any]:
    """What was found. A withdrawn alert is entered in error; a provisional one is preliminary."""
    built: dict[str, Any] = {
        "resourceType": "DetectedIssue",
        "id": alert.id,
        "identifier": [identifier("alert", alert.id)],
        "status": _issue_status(alert),
        "code": _code(alert),
        "author": software_reference(),
        "detail": alert.message,
    }
    if alert.priority in SEVERITIES:
        built["severity"] = SEVERITIES[alert.priority]
    if alert.patient:
        built["patient"] = patient_reference(alert.patient)
    if FLAG_STATUS[alert.state] == "active":
        built["identifiedDateTime"] = instant(alert.onset_t)
    else:
        built["identifiedPeriod"] = _period(alert)
    if alert.evidence is not None:
        built |= _evidence(alert, alert.evidence)
    return built


def flag(alert: Alert, site: str) -> dict[str, Any]:
    """That the alert stands, or no longer does. A system alarm concerns no patient: its subject is the site."""
    place = {"type": "Location", "identifier": identifier("site", site)}
    return {
        "resourceType": "Flag",
        "id": alert.id,
        "identifier": [identifier("alert", alert.id)],
        "status": FLAG_STATUS[alert.state],
        "category": [concept((_FLAG_CATEGORY, "clinical" if alert.kind == "physiological" else "safety"))],
        "code": _code(alert),
        "subject": patient_reference(alert.patient) if alert.patient else place,
        "period": {"start": instant(alert.onset_t)} if FLAG_STATUS[alert.state] == "active" else _period(alert),
        "author": software_reference(),
    }


def communication(alert: Alert, key: str, subscription: str, arrived_at: float) -> dict[str, Any]:
    """That a subscription is told of one transition; `key` names the notification, `arrived_at` is when it came.

    An alert that is kept back, or joined the group of another, calls nobody: it is routine whatever its priority, says
    which rule calls in its place, and names the alert that it joined.
    """
    kept_back = alert.state == "suppressed"
    payload = [alert.message, f"Calls nobody: {alert.suppressed_by} does."] if kept_back else [alert.message]
    about = [alert.id, alert.group_lead] if alert.group_lead else [alert.id]
    built: dict[str, Any] = {
        "resourceType": "Communication",
        "id": _short(f"{subscription}/{key}"),
        "identifier": [identifier("notification", f"{subscription}/{key}")],
        "status": "completed",
        "priority": URGENCIES["none" if kept_back else alert.priority],
        "about": [{"reference": full_url("DetectedIssue", one)} for one in about],
        "sent": instant(arrived_at),
        "recipient": [{"type": "Device", "identifier": identifier("subscription", subscription)}],
        "sender": software_reference(),
        "payload": [{"contentString": text} for text in payload],
    }
    if alert.patient:
        built["subject"] = patient_reference(alert.patient)
    return built


def provenance(alert: Alert, key: str, arrived_at: float) -> dict[str, Any]:
    """What the alert rests on: the rule's source, hashes of rules and model, position in the log."""
    trace = alert.provenance
    what = [("rule", alert.rule)]
    if alert.evidence is not None:
        what += [("configuration", alert.evidence.configuration), ("model", alert.evidence.model)]
    if trace.offset >= 0:
        what.append(("position", f"{trace.partition}/{trace.offset}"))
    return {
        "resourceType": "Provenance",
        "id": _short(key),
        "target": [{"reference": full_url(kind, alert.id)} for kind in ("DetectedIssue", "Flag")],
        "occurredDateTime": instant(alert.t),
        "recorded": instant(trace.applied_at or arrived_at),
        "agent": [{"type": concept((_AGENT_TYPE, "assembler")), "who": software_reference()}],
        "entity": [
            {"role": "source", "what": {"identifier": identifier(kind, value)} | _source_text(alert, kind)}
            for kind, value in what
            if value
        ],
    }


def _source_text(alert: Alert, kind: str) -> dict[str, str]:
    return {"display": alert.source} if kind == "rule" and alert.source else {}


def _issue_status(alert: Alert) -> str:
    if alert.state == "withdrawn":
        return "entered-in-error"
    return "final" if alert.stage == "settled" else "preliminary"


def _code(alert: Alert) -> dict[str, Any]:
    return concept((RULE, alert.rule), text=alert.rule.replace("-", " "))


def _period(alert: Alert) -> dict[str, str]:
    """Settling may find an end before an onset that was announced; a period of FHIR never runs backwards."""
    return {"start": instant(alert.onset_t), "end": instant(max(alert.t, alert.onset_t))}


def _evidence(alert: Alert, evidence: Evidence) -> dict[str, Any]:
    """The inputs as contained Observations: they are the alert's copies, no resources that one could ask for."""
    values = [Measured(one.signal, one.value, one.t, one.quality, one.reading) for one in evidence.inputs]
    contained = observations(alert.patient, values)
    whose = "the rule's limit" if evidence.limit_from == "rule" else "the patient's own limit"
    missing = f"; missing: {', '.join(evidence.missing)}" if evidence.missing else ""
    text = f"{evidence.channel} {evidence.value:g}, {whose} {evidence.threshold:g}{missing}"
    details = [{"reference": f"#{one['id']}"} for one in contained]
    built: dict[str, Any] = {
        "evidence": [{"code": [{"text": text}]} | ({"detail": details} if details else {})],
    }
    if contained:
        built |= {"contained": contained, "implicated": details}
    return built


def _short(name: str) -> str:
    """A resource's id, which FHIR bounds to 64 letters, digits, hyphens and dots."""
    return full_url("id", name).removeprefix("urn:uuid:")
