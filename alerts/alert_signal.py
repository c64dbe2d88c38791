"""The life of an alert's signal: what the condition does, what people do and what time does to it. Pure; the logic is
the table of `alerts.signal_table`.

Time is the arrival clock (s): the ticks and the arrival of commands, as they stand in the log. Nothing here reads
another one, and it never goes back for one patient.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

import msgspec

from alerts.rules import Rule, RuleSet, escalate_after_s, re_alarm_after_s
from alerts.signal_table import (
    ANEW,
    ANSWERED,
    ANSWERS,
    HELD,
    LATCHED,
    SIGNAL_EVENTS,
    TABLE,
    TIMER_EVENTS,
    TIMERS,
    Cell,
    Timer,
)
from contracts.alert_signal import SYSTEM_ACTOR, SignalEvent, SignalState, SignalTransition
from contracts.command import (
    ALARM_OFF_HIGH_MAX_S,
    ALARM_OFF_MAX_S,
    AUDIO_PAUSE_MAX_S,
    Acknowledge,
    AlarmOff,
    AlarmResume,
    AlertCommand,
    AudioPause,
    Feedback,
)
from contracts.condition import PRIORITIES, Alert, Kind, Priority

ESCALATION_STEPS = 3
"""How often one annunciation escalates while nobody answers; the signal itself goes on."""

ENDED_REMEMBERED = 64
"""Ended signals a patient's state remembers, so that one which comes back goes on counting."""

COMMANDS_REMEMBERED = 64
"""Newest commands a patient's state remembers, so that a repeat is known as one."""

NEVER = -inf


_EVENT_OF: dict[type, SignalEvent] = {
    Acknowledge: "acknowledge",
    AudioPause: "audio_pause",
    AlarmOff: "alarm_off",
    AlarmResume: "alarm_resume",
}


def _event_of(command: AlertCommand) -> SignalEvent:
    if isinstance(command, Feedback):
        return "marked_useful" if command.useful else "marked_not_useful"
    return _EVENT_OF[type(command)]


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """The signal of one alert. `sequence` counts its written transitions; times are of the arrival clock, s.

    `former` is the id under which the alert was announced, where settling gave its condition another. `unseen` says
    that the condition came back while its latched signal waited for somebody. `announced_t` is when its newest onset
    was announced, `answered_t` when somebody first acknowledged it or put it off since.
    """

    rule: str
    kind: Kind
    priority: Priority
    latching: bool
    state: SignalState = "inactive"
    sequence: int = 0
    escalation: int = 0
    holder: str = ""
    since: float | None = None
    expires_at: float | None = None
    re_alarm_at: float | None = None
    escalate_at: float | None = None
    former: str = ""
    unseen: bool = False
    announced_t: float | None = None
    answered_t: float | None = None


class PatientSignals(msgspec.Struct, frozen=True, array_like=True):
    """The signals of one patient's alerts by id: those that stand, and the newest ended ones in order of their end.

    `commands` are the ids of the newest commands taken, `t` the arrival clock (s) of the newest transition.
    """

    standing: dict[str, Signal] = {}
    ended: dict[str, Signal] = {}
    commands: tuple[str, ...] = ()
    t: float = NEVER

    def next_due(self) -> float:
        """When the next timer runs out, inf where none runs."""
        return min((at for signal in self.standing.values() for at, _ in _timers(signal)), default=inf)


Heard = tuple[PatientSignals, list[SignalTransition]]


class _Act(NamedTuple):
    """Who does something, why, by which command, and until when it lasts."""

    actor: str = SYSTEM_ACTOR
    reason: str = ""
    command: str = ""
    until: float | None = None


_BY_ITSELF = _Act()


def follow(signals: PatientSignals, alert: Alert, clock: float, rules: RuleSet) -> Heard:
    """What one transition of an alert (an output of `alerts.step`) does to the patient's signals at `clock` (s).

    A past-event notice does not stand and has no signal. Never raises.
    """
    now = max(clock, signals.t)
    if now == NEVER:
        now = alert.t
    signals, written = pass_time(signals, alert.patient, now, rules)
    signals, renamed = _rename(signals, alert, now, rules)
    written += renamed
    for event in _events(signals.standing.get(alert.id), alert):
        signals = _remember(signals, alert.id, _described(signals, alert, event, rules))
        signals, transitions = _happen(signals, alert.patient, alert.id, event, now, rules)
        written += transitions
    if alert.state == "active" and alert.stage == "settled":
        for other, signal in sorted(signals.standing.items()):
            if other != alert.id and signal.rule == alert.rule and signal.state in LATCHED:
                signals, transitions = _happen(signals, alert.patient, other, "condition_recurred", now, rules)
                written += transitions
    return signals, written


def obey(signals: PatientSignals, command: AlertCommand, clock: float, rules: RuleSet) -> Heard:
    """What a person's command does when it arrives at `clock` (s). One that was taken before, or that names no known
    alert (`names_known`), does nothing. Never raises."""
    if command.id in signals.commands:
        return signals, []
    now = max(clock, signals.t)
    signals, written = pass_time(signals, command.patient, now, rules)
    event = _event_of(command)
    act = _Act(command.author, command.reason, command.id)
    for alert_id in _meant(signals, command):
        signal = signals.standing.get(alert_id) or signals.ended[alert_id]
        until = _until(command, signal, now)
        signals, transitions = _happen(signals, command.patient, alert_id, event, now, rules, act._replace(until=until))
        written += transitions
    taken = (*signals.commands, command.id)[-COMMANDS_REMEMBERED:]
    return msgspec.structs.replace(signals, commands=taken), written


def names_known(signals: PatientSignals, command: AlertCommand) -> bool:
    """Whether a command was taken before, or is about an alert of which something is known (still)."""
    every = isinstance(command, AudioPause) and not command.alert
    return command.id in signals.commands or every or bool(_meant(signals, command))


def pass_time(signals: PatientSignals, patient: str, clock: float, rules: RuleSet) -> Heard:
    """Let everything run out that is due at `clock` (s), in the order in which it was due. Time never goes back: an
    older clock changes nothing."""
    written: list[SignalTransition] = []
    while True:
        due = [(at, alert_id, event) for alert_id, signal in signals.standing.items() for at, event in _timers(signal)]
        at, alert_id, event = min(due, default=(inf, "", SIGNAL_EVENTS[0]))
        if at > clock:
            return signals, written
        signals, transitions = _happen(signals, patient, alert_id, event, max(clock, signals.t), rules)
        written += transitions


def _timers(signal: Signal) -> Iterable[tuple[float, SignalEvent]]:
    for timer in TIMERS[signal.state]:
        at: float | None = getattr(signal, timer)
        if at is not None:
            yield at, TIMER_EVENTS[timer]


def _events(signal: Signal | None, alert: Alert) -> list[SignalEvent]:
    if alert.state == "active":
        if signal is None or signal.state in LATCHED:
            return ["condition_onset"]
        change = PRIORITIES.index(alert.priority) - PRIORITIES.index(signal.priority)
        if change:
            return ["priority_raised" if change > 0 else "priority_lowered"]
        return []
    if signal is None or alert.state == "suppressed":
        return []
    # A notice is taken back; what was there before it, and was seen by nobody, is not.
    return ["condition_cleared" if alert.state == "cleared" or signal.unseen else "condition_withdrawn"]


def _rename(signals: PatientSignals, alert: Alert, now: float, rules: RuleSet) -> Heard:
    """A settled onset takes the place of the notice it names, and with it what people did about the notice."""
    former = alert.provenance.announced_id
    signal = signals.standing.get(former)
    if alert.state != "active" or signal is None or former == alert.id or alert.id in signals.standing:
        return signals, []
    if "rename" not in TABLE[signal.state, "condition_renamed", signal.latching].effects:
        return signals, []
    before = signals.ended.get(alert.id)
    counted = signal.sequence if before is None else max(signal.sequence, before.sequence)
    renamed = _remember(signals, alert.id, msgspec.structs.replace(signal, former=former, sequence=counted))
    # What is left under the former id only goes on counting: the alarm, its times with it, is the other's now.
    left = msgspec.structs.replace(signal, state="inactive", former="", announced_t=None, answered_t=None)
    renamed = _remember(renamed, former, left)
    return _happen(renamed, alert.patient, alert.id, "condition_renamed", now, rules)


def _meant(signals: PatientSignals, command: AlertCommand) -> list[str]:
    if isinstance(command, AudioPause) and not command.alert:
        return [
            alert_id
            for alert_id, signal in sorted(signals.standing.items())
            if "refuse" not in TABLE[signal.state, "audio_pause", signal.latching].effects
        ]
    if command.alert in signals.standing:
        return [command.alert]
    renamed = [alert_id for alert_id, signal in signals.standing.items() if signal.former == command.alert]
    if renamed:
        return renamed
    ended = [alert_id for alert_id, signal in signals.ended.items() if command.alert in {alert_id, signal.former}]
    return ended[-1:]


def _until(command: AlertCommand, signal: Signal, now: float) -> float | None:
    match command:
        case AudioPause():
            return now + min(command.duration_s, AUDIO_PAUSE_MAX_S)
        case AlarmOff():
            longest = ALARM_OFF_HIGH_MAX_S if signal.priority == "high" else ALARM_OFF_MAX_S
            return max(now, min(command.expires_at, now + longest))
    return None


def _happen(
    signals: PatientSignals,
    patient: str,
    alert_id: str,
    event: SignalEvent,
    now: float,
    rules: RuleSet,
    act: _Act = _BY_ITSELF,
) -> Heard:
    """One step of the table, for a signal that is known. Written is what changes the state or has an effect."""
    signal = signals.standing.get(alert_id) or signals.ended[alert_id]
    cell = TABLE[signal.state, event, signal.latching]
    if cell.state == signal.state and not cell.effects:
        return signals, []
    after = _moved(signal, cell, act, now, rules)
    if event == "condition_onset":
        after = msgspec.structs.replace(after, announced_t=now, answered_t=None)
    elif event in ANSWERS and "refuse" not in cell.effects and signal.answered_t is None:
        after = msgspec.structs.replace(after, answered_t=now)
    transition = SignalTransition(
        id=alert_id,
        patient=patient,
        rule=after.rule,
        kind=after.kind,
        priority=after.priority,
        from_=signal.state,
        event=event,
        to=after.state,
        effects=cell.effects,
        t=now,
        sequence=after.sequence,
        actor=act.actor,
        reason=act.reason,
        command=act.command,
        holder=after.holder,
        since=after.since,
        until=after.expires_at,
        escalation=after.escalation,
        replaces=after.former if "rename" in cell.effects else "",
        announced_t=after.announced_t,
        answered_t=after.answered_t,
    )
    return msgspec.structs.replace(_remember(signals, alert_id, after), t=now), [transition]


def _described(signals: PatientSignals, alert: Alert, event: SignalEvent, rules: RuleSet) -> Signal:
    """The alert's signal with what the alert says of it, before the event. At an onset it begins anew; one that was
    known before goes on counting."""
    known = signals.standing.get(alert.id) or signals.ended.get(alert.id)
    if known is not None and event != "condition_onset":
        # A lead that nobody has answered goes on calling for those of its group that still stand.
        return msgspec.structs.replace(known, priority=alert.priority, latching=known.latching or alert.joined > 0)
    rule = rules.get(alert.rule)
    # IEC 60601-1-8: a technical alarm condition that is over needs nobody to have seen it.
    latching = isinstance(rule, Rule) and rule.latching and alert.kind != "technical"
    fresh = Signal(alert.rule, alert.kind, alert.priority, latching)
    if known is None:
        return fresh
    return msgspec.structs.replace(
        fresh,
        state=known.state,
        sequence=known.sequence,
        unseen=known.state in LATCHED,
        announced_t=known.announced_t,
        answered_t=known.answered_t,
    )


def _moved(signal: Signal, cell: Cell, act: _Act, now: float, rules: RuleSet) -> Signal:
    rule = rules.get(signal.rule)
    escalation = signal.escalation + ("escalate" in cell.effects)
    if cell.state in ANSWERED or cell == ANEW:
        escalation = 0
    timers: dict[Timer, float | None] = {
        timer: getattr(signal, timer) if timer in TIMERS[cell.state] else None for timer in TIMER_EVENTS
    }
    if "expire_later" in cell.effects:
        timers["expires_at"] = act.until
    if "remind_later" in cell.effects:
        timers["re_alarm_at"] = _after(now, re_alarm_after_s(rule, signal.priority))
    if "await_acknowledgement" in cell.effects:
        wait_s = escalate_after_s(rule, signal.priority)
        timers["escalate_at"] = _after(now, wait_s) if escalation < ESCALATION_STEPS else None
    holder, since = signal.holder, signal.since
    if cell.state not in HELD:
        holder, since = "", None
    elif act.command and not {"refuse", "record"} & set(cell.effects):
        holder, since = act.actor, now
    return msgspec.structs.replace(
        signal,
        state=cell.state,
        sequence=signal.sequence + 1,
        escalation=escalation,
        holder=holder,
        since=since,
        unseen=signal.unseen and cell.state not in ANSWERED,
        **timers,
    )


def _after(now: float, wait_s: float) -> float | None:
    return now + wait_s if wait_s > 0.0 else None


def _remember(signals: PatientSignals, alert_id: str, signal: Signal) -> PatientSignals:
    standing = {other: kept for other, kept in signals.standing.items() if other != alert_id}
    ended = {other: kept for other, kept in signals.ended.items() if other != alert_id}
    if signal.state != "inactive":
        standing[alert_id] = signal
    else:
        ended[alert_id] = signal
        while len(ended) > ENDED_REMEMBERED:
            del ended[next(iter(ended))]
    return msgspec.structs.replace(signals, standing=standing, ended=ended)
