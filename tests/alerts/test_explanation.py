"""Comparing an alert's lines with recomputed ones, and its records in words."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.comparison import compare
from alerts.explanation import explanation, explanation_lines, verdict_lines
from alerts.rules import default_rules
from alerts.words import LANGUAGES, Language
from contracts.alert_signal import SignalEvent, SignalTransition
from contracts.canonical import PROVENANCE, canonical_bytes
from contracts.condition import Alert, Baseline, Evidence, Input, Place, Provenance, to_builtins

RULES = default_rules(0.0)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=12)
PLACES = st.builds(Place, TEXTS, st.integers(0, 3), st.integers(0, 2**40))
INPUTS = st.builds(
    Input,
    signal=st.sampled_from(["spo2", "consciousness", "heart_rate", "power_w", "unheard_of"]),
    value=NUMBERS,
    t=NUMBERS,
    age_s=NUMBERS,
    quality=NUMBERS,
    reading=TEXTS,
    z=st.none() | NUMBERS,
    baseline=st.none() | st.builds(Baseline, NUMBERS, NUMBERS, st.integers(0, 10**6)),
)
EVIDENCE = st.builds(
    Evidence,
    channel=st.sampled_from(["spo2", "news2_steady", "silence_s", "consciousness", "unheard_of"]),
    value=NUMBERS,
    threshold=NUMBERS,
    limit_from=st.sampled_from(["rule", "patient"]),
    inputs=st.lists(INPUTS, max_size=3),
    model=TEXTS,
    configuration=TEXTS,
    low=st.none() | NUMBERS,
    high=st.none() | NUMBERS,
    missing=st.lists(st.sampled_from(["spo2", "body_temperature"]), max_size=2),
    devices=st.lists(TEXTS, max_size=2),
)
ALERTS = st.builds(
    Alert,
    id=TEXTS,
    patient=TEXTS,
    rule=st.sampled_from([*(rule.id for rule in RULES), "gone"]),
    kind=st.sampled_from(["physiological", "technical", "advisory"]),
    priority=st.sampled_from(["high", "medium", "low", "none"]),
    state=st.sampled_from(["active", "suppressed", "cleared", "withdrawn"]),
    transition=st.sampled_from(["onset", "update", "clear", "withdrawn"]),
    stage=st.sampled_from(["provisional", "settled"]),
    t=NUMBERS,
    onset_t=NUMBERS,
    sequence=st.integers(1, 9),
    message=TEXTS,
    source=TEXTS,
    evidence=st.none() | EVIDENCE,
    provenance=st.builds(
        Provenance,
        received_at=NUMBERS,
        applied_at=NUMBERS,
        announced_id=TEXTS,
        decided=st.none() | PLACES,
        opened=st.none() | PLACES,
        build=TEXTS,
    ),
    message_ja=TEXTS,
    suppressed_by=TEXTS,
)


def line(alert: Alert) -> bytes:
    return canonical_bytes(to_builtins(alert))


@given(ALERTS)
def test_an_alert_has_one_canonical_form_however_it_was_kept(alert: Alert) -> None:
    value = orjson.dumps(to_builtins(alert), option=orjson.OPT_SORT_KEYS)  # as it stands in Kafka and in history
    assert canonical_bytes(orjson.loads(value)) == line(alert)
    assert line(msgspec.json.decode(value, type=Alert)) == line(alert)
    assert canonical_bytes(orjson.loads(value.decode())) == line(alert)


@given(st.lists(ALERTS, min_size=1, max_size=4), st.data())
def test_the_same_lines_match_whatever_repeats_and_whatever_is_doubted(
    alerts: list[Alert], data: st.DataObject
) -> None:
    lines = list(dict.fromkeys(map(line, alerts)))
    again = [*lines, *data.draw(st.lists(st.sampled_from(lines), max_size=4))]
    found = compare(again, lines, data.draw(st.lists(TEXTS, max_size=1)))
    assert (found.outcome, found.recorded, found.difference) == ("match", len(lines), None)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every number and text in a document."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for place, inner in enumerate(value) for leaf in leaves(inner, (*path, place))]
    return [path]


def named(path: tuple[Any, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


NAMES = {("stage",), ("transition",), ("sequence",)}
"""What a line is named by: where one of them differs it is another line."""


@given(ALERTS, st.data())
def test_one_changed_field_is_a_mismatch_that_names_it(alert: Alert, data: st.DataObject) -> None:
    record = to_builtins(alert)
    record.pop(PROVENANCE, None)
    path = data.draw(st.sampled_from(leaves(record)))
    changed = orjson.loads(orjson.dumps(record))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = "another value"
    recorded, recomputed = canonical_bytes(changed), canonical_bytes(record)
    found = compare([recorded], [recomputed])
    assert found.outcome == "mismatch"
    assert found.difference is not None
    if path in NAMES:
        assert (found.difference.field, found.difference.recomputed) == ("", None)
    else:
        assert (found.difference.field, found.difference.recorded) == (named(path), "another value")
    doubted = compare([recorded], [recomputed], ["another build"])
    assert (doubted.outcome, doubted.reasons) == ("unjudged", ["another build"])


def told(transition: str = "onset", stage: str = "settled", sequence: int = 1, **more: Any) -> Alert:
    state = {"onset": "active", "update": "active", "clear": "cleared", "withdrawn": "withdrawn"}[transition]
    plain: dict[str, Any] = {"id": "a", "patient": "p1", "rule": "spo2-below-85", "kind": "physiological"}
    plain |= {"priority": "high", "t": 60.0, "onset_t": 60.0, "message": "SpO2 is low.", "source": "RCP"}
    plain |= {"state": state, "transition": transition, "stage": stage, "sequence": sequence}
    return msgspec.convert(plain | more, Alert)


def test_a_notice_more_after_a_restart_is_said_and_is_no_mismatch() -> None:
    notice, again = told(stage="provisional"), told(stage="provisional", sequence=2, t=61.0)
    withdrawn = told("withdrawn", sequence=1, t=61.0)
    settled = [told(), told("clear", sequence=2, t=90.0)]
    undisturbed = [line(again), *map(line, settled)]
    moved = [line(notice), line(withdrawn), line(msgspec.structs.replace(again, sequence=3)), *map(line, settled)]
    found = compare(moved, undisturbed)
    assert (found.outcome, found.extra_notices) == ("match", 2)
    assert "More provisional lines were sent (2)" in verdict_lines(found, "kafka")[0]
    # A notice that the log gives and nobody was told of is one, and so is another confirmed line.
    assert compare(list(map(line, settled)), undisturbed).outcome == "mismatch"
    other = [line(notice), line(again), line(msgspec.structs.replace(settled[0], priority="low")), line(settled[1])]
    assert compare(other, undisturbed).outcome == "mismatch"


def test_provisional_lines_alone_that_the_log_does_not_give_are_not_judged() -> None:
    found = compare([line(told(stage="provisional"))], [])
    assert found.outcome == "unjudged"
    assert "a worker that restarted" in found.reasons[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_line_that_is_missing_on_one_side_is_named(language: Language) -> None:
    one, two = line(told()), line(told("clear", sequence=2))
    for recorded, recomputed in (([one], [one, two]), ([one, two], [one])):
        assert "settled clear 2" in verdict_lines(compare(recorded, recomputed), "history", language)[1]
    swapped = compare([two, one], [one, two])
    assert swapped.difference is not None
    assert swapped.difference.line == "the order of lines"


@given(st.lists(ALERTS, min_size=1, max_size=3), st.sampled_from(LANGUAGES))
def test_every_alert_can_be_put_into_words(alerts: list[Alert], language: Language) -> None:
    rule = RULES.get(alerts[-1].rule)
    lines = explanation_lines(alerts, [], rule, language)
    assert alerts[-1].rule in lines[0]
    body = explanation(alerts, [], rule, language)
    assert orjson.loads(orjson.dumps(body)) == body


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_people_did_is_told_with_name_and_reason(language: Language) -> None:
    def act(event: SignalEvent, **more: Any) -> SignalTransition:
        return SignalTransition(
            id="a",
            patient="p1",
            rule="spo2-below-85",
            kind="physiological",
            priority="high",
            from_="on",
            event=event,
            to="on",
            t=60.0,
            sequence=1,
            **more,
        )

    signals = [
        act("acknowledge", actor="nurse-1", reason="at the bedside"),
        act("alarm_off", actor="doctor-2", until=3600.0, effects=("refuse",)),
        act("escalation_due"),
    ]
    text = "\n".join(explanation_lines([told()], signals, None, language))
    for wanted in ("nurse-1", "at the bedside", "doctor-2", "01:00:00"):
        assert wanted in text
    assert {"en": "nobody answered, escalated", "ja": "応答がないためエスカレーション"}[language] in text
