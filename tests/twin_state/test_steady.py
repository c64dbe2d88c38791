"""Steady values, the area under a limit, and what a lost sensor does to an alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.twin_state.conftest import START, Arrival, command, every, reading

Run = Callable[..., Any]


def onsets(outcome: Any, rule: str) -> list[float]:
    return [
        round(c["t"] - START, 1)
        for c in outcome.conditions
        if c["rule"] == rule and c["state"] == "onset" and c["stage"] == "settled"
    ]


def series(values: list[float], signal: str = "spo2", begin: float = 0.0) -> list[Arrival]:
    """In a session, in which alone the rules of these tests apply."""
    readings = [reading(begin + 10.0 * n, {signal: value}, seq=n + 1) for n, value in enumerate(values)]
    return [command(begin - 1.0, "session", phase="start"), *readings]


def test_a_probe_that_is_pulled_for_half_a_minute_is_an_artefact(run: Run) -> None:
    values = [97.0] * 60 + [80.0] * 3 + [97.0] * 30
    outcome = run(series(values))
    assert onsets(outcome, "spo2-below-85"), "the raw value passed the limit"
    assert not onsets(outcome, "spo2-steady")


def test_a_fall_that_a_body_can_make_is_believed_at_once(run: Run) -> None:
    """8 % in five minutes: half a minute after the limit at most."""
    values = [*([97.0] * 60), *np.linspace(97, 89, 30).round(1).tolist(), *([89.0] * 30)]
    passed = 600 + 10 * next(n for n, value in enumerate(values[60:]) if value <= 91.5)
    (told,) = onsets(run(series(values)), "spo2-steady")[:1]
    assert told - passed <= 30


def test_a_fall_in_one_step_is_believed_once_it_lasts(run: Run) -> None:
    (told,) = onsets(run(series([97.0] * 60 + [80.0] * 60)), "spo2-steady")
    assert 60 < told - 600 < 300


def test_the_deeper_the_sooner(run: Run) -> None:
    shallow = onsets(run(series([97.0] * 6 + [91.5] * 30)), "spo2-area")
    deep = onsets(run(series([97.0] * 6 + [83.0] * 30)), "spo2-area")
    assert shallow == [60.0 + 120.0]
    assert deep == [60.0 + 90.0 / 9.0]


def test_a_breach_that_comes_and_goes_adds_up(run: Run) -> None:
    """Of the delay of 120 s 60 have run when the pause begins; it takes half its own length away again."""
    low, high = [91.5], [97.0]
    assert onsets(run(series(high * 6 + low * 6 + high * 4 + low * 30)), "spo2-leak") == [160.0 + 120.0 - 40.0]
    assert onsets(run(series(high * 6 + low * 6 + high * 12 + low * 30)), "spo2-leak") == [240.0 + 120.0]
    assert onsets(run(series((low * 4 + high * 8) * 30)), "spo2-leak") == [], "what is lost in a pause is lost"


def test_a_gap_in_the_data_is_a_pause(run: Run) -> None:
    """The last value before it counts for 40 s."""
    readings = series([91.5] * 6 + [97.0] * 8 + [91.5] * 30)
    with_gap = [*readings[:7], *readings[15:]]
    held = 50.0 + 40.0
    assert onsets(run(with_gap), "spo2-leak") == [140.0 + 120.0 - (held - 0.5 * (140.0 - held))]


def test_a_sensor_that_comes_off_does_not_clear_news2(run: Run) -> None:
    ill: dict[str, Any] = {"spo2": 88, "respiratory_rate": 26, "heart_rate": 80, "systolic_pressure": 105}
    off = {name: value for name, value in ill.items() if name != "spo2"}
    lost = [*every(5, 0, 120, ill), *every(5, 120, 1500, off)]

    def states(arrivals: list[Arrival]) -> list[str]:
        settled = [c for c in run(arrivals).conditions if c["stage"] == "settled"]
        return [c["state"] for c in settled if c["rule"] == "news2-emergency"]

    assert states(lost) == ["onset"], "without SpO2 the least total is 4, but nobody knows that he is better"
    assert states([*lost, *every(5, 1500, 1800, {**ill, "spo2": 97})]) == ["onset", "clear"]


def test_what_is_usual_is_forgotten_with_a_new_stay(run: Run) -> None:
    stay = every(10, 0, 7200, {"spo2": 97})
    again = [command(7200, "discharge"), command(7201, "admit", age_years=60), *every(10, 7210, 8000, {"spo2": 90})]
    outcome = run([*stay, *again])
    assert not [c for c in outcome.conditions if c["evidence"]["channel"] == "spo2_below_usual"]
