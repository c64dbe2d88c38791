"""What is to be published for a record of `alerts`, and the memory that drops repeats. Pure."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

import msgspec

from contracts.condition import Alert

REMEMBERED = 100_000
"""Deliveries remembered: far more than a worker can write again after a crash, about 20 MB."""

DeliveryKey = tuple[str, str, str, int]


class Outgoing(NamedTuple):
    """One PUBLISH. `key` names the transition; `written_at` is when the alert agent wrote it, 0 where unknown."""

    key: DeliveryKey
    topic: str
    payload: bytes
    written_at: float


class DeliveredMemory:
    """The newest `capacity` deliveries, the oldest of which are forgotten first."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        self._keys: dict[DeliveryKey, None] = {}

    def __contains__(self, key: DeliveryKey) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: DeliveryKey) -> None:
        """Remember a delivery."""
        self._keys[key] = None
        if len(self._keys) > self._capacity:
            del self._keys[next(iter(self._keys))]


def outgoing(site: str, value: bytes) -> Outgoing:
    """What to publish for one record of `alerts`: its bytes as they are, on the topic of its priority and patient.

    A pseudonym is percent-encoded where MQTT would take a character of it for a wildcard or a level. Raises
    `msgspec.DecodeError` or `UnicodeDecodeError` for a value that is no alert.
    """
    alert = _DECODER.decode(value)
    return Outgoing(
        key=(alert.id, alert.transition, alert.stage, alert.sequence),
        topic=f"biotwin/v1/{site}/alerts/{alert.priority}/{quote(alert.patient, safe='') or '-'}",
        payload=value,
        written_at=alert.provenance.applied_at,
    )


_DECODER = msgspec.json.Decoder(Alert)
