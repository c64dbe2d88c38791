"""The alerts of one patient as a reader follows them: each with all its transitions and those of its signal, repeats
left out. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alerts.signal_table import ANSWERED, LATCHED
from contracts.alert_signal import SignalTransition
from contracts.condition import PRIORITIES, Alert

CLOSED_KEPT = 50
"""Closed alerts kept for each patient."""

CLOSED_KEPT_S = 86_400.0
"""How long a closed alert is kept, in s of its own event time before the newest alert."""


SIGNALS_KEPT = 100
"""Transitions of one alert's signal that are kept: the newest."""


def rank(priority: str) -> int:
    """0 for "none" up to 3 for "high"."""
    return PRIORITIES.index(priority) if priority in PRIORITIES else 0


class AlertLife:
    """One alert: its transitions in the order in which they were written.

    `replaces` names the provisional notice that settling gave this alert's id to.
    """

    def __init__(self) -> None:
        self.transitions: list[Alert] = []
        self.replaces = ""

    @property
    def newest(self) -> Alert:
        return self.transitions[-1]

    @property
    def active(self) -> bool:
        return self.newest.state == "active"

    @property
    def settled(self) -> bool:
        """Whether anything but a provisional notice is known."""
        return any(alert.stage == "settled" for alert in self.transitions)

    def knows(self, alert: Alert) -> bool:
        """Whether that transition was seen before: its writer repeats itself after a crash."""
        return any(_identity(alert) == _identity(known) for known in self.transitions)


class AlertBook:
    """All alerts of one patient that are active or were closed lately."""

    def __init__(self) -> None:
        self.lives: dict[str, AlertLife] = {}
        self._signals: dict[str, list[SignalTransition]] = {}

    def apply(self, alert: Alert) -> bool:
        """Takes a transition; says whether it was news."""
        life = self.lives.setdefault(alert.id, AlertLife())
        if life.knows(alert):
            return False
        announced = alert.provenance.announced_id
        if announced and announced != alert.id and announced in self.lives:
            earlier = self.lives.pop(announced)
            life.transitions = [*earlier.transitions, *life.transitions]
            life.replaces = announced
        life.transitions.append(alert)
        self._forget(alert.t)
        return True

    def apply_signal(self, transition: SignalTransition) -> bool:
        """Takes a transition of an alert's signal, which may come before the alert itself; says whether it was news."""
        known = self._signals.get(transition.id, [])
        if transition.replaces:
            known = [*self._signals.pop(transition.replaces, []), *known]
        if known and transition.sequence <= known[-1].sequence:
            return False
        self._signals[transition.id] = [*known, transition][-SIGNALS_KEPT:]
        stray = [key for key, told in self._signals.items() if key not in self.lives and told[-1].to == "inactive"]
        for key in stray[: max(0, len(stray) - CLOSED_KEPT)]:
            del self._signals[key]
        return True

    def signals(self, life: AlertLife) -> list[SignalTransition]:
        """The transitions of an alert's signal, oldest first; none where nothing was heard of it."""
        return self._signals.get(life.newest.id) or self._signals.get(life.replaces, [])

    def stands(self, life: AlertLife) -> bool:
        """Whether the alert is active, or over and latched: somebody has yet to see it."""
        signals = self.signals(life)
        return life.active or (bool(signals) and signals[-1].to in LATCHED)

    def answered(self, life: AlertLife) -> bool:
        """Whether somebody has acknowledged the alert, or put it off."""
        signals = self.signals(life)
        return bool(signals) and signals[-1].to in ANSWERED

    def standing(self) -> list[AlertLife]:
        """Alerts that stand: the most urgent first, those that nobody has answered before the others, then the
        newest."""
        lives = [life for life in self.lives.values() if self.stands(life)]
        return sorted(lives, key=self.order)

    def all(self) -> list[AlertLife]:
        """Alerts that stand, then closed ones, the newest first."""
        closed = [life for life in self.lives.values() if not self.stands(life)]
        return self.standing() + sorted(closed, key=lambda life: (-life.newest.t, life.newest.id))

    def order(self, life: AlertLife) -> tuple[Any, ...]:
        """What alerts are sorted by: the most urgent first, those that nobody has answered before the others."""
        return -rank(life.newest.priority), self.answered(life), -life.newest.onset_t, life.newest.id

    def _forget(self, now: float) -> None:
        closed = [key for key, life in self.lives.items() if not self.stands(life)]
        closed.sort(key=lambda key: self.lives[key].newest.t)
        too_old = [key for key in closed if self.lives[key].newest.t < now - CLOSED_KEPT_S]
        for key in {*too_old, *closed[: max(0, len(closed) - CLOSED_KEPT)]}:
            del self.lives[key]
            self._signals.pop(key, None)


def shown(book: AlertBook, life: AlertLife, *, complete: bool) -> dict[str, Any]:
    """The alert as plain types; `complete` adds evidence and all transitions."""
    newest = life.newest
    signals = book.signals(life)
    view: dict[str, Any] = {
        "id": newest.id,
        "rule": newest.rule,
        "kind": newest.kind,
        "priority": newest.priority,
        "state": newest.state,
        "stage": "settled" if life.settled else "provisional",
        "transition": newest.transition,
        "t": newest.t,
        "onset_t": newest.onset_t,
        "message": newest.message,
        "message_ja": newest.message_ja,
        "received_at": newest.provenance.received_at,
        "applied_at": newest.provenance.applied_at,
        "standing": book.stands(life),
        "suppressed_by": newest.suppressed_by,
        "group_lead": newest.group_lead,
        "signal": _signal(signals) if signals else None,
    }
    if complete:
        view |= {
            "source": newest.source,
            "evidence": msgspec.to_builtins(newest.evidence),
            "replaces": life.replaces,
            "transitions": [
                {
                    "transition": alert.transition,
                    "state": alert.state,
                    "stage": alert.stage,
                    "t": alert.t,
                    "message": alert.message,
                    "message_ja": alert.message_ja,
                    "received_at": alert.provenance.received_at,
                    "applied_at": alert.provenance.applied_at,
                }
                for alert in life.transitions
            ],
            "signals": [
                {
                    "event": signal.event,
                    "to": signal.to,
                    "t": signal.t,
                    "actor": signal.actor,
                    "reason": signal.reason,
                    "until": signal.until,
                    "refused": "refuse" in signal.effects,
                }
                for signal in signals
            ],
        }
    return view


def _signal(signals: list[SignalTransition]) -> dict[str, Any]:
    """How the signal stands, and why whoever holds it back does."""
    newest = signals[-1]
    reasons = [signal.reason for signal in signals if signal.actor == newest.holder and signal.t == newest.since]
    return {
        "state": newest.to,
        "event": newest.event,
        "sequence": newest.sequence,
        "t": newest.t,
        "holder": newest.holder,
        "since": newest.since,
        "until": newest.until,
        "reason": reasons[-1] if reasons else "",
        "escalation": newest.escalation,
    }


def _identity(alert: Alert) -> tuple[Any, ...]:
    return alert.id, alert.stage, alert.transition, alert.sequence, alert.t, alert.message
