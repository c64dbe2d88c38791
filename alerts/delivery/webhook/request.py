"""The request of a webhook: its headers and its signature. Pure.

Headers follow CloudEvents' HTTP binding in binary mode (https://github.com/cloudevents/spec, http-protocol-binding.md);
`Idempotency-Key` is named as in the IETF's draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alerts.delivery.notification import Notification

SIGNATURE = "BioTwin-Signature"


def signature(secret: str, t: int, body: bytes) -> str:
    """`t={t},v1={hex}`: HMAC-SHA256 with the secret over the decimal `t`, a full stop and the body as it is sent.

    `t` is when it was signed, in whole s since the epoch: a receiver refuses what is older than it likes, so that a
    recorded request is of no use later.
    """
    return f"t={t},v1={hmac.digest(secret.encode(), f'{t}.'.encode() + body, 'sha256').hex()}"


def headers(notification: Notification, site: str, secret: str, now: float) -> dict[str, str]:
    """All headers but those of the connection; `now` in s since the epoch. Only the signature differs in a repeat."""
    key = str(notification.key)
    return {
        "Content-Type": "application/json",
        "User-Agent": "BioTwin",
        "ce-specversion": "1.0",
        "ce-type": "biotwin.alert.v1",
        "ce-source": f"/{site}/alerts",
        "ce-id": key,
        "ce-time": _rfc3339(notification.alert.t),
        "ce-dataschema": "biotwin:alert:1",
        "Idempotency-Key": key,
        SIGNATURE: signature(secret, int(now), notification.value),
    }


def asked_s(retry_after: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3: seconds or a date) asks for; None where it says nothing."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - now, 0.0)
    except (ValueError, OverflowError):
        return None


def _rfc3339(t: float) -> str:
    try:
        return datetime.fromtimestamp(t, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00.000Z"
