"""Calls: notifications of an escalation, one for each step, on topic `alerts.calls`."""

from __future__ import annotations

import msgspec

from contracts.condition import Alert


class Escalated(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which step of which chain a call is, and why it became necessary.

    `round` is the sequence number of the signal's transition that announced the alert, `step` counts from 1: with the
    alert's id they name the call, whoever writes it. `role` is who was to be called, `holder` the account that had the
    role then, `subscription` the way to them. `t` is when it was called, s since the epoch.
    """

    chain: str
    round: int
    step: int
    subscription: str
    because: str
    t: float
    role: str = ""
    holder: str = ""

    @property
    def name(self) -> str:
        """The call's part of a notification's name: round and step."""
        return f"{self.round}-{self.step}"


class Call(Alert, frozen=True, omit_defaults=True, kw_only=True):
    """An alert as it stood when somebody had to be called about it; `message` begins with the reason."""

    escalated: Escalated
