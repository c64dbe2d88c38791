"""Alerts as the topics have them now, for commands that show or name one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from alerts.console.alert_book import AlertBook, AlertLife
from contracts.alert_signal import SignalTransition
from contracts.condition import Alert
from contracts.configuration import Kafka
from contracts.topics import ALERTS, JOURNAL
from deploy.api.reading import records_of
from deploy.errors import UserError


class Found(NamedTuple):
    """One alert of a patient, in the book that has its signal too."""

    patient: str
    book: AlertBook
    life: AlertLife


async def read_books(kafka: Kafka) -> dict[str, AlertBook]:
    """The alerts of every patient that stand or closed lately, by pseudonym. Raises `UserError`."""
    books: dict[str, AlertBook] = {}
    alert_decoder, signal_decoder = msgspec.json.Decoder(Alert), msgspec.json.Decoder(SignalTransition)
    async for record in records_of(kafka, ALERTS):
        alert = alert_decoder.decode(record.value)
        books.setdefault(alert.patient, AlertBook()).apply(alert)
    async for record in records_of(kafka, JOURNAL):
        signal = signal_decoder.decode(record.value)
        if signal.patient in books:
            books[signal.patient].apply_signal(signal)
    return books


def standing(books: dict[str, AlertBook]) -> list[Found]:
    """Every alert that stands, the most urgent first, those that nobody has answered before the others."""
    return sorted(
        (Found(patient, book, life) for patient, book in books.items() for life in book.standing()),
        key=lambda found: found.book.order(found.life),
    )


def find(books: dict[str, AlertBook], alert: str) -> Found:
    """The alert of that id, or the one that settling gave another id. Raises `UserError`."""
    for patient, book in books.items():
        for life in book.lives.values():
            if alert in (life.newest.id, life.replaces):
                return Found(patient, book, life)
    raise UserError(
        f"no alert {alert} stands or closed within the last day; `biotwin alerts list` shows those that stand"
    )


async def patient_of(kafka: Kafka, alert: str) -> str:
    """Whose alert it is. Raises `UserError`."""
    async for record in records_of(kafka, ALERTS):
        if alert.encode() in record.value and msgspec.json.decode(record.value, type=Alert).id == alert:
            return str(record.key.decode())
    raise UserError(f"there is no alert {alert} in topic {ALERTS}")
