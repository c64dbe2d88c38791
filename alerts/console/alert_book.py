"""The alerts of one patient as a reader follows them: each with all its transitions, repeats left out. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from contracts.condition import PRIORITIES, Alert

CLOSED_KEPT = 50
"""Closed alerts kept for each patient."""

CLOSED_KEPT_S = 86_400.0
"""How long a closed alert is kept, in s of its own event time before the newest alert."""


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

    def active(self) -> list[AlertLife]:
        """Active alerts: the most urgent first, then the newest."""
        lives = [life for life in self.lives.values() if life.active]
        return sorted(lives, key=lambda life: (-rank(life.newest.priority), -life.newest.onset_t, life.newest.id))

    def all(self) -> list[AlertLife]:
        """Active alerts, then closed ones, the newest first."""
        closed = [life for life in self.lives.values() if not life.active]
        return self.active() + sorted(closed, key=lambda life: (-life.newest.t, life.newest.id))

    def _forget(self, now: float) -> None:
        closed = [key for key, life in self.lives.items() if not life.active]
        closed.sort(key=lambda key: self.lives[key].newest.t)
        too_old = [key for key in closed if self.lives[key].newest.t < now - CLOSED_KEPT_S]
        for key in {*too_old, *closed[: max(0, len(closed) - CLOSED_KEPT)]}:
            del self.lives[key]


def shown(life: AlertLife, *, complete: bool) -> dict[str, Any]:
    """The alert as plain types; `complete` adds evidence and all transitions."""
    newest = life.newest
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
        "received_at": newest.provenance.received_at,
        "applied_at": newest.provenance.applied_at,
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
                    "received_at": alert.provenance.received_at,
                    "applied_at": alert.provenance.applied_at,
                }
                for alert in life.transitions
            ],
        }
    return view


def _identity(alert: Alert) -> tuple[Any, ...]:
    return alert.id, alert.stage, alert.transition, alert.sequence, alert.t, alert.message
