"""Conditions as the shipped rules open and clear them: delays in event time, hysteresis, limits, contexts, quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.twin_state.conftest import Arrival, Outcome, command, every, reading

Run = Callable[[Iterable[Arrival]], Outcome]

LOW = "spo2-below-85"
"""At most 84.9 for 10 s; clears 30 s after 86.9; an update each 2 % further down."""

MAXIMUM = "heart-rate-above-maximum"
"""At rest; needs a personal maximum; 10 s; clears 30 s below it less 5."""


def settled(outcome: Outcome, rule: str) -> list[tuple[str, float]]:
    """What settled of a rule: (state, t)."""
    return [(state, t) for state, stage, t, _ in outcome.told(rule) if stage == "settled"]


def test_a_delay_counts_event_time_however_the_readings_arrive(run: Run) -> None:
    breach = every(1, 0, 10, {"spo2": 80})
    assert settled(run([*breach, *every(1, 10, 20, {"spo2": 97})]), LOW) == [("onset", 10.0)]
    assert settled(run([*breach[:9], *every(1, 9, 20, {"spo2": 97})]), LOW) == []
    all_at_once = [reading(t, {"spo2": 80}, seq=t, received_at=500.0) for t in range(30)]
    assert settled(run(all_at_once), LOW) == [("onset", 10.0)]
    slowly = [reading(t, {"spo2": 80}, seq=t, received_at=100.0 * t) for t in range(30)]
    assert settled(run(slowly), LOW) == [("onset", 10.0)]


def test_an_interrupted_breach_starts_its_delay_again(run: Run) -> None:
    arrivals = [
        *every(1, 0, 8, {"spo2": 80}),
        reading(8, {"spo2": 90}, seq=0, device="band"),
        *every(1, 9, 25, {"spo2": 80}),
    ]
    assert settled(run(arrivals), LOW) == [("onset", 19.0)]


def test_no_onset_and_no_clear_comes_across_a_gap(run: Run) -> None:
    rule = "spo2-low-at-rest"  # a minute
    gap = [*every(1, 0, 20, {"spo2": 87}), *every(1, 70, 75, {"spo2": 87})]
    assert settled(run(gap), rule) == []
    assert settled(run([*gap, *every(1, 75, 131, {"spo2": 87})]), rule) == [("onset", 130.0)]
    opened = every(1, 0, 15, {"spo2": 80})
    recovering = [*opened, *every(1, 15, 25, {"spo2": 97}), *every(1, 60, 65, {"spo2": 97})]
    assert settled(run(recovering), LOW) == [("onset", 10.0)]
    assert settled(run([*recovering, *every(1, 65, 100, {"spo2": 97})]), LOW) == [("onset", 10.0), ("clear", 90.0)]


def test_it_clears_only_beyond_the_hysteresis_and_its_delay(run: Run) -> None:
    opened = every(1, 0, 15, {"spo2": 84})
    assert settled(run([*opened, *every(1, 15, 100, {"spo2": 86})]), LOW) == [("onset", 10.0)]
    assert settled(run([*opened, *every(1, 15, 100, {"spo2": 87})]), LOW) == [("onset", 10.0), ("clear", 45.0)]
    dips = [*every(1, 15, 40, {"spo2": 87}), *every(1, 40, 42, {"spo2": 84}), *every(1, 42, 100, {"spo2": 87})]
    assert settled(run([*opened, *dips]), LOW) == [("onset", 10.0), ("clear", 72.0)]


def test_an_update_comes_each_time_the_value_worsens_by_a_step(run: Run) -> None:
    falling = [84, 84, 83, 82, 83, 81, 80, 78, 84]
    arrivals = every(1, 0, 15, {"spo2": 84}) + [
        reading(15 + n, {"spo2": value}, seq=500 + n) for n, value in enumerate(falling)
    ]
    outcome = run(arrivals)
    updates = [c["evidence"]["value"] for c in outcome.conditions if c["rule"] == LOW and c["state"] == "update"]
    assert updates == [82, 80, 78]
    assert len({c["id"] for c in outcome.conditions if c["rule"] == LOW}) == 1


def test_rules_for_rest_and_for_sessions_change_places(run: Run) -> None:
    fast = every(1, 0, 200, {"heart_rate": 145})
    start, end = command(49.5, "session", phase="start"), command(149.5, "session", phase="end")
    outcome = run(sorted_by_time([*fast, start, end], [*(float(n) for n in range(200)), 49.5, 149.5]))
    assert settled(outcome, "heart-rate-stop") == [("onset", 59.5), ("clear", 149.5)]
    assert settled(outcome, "do-not-start-heart-rate") == []
    resting = run(every(1, 0, 100, {"heart_rate": 145}))
    assert settled(resting, "do-not-start-heart-rate") == [("onset", 60.0)]
    assert settled(resting, "heart-rate-stop") == []


def sorted_by_time(arrivals: list[Arrival], times: list[float]) -> list[Arrival]:
    """Arrivals in the order of these times."""
    return [arrival for _, arrival in sorted(zip(times, arrivals, strict=True), key=lambda pair: pair[0])]


def test_a_personal_limit_replaces_the_rules_own_and_says_whose_it_is(run: Run) -> None:
    order = command(-1, "limits", spo2_floor=85.0, reason="severe COPD, usual value 86")
    values = every(1, 0, 100, {"spo2": 87})
    assert settled(run(values), "spo2-low-at-rest") == [("onset", 60.0)]
    assert settled(run([order, *values]), "spo2-low-at-rest") == []
    outcome = run([order, *every(1, 0, 100, {"spo2": 84})])
    (onset,) = [
        c
        for c in outcome.conditions
        if c["rule"] == "spo2-low-at-rest" and c["stage"] == "settled" and c["state"] == "onset"
    ]
    assert (onset["evidence"]["threshold"], onset["evidence"]["limit_from"]) == (84.9, "patient")
    absolute = [c for c in outcome.conditions if c["rule"] == LOW and c["stage"] == "settled"]
    assert absolute[0]["evidence"]["limit_from"] == "rule"


def test_a_rule_that_needs_a_limit_is_idle_until_it_has_one_and_after_it_is_dropped(run: Run) -> None:
    fast = {"heart_rate": 135}
    assert settled(run(every(1, 0, 60, fast)), MAXIMUM) == []
    order = command(19.5, "limits", heart_rate_maximum=130.0)
    dropped = command(59.5, "limits", spo2_floor=88.0)
    outcome = run([*every(1, 0, 20, fast), order, *every(1, 20, 60, fast), dropped, *every(1, 60, 100, fast)])
    assert settled(outcome, MAXIMUM) == [("onset", 29.5), ("clear", 59.5)]


def test_a_limit_ends_when_its_author_said_so(run: Run) -> None:
    order = command(-1, "limits", heart_rate_maximum=130.0, expires_at=1_764_000_050.0)
    outcome = run([order, *every(1, 0, 100, {"heart_rate": 135})])
    assert settled(outcome, MAXIMUM) == [("onset", 10.0), ("clear", 51.0)]


def test_discharge_clears_what_stands_and_nothing_opens_until_the_next_admission(run: Run) -> None:
    low = {"spo2": 80}
    arrivals = [
        *every(1, 0, 30, low),
        command(29.5, "discharge"),
        *every(1, 30, 90, low),
        command(89.5, "admit", age_years=60),
        *every(1, 90, 120, low),
    ]
    outcome = run(arrivals)
    assert settled(outcome, LOW) == [("onset", 10.0), ("clear", 29.5), ("onset", 99.5)]


def test_personal_limits_end_with_the_stay(run: Run) -> None:
    arrivals = [
        command(-3, "limits", heart_rate_maximum=130.0, spo2_floor=85.0),
        command(-2, "discharge"),
        command(-1, "admit", age_years=60),
        *every(1, 0, 100, {"heart_rate": 135, "spo2": 88}),
    ]
    outcome = run(arrivals)
    assert settled(outcome, MAXIMUM) == []
    assert settled(outcome, "spo2-low-at-rest") == [("onset", 60.0)]


def test_values_of_poor_quality_start_nothing_and_end_nothing(run: Run) -> None:
    poor: dict[str, Any] = {"q": {"spo2": 0.2}}
    assert settled(run(every(1, 0, 60, {"spo2": 80}, **poor)), LOW) == []
    opened = every(1, 0, 15, {"spo2": 80})
    assert settled(run([*opened, *every(1, 15, 200, {"spo2": 97}, **poor)]), LOW) == [("onset", 10.0)]


@pytest.mark.parametrize(
    ("symptom", "rule"),
    [("chest_pain", "symptom-chest-pain"), ("syncope", "symptom-syncope"), ("fatigue", "symptom-at-rest")],
)
def test_a_symptom_opens_at_once_and_ends_by_a_report_of_none_or_after_a_quarter_of_an_hour(
    run: Run, symptom: str, rule: str
) -> None:
    report = reading(0, {"symptom": symptom}, seq=0, device="app")
    well = reading(60, {"symptom": "none"}, seq=1, device="app")
    beats = every(10, 5, 1200, {"heart_rate": 70})
    assert settled(run([report, *beats[:5], well]), rule) == [("onset", 0.0), ("clear", 60.0)]
    assert settled(run([report, *beats[:89]]), rule) == [("onset", 0.0)]
    assert settled(run([report, *beats]), rule) == [("onset", 0.0), ("clear", 905.0)]


def test_another_symptom_does_not_end_a_report_of_chest_pain(run: Run) -> None:
    reports = [
        reading(10.0 * n, {"symptom": symptom}, seq=n, device="app")
        for n, symptom in enumerate(["chest_pain", "dizziness", "syncope"])
    ]
    outcome = run(reports)
    for rule in ("symptom-chest-pain", "symptom-syncope", "symptom-at-rest"):
        assert [state for state, _ in settled(outcome, rule)] == ["onset"]


def test_a_fall_of_pressure_with_rising_load_stops_the_session_and_is_forgotten_by_the_next(run: Run) -> None:
    def cuff(t: float, systolic: int, watts: int) -> Arrival:
        return reading(t, {"systolic_pressure": systolic, "power_w": watts}, seq=int(t))

    start, end = command(-1, "session", phase="start"), command(65, "session", phase="end")
    rising = [cuff(0, 140, 40), cuff(30, 160, 60), cuff(60, 145, 80)]
    assert settled(run([start, *rising]), "systolic-fall") == [("onset", 60.0)]
    assert settled(run([start, cuff(0, 140, 40), cuff(30, 160, 60), cuff(60, 145, 20)]), "systolic-fall") == []
    again = command(66, "session", phase="start")
    outcome = run([start, *rising, end, again, cuff(70, 140, 40)])
    assert settled(outcome, "systolic-fall") == [("onset", 60.0), ("clear", 65.0)]


def test_a_pulse_30_percent_above_rest_pauses_the_session_until_it_is_within_10_percent(run: Run) -> None:
    start = command(9.5, "session", phase="start")
    rest, fast = every(1, 0, 10, {"heart_rate": 70}), every(1, 10, 100, {"heart_rate": 92})
    nearly, back = every(1, 100, 150, {"heart_rate": 80}), every(1, 150, 200, {"heart_rate": 77})
    outcome = run([*rest, start, *fast, *nearly, *back])
    assert settled(outcome, "heart-rate-pause-above-rest") == [("onset", 70.0), ("clear", 160.0)]


def test_evidence_names_the_trusted_reading_the_rule_looked_at(run: Run) -> None:
    arrivals = [
        reading(0, {"spo2": 80}, seq=0, q={"spo2": 0.75}),
        reading(1, {"spo2": 99}, seq=1, q={"spo2": 0.1}),
        reading(12, {"heart_rate": 70}, seq=2),
    ]
    outcome = run(arrivals)
    (onset,) = [c for c in outcome.conditions if c["rule"] == LOW and c["stage"] == "settled"]
    evidence: dict[str, Any] = onset["evidence"]
    assert (evidence["channel"], evidence["value"], evidence["threshold"]) == ("spo2", 80, 84.9)
    (spo2,) = evidence["inputs"]
    assert (spo2["signal"], spo2["value"], spo2["quality"], spo2["age_s"]) == ("spo2", 80, 0.75, 10.0)
    assert spo2["reading"] == reading_id("monitor", "vitals", "boot-1", 0)
    assert len(evidence["model"]) == len(evidence["configuration"]) == 32


def reading_id(device: str, stream: str, session: str, seq: int) -> str:
    """A reading's id as ingest writes it into the CloudEvents header."""
    from contracts.identity import identity_text, reading_identity, session_identity, source_identity

    return identity_text(reading_identity(source_identity(device, stream), session_identity(session), seq))


def test_evidence_of_news2_names_every_input_with_its_age_and_what_is_missing(run: Run) -> None:
    outcome = run(
        [
            reading(0, {"systolic_pressure": 85, "consciousness": "A", "supplemental_oxygen": "oxygen"}, seq=0),
            *every(1, 100, 140, {"respiratory_rate": 26, "spo2": 97}),
        ]
    )
    (onset,) = [
        c
        for c in outcome.conditions
        if c["rule"] == "news2-emergency" and c["stage"] == "settled" and c["state"] == "onset"
    ]
    evidence = onset["evidence"]
    assert (evidence["value"], evidence["low"], evidence["high"]) == (8, 8, 14)
    assert evidence["missing"] == ["heart_rate", "body_temperature"]
    ages = {entry["signal"]: entry["age_s"] for entry in evidence["inputs"]}
    assert ages == {
        "respiratory_rate": 1.0,
        "spo2": 1.0,
        "supplemental_oxygen": 115.0,
        "systolic_pressure": 115.0,
        "consciousness": 115.0,
    }
