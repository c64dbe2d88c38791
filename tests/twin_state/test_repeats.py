"""Readings that come twice: counted, never applied twice, whatever their numbering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.twin_state.conftest import Arrival, Outcome, command, every, reading

Run = Callable[..., Outcome]


def counts(outcome: Outcome) -> tuple[int, int, int]:
    """(applied, duplicates, late)."""
    return outcome.counters["applied"], outcome.counters["duplicates"], outcome.counters["late"]


def at_ten_hertz(numbers: range, **other: Any) -> list[Arrival]:
    """Readings of 10 a second, numbered as told."""
    return [reading(n / 10, {"heart_rate": 70 + n % 5}, seq=n, **other) for n in numbers]


def test_the_last_256_numbers_of_a_source_are_known(run: Run) -> None:
    sent = at_ten_hertz(range(400))
    assert counts(run([*sent, *sent[144:]])) == (400, 256, 0)
    assert counts(run([*sent, *sent[:144]])) == (400, 0, 144)


@pytest.mark.parametrize("jump", [1, 63, 64, 65, 127, 128, 255, 256, 300, 2**40])
def test_a_gap_in_the_numbers_forgets_only_what_lies_beyond_the_window(run: Run, jump: int) -> None:
    first = [reading(0, {"spo2": 97}, seq=n, device="a") for n in range(100)]
    last = reading(0, {"spo2": 97}, seq=99 + jump, device="a")
    still_known = max(0, min(100, 256 - jump))
    outcome = run([*first, last, *first, last])
    assert counts(outcome) == (101, still_known + 1, 100 - still_known)


def test_numbers_that_were_skipped_may_still_come(run: Run) -> None:
    sent = at_ten_hertz(range(100))
    ahead_first = [*sent[::2], *sent[1::2][-20:]]
    assert counts(run([*ahead_first, *ahead_first[-30:]])) == (70, 30, 0)


def test_after_a_restart_of_the_device_both_sessions_are_known(run: Run) -> None:
    before = at_ten_hertz(range(20))
    after = at_ten_hertz(range(20, 40), session="boot-2")
    interleaved = [*before[:18], *after[:2], *before[18:], *after[2:]]
    assert counts(run([*before, *after, *before, *after])) == (40, 40, 0)
    assert counts(run([*interleaved, *interleaved])) == (40, 40, 0)
    assert run(interleaved).journal("settled") == run([*before, *after]).journal("settled")


def test_a_repeat_from_the_session_before_the_last_is_known_or_too_late_but_never_applied(run: Run) -> None:
    boots = [at_ten_hertz(range(n * 20, n * 20 + 20), session=f"boot-{n}") for n in range(6)]
    sent = [arrival for boot in boots for arrival in boot]
    applied, duplicates, late = counts(run([*sent, *sent]))
    assert applied == 120
    assert duplicates + late == 120
    assert run([*sent, *sent]).twins == run(sent).twins


@pytest.mark.parametrize("count", [60, 100, 1000])
def test_a_packed_payload_of_hashed_readings_may_come_twice(run: Run, count: int) -> None:
    """Formats without a counter are numbered by a hash of their content, which has no order."""
    spread = [
        reading(n * 4 / count, {"heart_rate": 70 + n % 5}, seq=(n * 7_046_029_254_386_353_131) % 2**63, hashed=True)
        for n in range(count)
    ]
    outcome = run([*spread, *spread])
    assert counts(outcome) == (count, count, 0)
    assert outcome.twins == run(spread).twins


def test_streams_and_devices_are_numbered_apart(run: Run) -> None:
    arrivals = [reading(0, {"heart_rate": 70}, seq=1, device=d, stream=s) for d in ("a", "b") for s in ("x", "y")]
    assert counts(run([*arrivals, *arrivals])) == (4, 4, 0)


def test_a_command_sent_twice_counts_once(run: Run) -> None:
    orders = [command(0.001 * n, "limits", heart_rate_maximum=100.0 + n) for n in range(80)]
    outcome = run([*orders, orders[0], orders[79], *every(1, 1, 20, {"heart_rate": 190})])
    assert (outcome.counters["commands"], outcome.counters["duplicates"]) == (80, 2)
    (onset,) = [c for c in outcome.conditions if c["rule"] == "heart-rate-above-maximum" and c["stage"] == "settled"]
    assert onset["evidence"]["threshold"] == 179
