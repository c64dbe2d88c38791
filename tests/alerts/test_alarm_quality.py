"""The figures of alarm quality, and the laws that they keep whatever the journal looks like."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert_signal import PatientSignals, follow, obey, pass_time
from alerts.quality.alarms import Alarm, alarms_of
from alerts.quality.figures import Flood, Quality, chattering, floods, is_stale, quality
from alerts.quality.intervals import wilson, worst_tenth_share
from alerts.rules import default_rules
from contracts.alert_signal import SignalTransition
from contracts.command import Acknowledge, Feedback
from contracts.condition import Alert, Kind, Priority, Provenance

RULES = default_rules(0.0)
DAY = 86_400.0


def alarm(
    announced_t: float = 0.0,
    patient: str = "p1",
    rule: str = "spo2",
    priority: Priority = "high",
    lasts_s: float = inf,
    answered_s: float | None = None,
    kind: Kind = "physiological",
    **votes: bool,
) -> Alarm:
    return Alarm(
        id=f"{patient}-{rule}-{announced_t}",
        patient=patient,
        rule=rule,
        kind=kind,
        priority=priority,
        announced_t=announced_t,
        ended_t=announced_t + lasts_s,
        answered_t=None if answered_s is None else announced_t + answered_s,
        votes=votes,
    )


def of(alarms: list[Alarm], patients: int = 1, until: float = DAY) -> Quality:
    return quality(alarms, {f"p{n + 1}": until / DAY for n in range(patients)}, 0.0, until)


# --- The journal ----------------------------------------------------------------------------------------------------


def alert(t: float, state: str = "active", alert_id: str = "a", announced: str = "", **changes: object) -> Alert:
    made = Alert(
        id=alert_id,
        patient="p1",
        rule="news2-urgent",
        kind="physiological",
        priority="medium",
        state=state,  # type: ignore[arg-type]
        transition={"active": "onset", "cleared": "clear"}.get(state, "withdrawn"),  # type: ignore[arg-type]
        stage="settled",
        t=t,
        onset_t=t,
        sequence=1,
        message="",
        source="",
        provenance=Provenance(announced_id=announced),
    )
    return msgspec.structs.replace(made, **changes)


def journal(*steps: tuple[float, Alert | Acknowledge | Feedback]) -> list[SignalTransition]:
    """What the alert agent writes of one patient's alerts and acts, each at its clock."""
    signals, written = PatientSignals(), []
    for clock, step in steps:
        took = follow(signals, step, clock, RULES) if isinstance(step, Alert) else obey(signals, step, clock, RULES)
        signals, transitions = took
        written += transitions
    return written


def acknowledge(command: str, alert_id: str = "a") -> Acknowledge:
    return Acknowledge(id=command, t=0.0, author="nurse-1", patient="p1", alert=alert_id)


def vote(command: str, author: str, useful: bool, alert_id: str = "a") -> Feedback:
    return Feedback(id=command, t=0.0, author=author, patient="p1", alert=alert_id, useful=useful)


def test_an_alarm_has_its_highest_priority_its_first_answer_and_the_last_word_of_each_author() -> None:
    (found,) = alarms_of(
        journal(
            (10.0, alert(10.0)),
            (20.0, alert(20.0, transition="update", priority="high")),
            (50.0, acknowledge("c1")),
            (60.0, vote("c2", "nurse-1", useful=False)),
            (70.0, vote("c3", "dr-1", useful=True)),
            (90.0, alert(90.0, "cleared")),
            (400.0, vote("c4", "nurse-1", useful=True)),
        )
    )
    assert (found.priority, found.announced_t, found.answered_t, found.ended_t) == ("high", 10.0, 50.0, 90.0)
    assert (found.announcements, found.votes, found.useful) == (2, {"nurse-1": True, "dr-1": True}, True)


def test_an_alert_that_comes_back_is_another_alarm_and_a_refused_act_answers_nothing() -> None:
    first, second = alarms_of(
        journal(
            (10.0, alert(10.0)),
            (20.0, alert(20.0, "cleared")),
            (25.0, acknowledge("c1")),
            (30.0, vote("c2", "nurse-1", useful=False)),
            (300.0, alert(300.0)),
            (310.0, acknowledge("c3")),
        )
    )
    assert (first.ended_t, first.answered_t, first.useful) == (20.0, None, False)
    assert (second.announced_t, second.ended_t, second.answered_t, second.useful) == (300.0, inf, 310.0, None)


def test_settling_may_give_an_alarm_another_id() -> None:
    (found,) = alarms_of(
        journal(
            (10.0, alert(10.0, stage="provisional")),
            (12.0, acknowledge("c1")),
            (15.0, alert(9.0, alert_id="b", announced="a")),
            (20.0, vote("c2", "nurse-1", useful=True, alert_id="a")),
        )
    )
    assert (found.id, found.announced_t, found.answered_t, found.useful) == ("b", 10.0, 12.0, True)


def test_what_is_done_too_late_about_a_notice_with_another_id_is_no_further_alarm() -> None:
    (found,) = alarms_of(
        journal(
            (10.0, alert(10.0, stage="provisional")),
            (15.0, alert(9.0, alert_id="b", announced="a")),
            (90.0, alert(90.0, "cleared", "b")),
            (95.0, acknowledge("c1")),
            (96.0, vote("c2", "nurse-1", useful=False)),
        )
    )
    assert (found.id, found.announced_t, found.answered_t, found.useful) == ("b", 10.0, None, False)


def test_an_alarm_from_before_the_journal_begins_is_known_by_what_is_said_of_it_since() -> None:
    written = journal((10.0, alert(10.0)), (50.0, acknowledge("c1")), (90.0, alert(90.0, "cleared")))
    (found,) = alarms_of(written[1:])
    assert (found.announced_t, found.answered_t, found.ended_t) == (10.0, 50.0, 90.0)


# --- The figures ----------------------------------------------------------------------------------------------------


def test_rates_ppv_and_delays_of_a_day() -> None:
    found = of(
        [
            alarm(1.0, answered_s=30.0, nurse=True),
            alarm(5000.0, answered_s=90.0, nurse=False),
            alarm(9000.0, rule="news", priority="medium", nurse=True, doctor=False),
            alarm(20000.0, priority="low", lasts_s=5.0),
        ],
        patients=5,
    )
    assert (found.patients, found.patient_days) == (5, 5.0)
    assert (found.every.alarms, found.every.per_patient_day) == (4, 0.8)
    assert (found.interruptive.alarms, found.interruptive.per_patient_day) == (3, 0.6)
    assert (found.interruptive.useful, found.interruptive.not_useful, found.interruptive.divided) == (1, 1, 1)
    assert found.interruptive.ppv == 0.5
    assert found.interruptive.ppv_95 == pytest.approx((0.0945, 0.9055), abs=1e-3)
    high = found.by_priority["high"]
    assert (high.acknowledged, high.acknowledge_median_s, high.acknowledge_p90_s) == (2, 60.0, 84.0)
    assert (found.by_priority["low"].short_lived, high.short_lived) == (1, 0)
    assert found.every.per_patient_day_95 is not None
    assert found.every.per_patient_day_95[0] <= 0.8 <= found.every.per_patient_day_95[1]
    assert found.worst_tenth_share == 1.0


def test_without_patient_days_and_feedback_nothing_is_divided_by_nothing() -> None:
    found = quality([alarm(5.0)], {}, 0.0, 10.0)
    assert (found.every.per_patient_day, found.every.ppv, found.every.ppv_95, found.every.per_patient_day_95) == (
        *(None, None),
        *(None, None),
    )
    assert quality([], {}, 0.0, 10.0).worst_tenth_share is None


def test_three_of_one_rule_and_patient_in_ten_minutes_chatter() -> None:
    times = [0.0, 400.0, 600.0, 1100.0, 1300.0]
    assert chattering([alarm(t) for t in times]) == [True, True, True, False, False]
    assert not any(chattering([alarm(t, rule=f"rule-{n}") for n, t in enumerate(times)]))
    assert not any(chattering([alarm(t, patient=f"p{n}") for n, t in enumerate(times)]))


def test_more_than_ten_alarms_in_ten_minutes_are_a_flood_until_there_are_fewer_than_five() -> None:
    burst = [alarm(float(n), patient=f"p{n}") for n in range(11)]
    assert floods(burst, lambda _: "w1") == [Flood("w1", 1, 600.0 + 6.0 - 10.0, 11)]
    assert floods(burst[:10], lambda _: "w1") == [Flood("w1", 0, 0.0, 10)]
    two_wards = floods(burst, lambda patient: "w1" if patient in {"p0", "p1"} else "w2")
    assert [(one.place, one.floods) for one in two_wards] == [("w1", 0), ("w2", 0)]


def test_an_alarm_is_stale_after_a_day_also_where_it_began_before() -> None:
    assert is_stale(alarm(0.0), DAY, 2 * DAY)
    assert not is_stale(alarm(0.0, lasts_s=DAY), DAY, 2 * DAY)
    assert not is_stale(alarm(DAY * 1.5), DAY, 2 * DAY)
    found = quality([alarm(0.0), alarm(1.2 * DAY, lasts_s=5.0)], {"p1": 1.0}, DAY, 2 * DAY)
    assert (found.every.alarms, found.every.stale, found.by_rule["spo2"].stale) == (1, 1, 1)


def test_the_worst_tenth_of_patients() -> None:
    assert worst_tenth_share(np.array([10.0] + [1.0] * 9)) == pytest.approx(10 / 19)
    assert worst_tenth_share(np.array([1.0] * 20)) == pytest.approx(0.1)


@given(st.integers(0, 200), st.integers(0, 200))
def test_wilsons_interval_holds_the_share_and_stays_a_share(hits: int, misses: int) -> None:
    found = wilson(hits, hits + misses)
    if found is None:
        assert hits + misses == 0
        return
    low, high = found
    assert 0.0 <= low <= hits / (hits + misses) + 1e-9
    assert hits / (hits + misses) - 1e-9 <= high <= 1.0


# --- Laws -----------------------------------------------------------------------------------------------------------


@st.composite
def journals(draw: st.DrawFn) -> list[SignalTransition]:
    """The journal of a few patients, each with its own alerts, acts and feedback."""
    written: list[SignalTransition] = []
    for patient in ("p1", "p2"):
        signals, clock = PatientSignals(), 100.0
        for number in range(draw(st.integers(0, 15))):
            clock += draw(st.sampled_from([1.0, 30.0, 400.0, 50_000.0]))
            alert_id = draw(st.sampled_from(["a", "b"]))
            what = draw(st.sampled_from(["alert", "alert", "acknowledge", "vote", "tick"]))
            if what == "alert":
                one = alert(
                    clock,
                    draw(st.sampled_from(["active", "cleared", "withdrawn"])),
                    alert_id,
                    announced=draw(st.sampled_from(["", "", "a"])),
                    patient=patient,
                    rule=draw(st.sampled_from(["news2-urgent", "spo2-below-85"])),
                    priority=draw(st.sampled_from(get_args(Priority))),
                )
                signals, transitions = follow(signals, one, clock, RULES)
            elif what == "tick":
                signals, transitions = pass_time(signals, patient, clock, RULES)
            else:
                command = (
                    acknowledge(f"c{number}", alert_id)
                    if what == "acknowledge"
                    else vote(f"c{number}", draw(st.sampled_from(["x", "y"])), draw(st.booleans()), alert_id)
                )
                signals, transitions = obey(signals, msgspec.structs.replace(command, patient=patient), clock, RULES)
            written += transitions
    return written


def figures(written: Iterable[SignalTransition]) -> Quality:
    return quality(alarms_of(written), {"p1": 3.0, "p2": 1.0}, 0.0, 1e6)


@given(journals(), st.randoms(use_true_random=False))
def test_order_and_repeats_of_the_journal_change_nothing(written: list[SignalTransition], chance: object) -> None:
    shuffled = [*written, *written[::2]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert figures(shuffled) == figures(written)


@given(journals())
def test_rules_and_priorities_add_up_to_the_total(written: list[SignalTransition]) -> None:
    found = figures(written)
    onsets = sum(one.event == "condition_onset" for one in written)
    assert found.every.alarms == onsets
    for groups in (found.by_rule.values(), found.by_priority.values()):
        for name in ("alarms", "useful", "not_useful", "divided", "acknowledged", "withdrawn", "chattering", "stale"):
            assert sum(getattr(group, name) for group in groups) == getattr(found.every, name)
    urgent = [found.by_priority[priority].alarms for priority in ("high", "medium")]
    assert found.interruptive.alarms == sum(urgent)
    assert found.every.chattering <= found.every.alarms
