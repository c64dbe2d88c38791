"""What the receivers of `biotwin bench alert-kills` were told, by the name of each notification."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Self

import orjson

from alerts.delivery.email.digest import WARNING, entry
from alerts.delivery.mllp.messages import control_id
from alerts.delivery.notification import Notification, decode_notification
from contracts.condition import Alert


class Told(Counter[str]):
    """How often each notification came, by its key."""

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """Count them."""
        return cls(keys)


def expected_keys(alerts: Sequence[Alert]) -> set[str]:
    """The keys of the notifications of these alerts."""
    return {str(Notification(alert, b"", 0.0).key) for alert in alerts}


def told_by(channel: str, file: Path, alerts: Sequence[Alert]) -> Told:
    """What stands in a receiver's file. `alerts` are those that may stand there, for channels whose messages have no
    key of ours; what is none of them counts under its own words."""
    lines = file.read_text().splitlines()
    match channel:
        case "mqtt":
            return Told.of(str(decode_notification(line.encode(), 0.0).key) for line in lines)
        case "mllp":
            names = {control_id(notice.key): str(notice.key) for notice in _notifications(alerts)}
            numbers = [line.split("|")[9] for line in lines]
            return Told.of(names.get(number, number) for number in numbers)
        case "email":
            entries = {entry(notice): str(notice.key) for notice in _notifications(alerts)}
            return Told.of(entries.get(text, text) for line in lines for text in _entries(line))
    return Told.of(line.partition(" ")[0] for line in lines)


def _notifications(alerts: Sequence[Alert]) -> Iterable[Notification]:
    return (Notification(alert, b"", 0.0) for alert in alerts)


def _entries(line: str) -> list[str]:
    mail = message_from_bytes(orjson.loads(line).encode(), policy=policy.default)
    paragraphs = re.split(r"\n\n+", str(mail.get_content()).replace("\r\n", "\n").strip())
    return [text for text in paragraphs if text != WARNING]
