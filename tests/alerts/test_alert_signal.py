"""The life of an alert's signal: every cell of its table, what no signal may ever do, and the laws of its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from math import inf
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert_signal import (
    COMMANDS_REMEMBERED,
    ENDED_REMEMBERED,
    ESCALATION_STEPS,
    PatientSignals,
    follow,
    names_known,
    obey,
    pass_time,
)
from alerts.rules import default_rules, escalate_after_s, re_alarm_after_s
from alerts.signal_table import HELD, LATCHED, SIGNAL_EVENTS, SIGNAL_STATES, TABLE, TIMER_EVENTS, TIMERS
from contracts.alert_signal import SignalEffect, SignalEvent, SignalState, SignalTransition
from contracts.command import (
    ALARM_OFF_HIGH_MAX_S,
    ALARM_OFF_MAX_S,
    Acknowledge,
    AlarmOff,
    AlarmResume,
    AlertCommand,
    AudioPause,
    Feedback,
)
from contracts.condition import Alert, AlertState, ConditionState, Kind, Priority, Provenance, Stage

RULES = default_rules(0.0)
LATCHING_RULE = "spo2-below-85"
PLAIN_RULE = "news2-emergency"
ACTS: tuple[SignalEvent, ...] = ("acknowledge", "audio_pause", "alarm_off", "alarm_resume")
PRESENT: tuple[SignalState, ...] = ("on", "acknowledged", "audio_paused", "alarm_off")
"""States in which the condition stands."""


def alert(
    transition: ConditionState = "onset",
    *,
    alert_id: str = "a",
    rule: str = PLAIN_RULE,
    priority: Priority = "high",
    kind: Kind = "physiological",
    stage: Stage = "settled",
    t: float = 100.0,
    announced: str = "",
    state: AlertState | None = None,
) -> Alert:
    states: dict[str, AlertState] = {"clear": "cleared", "withdrawn": "withdrawn"}
    return Alert(
        id=alert_id,
        patient="p1",
        rule=rule,
        kind=kind,
        priority=priority,
        state=state or states.get(transition, "active"),
        transition=transition,
        stage=stage,
        t=t,
        onset_t=t,
        sequence=1,
        message="",
        source="",
        provenance=Provenance(announced_id=announced),
    )


Step = Alert | AlertCommand | float
"""What happens at a clock: a transition of an alert, a command, or a tick."""

Log = list[tuple[float, Step]]


def fold(
    steps: Iterable[tuple[float, Step]], signals: PatientSignals | None = None
) -> tuple[PatientSignals, list[SignalTransition]]:
    signals = signals or PatientSignals()
    written: list[SignalTransition] = []
    for clock, step in steps:
        if isinstance(step, Alert):
            signals, transitions = follow(signals, step, clock, RULES)
        elif isinstance(step, float):
            signals, transitions = pass_time(signals, "p1", step, RULES)
        else:
            signals, transitions = obey(signals, step, clock, RULES)
        written += transitions
    return signals, written


def acknowledge(command_id: str = "c1", alert_id: str = "a", author: str = "nurse-1") -> Acknowledge:
    return Acknowledge(id=command_id, t=0.0, author=author, patient="p1", alert=alert_id, reason="seen")


def pause(command_id: str = "c1", alert_id: str = "a", duration_s: float = 90.0) -> AudioPause:
    return AudioPause(id=command_id, t=0.0, author="nurse-1", patient="p1", alert=alert_id, duration_s=duration_s)


def off(command_id: str = "c1", alert_id: str = "a", until: float = 1000.0) -> AlarmOff:
    return AlarmOff(
        id=command_id, t=0.0, author="dr-1", patient="p1", alert=alert_id, expires_at=until, reason="suction"
    )


def resume(command_id: str = "c1", alert_id: str = "a") -> AlarmResume:
    return AlarmResume(id=command_id, t=0.0, author="nurse-1", patient="p1", alert=alert_id)


def feedback(command_id: str = "c1", alert_id: str = "a", author: str = "nurse-2", useful: bool = True) -> Feedback:
    return Feedback(id=command_id, t=0.0, author=author, patient="p1", alert=alert_id, useful=useful)


def outline(written: Iterable[SignalTransition]) -> list[tuple[str, str, float]]:
    return [(one.event, one.to, one.t) for one in written]


# --- The table -----------------------------------------------------------------------------------------------------


def test_the_table_names_every_state_and_event_and_nothing_else() -> None:
    assert set(TABLE) == set(product(SIGNAL_STATES, SIGNAL_EVENTS, (False, True)))
    assert {cell.state for cell in TABLE.values()} == set(SIGNAL_STATES)
    assert {effect for cell in TABLE.values() for effect in cell.effects} == set(get_args(SignalEffect))
    assert set(TIMERS) == set(SIGNAL_STATES)


def reachable(start: SignalState, latching: bool, events: Sequence[SignalEvent] = SIGNAL_EVENTS) -> set[SignalState]:
    found, left = {start}, [start]
    while left:
        state = left.pop()
        for event in events:
            to = TABLE[state, event, latching].state
            if to not in found:
                found.add(to)
                left.append(to)
    return found


def test_every_state_is_reached_and_every_state_can_end() -> None:
    assert reachable("inactive", latching=True) == set(SIGNAL_STATES)
    assert reachable("inactive", latching=False) == set(SIGNAL_STATES) - LATCHED
    for state, latching in product(SIGNAL_STATES, (False, True)):
        assert "inactive" in reachable(state, latching)


def test_without_a_person_what_does_not_latch_ends_with_its_condition() -> None:
    for state in PRESENT:
        assert TABLE[state, "condition_cleared", False].state == "inactive"
        assert TABLE[state, "condition_withdrawn", False].state == "inactive"
        assert TABLE[state, "condition_withdrawn", True].state == "inactive"


def test_what_latches_waits_for_a_person_and_only_a_new_occurrence_takes_its_place() -> None:
    for state in LATCHED:
        ends = {event for event in SIGNAL_EVENTS if TABLE[state, event, True].state == "inactive"}
        assert ends == {"acknowledge", "condition_recurred"}
    for state in ("on", "audio_paused"):
        assert TABLE[state, "condition_cleared", True].state in LATCHED
    for state in ("acknowledged", "alarm_off"):  # the act that latching asks for has taken place
        assert TABLE[state, "condition_cleared", True].state == "inactive"


def test_nothing_but_a_person_silences_and_time_alone_only_makes_louder() -> None:
    for (state, event, _), cell in TABLE.items():
        if "silence" in cell.effects:
            assert event in ACTS
        if event in TIMER_EVENTS.values() and cell.state != state:
            assert "annunciate" in cell.effects
        if state not in HELD and cell.state in HELD:
            assert event in ACTS or (event == "condition_cleared" and state == "audio_paused")


def test_everything_that_holds_a_signal_back_has_a_timer_that_ends_it() -> None:
    for state in HELD:
        timers = {TIMER_EVENTS[timer] for timer in TIMERS[state]}
        assert any(TABLE[state, event, latching].state not in HELD for event in timers for latching in (False, True))
    for state in ("audio_paused", "latched_audio_paused", "alarm_off"):
        assert "expires_at" in TIMERS[state]
        assert TABLE[state, "inactivation_expired", True].state in {"on", "latched"}


def test_every_timer_of_a_state_is_started_on_the_way_in_or_was_running() -> None:
    starts = {"expires_at": "expire_later", "re_alarm_at": "remind_later", "escalate_at": "await_acknowledgement"}
    for (state, _, _), cell in TABLE.items():
        for timer in TIMERS[cell.state]:
            assert timer in TIMERS[state] or starts[timer] in cell.effects


def test_a_rise_of_the_priority_ends_whatever_holds_the_signal_back() -> None:
    for state, latching in product(PRESENT, (False, True)):
        cell = TABLE[state, "priority_raised", latching]
        assert (cell.state, "annunciate" in cell.effects) == ("on", True)


def test_an_act_changes_something_or_is_refused() -> None:
    for state, event, latching in product(SIGNAL_STATES, ACTS, (False, True)):
        cell = TABLE[state, event, latching]
        assert cell.effects
        assert ("refuse" in cell.effects) <= (cell.state == state)


def test_signals_begin_and_end_where_they_say() -> None:
    for (state, _, _), cell in TABLE.items():
        assert (cell.state == "inactive" and state != "inactive") == ("end" in cell.effects)
        if cell.state in {"on", "latched"} and state in HELD | {"inactive"}:
            assert "annunciate" in cell.effects or cell.state == state


# --- What happens --------------------------------------------------------------------------------------------------


def test_nobody_answers_and_the_alert_escalates_and_goes_on() -> None:
    _, written = fold([(100.0, alert()), *((t, t) for t in (159.0, 160.0, 219.5, 220.0, 280.0, 400.0, 4000.0))])
    assert outline(written) == [
        ("condition_onset", "on", 100.0),
        ("escalation_due", "on", 160.0),
        ("escalation_due", "on", 220.0),
        ("escalation_due", "on", 280.0),
    ]
    assert [one.escalation for one in written] == [0, 1, 2, ESCALATION_STEPS]
    assert [one.sequence for one in written] == [1, 2, 3, 4]


def test_an_acknowledgement_names_its_author_and_wears_off_while_the_condition_stands() -> None:
    signals, written = fold([(100.0, alert()), (130.0, acknowledge()), (300.0, 300.0)])
    (_, taken) = written
    assert (taken.actor, taken.holder, taken.since, taken.reason, taken.command) == (
        ("nurse-1", "nurse-1", 130.0, "seen", "c1")
    )
    signals, written = fold([(310.0, 310.0)], signals)
    (again,) = written
    assert (again.event, again.to, again.actor, again.holder) == ("re_alarm_due", "on", "system", "")
    assert again.effects == ("annunciate", "await_acknowledgement")
    _, written = fold([(370.0, 370.0)], signals)
    assert outline(written) == [("escalation_due", "on", 370.0)]


def test_an_acknowledged_alert_ends_with_its_condition_even_if_it_latches() -> None:
    for rule in (PLAIN_RULE, LATCHING_RULE):
        signals, written = fold([(1.0, alert(rule=rule)), (2.0, acknowledge()), (3.0, alert("clear", rule=rule))])
        assert outline(written)[-1] == ("condition_cleared", "inactive", 3.0)
        assert signals.standing == {}


def test_a_latching_alert_stays_until_somebody_has_seen_it() -> None:
    signals, written = fold([(1.0, alert(rule=LATCHING_RULE)), (3.0, alert("clear", rule=LATCHING_RULE)), (61.0, 61.0)])
    assert outline(written)[1:] == [("condition_cleared", "latched", 3.0), ("escalation_due", "latched", 61.0)]
    signals, written = fold([(70.0, acknowledge())], signals)
    assert outline(written) == [("acknowledge", "inactive", 70.0)]
    assert (written[0].actor, written[0].effects) == ("nurse-1", ("end",))


def test_a_technical_alert_never_latches() -> None:
    steps = [
        (1.0, alert(rule=LATCHING_RULE, kind="technical")),
        (3.0, alert("clear", rule=LATCHING_RULE, kind="technical")),
    ]
    assert fold(steps)[0].standing == {}


def test_a_new_occurrence_takes_the_place_of_a_latched_one_once_it_is_settled() -> None:
    over = [(1.0, alert(rule=LATCHING_RULE)), (3.0, alert("clear", rule=LATCHING_RULE))]
    signals, _ = fold(over)
    signals, _ = fold([(9.0, alert(alert_id="b", rule=LATCHING_RULE, stage="provisional"))], signals)
    assert {key: one.state for key, one in signals.standing.items()} == {"a": "latched", "b": "on"}
    taken_back, _ = fold([(10.0, alert("withdrawn", alert_id="b", rule=LATCHING_RULE))], signals)
    assert {key: one.state for key, one in taken_back.standing.items()} == {"a": "latched"}
    signals, written = fold([(10.0, alert(alert_id="b", rule=LATCHING_RULE))], signals)
    assert [(one.id, one.event, one.to) for one in written] == [("a", "condition_recurred", "inactive")]
    assert set(signals.standing) == {"b"}


def test_a_notice_that_is_taken_back_leaves_the_latched_signal_it_came_upon() -> None:
    over = [(1.0, alert(rule=LATCHING_RULE)), (3.0, alert("clear", rule=LATCHING_RULE))]
    again = [(9.0, alert(rule=LATCHING_RULE, stage="provisional")), (12.0, alert("withdrawn", rule=LATCHING_RULE))]
    _, written = fold([*over, *again])
    assert outline(written)[2:] == [("condition_onset", "on", 9.0), ("condition_cleared", "latched", 12.0)]
    assert fold([*over, again[0], (10.0, acknowledge()), again[1]])[0].standing == {}


def test_a_pause_ends_by_itself_and_answers_nothing() -> None:
    medium = alert(rule="news2-urgent", priority="medium")
    _, written = fold([(100.0, medium), (110.0, pause(duration_s=30.0)), (140.0, 140.0), (400.0, 400.0)])
    assert outline(written)[1:] == [
        ("audio_pause", "audio_paused", 110.0),
        ("inactivation_expired", "on", 140.0),
        ("escalation_due", "on", 400.0),
    ]
    assert written[1].until == 140.0
    _, written = fold([(100.0, alert()), (110.0, pause()), (160.0, 160.0)])
    assert outline(written)[2:] == [("escalation_due", "on", 160.0)]
    assert "annunciate" in written[2].effects


def test_a_pause_of_the_patient_takes_what_is_heard_now_and_no_alert_that_comes_later() -> None:
    steps: Log = [(1.0, alert()), (1.0, alert(alert_id="b")), (2.0, acknowledge(alert_id="b"))]
    signals, _ = fold([*steps, (3.0, pause("c2", alert_id="")), (4.0, alert(alert_id="c"))])
    assert {key: one.state for key, one in signals.standing.items()} == {
        "a": "audio_paused",
        "b": "acknowledged",
        "c": "on",
    }
    assert fold([(5.0, pause("c3", alert_id=""))])[1] == []


@pytest.mark.parametrize(("priority", "longest"), [("high", ALARM_OFF_HIGH_MAX_S), ("low", ALARM_OFF_MAX_S)])
def test_off_is_bounded_and_ends(priority: Priority, longest: float) -> None:
    signals, written = fold([(100.0, alert(priority=priority)), (110.0, off(until=1e9))])
    assert (written[1].to, written[1].until, written[1].holder, written[1].reason) == (
        *("alarm_off", 110.0 + longest, "dr-1"),
        "suction",
    )
    signals, written = fold([(0.0, 110.0 + longest - 1.0), (0.0, 110.0 + longest)], signals)
    assert outline(written) == [("inactivation_expired", "on", 110.0 + longest)]


def test_off_that_has_ended_before_it_arrives_holds_nothing_back() -> None:
    signals, _ = fold([(100.0, alert()), (110.0, off(until=50.0)), (111.0, 111.0)])
    assert signals.standing["a"].state == "on"


def test_resume_takes_back_what_holds_the_signal() -> None:
    for act in (acknowledge(), pause(), off()):
        _, written = fold([(1.0, alert()), (2.0, act), (3.0, resume("c2"))])
        assert (written[-1].event, written[-1].to, written[-1].holder) == ("alarm_resume", "on", "")
        assert "annunciate" in written[-1].effects


def test_the_priority_is_followed_up_and_down() -> None:
    signals, written = fold(
        [
            (1.0, alert(priority="medium")),
            (2.0, acknowledge()),
            (3.0, alert("update", priority="high")),
            (4.0, alert("update", priority="low")),
            (5000.0, 5000.0),
        ]
    )
    assert [(one.event, one.to, one.priority) for one in written] == [
        ("condition_onset", "on", "medium"),
        ("acknowledge", "acknowledged", "medium"),
        ("priority_raised", "on", "high"),
        ("priority_lowered", "on", "low"),
    ]
    assert signals.standing["a"].escalate_at is None


def test_a_rise_of_the_priority_begins_to_escalate_anew() -> None:
    medium = alert(rule="news2-urgent", priority="medium")
    signals, _ = fold([(0.0, medium), *((t, t) for t in (300.0, 600.0, 900.0))])
    assert signals.standing["a"].escalation == ESCALATION_STEPS
    signals, _ = fold([(1000.0, alert("update", rule="news2-urgent"))], signals)
    _, written = fold([(1060.0, 1060.0)], signals)
    assert [(one.event, one.escalation) for one in written] == [("escalation_due", 1)]


def test_what_is_acted_upon_too_late_is_refused_and_what_is_unknown_stays_so() -> None:
    steps: Log = [(1.0, alert()), (2.0, alert("clear")), (3.0, acknowledge())]
    signals, written = fold(steps)
    assert (written[-1].event, written[-1].to, written[-1].effects) == ("acknowledge", "inactive", ("refuse",))
    assert (written[-1].actor, written[-1].holder, written[-1].sequence) == ("nurse-1", "", 3)
    assert names_known(signals, acknowledge())
    assert not names_known(signals, acknowledge("c9", "z"))
    signals, written = fold([(9.0, acknowledge("c9", "z"))], signals)
    assert written == []
    assert fold([(9.0, alert(alert_id="z")), (10.0, acknowledge("c9", "z"))], signals)[0].standing["z"].state == "on"


def test_what_was_done_about_a_notice_holds_for_the_settled_alert_of_another_id() -> None:
    signals, written = fold(
        [
            (1.0, alert(stage="provisional")),
            (2.0, acknowledge()),
            (5.0, alert(alert_id="b", announced="a")),
            (6.0, resume("c2", "a")),
        ]
    )
    assert [(one.id, one.event, one.to, one.sequence, one.replaces) for one in written] == [
        ("a", "condition_onset", "on", 1, ""),
        ("a", "acknowledge", "acknowledged", 2, ""),
        ("b", "condition_renamed", "acknowledged", 3, "a"),
        ("b", "alarm_resume", "on", 4, ""),
    ]
    assert (written[2].holder, written[2].since, written[2].actor) == ("nurse-1", 2.0, "system")
    assert set(signals.standing) == {"b"}


def test_an_alert_that_comes_back_in_a_notices_place_goes_on_counting_and_is_still_known_by_the_notices_id() -> None:
    _, written = fold(
        [
            (1.0, alert(alert_id="b")),
            (2.0, alert("clear", alert_id="b")),
            (3.0, alert(alert_id="b")),
            (4.0, alert("clear", alert_id="b")),
            (5.0, alert(stage="provisional")),
            (6.0, alert(alert_id="b", announced="a")),
            (7.0, alert("clear", alert_id="b")),
            (8.0, acknowledge("c1", "a")),
        ]
    )
    assert [(one.id, one.event, one.sequence) for one in written[4:]] == [
        ("a", "condition_onset", 1),
        ("b", "condition_renamed", 5),
        ("b", "condition_cleared", 6),
        ("b", "acknowledge", 7),
    ]
    assert written[-1].effects == ("refuse",)


def test_what_people_think_of_an_alert_is_journalled_and_changes_nothing_about_it() -> None:
    held: Log = [(1.0, alert()), (2.0, acknowledge())]
    before, _ = fold(held)
    _, written = fold([*held, (3.0, feedback("c2", useful=False)), (4.0, alert("clear")), (9.0, feedback("c3"))])
    assert [(one.event, one.from_, one.to, one.actor, one.holder, one.announced_t) for one in written[1:]] == [
        ("acknowledge", "on", "acknowledged", "nurse-1", "nurse-1", 1.0),
        ("marked_not_useful", "acknowledged", "acknowledged", "nurse-2", "nurse-1", 1.0),
        ("condition_cleared", "acknowledged", "inactive", "system", "", 1.0),
        ("marked_useful", "inactive", "inactive", "nurse-2", "", 1.0),
    ]
    assert {one.answered_t for one in written} == {None, 2.0}
    with_feedback, _ = fold([*held, (3.0, feedback("c2"))])
    assert msgspec.structs.replace(with_feedback.standing["a"], sequence=2) == before.standing["a"]


def test_a_past_event_has_no_signal() -> None:
    assert fold([(1.0, alert(rule="past-event", priority="none", kind="advisory", state="cleared"))])[1] == []


def test_before_the_first_tick_the_alerts_own_time_counts() -> None:
    _, written = fold([(-inf, alert(t=77.0))])
    assert written[0].t == 77.0


def test_high_priority_is_never_left_alone_whatever_a_rule_says() -> None:
    for rule in (None, *RULES):
        assert re_alarm_after_s(rule, "high") > 0.0
        assert escalate_after_s(rule, "high") > 0.0


def test_memory_is_bounded() -> None:
    steps: Log = []
    for number in range(3 * ENDED_REMEMBERED):
        key = str(number)
        steps += [
            (1.0, alert(alert_id=key, rule=LATCHING_RULE)),
            (1.0, alert("clear", alert_id=key, rule=LATCHING_RULE)),
            (1.0, pause(f"c{number}", "")),
        ]
    signals, _ = fold(steps)
    assert len(signals.standing) == 1  # a new occurrence takes the place of the latched one
    assert len(signals.ended) == ENDED_REMEMBERED
    assert len(signals.commands) == COMMANDS_REMEMBERED


# --- Laws ----------------------------------------------------------------------------------------------------------

alert_ids = st.sampled_from(["a", "b", "c"])
rules = {"a": PLAIN_RULE, "b": LATCHING_RULE, "c": LATCHING_RULE}


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """A log of one patient: transitions of three alerts, commands and ticks, the clock never going back."""
    clock = 100.0
    steps: Log = []
    for number in range(draw(st.integers(1, 30))):
        clock += draw(st.sampled_from([0.0, 1.0, 30.0, 61.0, 200.0]))
        alert_id = draw(alert_ids)
        what = draw(st.sampled_from(["alert", "alert", "act", "tick"]))
        command_id = f"c{number}"
        if what == "tick":
            steps.append((clock, clock))
        elif what == "alert":
            transition: ConditionState = draw(st.sampled_from(get_args(ConditionState)))
            steps.append(
                (
                    clock,
                    alert(
                        transition,
                        alert_id=alert_id,
                        rule=rules[alert_id],
                        priority=draw(st.sampled_from(["high", "high", "medium"])),
                        stage=draw(st.sampled_from(["provisional", "settled"])),
                        announced=draw(st.sampled_from(["", "", "a", "b"])),
                    ),
                )
            )
        else:
            until = clock + draw(st.sampled_from([10.0, 1e5]))
            acts: list[AlertCommand] = [
                acknowledge(command_id, alert_id),
                pause(command_id, alert_id),
                off(command_id, alert_id, until),
                resume(command_id, alert_id),
                feedback(command_id, alert_id, useful=draw(st.booleans())),
            ]
            steps.append((clock, draw(st.sampled_from(acts))))
    return steps


@given(logs())
def test_a_signal_never_breaks_the_rules_of_its_state(steps: Log) -> None:
    signals, written = fold(steps)
    for one in written:
        cell = TABLE[one.from_, one.event, True], TABLE[one.from_, one.event, False]
        assert (one.to, one.effects) in cell
        assert (one.holder != "") == (one.to in HELD)
        if one.actor == "system":
            assert not one.command
    for signal in signals.standing.values():
        for timer in TIMER_EVENTS:
            assert timer in TIMERS[signal.state] or getattr(signal, timer) is None
        if signal.state in {"audio_paused", "alarm_off", "latched_audio_paused"}:
            assert signal.expires_at is not None
        if signal.state == "acknowledged" and signal.priority == "high":
            assert signal.re_alarm_at is not None
        if "escalate_at" in TIMERS[signal.state] and signal.priority == "high" and signal.escalation < ESCALATION_STEPS:
            assert signal.escalate_at is not None
    assert set(signals.standing).isdisjoint(signals.ended)


@given(logs())
def test_numbers_rise_by_one_and_time_never_goes_back(steps: Log) -> None:
    _, written = fold(steps)
    newest: dict[str, int] = {}
    for one in written:
        assert one.sequence == max(newest.get(name, 0) for name in (one.id, one.replaces)) + 1
        newest[one.id] = one.sequence
    assert [one.t for one in written] == sorted(one.t for one in written)


@given(logs())
def test_no_high_priority_alert_stays_silent_for_ever(steps: Log) -> None:
    signals, _ = fold(steps)
    later = signals.t if signals.t > 0 else 0.0
    signals, _ = pass_time(signals, "p1", later + ALARM_OFF_MAX_S + 1.0, RULES)
    for signal in signals.standing.values():
        assert signal.priority != "high" or signal.state in {"on", "latched"}


@given(logs(), st.integers(0, 30), st.integers(0, 30))
def test_repeats_of_commands_and_ticks_change_nothing(steps: Log, first: int, again: int) -> None:
    first, again = sorted((first, again))
    repeated = [step for step in steps[first:again] if not isinstance(step[1], Alert)]
    assert fold([*steps[:again], *repeated, *steps[again:]]) == fold(steps)


@given(logs(), st.integers(0, 30))
def test_signals_survive_bytes_at_any_point(steps: Log, cut: int) -> None:
    signals, _ = fold(steps[:cut])
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(signals), type=PatientSignals)
    assert loaded == signals
