"""Ticks: the arrival clock of each telemetry partition, written by whoever owns it; and the watch over them.

A tick is a record like any other: the core knows the time from the log alone, in life and in replay. Where ticks stand
still although the partition is read to its end, silence cannot be judged, and one system alarm says so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import msgspec

from alerts.rules import TICKS_STOPPED, Notice, RuleSet
from contracts import topics
from contracts.canonical import canonical_bytes
from contracts.condition import Alert, ConditionState, to_builtins
from contracts.identity import identity_text, text_identity
from contracts.reading import Tick
from stream.processor import OutputRecord

TICK_EVERY_S = 1.0
STOPPED_AFTER_S = 10.0

UNRULED = Notice(
    id=TICKS_STOPPED,
    kind="technical",
    priority="high",
    message="The arrival clock of a partition stands still: silence of its patients is not being judged.",
    source="BioTwin",
    author="BioTwin maintainers",
)
"""The alarm's words and urgency where the rules in force have none."""


def ticks_notice(rules: RuleSet | None) -> Notice:
    """What the rules say about stopped ticks."""
    return (rules.get(TICKS_STOPPED) if rules is not None else None) or UNRULED


def tick_record(topic: str, partition: int, now: float) -> OutputRecord:
    """One tick of a partition: no key, the partition named."""
    return OutputRecord(topic, None, msgspec.json.encode(Tick(round(now, 3))), partition)


@dataclass(slots=True)
class TickWatch:
    """Judges one partition. `seen_at` is the monotonic time at which a tick last passed."""

    partition: int
    notice: Notice = UNRULED
    seen_at: float = field(default_factory=time.monotonic)
    opened: Alert | None = None

    def judge(self, clock: float, now: float, caught_up: bool) -> Alert | None:
        """The alarm to write, if the partition's ticks have just stopped or come back. A partition with a backlog is
        not judged: its ticks are in the log, not yet read."""
        age_s = clock - self.seen_at
        if self.opened is None and caught_up and age_s > STOPPED_AFTER_S:
            self.opened = self._alert("onset", now, now, 1)
            return self.opened
        if self.opened is not None and age_s <= STOPPED_AFTER_S:
            cleared = self._alert("clear", now, self.opened.onset_t, 2)
            self.opened = None
            return cleared
        return None

    def _alert(self, transition: ConditionState, t: float, onset_t: float, sequence: int) -> Alert:
        stands = transition == "onset"
        again = self.notice.cleared or "The arrival clock of a partition runs again."
        return Alert(
            id=identity_text(text_identity(TICKS_STOPPED, str(self.partition), f"{onset_t:.3f}")),
            patient="",
            rule=TICKS_STOPPED,
            kind=self.notice.kind,
            priority=self.notice.priority,
            state="active" if stands else "cleared",
            transition=transition,
            stage="settled",
            t=round(t, 3),
            onset_t=round(onset_t, 3),
            sequence=sequence,
            message=self.notice.message if stands else again,
            message_ja=self.notice.message_ja if stands else self.notice.cleared_ja,
            source=self.notice.source,
        )


def alert_record(alert: Alert, partition: int) -> OutputRecord:
    """A system alarm on `alerts`: without a key, because it belongs to no patient."""
    return OutputRecord(topics.ALERTS, None, canonical_bytes(to_builtins(alert)), partition)
