"""Conditions: what the twin agent tells the alert agent, on topic `conditions`; and alerts, on topic `alerts`.

A condition is detected; an alert is the life of its announcement (IEC 60601-1-8 keeps the two apart). Both are written
in canonical form; what depends on the run stands under `provenance`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["physiological", "technical", "advisory"]
Priority = Literal["high", "medium", "low", "none"]
ConditionState = Literal["onset", "update", "clear", "withdrawn"]
Stage = Literal["provisional", "settled"]

PRIORITIES: tuple[Priority, ...] = ("none", "low", "medium", "high")
"""In rising order of urgency (IEC 60601-1-8; "none" is an advisory that interrupts nobody)."""


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value that a condition rests on.

    `age_s` is counted at the transition's event time; `reading` is its id. `z` is how far the value lies from what this
    person's values were before, in standard deviations, where a model knows it; no rule decides by it.
    """

    signal: str
    value: float
    t: float
    age_s: float
    quality: float
    reading: str
    z: float | None = None


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a condition stands.

    `channel` is the estimate the rule looked at, `value` what it was, `low`/`high` its range where missing inputs widen
    it, `missing` which inputs those were. `devices` are the devices that it is about, in order of name. `threshold` is
    the limit that was passed, `limit_from` whose it was. `model` and `configuration` are hashes of the model set and of
    the rules in force.
    """

    channel: str
    value: float
    threshold: float
    limit_from: Literal["rule", "patient"]
    inputs: list[Input]
    model: str
    configuration: str
    low: float | None = None
    high: float | None = None
    missing: list[str] = []
    devices: list[str] = []


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """How this record came to be in this run; not part of the canonical bytes.

    `announced_id` is the id under which a provisional notice went out, where settling changed the reading that opened
    the condition. `applied_at` is the processing clock of the stage that wrote the record.
    """

    partition: int = -1
    offset: int = -1
    received_at: float = 0.0
    applied_at: float = 0.0
    announced_id: str = ""


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition of a condition; `t` is its event time, `onset_t` the event time of the onset."""

    id: str
    patient: str
    rule: str
    kind: Kind
    priority: Priority
    state: ConditionState
    stage: Stage
    t: float
    onset_t: float
    evidence: Evidence | None = None
    provenance: Provenance = Provenance()


AlertState = Literal["active", "suppressed", "cleared", "withdrawn"]


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One transition of an alert, with everything a reader needs to act on it alone.

    `state` is where the alert stands after it, `transition` what happened, `message` one plain sentence. `id` is the
    condition's. `sequence` counts the transitions of this alert from 1. A `suppressed` alert is told to nobody: its
    condition stands while an alert of rule `suppressed_by` does, which says more; it becomes active if that ends first.
    """

    id: str
    patient: str
    rule: str
    kind: Kind
    priority: Priority
    state: AlertState
    transition: ConditionState
    stage: Stage
    t: float
    onset_t: float
    sequence: int
    message: str
    source: str
    evidence: Evidence | None = None
    provenance: Provenance = Provenance()
    suppressed_by: str = ""


def to_builtins(record: Condition | Alert) -> dict[str, Any]:
    """The record as plain JSON types, for `canonical_bytes`."""
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built
