"""Alert signals: how an alert is announced to people, apart from the condition that it is about; topic
`alerts.journal`.

IEC 60601-1-8 keeps the alarm condition, which is detected, apart from the alarm signal, which is generated; so does
ISO/IEEE 11073-10207 with AlertCondition and AlertSignal. `alerts/signal_table.py` has the table of the signal's life,
and `docs/alert-life-cycle.md` shows it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from contracts.condition import Kind, Priority, Provenance

SignalState = Literal["inactive", "on", "acknowledged", "audio_paused", "alarm_off", "latched", "latched_audio_paused"]
"""Where the signal of one alert stands."""

SignalEvent = Literal[
    "condition_onset",
    "priority_raised",
    "priority_lowered",
    "condition_cleared",
    "condition_withdrawn",
    "condition_recurred",
    "condition_renamed",
    "acknowledge",
    "audio_pause",
    "alarm_off",
    "alarm_resume",
    "marked_useful",
    "marked_not_useful",
    "inactivation_expired",
    "re_alarm_due",
    "escalation_due",
]
"""What can happen to it: from the condition, from people, from the clock."""

SignalEffect = Literal[
    "annunciate",
    "silence",
    "end",
    "escalate",
    "await_acknowledgement",
    "remind_later",
    "expire_later",
    "rename",
    "refuse",
    "record",
]
"""What follows from it, beyond the new state."""

SYSTEM_ACTOR = "system"
"""The actor of what no person did."""


class SignalTransition(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One transition of an alert's signal, with everything a reader needs to know how it stands.

    `id` is the alert's, `sequence` counts this alert's signal transitions from 1: the pair is the record's identity.
    `t` is the arrival clock (s) at which it took place, `actor` who did it (a command's author, else "system"),
    `reason` why, `command` the command's id. `holder` is whose act holds the signal back, `since` from when on and
    `until` how long, as long as that lasts. `escalation` counts how often nobody answered in time. `replaces` names the
    id under which the signal stood before, where settling gave the condition another one. `announced_t` is the arrival
    clock (s) at which the alert was announced that the record is about: its newest onset, not a repetition;
    `answered_t` is when somebody first acknowledged it, or put it off, since.
    """

    id: str
    patient: str
    rule: str
    kind: Kind
    priority: Priority
    from_: SignalState = msgspec.field(name="from")
    event: SignalEvent
    to: SignalState
    effects: tuple[SignalEffect, ...] = ()
    t: float
    sequence: int
    actor: str = SYSTEM_ACTOR
    reason: str = ""
    command: str = ""
    holder: str = ""
    since: float | None = None
    until: float | None = None
    escalation: int = 0
    replaces: str = ""
    announced_t: float | None = None
    answered_t: float | None = None
    provenance: Provenance = Provenance()


def signal_to_builtins(transition: SignalTransition) -> dict[str, Any]:
    """The record as plain JSON types, for `contracts.canonical.canonical_bytes`."""
    built: dict[str, Any] = msgspec.to_builtins(transition)
    return built
