"""Receipts: what became of each notification, step by step, on topic `alerts.receipts`.

A notification is one transition of an alert on its way to one subscription. A record holds pseudonyms only: no secret,
no address and no name of whoever was told.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from contracts.condition import ConditionState, Stage

ReceiptState = Literal["queued", "sent", "expired", "failed", "delivered", "read", "declined", "accepted"]


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of one notification.

    `alert`, `transition`, `stage` and `sequence` name the notification, as they name the record of `alerts`;
    `subscription` is who it was for. `t` is the clock of the process that wrote it (s since the epoch), `attempt` how
    often it had been sent by then, `detail` why it went that way. `call` is the round and step of an escalation
    ("4-1"), of which `transition` and what follows it say nothing.
    """

    alert: str
    patient: str
    transition: ConditionState
    stage: Stage
    sequence: int
    channel: str
    subscription: str
    state: ReceiptState
    t: float
    attempt: int = 0
    detail: str = ""
    call: str = ""
