"""A twin as it stands in topic `twin`: what a program reads of one patient. Written by the twin agent.

Times are seconds since the Unix epoch, UTC; values are in the signal registry's units, codes as their numbers. A field
that is absent is not known.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from contracts.condition import Baseline, Priority


class Latest(msgspec.Struct, frozen=True):
    """The newest value of a signal, its quality in 0..1, the id of its reading and when that arrived."""

    value: float
    t: float
    quality: float
    reading: str
    received_at: float | UnsetType = UNSET
    baseline: Baseline | UnsetType = UNSET


class News2Score(msgspec.Struct, frozen=True):
    """NEWS2 as the range of totals that the known inputs allow. `single`: 1 if one known parameter alone scores 3.

    Not `applicable` (with the `reason`) under 16 years, in pregnancy, with spinal injury, and during a session.
    """

    applicable: bool
    reason: str | UnsetType = UNSET
    low: int | UnsetType = UNSET
    high: int | UnsetType = UNSET
    single: int | UnsetType = UNSET
    missing: list[str] | UnsetType = UNSET


class ExerciseSession(msgspec.Struct, frozen=True):
    """Whether an exercise session runs, and since when."""

    active: bool
    start_t: float | UnsetType = UNSET


class StandingCondition(msgspec.Struct, frozen=True):
    """A condition that stands; `id` is that of its records in `conditions` and `alerts`."""

    rule: str
    priority: Priority
    onset_t: float
    id: str


class Estimate(msgspec.Struct, frozen=True):
    """What a model says of the patient: its newest answer, as of `t`, with its standard deviation. Without `value` the
    model abstains: what it needs is not there, too old or too poor. `unit` is UCUM. `valid_s` after `t` it no longer
    speaks of now."""

    t: float
    unit: str
    valid_s: float
    value: float | UnsetType = UNSET
    sd: float | UnsetType = UNSET


class TwinView(msgspec.Struct, frozen=True, kw_only=True):
    """A row as of `t`, the patient's own clock. `limits` are the personal limits in force; `discharged` stands where
    observation has ended."""

    t: float
    signals: dict[str, Latest]
    news2: News2Score | UnsetType = UNSET
    session: ExerciseSession
    limits: dict[str, float]
    conditions: list[StandingCondition]
    discharged: bool | UnsetType = UNSET


class TwinProvenance(msgspec.Struct, frozen=True):
    """How the record came to be in this run. `received_at` is the newest arrival, `clock` the newest measured time."""

    partition: int
    offset: int
    received_at: float | None
    clock: float
    applied_at: float


class Twin(TwinView, frozen=True, kw_only=True):
    """One record of `twin`: the settled row, and under `live` the row with everything that has arrived so far, of its
    signals only those whose newest reading is another than the settled one. `estimates`, by name, follow the settled
    readings alone."""

    patient: str
    schema: int
    estimates: dict[str, Estimate] | UnsetType = UNSET
    live: TwinView
    provenance: TwinProvenance
