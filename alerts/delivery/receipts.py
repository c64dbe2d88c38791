"""The states of a notification, and what receivers answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, get_args

import msgspec

from alerts.delivery.notification import AnySubscription, Notification
from contracts.condition import ConditionState, Stage
from contracts.receipt import Receipt, ReceiptState

RANK: dict[ReceiptState, int] = {state: rank for rank, state in enumerate(get_args(ReceiptState))}
"""The states in rising order of what is known. A crash repeats steps and answers overtake each other, so a notification
stands where the highest of its receipts does: `expired` gives way to a delivery that was under way after all, and
`declined` by one person to `accepted` by another."""

MOST_DETAIL = 200
"""Characters of `detail`: what a receiver says is not trusted to be short."""

AnswerState = Literal["failed", "delivered", "read", "declined", "accepted"]


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names a notification, and its patient: what a receiver's answer has to say what it is about.

    What comes back is not trusted: nothing that is no id and no pseudonym passes into Kafka.
    """

    alert: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._:-]{1,64}$")]
    patient: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{0,64}$")]
    transition: ConditionState
    stage: Stage
    sequence: Annotated[int, msgspec.Meta(ge=0)]
    call: Annotated[str, msgspec.Meta(pattern="^[0-9-]{0,32}$")] = ""


class Answer(msgspec.Struct, frozen=True):
    """What a receiver says of a notification: {"state": "accepted"}. Further fields are ignored."""

    state: AnswerState


def standing(states: Iterable[ReceiptState]) -> ReceiptState | None:
    """Where a notification stands after these receipts, whatever their order and however often they came."""
    return max(states, key=RANK.__getitem__, default=None)


def channel_of(subscription: AnySubscription) -> str:
    """The channel as the configuration names it."""
    return str(subscription.__struct_config__.tag)


def reference_of(notification: Notification) -> Reference:
    """How an answer names this notification."""
    return Reference(patient=notification.alert.patient, **notification.key._asdict())


def receipt(
    subscription: AnySubscription, about: Reference, state: ReceiptState, t: float, attempt: int = 0, detail: str = ""
) -> Receipt:
    """One step of one notification; `t` in s since the epoch."""
    return Receipt(
        alert=about.alert,
        patient=about.patient,
        transition=about.transition,
        stage=about.stage,
        sequence=about.sequence,
        channel=channel_of(subscription),
        subscription=subscription.name,
        state=state,
        t=t,
        attempt=attempt,
        detail=" ".join(detail.split())[:MOST_DETAIL],
        call=about.call,
    )


def encode_reference(about: Reference) -> bytes:
    """As correlation data, which a receiver sends back as it came."""
    return msgspec.json.encode(about)


def decode_reference(data: bytes) -> Reference:
    """Raises `msgspec.DecodeError` or `UnicodeDecodeError` for bytes that name no notification."""
    return _REFERENCE.decode(data)


def decode_answer(payload: bytes) -> Answer:
    """Raises `msgspec.DecodeError` or `UnicodeDecodeError` for a payload that is no answer."""
    return _ANSWER.decode(payload)


_REFERENCE = msgspec.json.Decoder(Reference)
_ANSWER = msgspec.json.Decoder(Answer)
