"""The text of a mail. Pure. It holds pseudonyms, never names, and says what e-mail is not good for."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage
from hashlib import blake2b

from alerts.delivery.notification import Notification
from alerts.messages import time_text
from contracts.condition import PRIORITIES

WARNING = "E-mail is not a safety channel: it may come late or not at all. Do not rely on it for a patient's safety."


def digest(notifications: Sequence[Notification], site: str, sender: str, to: Sequence[str]) -> EmailMessage:
    """One mail about these alerts (at least one), the most urgent first. Its Message-ID is made of what it tells."""
    ranked = sorted(notifications, key=lambda one: (-PRIORITIES.index(one.alert.priority), one.alert.t))
    count = len(ranked)
    message = EmailMessage()
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = (
        f"[BioTwin {site}] {count} alert{'s' if count > 1 else ''}, highest priority {ranked[0].alert.priority}"
    )
    keys = "\n".join(sorted(str(one.key) for one in ranked))
    message["Message-ID"] = f"<{blake2b(keys.encode(), digest_size=16).hexdigest()}@{site}.biotwin>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("\n\n".join([WARNING, *map(entry, ranked), WARNING]) + "\n")
    return message


def entry(notification: Notification) -> str:
    """What a mail says of one notification: three lines."""
    alert = notification.alert
    who = f"Patient {_line(alert.patient)}" if alert.patient else "The system"
    kept_back = f", kept back with {alert.suppressed_by}" if alert.state == "suppressed" else ""
    return (
        f"{alert.priority.upper()} priority, {alert.transition}, {alert.stage}{kept_back}, {time_text(alert.t)}\n"
        f"{who}: {_line(alert.message)}\n"
        f"Rule {_line(alert.rule)} ({_line(alert.source)})"
    )


def _line(text: str) -> str:
    return " ".join(text.split())
