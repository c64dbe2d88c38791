"""The life of an alert: every cell of its table, and the laws that hold for any journal of conditions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.rules import PAST_EVENT, default_rules
from alerts.step import (
    CLOSED_REMEMBERED,
    HAPPENINGS,
    LIVES,
    STAGES,
    TABLE,
    Cell,
    Happening,
    Life,
    PatientAlerts,
    counts_as_settled,
    step,
)
from contracts.canonical import canonical_bytes
from contracts.condition import Alert, Condition, ConditionState, Evidence, Provenance, Stage, to_builtins

RULES = default_rules(0.0)


def evidence(value: float) -> Evidence:
    return Evidence("news2_low", value, 7.0, "rule", [], "m", "c")


def condition(
    state: ConditionState = "onset",
    stage: Stage = "provisional",
    t: float = 100.0,
    *,
    alert_id: str = "a",
    rule: str = "news2-emergency",
    onset_t: float = 100.0,
    value: float = 7.0,
    announced: str = "",
) -> Condition:
    return Condition(
        id=alert_id,
        patient="p1",
        rule=rule,
        kind="physiological",
        priority="high",
        state=state,
        stage=stage,
        t=t,
        onset_t=onset_t,
        evidence=evidence(value),
        provenance=Provenance(announced_id=announced),
    )


def fold(conditions: Iterable[Condition], state: PatientAlerts | None = None) -> tuple[PatientAlerts, list[Alert]]:
    state = state or PatientAlerts()
    written: list[Alert] = []
    for one in conditions:
        state, alerts = step(state, one, RULES)
        written += alerts
    return state, written


def journal(conditions: Iterable[Condition]) -> list[bytes]:
    return [canonical_bytes(to_builtins(alert)) for alert in fold(conditions)[1]]


def outline(alerts: Iterable[Alert]) -> list[tuple[str, str, str, int]]:
    return [(alert.transition, alert.stage, alert.state, alert.sequence) for alert in alerts]


HOW_TO_REACH: dict[Life, list[Condition]] = {
    "absent": [],
    "provisional": [condition()],
    "settled": [condition(stage="settled")],
    "cleared": [condition(stage="settled"), condition("clear", "settled", 110.0)],
    "withdrawn": [condition(), condition("withdrawn")],
}


def record_for(happening: Happening, stage: Stage, t: float) -> Condition:
    if happening == "past":
        return condition("onset", stage, t, rule=PAST_EVENT)
    return condition(happening, stage, t, value=8.0)


def test_the_table_names_every_state_and_event_and_nothing_else() -> None:
    assert set(TABLE) == set(product(LIVES, product(HAPPENINGS, STAGES)))
    assert {cell.life for cell in TABLE.values()} == set(LIVES)
    assert all(isinstance(cell, Cell) for cell in TABLE.values())


@pytest.mark.parametrize(("life", "happening", "stage"), list(product(LIVES, HAPPENINGS, STAGES)))
def test_every_cell_does_what_the_table_says(life: Life, happening: Happening, stage: Stage) -> None:
    before, _ = fold(HOW_TO_REACH[life])
    assert before.known("a").life == life
    cell = TABLE[life, (happening, stage)]
    after, alerts = step(before, record_for(happening, stage, 120.0), RULES)
    if cell.effect == "drop":
        assert (after, alerts) == (before, [])
        assert cell.life == life
        return
    (alert,) = alerts
    assert after.known("a").life == cell.life
    assert alert.state == {"provisional": "active", "settled": "active"}.get(cell.life, cell.life)
    assert alert.stage == stage
    again, repeated = step(after, record_for(happening, stage, 120.0), RULES)
    assert (again, repeated) == (after, [])


def test_the_table_is_what_these_sentences_say() -> None:
    for (life, (happening, stage)), cell in TABLE.items():
        nothing = Cell(life, "drop")
        if happening == "past":  # told once, never standing
            assert cell == (Cell("cleared", "announce") if life == "absent" else nothing)
        elif (happening, stage) == ("clear", "provisional"):  # only the settled row ends an alert
            assert cell == nothing
        elif happening == "withdrawn":  # takes back a notice, and nothing that has settled
            taken_back = Cell("withdrawn", "announce" if life == "absent" else "announce_if_new")
            assert cell == (taken_back if life in {"absent", "provisional"} else nothing)
        elif life in {"cleared", "withdrawn"}:  # only a later onset brings a closed alert back
            assert cell == (Cell(stage, "announce_if_new") if happening == "onset" else nothing)
        elif stage == "provisional" and (life == "settled" or (life, happening) == ("provisional", "onset")):
            assert cell == nothing  # it comes from before, or was said before
        elif (life, happening) == ("settled", "onset"):
            assert (stage, cell) == ("settled", nothing)
        else:  # what is settled settles, what is provisional stays so, a clear clears; repeats are known once it is
            assert cell == Cell(
                "cleared" if happening == "clear" else stage, "announce" if life == "absent" else "announce_if_new"
            )


def test_a_provisional_alert_is_confirmed_worsens_and_clears() -> None:
    state, alerts = fold(
        [
            condition(),
            condition(stage="settled"),
            condition("update", "settled", 110.0, value=8.0),
            condition("clear", "settled", 130.0, value=4.0),
        ]
    )
    assert outline(alerts) == [
        ("onset", "provisional", "active", 1),
        ("onset", "settled", "active", 1),
        ("update", "settled", "active", 2),
        ("clear", "settled", "cleared", 3),
    ]
    assert state.open == {}


def test_the_settled_journal_is_the_same_without_the_provisional_notice() -> None:
    settled = [condition(stage="settled"), condition("clear", "settled", 130.0, value=4.0)]
    heralded = [condition(t=99.0), condition("update", t=98.0, onset_t=98.0), *settled]
    with_notice = [alert for alert in fold(heralded)[1] if alert.stage == "settled"]
    assert with_notice == fold(settled)[1]


def test_a_settled_onset_takes_the_place_of_the_notice_it_names() -> None:
    state, alerts = fold([condition(), condition(stage="settled", t=105.0, alert_id="b", announced="a")])
    assert [alert.id for alert in alerts] == ["a", "b"]
    assert alerts[1].provenance.announced_id == "a"
    assert set(state.open) == {"b"}
    assert b"announced_id" not in canonical_bytes(to_builtins(alerts[1]))
    assert fold([condition()], state)[1] == []


def test_an_amended_notice_keeps_the_id_it_went_out_under() -> None:
    amended = condition("update", t=97.0, onset_t=97.0, alert_id="b", announced="a")
    state, alerts = fold([condition(), amended])
    assert [(alert.id, alert.transition, alert.onset_t) for alert in alerts] == [
        ("a", "onset", 100.0),
        ("a", "update", 97.0),
    ]
    _, withdrawn = fold([condition("withdrawn", t=97.0)], state)
    assert outline(withdrawn) == [("withdrawn", "provisional", "withdrawn", 3)]


def test_two_values_of_one_moment_are_both_told() -> None:
    _, alerts = fold(
        [
            condition(stage="settled"),
            condition("update", "settled", 110.0, value=8.0),
            condition("update", "settled", 110.0, value=9.0),
            condition("update", "settled", 110.0, value=8.0),
        ]
    )
    assert [alert.evidence.value for alert in alerts if alert.evidence] == [7.0, 8.0, 9.0]


def test_an_alert_that_the_same_reading_opens_again_is_not_swallowed() -> None:
    first = [condition(), condition(stage="settled"), condition("clear", "settled", 110.0)]
    again = [condition(t=120.0, onset_t=120.0), condition(stage="settled", t=120.0, onset_t=120.0)]
    _, alerts = fold([*first, *again, *first, *again])
    assert outline(alerts)[3:] == [("onset", "provisional", "active", 2), ("onset", "settled", "active", 3)]


def test_a_past_event_is_told_once_and_does_not_stand() -> None:
    late = condition(stage="settled", rule=PAST_EVENT)
    state, alerts = fold([late, late])
    assert outline(alerts) == [("onset", "settled", "cleared", 1)]
    assert state.open == {}
    assert alerts[0].message.startswith("Past event, received late: NEWS2 was 7 at 00:01:40 UTC on 1970-01-01.")


def test_memory_of_closed_alerts_is_bounded() -> None:
    lives = [
        one
        for number in range(3 * CLOSED_REMEMBERED)
        for one in (
            condition(stage="settled", alert_id=str(number)),
            condition("clear", "settled", 110.0, alert_id=str(number)),
        )
    ]
    state, alerts = fold(lives)
    assert len(alerts) == 6 * CLOSED_REMEMBERED
    assert len(state.closed) == CLOSED_REMEMBERED
    assert fold(lives[-2 * CLOSED_REMEMBERED :], state)[1] == []


def test_an_alert_carries_all_a_reader_needs() -> None:
    full = Evidence("news2_low", 7.0, 7.0, "rule", [], "m", "c", 6.0, 9.0, ["body_temperature"])
    _, (alert,) = fold([msgspec.structs.replace(condition(), evidence=full)])
    assert alert.message == "NEWS2 is 7 (6 to 9 possible; temperature missing), limit 7: emergency assessment."
    assert alert.source.startswith("Royal College of Physicians")
    assert (alert.kind, alert.priority, alert.evidence) == ("physiological", "high", full)


# --- Laws ----------------------------------------------------------------------------------------------------------


@st.composite
def lives(draw: st.DrawFn, alert_id: str) -> list[Condition]:
    """What the twin writes about one condition, in its order: announced or not, confirmed or withdrawn, perhaps under
    another id, perhaps back again by the same reading."""
    t = draw(st.integers(0, 1000)) * 1.0
    records: list[Condition] = []

    def add(state: ConditionState, stage: Stage, at: float, value: float = 7.0, **more: Any) -> None:
        records.append(condition(state, stage, at, value=value, **({"alert_id": alert_id} | more)))

    notice = draw(st.sampled_from(["none", "same", "other", "withdrawn"]))
    if notice != "none":
        name = f"{alert_id}-notice" if notice == "other" else alert_id
        add("onset", "provisional", t, alert_id=name)
        for _ in range(draw(st.integers(0, 2))):
            add("update", "provisional", t - draw(st.integers(0, 3)), alert_id=name)
        if notice == "withdrawn":
            add("withdrawn", "provisional", t)
            end = draw(st.sampled_from(["there", "again", "settled"]))
            t += draw(st.integers(1, 5))
            if end == "again":
                add("onset", "provisional", t)
                add("withdrawn", "provisional", t)
            if end != "settled":
                return records
    add("onset", "settled", t, announced=f"{alert_id}-notice" if notice == "other" else "")
    value = 7.0
    for _ in range(draw(st.integers(0, 3))):
        t += draw(st.integers(0, 5))
        value += 1.0
        add("update", "settled", t, value)
    if draw(st.booleans()):
        t += draw(st.integers(0, 5))
        add("clear", "settled", t, 3.0)
        if draw(st.booleans()):
            t += draw(st.integers(1, 5))
            if draw(st.booleans()):
                add("onset", "provisional", t)
            add("onset", "settled", t)
            if draw(st.booleans()):
                add("clear", "settled", t + 1.0, 3.0)
    return records


@st.composite
def journals(draw: st.DrawFn) -> list[Condition]:
    """The lives of a few conditions of one patient, interleaved."""
    queues = [draw(lives(str(number))) for number in range(draw(st.integers(1, 4)))]
    merged: list[Condition] = []
    while any(queues):
        number = draw(st.sampled_from([n for n, queue in enumerate(queues) if queue]))
        merged.append(queues[number].pop(0))
    return merged


@st.composite
def with_replays(draw: st.DrawFn, records: Sequence[Condition]) -> list[Condition]:
    """`records` as a twin agent writes them that crashes a few times and each time writes a stretch again."""
    written: list[Condition] = []
    at = 0
    for _ in range(draw(st.integers(0, 3))):
        until = draw(st.integers(at, len(records)))
        written += records[at:until]
        at = draw(st.integers(0, until))
    return [*written, *records[at:]]


@given(st.data())
def test_what_a_crash_writes_again_changes_nothing(data: st.DataObject) -> None:
    records = data.draw(journals())
    assert journal(data.draw(with_replays(records))) == journal(records)


@given(journals())
def test_each_settled_condition_is_told_whole_and_once(records: list[Condition]) -> None:
    def told(things: Iterable[Any]) -> list[tuple[str, str, float]]:
        return [
            (one.id, getattr(one, "transition", "") or one.state, one.t) for one in things if one.stage == "settled"
        ]

    assert told(fold(records)[1]) == told(records)


@given(journals())
def test_the_settled_journal_does_not_depend_on_provisional_notices(records: list[Condition]) -> None:
    def settled(alerts: Iterable[Alert]) -> list[bytes]:
        return [canonical_bytes(to_builtins(alert)) for alert in alerts if alert.stage == "settled"]

    assert settled(fold(records)[1]) == settled(fold([one for one in records if counts_as_settled(one)])[1])


@given(journals(), st.integers(0, 30))
def test_state_survives_bytes_at_any_point(records: list[Condition], cut: int) -> None:
    state, alerts = fold(records[:cut])
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=PatientAlerts)
    assert loaded == state
    assert alerts + fold(records[cut:], loaded)[1] == fold(records)[1]


times = st.floats(allow_nan=False, allow_infinity=False)
any_condition = st.builds(
    Condition,
    id=st.sampled_from(["a", "b", "c"]),
    patient=st.text(max_size=3),
    rule=st.sampled_from(["news2-emergency", PAST_EVENT, "no-such-rule", "battery-low"]),
    kind=st.just("physiological"),
    priority=st.sampled_from(["none", "low", "medium", "high"]),
    state=st.sampled_from(["onset", "update", "clear", "withdrawn"]),
    stage=st.sampled_from(STAGES),
    t=times,
    onset_t=times,
    evidence=st.none()
    | st.builds(
        Evidence,
        channel=st.sampled_from(["spo2", "symptom", "news2_low", ""]),
        value=times,
        threshold=times,
        limit_from=st.sampled_from(["rule", "patient"]),
        inputs=st.just([]),
        model=st.just(""),
        configuration=st.just(""),
        low=st.none() | times,
        high=st.none() | times,
        missing=st.lists(st.sampled_from(["spo2", "heart_rate"]), max_size=2),
    ),
    provenance=st.builds(Provenance, announced_id=st.sampled_from(["", "a", "b"])),
)


@given(st.lists(any_condition, max_size=30))
def test_step_takes_any_condition(records: list[Condition]) -> None:
    state, alerts = fold(records)
    assert set(state.open).isdisjoint(state.closed)
    assert all(alert.message and alert.sequence >= 1 for alert in alerts)
