"""Device silent: a last will raises it at once, and it ends when something is heard of the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import orjson
import pytest

from tests.twin_state.conftest import (
    START,
    Arrival,
    Outcome,
    command,
    every,
    logged,
    make_processor,
    read_outputs,
    reading,
    run_log,
    status,
    tick,
)

Run = Callable[..., Outcome]
RULE, IN_SESSION = "device-silent", "device-silent-session"
PULSE = {"heart_rate": 70}


def devices_of(outcome: Outcome, state: str, stage: str = "settled", rule: str = RULE) -> list[list[str]]:
    """The devices named by each transition of that state."""
    return [
        c["evidence"].get("devices", [])
        for c in outcome.conditions
        if (c["rule"], c["state"], c["stage"]) == (rule, state, stage)
    ]


def settled(outcome: Outcome, rule: str = RULE) -> list[tuple[str, float, float]]:
    """(state, t, onset_t) of a rule's settled transitions."""
    return [(state, t, onset_t) for state, stage, t, onset_t in outcome.told(rule) if stage == "settled"]


def test_a_last_will_is_told_at_once_by_name_and_over_when_the_device_is_back(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline", device="chest_strap-7"), *every(1, 11, 30, PULSE)]
    log += [status(30.5, "online", device="chest_strap-7"), *every(1, 31, 40, PULSE)]
    outcome = run(log)
    assert outcome.told(RULE) == [
        ("onset", "provisional", 10.5, 10.5),
        ("onset", "settled", 10.5, 10.5),
        ("clear", "settled", 30.5, 10.5),
    ]
    assert devices_of(outcome, "onset") == devices_of(outcome, "onset", "provisional") == [["chest_strap-7"]]
    assert devices_of(outcome, "clear") == [[]]
    (onset,) = [c for c in outcome.conditions if c["rule"] == RULE and c["stage"] == "provisional"]
    assert (onset["kind"], onset["priority"]) == ("technical", "low")
    assert (onset["evidence"]["value"], onset["evidence"]["inputs"]) == (1.0, [])


def test_it_comes_and_goes_although_no_other_device_moves_the_clock(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(20, "offline"), tick(21), tick(140), status(500, "online"), tick(640)]
    assert run(log).told(RULE)[0] == ("onset", "provisional", 20.0, 20.0)
    assert settled(run(log)) == [("onset", 20.0, 20.0), ("clear", 500.0, 20.0)]


def test_a_last_will_or_birth_that_comes_again_changes_nothing(run: Run) -> None:
    once = [*every(1, 0, 10, PULSE), status(10.5, "offline"), *every(1, 11, 20, PULSE, device="strap")]
    once += [status(20.5, "online"), *every(1, 21, 30, PULSE)]
    again = [*once[:10], status(4.5, "online"), once[10], status(12.5, "offline"), status(14.5, "offline"), *once[11:]]
    again.insert(-3, status(26.5, "online"))
    assert settled(run(again)) == settled(run(once)) == [("onset", 10.5, 10.5), ("clear", 20.5, 10.5)]


def test_a_reading_measured_after_the_last_will_ends_it_and_one_that_was_kept_does_not(run: Run) -> None:
    """The device sends first what it measured before the broker noticed, and that is still on time."""
    before = [*every(1, 0, 10, PULSE), status(40, "offline"), tick(41)]
    kept = every(1, 10, 40, PULSE, received_at=100.0)
    outcome = run([*before, *kept, *every(1, 40, 50, PULSE, received_at=100.0)])
    assert settled(outcome) == [("onset", 40.0, 40.0), ("clear", 41.0, 40.0)]
    assert outcome.counters["late"] == 0
    assert [state for state, *_ in settled(run([*before, *kept]))] == ["onset"]


def test_a_reading_of_another_device_or_for_another_patient_does_not_end_it(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline"), *every(1, 11, 30, PULSE, device="strap")]
    log += every(1, 11, 30, PULSE, patient="p2")
    assert settled(run(log)) == [("onset", 10.5, 10.5)]


def test_a_late_reading_does_not_end_it(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline"), *every(1, 11, 60, PULSE, device="strap")]
    log.append(reading(20, PULSE, seq=5000, received_at=61.0))
    outcome = run(log)
    assert outcome.counters["late"] == 1
    assert settled(outcome) == [("onset", 10.5, 10.5)]


@pytest.mark.parametrize("end", [status(20.5, "unbound"), command(20.5, "discharge")], ids=["unbound", "discharge"])
def test_it_ends_with_the_binding_and_with_the_stay(end: Arrival, run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline"), *every(1, 11, 20, PULSE, device="strap"), end]
    assert settled(run([*log, *every(1, 21, 30, PULSE, device="strap")])) == [
        ("onset", 10.5, 10.5),
        ("clear", 20.5, 10.5),
    ]


def test_after_discharge_and_admission_only_what_is_silent_since_counts(run: Run) -> None:
    log = [*every(1, 0, 5, PULSE), status(5.5, "offline", device="old"), command(6, "discharge")]
    log += [command(7, "admit"), *every(1, 8, 20, PULSE), status(20.5, "offline", device="new")]
    outcome = run([*log, *every(1, 21, 30, PULSE)])
    assert devices_of(outcome, "onset") == [["old"], ["new"]]


def test_each_further_device_is_told_and_all_are_named_in_order(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE, device="strap")]
    for t, state, device in [
        (10.5, "offline", "monitor"),
        (12.5, "offline", "band"),
        (14.5, "online", "monitor"),
        (16.5, "offline", "app"),
    ]:
        log += [status(t, state, device=device), *every(1, t + 0.5, t + 1.5, PULSE, device="strap")]
    outcome = run([*log, *every(1, 20, 30, PULSE, device="strap")])
    assert settled(outcome) == [("onset", 10.5, 10.5), ("update", 12.5, 10.5), ("update", 16.5, 10.5)]
    assert devices_of(outcome, "update") == [["band", "monitor"], ["app", "band"]]


def test_in_a_session_it_is_of_medium_priority_and_changes_over_with_the_session(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline", device="strap"), *every(1, 11, 20, PULSE)]
    log += [command(20.5, "session", phase="start"), *every(1, 21, 30, PULSE)]
    log += [command(30.5, "session", phase="end"), *every(1, 31, 40, PULSE)]
    outcome = run(log)
    assert settled(outcome) == [("onset", 10.5, 10.5), ("clear", 20.5, 10.5), ("onset", 30.5, 30.5)]
    assert settled(outcome, IN_SESSION) == [("onset", 20.5, 20.5), ("clear", 30.5, 20.5)]
    assert devices_of(outcome, "onset", rule=IN_SESSION) == [["strap"]]
    assert {c["priority"] for c in outcome.conditions if c["rule"] == IN_SESSION} == {"medium"}


def test_a_silent_device_stays_silent_for_days(run: Run) -> None:
    log = [*every(1, 0, 10, PULSE), status(10.5, "offline", device="strap"), *every(60, 60, 200_000, PULSE)]
    assert settled(run(log)) == [("onset", 10.5, 10.5)]


def test_a_status_moves_no_clock_and_runs_no_timer_of_a_vital_sign(run: Run) -> None:
    """What was measured before the last will and comes after it is on time, and its delays run as if none had come."""
    before, kept = every(1, 0, 6, {"heart_rate": 140}), every(1, 6, 60, {"heart_rate": 140}, received_at=300.0)
    orders = [command(-1, "limits", heart_rate_high=120.0)]
    silent = [status(50, "offline"), tick(51), tick(200), status(299, "online")]
    rule = "heart-rate-high-personal"
    plain, disturbed = run([*orders, *before, *kept]), run([*orders, *before, *silent, *kept])
    assert disturbed.told(rule) == plain.told(rule) != []
    assert disturbed.twins == plain.twins
    assert disturbed.counters["late"] == 0


def test_a_notice_that_does_not_come_true_is_withdrawn(run: Run) -> None:
    log: list[Arrival] = [*every(1, 0, 10, PULSE), status(12, "offline"), status(11, "online"), tick(13)]
    discharged = [*log, command(11.5, "discharge")]
    assert [told[:2] for told in run(discharged).told(RULE)] == [("onset", "provisional"), ("withdrawn", "provisional")]


def test_eight_silent_devices_are_told_apart_and_a_ninth_is_not_noticed(run: Run) -> None:
    log: list[Arrival] = [*every(1, 0, 10, PULSE)]
    for n in range(10):
        log += [status(10.5 + n, "offline", device=f"d{n}"), reading(11 + n, PULSE, seq=1000 + n)]
    log += [status(20.7 + n / 100, "online", device=f"d{n}") for n in range(10)]
    outcome = run([*log, *every(1, 21, 40, PULSE, first_seq=2000)])
    assert devices_of(outcome, "update")[-1] == [f"d{n}" for n in range(8)]
    assert settled(outcome)[-1][0] == "clear"


def restarted_at(arrivals: list[Arrival], at: int) -> tuple[Outcome, Outcome]:
    """(a run with a restart after `at` records, one without)."""
    records = logged([*arrivals, tick(1e6, closing=True)])
    first, second = make_processor(), make_processor()
    outputs = first.process(records[:at], START)
    for block in first.changed_blocks():
        second.load_block(block.number, block.payload)
    outputs += second.process(records[at:], START)
    outputs += second.flush(START)
    return read_outputs(outputs, {}), run_log(records)


@pytest.mark.parametrize("at", [12, 16, 40], ids=["last will buffered", "second buffered", "both settled"])
def test_names_survive_a_restart_wherever_the_last_will_stands(at: int) -> None:
    arrivals = [*every(1, 0, 10, PULSE), status(10.5, "offline", device="strap"), *every(1, 11, 15, PULSE)]
    arrivals += [status(15.2, "offline", device="band"), *every(1, 16, 60, PULSE)]
    arrivals += [status(60.5, "offline", device="app"), *every(1, 61, 70, PULSE)]
    restarted, whole = restarted_at(arrivals, at)
    assert restarted.journal() == whole.journal()
    assert restarted.twins == whole.twins
    assert devices_of(restarted, "update")[-1] == ["app", "band", "strap"]


def as_first_version(payload: bytes) -> bytes:
    """A block as schema version 1 wrote it: no devices anywhere."""
    head, _, packed = payload.partition(b"\n")
    header: dict[str, Any] = orjson.loads(head)
    total = header["words"]
    mask_bytes = (total + 7) // 8
    mask = np.unpackbits(np.frombuffer(packed, np.uint8, mask_bytes), count=total).astype(bool)
    words = np.zeros(total, np.uint64)
    words[mask] = np.frombuffer(packed, np.uint64, offset=mask_bytes)
    nodes = sum(header["nodes"])
    after = nodes * (8 + 16)
    numbers = words[total - after - 10 * nodes : total - after].reshape(nodes, 10)[:, :9].reshape(-1)
    words = np.concatenate([words[: total - after - 10 * nodes], numbers, words[total - after :]])
    del header["devices"]
    filled = words != 0
    header |= {"schema": 1, "words": len(words)}
    stored: bytes = orjson.dumps(header) + b"\n" + np.packbits(filled).tobytes() + words[filled].tobytes()
    return stored


def test_a_block_of_the_first_schema_goes_on() -> None:
    arrivals = every(1, 0, 20, {"heart_rate": 70, "spo2": 84})
    after = [status(20.5, "offline"), *every(1, 21, 40, PULSE, device="strap"), tick(1e6, closing=True)]
    records = logged([*arrivals, *after])
    old, new = make_processor(), make_processor()
    outputs = old.process(records[:20], START)
    (block,) = old.changed_blocks()
    new.load_block(0, as_first_version(block.payload))
    outputs += new.process(records[20:], START)
    outputs += new.flush(START)
    upgraded, whole = read_outputs(outputs, {}), run_log(records)
    assert upgraded.journal() == whole.journal()
    assert upgraded.twins == whole.twins


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"state": "asleep"}, "asleep"),
        ({"device": 7}, "device"),
        ({"t": "now"}, "t"),
        ({"t": -1.0}, "not a time"),
        ({"received_at": None}, "received_at"),
    ],
)
def test_a_status_that_cannot_be_understood_is_quarantined(fields: dict[str, Any], why: str) -> None:
    document = orjson.loads(status(1, "offline").value) | fields
    processor = make_processor()
    (output,) = processor.process(logged([Arrival(b"p1", orjson.dumps(document))]), START)
    assert output.topic == "telemetry.quarantine"
    assert why in orjson.loads(output.value or b"")["detail"]
    assert processor.counters()["rows"] == 0


def test_ties_of_one_instant_end_with_the_device_being_there(run: Run) -> None:
    states: Iterable[Arrival] = [status(10.5, "online"), status(10.5, "offline")]
    outcome = run([*every(1, 0, 10, PULSE), *states, *every(1, 11, 30, PULSE, device="strap")])
    assert [state for state, *_ in settled(outcome)] in ([], ["onset", "clear"])
