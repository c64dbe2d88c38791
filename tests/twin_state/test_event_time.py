"""What is told at once, what becomes of it when the readings settle, what comes too late, and what silence means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from contracts.identity import condition_identity, identity_text, reading_identity, session_identity, source_identity
from tests.twin_state.conftest import (
    START,
    Outcome,
    command,
    every,
    logged,
    make_processor,
    read_outputs,
    reading,
    run_log,
    tick,
)

Run = Callable[..., Outcome]

LOW = "spo2-below-85"  # 10 s
PRESSURE = "systolic-250"  # at once


def identity_of(seq: int, device: str = "monitor") -> int:
    """Identity of a reading of these tests."""
    return reading_identity(source_identity(device, "vitals"), session_identity("boot-1"), seq)


def told(outcome: Outcome, rule: str) -> list[tuple[str, str, float]]:
    """(state, stage, t) of a rule."""
    return [(state, stage, t) for state, stage, t, _ in outcome.told(rule)]


def test_an_alarm_is_told_at_once_and_confirmed_under_the_same_id(run: Run) -> None:
    outcome = run([reading(0, {"systolic_pressure": 255}, seq=0)], close=False)
    assert told(outcome, PRESSURE) == [("onset", "provisional", 0.0)]
    outcome = run([reading(0, {"systolic_pressure": 255}, seq=0), *every(1, 1, 8, {"heart_rate": 70}, first_seq=1)])
    assert told(outcome, PRESSURE) == [("onset", "provisional", 0.0), ("onset", "settled", 0.0)]
    provisional, settled = [c for c in outcome.conditions if c["rule"] == PRESSURE]
    assert provisional["id"] == settled["id"] == condition_identity("p1", PRESSURE, identity_of(0))
    assert "announced_id" not in settled["provenance"]


def test_a_reading_that_comes_out_of_order_can_open_earlier_and_the_notice_keeps_its_id(run: Run) -> None:
    first = reading(10, {"systolic_pressure": 255}, seq=10)
    earlier = reading(8, {"systolic_pressure": 252}, seq=8)
    outcome = run([first, earlier, reading(20, {"heart_rate": 70}, seq=20)])
    assert told(outcome, PRESSURE) == [
        ("onset", "provisional", 10.0),
        ("update", "provisional", 8.0),
        ("onset", "settled", 8.0),
    ]
    notice, amended, settled = [c for c in outcome.conditions if c["rule"] == PRESSURE]
    assert notice["id"] == amended["id"] == settled["provenance"]["announced_id"]
    assert settled["id"] == condition_identity("p1", PRESSURE, identity_of(8)) != notice["id"]
    in_order = run([earlier, first, reading(20, {"heart_rate": 70}, seq=20)])
    assert in_order.journal("settled") == outcome.journal("settled")
    assert outcome.counters["provisional_withdrawn"] == 0


def test_a_notice_that_does_not_come_true_is_withdrawn_by_a_transition_of_its_own(run: Run) -> None:
    low = [reading(t, {"spo2": 80}, seq=t) for t in (0, 1, 2, 11)]
    well_between = reading(6.5, {"spo2": 97}, seq=5)
    outcome = run([*low, well_between, *every(1, 12, 20, {"spo2": 97}, first_seq=12)])
    assert told(outcome, LOW) == [("onset", "provisional", 10.0), ("withdrawn", "provisional", 10.0)]
    notice, withdrawal = [c for c in outcome.conditions if c["rule"] == LOW]
    assert notice["id"] == withdrawal["id"]
    assert outcome.counters["provisional_withdrawn"] == 1
    ordered = sorted([*low, well_between], key=lambda arrival: orjson.loads(arrival.value)["t"])
    undisturbed = run([*ordered, *every(1, 12, 20, {"spo2": 97}, first_seq=12)])
    assert undisturbed.journal("settled") == outcome.journal("settled")


def test_a_delay_runs_out_on_ticks_alone_and_the_readings_confirm_or_withdraw_it(run: Run) -> None:
    low = every(1, 0, 6, {"spo2": 80}, first_seq=0)
    ticks = [tick(t) for t in range(6, 14)]
    waiting = run([*low, *ticks], close=False)
    assert told(waiting, LOW) == [("onset", "provisional", 10.0)]
    confirmed = run([*low, *ticks, *every(1, 6, 20, {"spo2": 80}, first_seq=6)])
    assert told(confirmed, LOW) == [("onset", "provisional", 10.0), ("onset", "settled", 10.0)]
    otherwise = run([*low, *ticks, *every(1, 6, 20, {"spo2": 97}, first_seq=6)])
    assert told(otherwise, LOW) == [("onset", "provisional", 10.0), ("withdrawn", "provisional", 10.0)]


def test_a_notice_that_a_tick_gave_is_the_same_after_a_restart_at_any_point() -> None:
    low = every(1, 0, 6, {"spo2": 80}, first_seq=0)
    well_between = [reading(9, {"spo2": 97}, seq=6)]
    again = every(1, 9.5, 30, {"spo2": 80}, first_seq=7)
    records = logged([*low, *(tick(t) for t in range(6, 14)), *well_between, *again, tick(1e6, closing=True)])
    whole = run_log(records).told(LOW)
    assert whole[0] == ("onset", "provisional", 10.0, 10.0)
    for cut in range(len(records)):
        before, after = make_processor(), make_processor()
        outputs = before.process(records[:cut], START)
        for block in before.changed_blocks():
            after.load_block(block.number, block.payload)
        outputs += after.process(records[cut:], START)
        assert read_outputs(outputs, {}).told(LOW) == whole, cut


def test_ticks_end_no_alarm(run: Run) -> None:
    arrivals = [*every(1, 0, 15, {"spo2": 80}), *every(1, 15, 20, {"spo2": 97}), *(tick(t) for t in range(20, 800, 5))]
    assert ("clear", "settled") not in [(state, stage) for state, stage, _ in told(run(arrivals), LOW)]


@pytest.mark.parametrize(
    ("values", "advisory"),
    [
        ({"symptom": "chest_pain"}, True),
        ({"symptom": "fatigue"}, True),
        ({"symptom": "none"}, False),
        ({"spo2": 80}, True),
        ({"systolic_pressure": 255}, True),
        ({"spo2": 88}, False),
        ({"heart_rate": 70}, False),
    ],
)
def test_what_comes_too_late_is_counted_and_interrupts_nobody(run: Run, values: dict[str, Any], advisory: bool) -> None:
    steady = every(1, 0, 30, {"heart_rate": 70, "spo2": 97}, first_seq=0)
    outcome = run([*steady, reading(20, values, seq=0, device="other", received_at=30.0, q=None)])
    assert (outcome.counters["applied"], outcome.counters["late"]) == (30, 1)
    assert [c["priority"] for c in outcome.conditions] == (["none"] if advisory else [])
    assert outcome.twins == run(steady).twins
    if advisory:
        (past,) = outcome.conditions
        assert (past["rule"], past["stage"], past["t"] - START) == ("past-event", "settled", 20.0)
        (entry,) = past["evidence"]["inputs"]
        assert entry["reading"] == identity_text(identity_of(0, "other"))


def test_a_late_value_of_poor_quality_or_below_an_own_limit_is_judged_as_on_time(run: Run) -> None:
    steady = every(1, 0, 30, {"heart_rate": 70}, first_seq=0)
    poor = reading(20, {"spo2": 80}, seq=0, device="other", q={"spo2": 0.1})
    assert run([*steady, poor]).conditions == []
    fast = reading(20, {"heart_rate": 131}, seq=0, device="other", q={"heart_rate": 0.6})
    assert run([*steady, fast]).conditions == []
    order = command(-1, "limits", heart_rate_maximum=130.0)
    (past,) = run([order, *steady, fast]).conditions
    assert (past["evidence"]["threshold"], past["evidence"]["limit_from"]) == (130, "patient")
    assert past["evidence"]["inputs"][0]["quality"] == 0.6


def test_the_bound_is_counted_from_the_patients_own_clock_and_not_from_arrival(run: Run) -> None:
    burst = [reading(t, {"spo2": 97}, seq=t, received_at=5000.0) for t in range(300)]
    outcome = run(
        [*burst, reading(295, {"spo2": 96}, seq=0, device="a"), reading(293, {"spo2": 96}, seq=0, device="b")]
    )
    assert (outcome.counters["applied"], outcome.counters["late"]) == (301, 1)


def test_what_a_gateway_held_back_during_an_outage_is_still_on_time(run: Run) -> None:
    before = every(1, 0, 10, {"spo2": 97}, first_seq=0)
    held = [reading(t, {"spo2": 80}, seq=t, received_at=3600.0) for t in range(10, 40)]
    outcome = run([*before, *(tick(t) for t in range(10, 3600, 10)), *held])
    assert outcome.counters["late"] == 0
    assert ("onset", "settled", 20.0) in told(outcome, LOW)


def test_two_minutes_without_a_reading_settle_what_is_there(run: Run) -> None:
    arrivals = [reading(0, {"systolic_pressure": 255}, seq=0), tick(119)]
    assert told(run(arrivals, close=False), PRESSURE) == [("onset", "provisional", 0.0)]
    idle = run([*arrivals, tick(121)], close=False)
    assert told(idle, PRESSURE) == [("onset", "provisional", 0.0), ("onset", "settled", 0.0)]


def test_a_closing_tick_settles_everything(run: Run) -> None:
    arrivals = [reading(0, {"systolic_pressure": 255}, seq=0), tick(0.2, closing=True)]
    outcome = run(arrivals, close=False)
    assert told(outcome, PRESSURE) == [("onset", "provisional", 0.0), ("onset", "settled", 0.0)]


def test_a_command_that_comes_late_still_takes_effect(run: Run) -> None:
    arrivals = [*every(1, 0, 30, {"heart_rate": 135}, first_seq=0), command(3, "limits", heart_rate_maximum=130.0)]
    outcome = run([*arrivals, *every(1, 30, 60, {"heart_rate": 135}, first_seq=30)])
    onsets = [t for state, stage, t in told(outcome, "heart-rate-above-maximum") if stage == "settled"]
    assert onsets == [24.0 + 10.0]  # the settled row stood at 24 when it came
    assert outcome.counters["commands"] == 1


SILENT = "silence"


def silent(outcome: Outcome) -> list[tuple[str, float]]:
    """Transitions of the silence condition."""
    return [(state, t) for state, _, t in told(outcome, SILENT)]


def test_silence_is_told_after_a_quarter_of_an_hour_at_rest_and_ends_with_the_next_reading(run: Run) -> None:
    first = reading(0, {"heart_rate": 70}, seq=0, received_at=0.0)
    ticks = [tick(t) for t in range(0, 1000, 50)]
    assert silent(run([first, *ticks[:18]])) == []
    outcome = run([first, *ticks])
    assert silent(outcome) == [("onset", 900.0)]
    again = run([first, *ticks, reading(1000, {"heart_rate": 70}, seq=1)])
    assert silent(again) == [("onset", 900.0), ("clear", 1000.0)]
    (onset, clear) = [c for c in again.conditions if c["rule"] == SILENT]
    assert onset["id"] == clear["id"]
    assert (onset["kind"], onset["priority"]) == ("technical", "medium")


def test_in_a_session_a_minute_is_too_long(run: Run) -> None:
    start = command(-1, "session", phase="start")
    first = reading(0, {"heart_rate": 70}, seq=0, received_at=0.0)
    assert silent(run([start, first, *(tick(t) for t in range(0, 100, 10))])) == [("onset", 60.0)]


def test_silence_is_not_judged_before_the_first_reading_nor_after_discharge(run: Run) -> None:
    ticks = [tick(t) for t in range(0, 5000, 100)]
    assert silent(run([command(-1, "admit", age_years=60), *ticks])) == []
    first = reading(0, {"heart_rate": 70}, seq=0)
    assert silent(run([first, command(10, "discharge"), *ticks])) == []
    while_silent = run([first, *ticks[:12], command(1150, "discharge"), *ticks[12:]])
    assert silent(while_silent) == [("onset", 900.0), ("clear", 1150.0)]


def test_two_silences_have_two_ids_and_the_twin_shows_the_one_that_stands(run: Run) -> None:
    arrivals = [
        reading(0, {"heart_rate": 70}, seq=0, received_at=0.0),
        *(tick(t) for t in range(0, 1200, 100)),
        reading(1200, {"heart_rate": 70}, seq=1, received_at=1200.0),
        *(tick(t) for t in range(1200, 2400, 100)),
    ]
    processor = make_processor()
    outputs = [*processor.process(logged(arrivals), START), *processor.flush(START)]
    records = [orjson.loads(output.value or b"") for output in outputs]
    onsets = [r for r in records if r.get("rule") == SILENT and r["state"] == "onset"]
    assert len({onset["id"] for onset in onsets}) == len(onsets) == 2
    newest = next(r for r in reversed(records) if "live" in r)
    assert newest["live"]["conditions"] == [
        {"rule": SILENT, "priority": "medium", "onset_t": START + 2100, "id": onsets[-1]["id"]}
    ]
