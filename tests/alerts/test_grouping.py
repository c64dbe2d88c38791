"""Groups: what comes for a patient while an alert already calls joins it, and calls nobody anew."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.alert_signal import PatientSignals, follow, obey
from alerts.rules import Rule, RuleSet, default_rules
from alerts.step import PatientAlerts, counts_as_settled, step
from contracts.canonical import canonical_bytes
from contracts.command import Acknowledge
from contracts.condition import PRIORITIES, Alert, Condition, ConditionState, Evidence, Stage, to_builtins

SHIPPED = default_rules(0.0)
GROUP_S = 1800.0


def rule(rule_id: str) -> Rule:
    found = SHIPPED[rule_id]
    assert isinstance(found, Rule)
    return found


def said(
    rule_id: str, state: ConditionState, t: float, stage: Stage = "settled", *, onset_t: float | None = None
) -> Condition:
    evidence = Evidence("spo2", 80.0, 85.0, "rule", [], "m", "c")
    onset = t if onset_t is None else onset_t
    its = rule(rule_id)
    return Condition(rule_id, "p1", rule_id, its.kind, its.priority, state, stage, t, onset, evidence)


def fold(*conditions: Condition, rules: RuleSet = SHIPPED) -> tuple[PatientAlerts, list[Alert]]:
    state, told = PatientAlerts(), []
    for condition in conditions:
        state, alerts = step(state, condition, rules)
        told += alerts
    return state, told


def test_what_comes_while_an_alert_calls_joins_it_and_names_its_lead() -> None:
    _, (lead, joined, end) = fold(
        said("spo2-below-usual", "onset", 0.0),
        said("deterioration", "onset", 600.0),
        said("deterioration", "clear", 900.0, onset_t=600.0),
    )
    assert (lead.state, lead.group_lead) == ("active", "")
    assert (joined.state, joined.group_lead, joined.suppressed_by) == (
        "suppressed",
        "spo2-below-usual",
        "spo2-below-usual",
    )
    assert (end.state, end.group_lead) == ("cleared", "spo2-below-usual")


def test_a_higher_priority_always_calls() -> None:
    _, told = fold(said("spo2-below-usual", "onset", 0.0), said("news2-emergency", "onset", 10.0))
    assert [alert.state for alert in told] == ["active", "active"]


@pytest.mark.parametrize(("after_s", "state"), [(GROUP_S, "suppressed"), (GROUP_S + 1.0, "active")])
def test_what_comes_later_than_the_groups_time_calls(after_s: float, state: str) -> None:
    _, told = fold(said("spo2-below-85", "onset", 0.0), said("deterioration", "onset", after_s))
    assert told[1].state == state


def test_a_group_takes_nothing_in_once_it_has_ended() -> None:
    _, told = fold(
        said("spo2-below-usual", "onset", 0.0),
        said("spo2-below-usual", "clear", 60.0, onset_t=0.0),
        said("deterioration", "onset", 61.0),
    )
    assert told[2].state == "active"


def test_a_group_lasts_as_long_as_any_of_it() -> None:
    _, told = fold(
        said("spo2-below-usual", "onset", 0.0),
        said("spo2-low-at-rest", "onset", 30.0),
        said("spo2-below-usual", "clear", 60.0, onset_t=0.0),
        said("deterioration", "onset", 61.0),
    )
    assert told[2].joined == 1
    assert (told[3].state, told[3].group_lead) == ("suppressed", "spo2-below-usual")


@pytest.mark.parametrize("rule_id", ["spo2-below-85", "heart-rate-high-personal", "symptom-at-rest"])
def test_a_rule_may_keep_out_of_groups(rule_id: str) -> None:
    _, told = fold(said("news2-emergency", "onset", 0.0), said(rule_id, "onset", 10.0))
    assert told[1].state == "active"


def test_technical_alerts_are_never_grouped() -> None:
    _, told = fold(
        said("news2-emergency", "onset", 0.0), said("silence", "onset", 10.0), said("battery-low", "onset", 20.0)
    )
    assert {alert.state for alert in told} == {"active"}


def test_a_joined_alert_that_worsens_calls() -> None:
    _, told = fold(
        said("spo2-below-usual", "onset", 0.0),
        said("spo2-low-at-rest", "onset", 30.0),
        said("spo2-low-at-rest", "update", 60.0, onset_t=30.0),
        said("spo2-low-at-rest", "clear", 90.0, onset_t=30.0),
    )
    assert [(alert.state, alert.group_lead) for alert in told[1:]] == [
        ("suppressed", "spo2-below-usual"),
        ("active", ""),
        ("cleared", ""),
    ]


def test_the_signal_of_an_unanswered_lead_outlasts_it_while_others_of_its_group_stand() -> None:
    conditions = [
        said("spo2-below-usual", "onset", 0.0),
        said("deterioration", "onset", 60.0),
        said("spo2-below-usual", "clear", 90.0, onset_t=0.0),
        said("deterioration", "clear", 120.0, onset_t=60.0),
    ]

    def signals(answer_at: int) -> list[str]:
        state, known, journal = PatientAlerts(), PatientSignals(), []
        for number, condition in enumerate(conditions):
            state, alerts = step(state, condition, SHIPPED)
            for alert in alerts:
                known, transitions = follow(known, alert, condition.t, SHIPPED)
                journal += [f"{one.id} {one.to}" for one in transitions]
            if number == answer_at:
                taken = Acknowledge(id="1", patient="p1", t=condition.t, author="nurse", alert="spo2-below-usual")
                known, transitions = obey(known, taken, condition.t, SHIPPED)
                journal += [f"{one.id} {one.to}" for one in transitions]
        return journal

    unanswered = ["spo2-below-usual on", "spo2-below-usual latched"]
    assert signals(answer_at=9) == unanswered
    assert signals(answer_at=3) == [*unanswered, "spo2-below-usual inactive"]
    assert signals(answer_at=1) == [
        "spo2-below-usual on",
        "spo2-below-usual acknowledged",
        "spo2-below-usual inactive",
    ]


def test_a_notice_that_joined_a_notice_calls_once_settled_if_its_lead_was_taken_back() -> None:
    _, told = fold(
        said("spo2-below-usual", "onset", 0.0, "provisional"),
        said("deterioration", "onset", 60.0, "provisional"),
        said("spo2-below-usual", "withdrawn", 0.0, "provisional"),
        said("deterioration", "onset", 60.0),
    )
    assert [(alert.rule, alert.state) for alert in told] == [
        ("spo2-below-usual", "active"),
        ("deterioration", "suppressed"),
        ("spo2-below-usual", "withdrawn"),
        ("deterioration", "active"),
    ]


# --- Laws ----------------------------------------------------------------------------------------------------------

RULE_IDS = tuple(one.id for one in SHIPPED.rules)


@st.composite
def courses(draw: st.DrawFn) -> list[Condition]:
    """What the twin writes of one patient in order of event time: each rule's condition comes, may worsen, and goes or
    stays, each perhaps announced before it settles."""
    records: list[tuple[float, int, Condition]] = []
    for number, rule_id in enumerate(draw(st.lists(st.sampled_from(RULE_IDS), unique=True, max_size=8))):
        onset = float(draw(st.integers(0, 5000)))
        if draw(st.booleans()):
            records.append((onset - 1.0, number, said(rule_id, "onset", onset, "provisional")))
        records.append((onset, number, said(rule_id, "onset", onset)))
        t = onset
        for _ in range(draw(st.integers(0, 2))):
            t += draw(st.integers(1, 2000))
            records.append((t, number, said(rule_id, "update", t, onset_t=onset)))
        if draw(st.booleans()):
            t += draw(st.integers(1, 2000))
            records.append((t, number, said(rule_id, "clear", t, onset_t=onset)))
    return [condition for *_, condition in sorted(records, key=lambda record: record[:2])]


@given(courses())
def test_grouping_hides_nothing(records: list[Condition]) -> None:
    """Every settled transition is told, in order; what joined a group has no higher priority than its lead, which
    called before it, within its time, and of which something stood."""
    state, calling = PatientAlerts(), dict[str, float]()
    told: list[Alert] = []
    for condition in records:
        state, alerts = step(state, condition, SHIPPED)
        for alert in alerts:
            told.append(alert)
            if alert.stage != "settled":
                continue
            if alert.state == "active":
                calling.setdefault(alert.id, alert.t)
            if alert.state == "suppressed" and alert.group_lead:
                lead = rule(alert.suppressed_by)
                assert alert.group_lead in calling
                assert PRIORITIES.index(alert.priority) <= PRIORITIES.index(lead.priority)
                assert alert.onset_t - calling[alert.group_lead] <= lead.group_s
                assert rule(alert.rule).joins
                assert alert.transition == "onset"
    settled = [one for one in told if one.stage == "settled" and one.suppressed_by == one.suppressed_by]
    recorded = {(one.id, one.transition, one.t) for one in settled}
    assert {(one.id, one.state, one.t) for one in records if counts_as_settled(one)} <= recorded


@given(courses())
def test_every_group_ends(records: list[Condition]) -> None:
    """Once everything is over nothing is left of a group: the next alert of every rule calls."""
    state, _ = fold(*records)
    late = 1e6
    for alert_id in list(state.open):
        state, _ = step(state, said(alert_id, "clear", late, onset_t=0.0), SHIPPED)
    assert state.open == {}
    for rule_id in RULE_IDS:
        assert step(state, said(rule_id, "onset", late + 1.0), SHIPPED)[1][0].state == "active"


@given(courses())
def test_the_settled_journal_of_groups_does_not_depend_on_notices(records: list[Condition]) -> None:
    def settled(*conditions: Condition) -> list[bytes]:
        return [canonical_bytes(to_builtins(one)) for one in fold(*conditions)[1] if one.stage == "settled"]

    assert settled(*records) == settled(*(one for one in records if counts_as_settled(one)))


@given(courses(), st.integers(0, 40))
def test_groups_survive_bytes_and_repeats_at_any_point(records: list[Condition], cut: int) -> None:
    state, alerts = fold(*records[:cut])
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=PatientAlerts)
    assert loaded == state
    for condition in [*records[max(0, cut - 3) : cut], *records[cut:]]:
        loaded, more = step(loaded, condition, SHIPPED)
        alerts += more
    assert alerts == fold(*records)[1]
