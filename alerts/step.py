"""The life of an alert: conditions in, transitions of alerts out. Pure; a table of state × event is the whole logic.

An alert is announced by a provisional onset or by a settled one. A settled record always wins: it confirms what was
announced, and it stands on its own where nothing was. A record that repeats (the twin agent writes again what it wrote
before a crash) changes nothing: settled transitions of one alert never go back in event time, so an older one is known
as a repeat even where the alert has closed and come back meanwhile.

An alert of a rule with `suppressed_by` is written as suppressed while one of those rules stands, and nobody is told. It
is announced when the last of them ends while its own condition still stands.

An alert that calls somebody leads a group for its rule's `group_s`. What comes for the same patient in that time, of
the same or a lower priority, joins the group while any of it stands: it is written as suppressed, with the lead's id,
and raises no signal of its own. It stays so until it ends or worsens (`update_step`), or until settling decides anew.

`Alert.sequence` counts settled transitions apart from the others, each from 1, so that the settled journal is the same
whether or not a provisional notice went before. A withdrawal takes back a provisional notice and is counted with those.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from alerts.messages import render_message
from alerts.rules import PAST_EVENT, Rule, RuleSet
from contracts.condition import PRIORITIES, Alert, AlertState, Condition, Priority, Provenance, Stage

Life = Literal["absent", "provisional", "settled", "cleared", "withdrawn"]
"""Where an alert stands. `absent`: never heard of; `provisional`: announced, not yet settled; the last two: closed."""

Happening = Literal["onset", "update", "clear", "withdrawn", "past"]
"""What a condition record says. `past` is the onset of a past-event notice: told once, it does not stand."""

Effect = Literal["announce", "announce_if_new", "drop"]
"""`announce` writes an alert record; `announce_if_new` writes one and changes the state unless the record is a repeat;
`drop` does neither."""

Event = tuple[Happening, Stage]

LIVES: tuple[Life, ...] = ("absent", "provisional", "settled", "cleared", "withdrawn")
HAPPENINGS: tuple[Happening, ...] = ("onset", "update", "clear", "withdrawn", "past")
STAGES: tuple[Stage, ...] = ("provisional", "settled")

CLOSED_REMEMBERED = 64
"""Closed alerts a patient's state remembers, so that their repeats are known as such."""

UPDATES_REMEMBERED = 16
"""Updates an alert remembers: provisional ones, which may go back in time, and settled ones of one moment."""


class Cell(NamedTuple):
    """What one event does to an alert in one state."""

    life: Life
    effect: Effect


TABLE: dict[tuple[Life, Event], Cell] = {
    # Never heard of. An update or an end without its onset is announced: whoever reads may know the alert from before.
    ("absent", ("onset", "provisional")): Cell("provisional", "announce"),
    ("absent", ("update", "provisional")): Cell("provisional", "announce"),
    ("absent", ("clear", "provisional")): Cell("absent", "drop"),
    ("absent", ("withdrawn", "provisional")): Cell("withdrawn", "announce"),
    ("absent", ("past", "provisional")): Cell("cleared", "announce"),
    ("absent", ("onset", "settled")): Cell("settled", "announce"),
    ("absent", ("update", "settled")): Cell("settled", "announce"),
    ("absent", ("clear", "settled")): Cell("cleared", "announce"),
    ("absent", ("withdrawn", "settled")): Cell("withdrawn", "announce"),
    ("absent", ("past", "settled")): Cell("cleared", "announce"),
    # Announced from the live row. Only the settled row ends it.
    ("provisional", ("onset", "provisional")): Cell("provisional", "drop"),
    ("provisional", ("update", "provisional")): Cell("provisional", "announce_if_new"),
    ("provisional", ("clear", "provisional")): Cell("provisional", "drop"),
    ("provisional", ("withdrawn", "provisional")): Cell("withdrawn", "announce_if_new"),
    ("provisional", ("past", "provisional")): Cell("provisional", "drop"),
    ("provisional", ("onset", "settled")): Cell("settled", "announce_if_new"),
    ("provisional", ("update", "settled")): Cell("settled", "announce_if_new"),
    ("provisional", ("clear", "settled")): Cell("cleared", "announce_if_new"),
    ("provisional", ("withdrawn", "settled")): Cell("withdrawn", "announce_if_new"),
    ("provisional", ("past", "settled")): Cell("provisional", "drop"),
    # Settled: what is provisional comes from before, and a settled alert is never taken back.
    ("settled", ("onset", "provisional")): Cell("settled", "drop"),
    ("settled", ("update", "provisional")): Cell("settled", "drop"),
    ("settled", ("clear", "provisional")): Cell("settled", "drop"),
    ("settled", ("withdrawn", "provisional")): Cell("settled", "drop"),
    ("settled", ("past", "provisional")): Cell("settled", "drop"),
    ("settled", ("onset", "settled")): Cell("settled", "drop"),
    ("settled", ("update", "settled")): Cell("settled", "announce_if_new"),
    ("settled", ("clear", "settled")): Cell("cleared", "announce_if_new"),
    ("settled", ("withdrawn", "settled")): Cell("settled", "drop"),
    ("settled", ("past", "settled")): Cell("settled", "drop"),
    # Cleared. The same reading may open it again, after an exercise session for one; never before it cleared.
    ("cleared", ("onset", "provisional")): Cell("provisional", "announce_if_new"),
    ("cleared", ("update", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("clear", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("withdrawn", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("past", "provisional")): Cell("cleared", "drop"),
    ("cleared", ("onset", "settled")): Cell("settled", "announce_if_new"),
    ("cleared", ("update", "settled")): Cell("cleared", "drop"),
    ("cleared", ("clear", "settled")): Cell("cleared", "drop"),
    ("cleared", ("withdrawn", "settled")): Cell("cleared", "drop"),
    ("cleared", ("past", "settled")): Cell("cleared", "drop"),
    # Taken back. Should the settled row find it after all, a real alarm is never swallowed.
    ("withdrawn", ("onset", "provisional")): Cell("provisional", "announce_if_new"),
    ("withdrawn", ("update", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("clear", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("withdrawn", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("past", "provisional")): Cell("withdrawn", "drop"),
    ("withdrawn", ("onset", "settled")): Cell("settled", "announce_if_new"),
    ("withdrawn", ("update", "settled")): Cell("withdrawn", "drop"),
    ("withdrawn", ("clear", "settled")): Cell("withdrawn", "drop"),
    ("withdrawn", ("withdrawn", "settled")): Cell("withdrawn", "drop"),
    ("withdrawn", ("past", "settled")): Cell("withdrawn", "drop"),
}

NEVER = float("-inf")


class Group(msgspec.Struct, frozen=True, array_like=True):
    """A group of alerts: the id, rule and priority of the alert that leads it, and when (event time, s) that called."""

    lead: str
    rule: str
    priority: Priority
    called_t: float


class KnownAlert(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of an alert.

    Counts are of written records. `settled_t` and `provisional_t` are the event times (s) of the newest settled and
    provisional transition; `settled_values` the values announced at `settled_t` (none where that was a clear);
    `provisional_updates` the (t, onset_t, value) of the newest provisional updates, `withdrawn_t` the times of the
    newest withdrawals. `group` is the group that it leads or joined, None while it is suppressed by a parent or its
    rule takes no part in groups.
    """

    life: Life = "absent"
    settled_count: int = 0
    provisional_count: int = 0
    settled_t: float = NEVER
    provisional_t: float = NEVER
    settled_values: tuple[float, ...] = ()
    provisional_updates: tuple[tuple[float, float, float], ...] = ()
    withdrawn_t: tuple[float, ...] = ()
    rule: str = ""
    group: Group | None = None


class PatientAlerts(msgspec.Struct, frozen=True, array_like=True):
    """The alerts of one patient by id: those that stand, the newest closed ones in order of closing, and of those that
    stand the last record of each that is suppressed."""

    open: dict[str, KnownAlert] = {}
    closed: dict[str, KnownAlert] = {}
    suppressed: dict[str, Alert] = {}

    def known(self, alert_id: str) -> KnownAlert:
        """What is remembered of the alert of that id."""
        return self.open.get(alert_id) or self.closed.get(alert_id) or _UNKNOWN


_UNKNOWN = KnownAlert()


def step(state: PatientAlerts, condition: Condition, rules: RuleSet) -> tuple[PatientAlerts, list[Alert]]:
    """Fold one transition of a condition into a patient's alerts and return what is to be announced.

    `provenance.announced_id` names the id under which a notice went out, where it is not the condition's own: an
    amended notice keeps that id, and a settled onset takes the notice's place (the notice's own state ends here,
    readers follow `announced_id`). Of the alerts' `provenance` only that field is set; the caller adds the rest.
    Never raises for a decoded condition.
    """
    announced = condition.provenance.announced_id
    if announced and announced != condition.id:
        if condition.stage == "provisional":
            condition = msgspec.structs.replace(condition, id=announced, provenance=Provenance())
        elif condition.state == "onset" and state.known(announced).life == "provisional":
            state = _remember(state, announced, msgspec.structs.replace(state.open[announced], life="withdrawn"))
            state = _unsuppressed(state, announced)
    known = state.known(condition.id)
    happening: Happening = "past" if condition.rule == PAST_EVENT else condition.state
    cell = TABLE[known.life, (happening, condition.stage)]
    if cell.effect == "drop" or (cell.effect == "announce_if_new" and not _is_new(known, condition)):
        return state, []
    before, known = known, _counted(known, condition, cell.life)
    alert = _alert(condition, known, rules)
    # Who was told of an alert is not kept from its updates by another that came later.
    decides = condition.state == "onset" or condition.id in state.suppressed
    parent = _parent(state, alert, rules) if decides and alert.state == "active" else ""
    if parent:
        alert = msgspec.structs.replace(alert, state="suppressed", suppressed_by=parent)
        known = msgspec.structs.replace(known, group=None)
    elif alert.state == "active":
        known = msgspec.structs.replace(known, group=_group_of(state, alert, before, known, rules))
    alert = _grouped(alert, known)
    state = _remember(state, condition.id, known)
    state = _unsuppressed(state, condition.id)
    if parent:
        state = msgspec.structs.replace(state, suppressed={**state.suppressed, condition.id: alert})
    if alert.state in {"active", "suppressed"}:
        return state, [alert]
    alert = msgspec.structs.replace(alert, joined=_joined_to(state, alert))
    state, released = _release(state, alert, rules)
    return state, [alert, *released]


def _joined(alert_id: str, known: KnownAlert) -> bool:
    """Whether an alert is in a group that another leads."""
    return known.group is not None and known.group.lead != alert_id


def _grouped(alert: Alert, known: KnownAlert) -> Alert:
    """The record of an alert that joined a group names its lead, and calls nobody."""
    group = known.group
    if group is None or group.lead == alert.id:
        return alert
    if alert.state != "active":
        return msgspec.structs.replace(alert, group_lead=group.lead)
    return msgspec.structs.replace(alert, state="suppressed", suppressed_by=group.rule, group_lead=group.lead)


def _joined_to(state: PatientAlerts, ended: Alert) -> int:
    """How many alerts stand in the group of a lead that has ended; of a settled one only settled alerts are counted."""
    return sum(
        _joined(alert_id, known) and known.group is not None and known.group.lead == ended.id
        for alert_id, known in _standing(state, ended.stage)
    )


def _standing(state: PatientAlerts, stage: Stage) -> list[tuple[str, KnownAlert]]:
    """The alerts that count for a record of that stage: for a settled one settled alerts alone, so that the settled
    journal does not depend on what was announced before."""
    return [item for item in state.open.items() if stage == "provisional" or item[1].life == "settled"]


def _group_of(
    state: PatientAlerts, alert: Alert, before: KnownAlert, known: KnownAlert, rules: RuleSet
) -> Group | None:
    """The group of an alert that stands after one more transition. What settles is decided anew, whatever was said
    before; of two settled transitions the second says that it worsened, and what has worsened calls for itself."""
    if alert.transition == "onset" or before.life not in {"provisional", "settled"} or before.life != known.life:
        return _group(state, alert, True, rules)
    worsened = alert.stage == "settled" and _joined(alert.id, before)
    return _group(state, alert, False, rules) if worsened else before.group


def _group(state: PatientAlerts, alert: Alert, joins: bool, rules: RuleSet) -> Group | None:
    """The group that an alert which becomes active joins (`joins`: where it may), or leads."""
    rule = rules.get(alert.rule)
    if not isinstance(rule, Rule) or rule.kind != "physiological":
        return None
    if joins and rule.joins:
        open_groups = {
            known.group for other, known in _standing(state, alert.stage) if other != alert.id and known.group
        }
        fitting = [group for group in open_groups if _takes_in(group, alert, rules)]
        if fitting:
            return min(fitting, key=lambda group: (group.called_t, group.lead))
    return Group(alert.id, alert.rule, alert.priority, alert.t) if rule.group_s > 0.0 else None


def _takes_in(group: Group, alert: Alert, rules: RuleSet) -> bool:
    lead = rules.get(group.rule)
    in_time = isinstance(lead, Rule) and alert.onset_t - group.called_t <= lead.group_s
    return in_time and PRIORITIES.index(group.priority) >= PRIORITIES.index(alert.priority)


def _parent(state: PatientAlerts, alert: Alert, rules: RuleSet) -> str:
    """The rule that suppresses an alert now, or nothing."""
    rule = rules.get(alert.rule)
    if not isinstance(rule, Rule):
        return ""
    standing = {known.rule for _, known in _standing(state, alert.stage)}
    return next((parent for parent in rule.suppressed_by if parent in standing), "")


def _unsuppressed(state: PatientAlerts, alert_id: str) -> PatientAlerts:
    kept = {other: held for other, held in state.suppressed.items() if other != alert_id}
    return msgspec.structs.replace(state, suppressed=kept)


def _release(state: PatientAlerts, ended: Alert, rules: RuleSet) -> tuple[PatientAlerts, list[Alert]]:
    """An alert has ended: those that it alone suppressed are announced, in order of their ids."""
    released = []
    for alert_id, held in sorted(state.suppressed.items()):
        if _parent(state, held, rules):
            continue
        known = state.known(alert_id)
        settled = held.stage == "settled"
        told = msgspec.structs.replace(held, state="active", suppressed_by="", t=max(held.t, ended.t))
        known = msgspec.structs.replace(
            known,
            settled_count=known.settled_count + settled,
            provisional_count=known.provisional_count + (not settled),
            group=_group(state, told, True, rules),
        )
        state = _unsuppressed(_remember(state, alert_id, known), alert_id)
        number = known.settled_count if settled else known.provisional_count
        released.append(_grouped(msgspec.structs.replace(told, sequence=number), known))
    return state, released


def counts_as_settled(condition: Condition) -> bool:
    """Whether a transition belongs to the settled journal and its numbering."""
    return condition.stage == "settled" and condition.state != "withdrawn"


def _value(condition: Condition) -> float:
    return condition.evidence.value if condition.evidence is not None else 0.0


def _is_new(known: KnownAlert, condition: Condition) -> bool:
    """Settled transitions never go back in event time, and of one moment only another value is news. A provisional
    update may go back, because it amends an onset; a provisional onset may only follow all that was said before.
    """
    if not counts_as_settled(condition):
        if condition.state == "withdrawn":
            return condition.t not in known.withdrawn_t
        if condition.state == "update":
            return (condition.t, condition.onset_t, _value(condition)) not in known.provisional_updates
        return condition.t > max(known.settled_t, known.provisional_t)
    if condition.t == known.settled_t:
        ends = condition.state == "clear"
        worsens = condition.state == "update" and _value(condition) not in known.settled_values
        return bool(known.settled_values) and (ends or worsens)
    return condition.t > known.settled_t


def _counted(known: KnownAlert, condition: Condition, life: Life) -> KnownAlert:
    """`known` after `condition`."""
    if counts_as_settled(condition):
        earlier = known.settled_values if condition.t == known.settled_t else ()
        return msgspec.structs.replace(
            known,
            life=life,
            rule=condition.rule,
            settled_count=known.settled_count + 1,
            settled_t=condition.t,
            settled_values=(*earlier, _value(condition))[-UPDATES_REMEMBERED:] if life == "settled" else (),
        )
    updates, withdrawn_t = known.provisional_updates, known.withdrawn_t
    if condition.state == "update":
        updates = (*updates, (condition.t, condition.onset_t, _value(condition)))[-UPDATES_REMEMBERED:]
    if condition.state == "withdrawn":
        withdrawn_t = (*withdrawn_t, condition.t)[-UPDATES_REMEMBERED:]
    return msgspec.structs.replace(
        known,
        life=life,
        rule=condition.rule,
        provisional_count=known.provisional_count + 1,
        provisional_t=max(known.provisional_t, condition.t),
        provisional_updates=updates,
        withdrawn_t=withdrawn_t,
    )


def _remember(state: PatientAlerts, alert_id: str, known: KnownAlert) -> PatientAlerts:
    still_open = {other: alert for other, alert in state.open.items() if other != alert_id}
    closed = {other: alert for other, alert in state.closed.items() if other != alert_id}
    if known.life in {"provisional", "settled"}:
        still_open[alert_id] = known
    else:
        closed[alert_id] = known
        while len(closed) > CLOSED_REMEMBERED:
            del closed[next(iter(closed))]
    return PatientAlerts(still_open, closed, state.suppressed)


_ALERT_STATES: dict[Life, AlertState] = {
    "provisional": "active",
    "settled": "active",
    "cleared": "cleared",
    "withdrawn": "withdrawn",
}


def _alert(condition: Condition, known: KnownAlert, rules: RuleSet) -> Alert:
    rule = rules.get(condition.rule)
    return Alert(
        id=condition.id,
        patient=condition.patient,
        rule=condition.rule,
        kind=condition.kind,
        priority=condition.priority,
        state=_ALERT_STATES[known.life],
        transition=condition.state,
        stage=condition.stage,
        t=condition.t,
        onset_t=condition.onset_t,
        sequence=known.settled_count if counts_as_settled(condition) else known.provisional_count,
        message=render_message(rule, condition),
        message_ja=render_message(rule, condition, "ja"),
        source="" if rule is None else rule.source,
        evidence=condition.evidence,
        provenance=Provenance(announced_id=condition.provenance.announced_id),
    )
