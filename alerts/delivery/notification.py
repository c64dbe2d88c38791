"""What is to be sent to whom: a record of `alerts` as a notification, who asked for it, and what was sent. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from contracts.condition import Alert, ConditionState, Stage
from contracts.configuration import (
    EmailSubscription,
    FhirSubscription,
    MllpSubscription,
    MqttSubscription,
    WebhookSubscription,
)
from contracts.escalation import Call

REMEMBERED = 100_000
"""Deliveries remembered: far more than a worker can write again after a crash, about 20 MB."""

AnySubscription = MqttSubscription | WebhookSubscription | EmailSubscription | MllpSubscription | FhirSubscription


class NotificationKey(NamedTuple):
    """What names a notification, the same in every repeat: alert id, transition, stage, sequence; of a call the alert's
    id, and its round and step."""

    alert: str
    transition: ConditionState
    stage: Stage
    sequence: int
    call: str = ""

    def __str__(self) -> str:
        if self.call:
            return f"{self.alert}-call-{self.call}"
        return f"{self.alert}-{self.transition}-{self.stage}-{self.sequence}"


class Notification(NamedTuple):
    """One record of `alerts` on its way: the alert and its bytes as they stand in Kafka.

    `arrived_at` is when Kafka got it (s since the epoch); a subscription's patience counts from there.
    """

    alert: Alert
    value: bytes
    arrived_at: float

    @property
    def key(self) -> NotificationKey:
        if isinstance(self.alert, Call):
            return NotificationKey(self.alert.id, "onset", "settled", 0, self.alert.escalated.name)
        return NotificationKey(self.alert.id, self.alert.transition, self.alert.stage, self.alert.sequence)


class DeliveredMemory:
    """The newest `capacity` deliveries, the oldest of which are forgotten first."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._keys: dict[NotificationKey, None] = {}

    def __contains__(self, key: NotificationKey) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: NotificationKey) -> None:
        """Remember a delivery."""
        self._keys[key] = None
        if len(self._keys) > self._capacity:
            del self._keys[next(iter(self._keys))]


def decode_notification(value: bytes, arrived_at: float, *, call: bool = False) -> Notification:
    """A record of `alerts`, or with `call` of `alerts.calls`. Raises `msgspec.DecodeError` or `UnicodeDecodeError` for
    a value that is none."""
    return Notification((_CALL_DECODER if call else _DECODER).decode(value), value, arrived_at)


def is_wanted(subscription: AnySubscription, alert: Alert, ward: str | None) -> bool:
    """Whether the subscription asked for this alert. `ward` is where its patient lies; None where nobody knows.

    Who asked for a ward is also told of patients whose ward is not known, and of system alarms, which concern no single
    patient: better told too much than not at all.
    """
    if isinstance(alert, Call):
        return alert.escalated.subscription == subscription.name
    if subscription.only_escalated:
        return False
    if not subscription.provisional and alert.stage != "settled":
        return False
    if subscription.priorities and alert.priority not in subscription.priorities:
        return False
    if subscription.rules and alert.rule not in subscription.rules:
        return False
    if subscription.patients and alert.patient not in subscription.patients:
        return False
    return not subscription.wards or ward is None or ward in subscription.wards


def is_expired(subscription: AnySubscription, notification: Notification, now: float) -> bool:
    """Whether the subscription's patience for this notification is over; `now` in s since the epoch."""
    return 0.0 < subscription.expire_after_s < now - notification.arrived_at


_DECODER = msgspec.json.Decoder(Alert)
_CALL_DECODER = msgspec.json.Decoder(Call)
