"""The life of an alert: conditions in, transitions of alerts out. Pure; a table of state × event is the whole logic.

An alert is announced by a provisional onset or by a settled one. A settled record always wins: it confirms what was
announced, and it stands on its own where nothing was. A record that repeats (the twin agent writes again what it wrote
before a crash) changes nothing.

`Alert.sequence` counts settled transitions apart from the others, each from 1, so that the settled journal is the same
whether or not a provisional notice went before. A withdrawal takes back a provisional notice and is counted with those.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from alerts.messages import render_message
from alerts.rules import RuleSet
from contracts.condition import Alert, AlertState, Condition, ConditionState, Provenance, Stage

Life = Literal["absent", "provisional", "settled", "cleared", "withdrawn"]
"""Where an alert stands. `absent`: never heard of; `provisional`: announced, not yet settled; the last two: closed."""

Effect = Literal["announce", "announce_if_new", "drop"]
"""`announce` writes an alert record, `announce_if_new` only if this update was not seen before, `drop` nothing."""

LIVES: tuple[Life, ...] = ("absent", "provisional", "settled", "cleared", "withdrawn")
TRANSITIONS: tuple[ConditionState, ...] = ("onset", "update", "clear", "withdrawn")
STAGES: tuple[Stage, ...] = ("provisional", "settled")

CLOSED_REMEMBERED = 64
"""Closed alerts a patient's state remembers, so that their repeats are known as such."""

UPDATES_REMEMBERED = 16
"""Updates an open alert remembers: provisional ones, which may go back in time, and settled ones of one moment."""


class Cell(NamedTuple):
    """What one event does to an alert in one state."""

    life: Life
    effect: Effect


Event = tuple[ConditionState, Stage]

TABLE: dict[tuple[Life, Event], Cell] = {
    # Never heard of. An update or an end without its onset is announced: whoever reads may know the alert from before.
    ("absent", ("onset", "provisional")): Cell("provisional", "announce"),
    ("absent", ("update", "provisional")): Cell("provisional", "announce"),
    ("absent", ("clear", "provisional")): Cell("absent", "drop"),
    ("absent", ("withdrawn", "provisional")): Cell("withdrawn", "announce"),
    ("absent", ("onset", "settled")): Cell("settled", "announce"),
    ("absent", ("update", "settled")): Cell("settled", "announce"),
    ("absent", ("clear", "settled")): Cell("cleared", "announce"),
    ("absent", ("withdrawn", "settled")): Cell("withdrawn", "announce"),
    # Announced from the live row. Only the settled row ends it.
    ("provisional", ("onset", "provisional")): Cell("provisional", "drop"),
    ("provisional", ("update", "provisional")): Cell("provisional", "announce_if_new"),
    ("provisional", ("clear", "provisional")): Cell("provisional", "drop"),
    ("provisional", ("withdrawn", "provisional")): Cell("withdrawn", "announce"),
    ("provisional", ("onset", "settled")): Cell("settled", "announce"),
    ("provisional", ("update", "settled")): Cell("settled", "announce"),
    ("provisional", ("clear", "settled")): Cell("cleared", "announce"),
    ("provisional", ("withdrawn", "settled")): Cell("withdrawn", "announce"),
    # Settled: what is provisional comes from before, and a settled alert is never taken back.
    ("settled", ("onset", "provisional")): Cell("settled", "drop"),
    ("settled", ("update", "provisional")): Cell("settled", "drop"),
    ("settled", ("clear", "provisional")): Cell("settled", "drop"),
    ("settled", ("withdrawn", "provisional")): Cell("settled", "drop"),
    ("settled", ("onset", "settled")): Cell("settled", "drop"),
    ("settled", ("update", "settled")): Cell("settled", "announce_if_new"),
    ("settled", ("clear", "settled")): Cell("cleared", "announce"),
    ("settled", ("withdrawn", "settled")): Cell("settled", "drop"),
    # Cleared: a condition that comes back has another id, because another reading opens it.
    ("cleared", ("onset", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("update", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("clear", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("withdrawn", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("onset", "settled")): Cell("cleared", "drop"),
    ("cleared", ("update", "settled")): Cell("cleared", "drop"),
    ("cleared", ("clear", "settled")): Cell("cleared", "drop"),
    ("cleared", ("withdrawn", "settled")): Cell("cleared", "drop"),
    # Taken back. Should the settled row find it after all, a real alarm is never swallowed.
    ("withdrawn", ("onset", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("update", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("clear", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("withdrawn", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("onset", "settled")): Cell("settled", "announce"),
    ("withdrawn", ("update", "settled")): Cell("withdrawn", "drop"),
    ("withdrawn", ("clear", "settled")): Cell("withdrawn", "drop"),
    ("withdrawn", ("withdrawn", "settled")): Cell("withdrawn", "drop"),
}


class OpenAlert(msgspec.Struct, frozen=True, array_like=True):
    """An alert that is announced and not closed.

    `settled_t` and `settled_values` are the event time of the newest settled transition and the values announced at it;
    `provisional_updates` the (t, onset_t, value) of the newest provisional updates.
    """

    settled: bool
    settled_count: int = 0
    provisional_count: int = 0
    settled_t: float = float("-inf")
    settled_values: tuple[float, ...] = ()
    provisional_updates: tuple[tuple[float, float, float], ...] = ()


class PatientAlerts(msgspec.Struct, frozen=True, array_like=True):
    """The alerts of one patient: open ones by id, and the newest closed ones in order of closing (True = withdrawn)."""

    open: dict[str, OpenAlert] = {}
    closed: dict[str, bool] = {}

    def life(self, alert_id: str) -> Life:
        """Where the alert of that id stands."""
        known = self.open.get(alert_id)
        if known is not None:
            return "settled" if known.settled else "provisional"
        withdrawn = self.closed.get(alert_id)
        return "absent" if withdrawn is None else "withdrawn" if withdrawn else "cleared"


def step(state: PatientAlerts, condition: Condition, rules: RuleSet) -> tuple[PatientAlerts, list[Alert]]:
    """Fold one transition of a condition into a patient's alerts and return what is to be announced.

    A settled onset that names another id under `provenance.announced_id` takes that notice's place: the notice's own
    state ends here, and readers follow `announced_id`. `provenance` of the alerts is the condition's; the caller
    replaces it. Never raises for a decoded condition.
    """
    announced = condition.provenance.announced_id
    takes_over = condition.stage == "settled" and condition.state == "onset" and bool(announced)
    if takes_over and announced != condition.id and announced in state.open:
        state = _close(state, announced, withdrawn=True)
    before = state.life(condition.id)
    cell = TABLE[before, (condition.state, condition.stage)]
    known = state.open.get(condition.id, OpenAlert(settled=False))
    if cell.effect == "drop" or (cell.effect == "announce_if_new" and _repeats(known, condition)):
        return state, []
    known = _counted(known, condition)
    alert = _alert(condition, known, cell.life, rules)
    if cell.life in {"cleared", "withdrawn"}:
        return _close(state, condition.id, withdrawn=cell.life == "withdrawn"), [alert]
    closed = state.closed
    if condition.id in closed:
        closed = {closed_id: withdrawn for closed_id, withdrawn in closed.items() if closed_id != condition.id}
    return PatientAlerts({**state.open, condition.id: known}, closed), [alert]


def counts_as_settled(condition: Condition) -> bool:
    """Whether a transition belongs to the settled journal and its numbering."""
    return condition.stage == "settled" and condition.state != "withdrawn"


def _repeats(known: OpenAlert, condition: Condition) -> bool:
    """Settled updates never go back in time, and at one time only a new value is news; provisional ones may go back."""
    value = condition.evidence.value if condition.evidence is not None else 0.0
    if condition.stage == "settled":
        return condition.t < known.settled_t or (condition.t == known.settled_t and value in known.settled_values)
    return (condition.t, condition.onset_t, value) in known.provisional_updates


def _counted(known: OpenAlert, condition: Condition) -> OpenAlert:
    value = condition.evidence.value if condition.evidence is not None else 0.0
    if counts_as_settled(condition):
        earlier = known.settled_values if condition.t == known.settled_t else ()
        return OpenAlert(
            settled=True,
            settled_count=known.settled_count + 1,
            provisional_count=known.provisional_count,
            settled_t=condition.t,
            settled_values=(*earlier, value)[-UPDATES_REMEMBERED:],
        )
    updates = known.provisional_updates
    if condition.state == "update":
        updates = (*updates, (condition.t, condition.onset_t, value))[-UPDATES_REMEMBERED:]
    return OpenAlert(
        settled=known.settled,
        settled_count=known.settled_count,
        provisional_count=known.provisional_count + 1,
        settled_t=known.settled_t,
        settled_values=known.settled_values,
        provisional_updates=updates,
    )


def _close(state: PatientAlerts, alert_id: str, *, withdrawn: bool) -> PatientAlerts:
    still_open = {open_id: known for open_id, known in state.open.items() if open_id != alert_id}
    closed = {closed_id: mark for closed_id, mark in state.closed.items() if closed_id != alert_id}
    closed[alert_id] = withdrawn
    while len(closed) > CLOSED_REMEMBERED:
        del closed[next(iter(closed))]
    return PatientAlerts(still_open, closed)


_ALERT_STATES: dict[Life, AlertState] = {
    "provisional": "active",
    "settled": "active",
    "cleared": "cleared",
    "withdrawn": "withdrawn",
}


def _alert(condition: Condition, known: OpenAlert, life: Life, rules: RuleSet) -> Alert:
    rule = rules.get(condition.rule)
    return Alert(
        id=condition.id,
        patient=condition.patient,
        rule=condition.rule,
        kind=condition.kind,
        priority=condition.priority,
        state=_ALERT_STATES[life],
        transition=condition.state,
        stage=condition.stage,
        t=condition.t,
        onset_t=condition.onset_t,
        sequence=known.settled_count if counts_as_settled(condition) else known.provisional_count,
        message=render_message(rule, condition),
        source="" if rule is None else rule.source,
        evidence=condition.evidence,
        provenance=Provenance(announced_id=condition.provenance.announced_id),
    )
