"""What the console reads of a `contracts.twin.Twin`: tolerant of what is absent, older or null.

All times are seconds since the Unix epoch, UTC; values are in the registry's units.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Baseline(msgspec.Struct, frozen=True):
    """A signal's personal baseline: robust mean and scale, and how many values they rest on."""

    mean: float | None = None
    scale: float | None = None
    count: float = 0.0


class SignalValue(msgspec.Struct, frozen=True):
    """A latest value. `reading` is the reading's id, `received_at` its arrival where the record says it."""

    value: float | str | None = None
    t: float = 0.0
    quality: float | None = None
    reading: str = ""
    received_at: float | None = None
    baseline: Baseline | None = None


class Score(msgspec.Struct, frozen=True):
    """NEWS2 as a range; `single` says that one parameter alone scores 3."""

    low: float | None = None
    high: float | None = None
    single: float | bool | None = None
    missing: list[str] = []
    applicable: bool = True
    reason: str = ""


class StandingCondition(msgspec.Struct, frozen=True):
    """A condition that stands in the twin."""

    rule: str = ""
    priority: str = "none"
    onset_t: float = 0.0
    id: str = ""


class Estimate(msgspec.Struct, frozen=True):
    """What a model says, as of `t`; without `value` it abstains."""

    t: float = 0.0
    unit: str = ""
    valid_s: float | None = None
    value: float | None = None
    sd: float | None = None


class Live(msgspec.Struct, frozen=True):
    """The live row: everything that arrived, settled or not. What it lacks is taken from the settled row."""

    t: float | None = None
    signals: dict[str, SignalValue] = {}
    news2: Score | None = None
    session: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None
    conditions: list[StandingCondition] | None = None
    discharged: bool = False


class TwinProvenance(msgspec.Struct, frozen=True):
    """How this record came to be: the newest reading's arrival, and when the worker applied it."""

    offset: int = -1
    partition: int = -1
    received_at: float | None = None
    applied_at: float = 0.0


class TwinRecord(msgspec.Struct, frozen=True):
    """One record of topic `twin`."""

    patient: str
    t: float | None = None
    signals: dict[str, SignalValue] = {}
    news2: Score | None = None
    session: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None
    conditions: list[StandingCondition] = []
    estimates: dict[str, Estimate] = {}
    discharged: bool = False
    live: Live | None = None
    provenance: TwinProvenance = TwinProvenance()

    def has_left(self) -> bool:
        """Whether the patient was discharged and not admitted again."""
        return self.live.discharged if self.live is not None else self.discharged

    def shown_signals(self) -> dict[str, SignalValue]:
        """The live value of each signal, else the settled one; a baseline is taken from the settled row."""
        if self.live is None:
            return self.signals
        shown = dict(self.signals)
        for name, live in self.live.signals.items():
            settled = self.signals.get(name)
            if settled is None or live.t >= settled.t:
                baseline = live.baseline or (settled.baseline if settled is not None else None)
                shown[name] = msgspec.structs.replace(live, baseline=baseline)
        return shown

    def shown_news2(self) -> Score | None:
        """The live score, else the settled one."""
        return self.live.news2 if self.live is not None and self.live.news2 is not None else self.news2

    def shown_session(self) -> dict[str, Any] | None:
        """The session of the live row, else of the settled one."""
        return self.live.session if self.live is not None and self.live.session is not None else self.session

    def shown_limits(self) -> dict[str, Any] | None:
        """The personal limits of the live row, else of the settled one."""
        return self.live.limits if self.live is not None and self.live.limits is not None else self.limits

    def clock(self) -> float:
        """The patient's clock: the newest measured time that counts (0 where there is none)."""
        times = [self.t or 0.0, (self.live.t or 0.0) if self.live is not None else 0.0]
        return max(times)


decode_twin = msgspec.json.Decoder(TwinRecord).decode
