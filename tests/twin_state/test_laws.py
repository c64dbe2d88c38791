"""The laws of the twin: cuts, repeats, order of arrival, snapshots and crashes change nothing that is settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.twin_state.conftest import (
    START,
    Arrival,
    Logged,
    command,
    logged,
    make_processor,
    read_outputs,
    reading,
    run_log,
    status,
    tick,
)

BOUND_S = 5.0

VITALS: dict[str, Any] = {
    "heart_rate": st.sampled_from([38, 55, 80, 95, 118, 135, 160]),
    "spo2": st.sampled_from([80, 84, 87, 90, 93, 97]),
    "respiratory_rate": st.sampled_from([7, 16, 23, 28]),
    "systolic_pressure": st.sampled_from([85, 105, 120, 255]),
    "body_temperature": st.sampled_from([34.8, 37.0, 39.3]),
    "consciousness": st.sampled_from(["A", "V"]),
    "supplemental_oxygen": st.sampled_from(["air", "oxygen"]),
    "symptom": st.sampled_from(["none", "chest_pain", "fatigue"]),
    "power_w": st.sampled_from([0, 60, 100]),
}


@st.composite
def measured(draw: st.DrawFn) -> list[tuple[float, Arrival, float]]:
    """Readings and statuses of two patients and three devices: (t, arrival, delay), the delay within the bound."""
    count = draw(st.integers(5, 60))
    found: list[tuple[float, Arrival, float]] = []
    t = 0.0
    for seq in range(count):
        t += draw(st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 4.0, 11.0, 40.0]))
        patient = draw(st.sampled_from(["p1", "p1", "p2"]))
        names = draw(st.lists(st.sampled_from(sorted(VITALS)), min_size=1, max_size=9, unique=True))
        values = {name: draw(VITALS[name]) for name in names}
        quality = {names[0]: draw(st.sampled_from([0.1, 0.9]))} if draw(st.booleans()) else None
        device = draw(st.sampled_from(["monitor", "strap", "band"]))
        arrival = reading(t, values, seq=seq, patient=patient, device=device, q=quality, hashed=device == "band")
        found.append((t, arrival, draw(st.floats(0.0, BOUND_S - 0.1))))
        if draw(st.integers(0, 4)) == 0:
            # Of another instant each, so that none is by chance a repeat of another.
            at = t + seq / 1000
            state = draw(st.sampled_from(["offline", "offline", "online", "unbound"]))
            said = status(at, state, device=draw(st.sampled_from(["monitor", "strap", "band"])), patient=patient)
            found.append((at, said, draw(st.floats(0.0, BOUND_S - 0.1))))
    return found


def commands() -> list[Arrival]:
    """Facts about the patients that stand before the first reading."""
    return [
        command(-10, "admit", patient="p1", age_years=61),
        command(-9, "limits", patient="p1", heart_rate_maximum=130.0, zone_low=90.0, zone_high=110.0, spo2_floor=90.0),
        command(-8, "admit", patient="p2", age_years=40),
        command(-7, "session", patient="p2", phase="start"),
        status(-6, "offline", device="pump", patient="p2"),
    ]


def in_order(items: Sequence[tuple[float, Arrival, float]]) -> list[Arrival]:
    """As measured."""
    return [*commands(), *(arrival for _, arrival, _ in items), tick(1e6, closing=True)]


def ticked(items: Sequence[tuple[float, Arrival, float]]) -> list[Arrival]:
    """As they arrived, with a tick after each third record and a silence in the middle."""
    arrived: list[Arrival] = []
    for n, (t, arrival, delay) in enumerate(sorted(items, key=lambda item: item[0] + item[2])):
        arrived.append(arrival)
        if n % 3 == 0:
            arrived.append(tick(t + delay + 0.2))
        if n == len(items) // 2:
            arrived += [tick(t + waited) for waited in (14.0, 70.0, 130.0)]
    return [*commands(), *arrived, tick(1e6, closing=True)]


@given(measured(), st.lists(st.integers(1, 70), max_size=8))
@settings(max_examples=60)
def test_any_cut_into_batches_gives_the_same(items: list[tuple[float, Arrival, float]], cuts: list[int]) -> None:
    records = logged(ticked(items))
    assert run_log(records, cuts) == run_log(records)


@given(measured(), st.data())
@settings(max_examples=30)
def test_repeats_change_nothing(items: list[tuple[float, Arrival, float]], data: st.DataObject) -> None:
    plain = in_order(items)
    repeated: list[Arrival] = []
    repeats = 0
    for place, arrival in enumerate(plain):
        repeated.append(arrival)
        if arrival.key is not None and data.draw(st.booleans()):
            repeated.append(plain[data.draw(st.integers(max(0, place - 20), place))])
            repeats += 1
    undisturbed, disturbed = run_log(logged(plain)), run_log(logged(repeated))
    assert disturbed.journal() == undisturbed.journal()
    assert disturbed.twins == undisturbed.twins
    assert disturbed.counters["applied"] == undisturbed.counters["applied"]
    assert disturbed.counters["duplicates"] == repeats


@given(measured())
@settings(max_examples=60)
def test_any_order_of_arrival_within_the_bound_settles_to_the_same(items: list[tuple[float, Arrival, float]]) -> None:
    arrived = [arrival for _, arrival, _ in sorted(items, key=lambda item: item[0] + item[2])]
    ordered = run_log(logged(in_order(items)))
    disordered = run_log(logged([*commands(), *arrived, tick(1e6, closing=True)]))
    assert disordered.counters["late"] == 0
    assert disordered.journal("settled") == ordered.journal("settled")
    assert disordered.twins == ordered.twins


@given(measured(), st.integers(0, 70))
@settings(max_examples=30)
def test_snapshot_and_restore_is_the_identity(items: list[tuple[float, Arrival, float]], at: int) -> None:
    records = logged(ticked(items))
    at = min(at, len(records) - 1)
    one, other = make_processor(), make_processor()
    first = one.process(records[:at], START)
    for block in one.changed_blocks():
        other.load_block(block.number, block.payload)
    again = make_processor()
    for number in range((other.store.rows + 63) // 64):
        again.load_block(number, blocks_of(other)[number])
    assert blocks_of(other) == blocks_of(one)
    assert blocks_of(again) == blocks_of(other)
    second = other.process(records[at:], START)
    whole = run_log(records)
    outcome = read_outputs([*first, *second, *other.flush(START)], {})
    assert sorted(set(outcome.journal())) == sorted(set(whole.journal()))
    assert len(outcome.journal("settled")) == len(whole.journal("settled"))
    assert read_outputs(other.flush(START) or second, {}).twins.keys() <= whole.twins.keys()


@given(measured(), st.integers(0, 70), st.integers(0, 70))
@settings(max_examples=30)
def test_reading_the_log_again_after_a_crash_changes_nothing(
    items: list[tuple[float, Arrival, float]], checkpoint: int, crash: int
) -> None:
    """A checkpoint, some more records, a crash, and the log from before the checkpoint on."""
    records = logged(ticked(items))
    checkpoint = min(checkpoint, len(records))
    crash = min(max(crash, checkpoint), len(records))
    first = make_processor()
    outputs = first.process(records[:checkpoint], START)
    blocks = first.changed_blocks()
    outputs += first.process(records[checkpoint:crash], START)
    restored = make_processor()
    for block in blocks:
        restored.load_block(block.number, block.payload)
    outputs += restored.process(records[max(0, checkpoint - 7) :], START)
    outputs += restored.flush(START)
    whole = run_log(records)
    crashed = read_outputs(outputs, {})
    assert sorted(set(crashed.journal())) == sorted(set(whole.journal()))
    assert crashed.twins == whole.twins


def blocks_of(processor: Any) -> list[bytes]:
    """All blocks of a processor, changed or not."""
    from twin_state.blocks import block_bytes

    return [block_bytes(processor.store, number) for number in range((processor.store.rows + 63) // 64)]


def test_a_patients_twin_does_not_depend_on_who_shares_the_partition() -> None:
    mine = [reading(t, {"heart_rate": 80 + t % 7, "spo2": 96}, seq=t) for t in range(30)]
    others = [reading(t, {"heart_rate": 150}, seq=t, patient=f"q{t % 90}") for t in range(300)]
    mixed = [a for t in range(30) for a in (mine[t], *others[t * 10 : t * 10 + 10])]
    alone = run_log(logged([*mine, tick(1e6, closing=True)]))
    together = run_log(logged([*mixed, tick(1e6, closing=True)]))
    assert together.twins["p1"] == alone.twins["p1"]


def test_records_below_the_fence_are_counted_and_change_nothing() -> None:
    records: list[Logged] = logged([reading(t, {"heart_rate": 80}, seq=t) for t in range(20)])
    processor = make_processor()
    processor.process(records, START)
    before = blocks_of(processor)
    assert processor.process(records[5:], START) == []
    assert blocks_of(processor) == before
    assert processor.counters()["fence_skips"] == 15


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(measured(), st.lists(st.integers(1, 70), max_size=8), st.data(), st.integers(0, 70), st.integers(0, 70))
@settings(max_examples=1000)
def test_the_laws_hold_for_a_thousand_logs_more(
    items: list[tuple[float, Arrival, float]], cuts: list[int], data: st.DataObject, one: int, other: int
) -> None:
    def law(test: Any) -> Any:
        return test.hypothesis.inner_test

    law(test_any_cut_into_batches_gives_the_same)(items, cuts)
    law(test_repeats_change_nothing)(items, data)
    law(test_any_order_of_arrival_within_the_bound_settles_to_the_same)(items)
    law(test_snapshot_and_restore_is_the_identity)(items, one)
    law(test_reading_the_log_again_after_a_crash_changes_nothing)(items, one, other)
