"""Notifications as in the Subscriptions R5 Backport guide for R4, version 1.1
(https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html): a Bundle of type history whose first entry,
a Parameters resource, says what kind of notification it is and which event it brings; payload full-resource. Pure.
"""

from __future__ import annotations

from typing import Any, Literal

from alerts.delivery.notification import Notification
from alerts.fhir.alert_resources import communication, detected_issue, flag, provenance
from alerts.fhir.r4 import full_url, instant, r4

TOPIC = "urn:biotwin:topic:alerts"
"""Canonical of the one topic: every transition of every alert that the subscription asks for."""

_GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
STATUS_PROFILE = f"{_GUIDE}/backport-subscription-status-r4"
NOTIFICATION_PROFILE = f"{_GUIDE}/backport-subscription-notification-r4"


def sign_of_life(subscription: str, kind: Literal["handshake", "heartbeat"], events: int, now: float) -> dict[str, Any]:
    """A notification without an event; `events` is how many there have been since the subscription began."""
    status = _status(subscription, kind, events, [])
    return r4(_bundle(f"{subscription}/{kind}/{instant(now)}", instant(now), status, []))


def event(subscription: str, site: str, notification: Notification, number: int) -> dict[str, Any]:
    """One transition of an alert as the `number`th event (from 1); the same in every repeat."""
    alert, key = notification.alert, str(notification.key)
    focus, *context = (
        detected_issue(alert),
        flag(alert, site),
        communication(alert, key, subscription, notification.arrived_at),
        provenance(alert, key, notification.arrived_at),
    )
    t = instant(notification.arrived_at)
    parts: list[dict[str, Any]] = [
        {"name": "event-number", "valueString": str(number)},
        {"name": "timestamp", "valueInstant": t},
        {"name": "focus", "valueReference": {"reference": _url(focus)}},
        *({"name": "additional-context", "valueReference": {"reference": _url(one)}} for one in context),
    ]
    told = [{"name": "notification-event", "part": parts}]
    status = _status(subscription, "event-notification", number, told)
    return r4(_bundle(f"{subscription}/{key}", t, status, [focus, *context]))


def _status(subscription: str, kind: str, events: int, told: list[dict[str, Any]]) -> dict[str, Any]:
    whose = {"type": "Subscription", "identifier": {"system": "urn:biotwin:subscription", "value": subscription}}
    return {
        "resourceType": "Parameters",
        "meta": {"profile": [STATUS_PROFILE]},
        "parameter": [
            {"name": "subscription", "valueReference": whose},
            {"name": "topic", "valueCanonical": TOPIC},
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": str(events)},
            *told,
        ],
    }


def _bundle(name: str, t: str, status: dict[str, Any], resources: list[dict[str, Any]]) -> dict[str, Any]:
    asked = {"method": "GET", "url": "Subscription/$status"}
    entries = [
        {
            "fullUrl": full_url("Parameters", name),
            "resource": status,
            "request": asked,
            "response": {"status": "200"},
        },
        *(
            {
                "fullUrl": _url(resource),
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
                "response": {"status": "200"},
            }
            for resource in resources
        ),
    ]
    return {
        "resourceType": "Bundle",
        "id": full_url("Bundle", name).removeprefix("urn:uuid:"),
        "meta": {"profile": [NOTIFICATION_PROFILE]},
        "type": "history",
        "timestamp": t,
        "entry": entries,
    }


def _url(resource: dict[str, Any]) -> str:
    return full_url(resource["resourceType"], resource["id"])
