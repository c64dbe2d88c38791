"""What a channel is to the outbox: something that hands one notification over and says what became of it."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from typing import NamedTuple, Protocol

from alerts.delivery.notification import Notification
from alerts.delivery.receipts import AnswerState, Reference


class Delivered(NamedTuple):
    """The receiver has it. `answer` is what it said of it at once, if anything."""

    detail: str = ""
    answer: AnswerState | None = None


class Declined(NamedTuple):
    """The receiver refuses it, and would refuse it again."""

    detail: str


class Retry(NamedTuple):
    """It did not get through, or nobody knows whether it did. `asked_s` is how long the receiver wants to be left in
    peace."""

    detail: str
    asked_s: float | None = None


Outcome = Delivered | Declined | Retry

OnAnswer = Callable[[Reference, AnswerState, str], None]
"""Told of an answer that comes after the delivery: what about, what it says, and a word more."""


class Channel(Protocol):
    """One receiver. `in_flight` notifications may be under way at once; where it is `ordered`, no two of a patient."""

    in_flight: int
    ordered: bool

    async def run(self) -> None:
        """Keep what the channel needs between two notifications (a connection, a listener) until cancelled."""

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """Hand one over; `on_sending` is called when the first byte of it is about to leave."""


def client_tls(ca_file: str, setting: str) -> ssl.SSLContext:
    """TLS that checks the other side's certificate, against `ca_file` or the system's authorities.

    Raises `OSError` whose `filename` names the setting and the file, where that cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise OSError(error.errno or errno.EINVAL, error.strerror or str(error), f"{setting} {ca_file}") from error
