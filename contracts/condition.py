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


class Baseline(msgspec.Struct, frozen=True):
    """What is usual for this patient: robust mean and scale of a signal, and how many values they rest on."""

    mean: float
    scale: float
    count: int


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value that a condition rests on.

    `age_s` is counted at the transition's event time; `reading` is its id. `z` is how far the value lies from what this
    person's values were before, in standard deviations, where a model knows it; `baseline` is what they were, at the
    moment of the transition. No rule decides by either.
    """

    signal: str
    value: float
    t: float
    age_s: float
    quality: float
    reading: str
    z: float | None = None
    baseline: Baseline | None = None


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


class Place(msgspec.Struct, frozen=True):
    """Where a record stands in Kafka."""

    topic: str
    partition: int
    offset: int


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """How this record came to be in this run; not part of the canonical bytes.

    `partition` and `offset` are those of the record that the stage read: in `telemetry` for a condition, in
    `conditions` for an alert. `decided` is the record of the one log (`telemetry`) at which the transition was noticed,
    `opened` the reading there that opened the condition, where the twin agent still knew it. `build` names the build
    and processor on which the twin ran: byte equality is promised for one of them. `announced_id` is the id under which
    a provisional notice went out, where settling changed the reading that opened the condition. `applied_at` is the
    processing clock of the stage that wrote the record.
    """

    partition: int = -1
    offset: int = -1
    received_at: float = 0.0
    applied_at: float = 0.0
    announced_id: str = ""
    decided: Place | None = None
    opened: Place | None = None
    build: str = ""


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

    `state` is where the alert stands after it, `transition` what happened, `message` one plain sentence, `message_ja`
    the same in Japanese. `id` is the condition's. `sequence` counts the transitions of this alert from 1. A
    `suppressed` alert is told to nobody: its condition stands while an alert of rule `suppressed_by` does, which says
    more; it becomes active if that ends first. With `group_lead` it joined the group of that alert, which called first
    (`suppressed_by` is the lead's rule), and becomes active only if it worsens. `joined`, on the end of an alert that
    led a group, is how many of that group still stand.
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
    message_ja: str = ""
    suppressed_by: str = ""
    group_lead: str = ""
    joined: int = 0


def to_builtins(record: Condition | Alert) -> dict[str, Any]:
    """The record as plain JSON types, for `canonical_bytes`."""
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built
