"""Suppression while a parent alarm stands: nobody is told, the record says so, and the end of the parent tells it."""

from __future__ import annotations

import msgspec

from alerts.rules import RuleSet, default_rules
from alerts.step import PatientAlerts, step
from contracts.condition import Alert, Condition, ConditionState, Evidence, Stage

SHIPPED = default_rules(0.0)
CHILD = msgspec.structs.replace(SHIPPED["news2-urgent"], suppressed_by=("news2-emergency",))
RULES = RuleSet((SHIPPED["news2-emergency"], CHILD), SHIPPED.notices)  # type: ignore[arg-type]


def said(rule: str, state: ConditionState, t: float, stage: Stage = "settled") -> Condition:
    evidence = Evidence("news2_low", 7.0, 5.0, "rule", [], "m", "c")
    return Condition(rule, "p1", rule, "physiological", "medium", state, stage, t, min(t, 50.0), evidence)


def follow(*conditions: Condition) -> list[Alert]:
    state, told = PatientAlerts(), []
    for condition in conditions:
        state, alerts = step(state, condition, RULES)
        told += alerts
    return told


def test_a_child_is_recorded_as_suppressed_and_told_when_its_parent_ends() -> None:
    parent, child, end = follow(
        said("news2-emergency", "onset", 10.0),
        said("news2-urgent", "onset", 20.0),
        said("news2-emergency", "clear", 90.0),
    )[:3]
    assert (parent.state, child.state, child.suppressed_by) == ("active", "suppressed", "news2-emergency")
    assert end.state == "cleared"
    released = follow(
        said("news2-emergency", "onset", 10.0),
        said("news2-urgent", "onset", 20.0),
        said("news2-emergency", "clear", 90.0),
    )[3]
    assert (released.rule, released.state, released.t, released.onset_t) == ("news2-urgent", "active", 90.0, 20.0)
    assert (child.sequence, released.sequence) == (1, 2)


def test_a_child_that_ends_under_its_parent_is_never_told() -> None:
    told = follow(
        said("news2-emergency", "onset", 10.0),
        said("news2-urgent", "onset", 20.0),
        said("news2-urgent", "clear", 30.0),
        said("news2-emergency", "clear", 90.0),
    )
    assert [(a.rule, a.state) for a in told] == [
        ("news2-emergency", "active"),
        ("news2-urgent", "suppressed"),
        ("news2-urgent", "cleared"),
        ("news2-emergency", "cleared"),
    ]


def test_a_child_that_was_told_first_goes_on_being_told() -> None:
    told = follow(
        said("news2-urgent", "onset", 10.0),
        said("news2-emergency", "onset", 20.0),
        said("news2-urgent", "update", 30.0),
    )
    assert [a.state for a in told] == ["active", "active", "active"]


def test_a_notice_that_is_taken_back_releases_what_it_suppressed() -> None:
    told = follow(
        said("news2-emergency", "onset", 10.0, "provisional"),
        said("news2-urgent", "onset", 20.0, "provisional"),
        said("news2-emergency", "withdrawn", 10.0, "provisional"),
    )
    assert [(a.rule, a.state) for a in told[1:]] == [
        ("news2-urgent", "suppressed"),
        ("news2-emergency", "withdrawn"),
        ("news2-urgent", "active"),
    ]


def test_the_settled_journal_does_not_depend_on_notices() -> None:
    """A notice suppresses notices alone: a settled child is told although its parent is not settled yet."""
    told = follow(said("news2-emergency", "onset", 10.0, "provisional"), said("news2-urgent", "onset", 20.0))
    assert [a.state for a in told] == ["active", "active"]


def test_a_repeat_of_the_parents_end_tells_nothing_twice() -> None:
    end = said("news2-emergency", "clear", 90.0)
    told = follow(said("news2-emergency", "onset", 10.0), said("news2-urgent", "onset", 20.0), end, end)
    assert [a.state for a in told] == ["active", "suppressed", "cleared", "active"]
