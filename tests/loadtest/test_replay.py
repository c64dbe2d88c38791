"""Replay: the same file gives the same bytes, in memory and through Kafka, and nothing in it reads a clock."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.configuration import Configuration, Worker
from contracts.topics import ALERTS, CONDITIONS, TELEMETRY, TWIN
from loadtest.faults import PRESETS
from loadtest.pipeline import Pipeline
from loadtest.replay import replay_through_core, replay_through_kafka
from loadtest.replay_input import (
    CLOSING_S,
    EVERY_SECOND_S,
    Intake,
    Line,
    Record,
    ReplayError,
    read_lines,
    ticks_between,
)
from loadtest.replay_output import FILES, quarantine_lines, twin_lines
from loadtest.settled_journal import settled_alerts
from loadtest.simulation import Message, Order, Simulation, SimulationPlan, replay_lines
from loadtest.ward import BRISK
from tests.twin_state.conftest import ENGINE_RULES

START_T = 1_767_225_600.0
PLAN = SimulationPlan(
    patients=12,
    duration_s=50.0,
    seed=5,
    start_t=START_T,
    events=BRISK,
    faults=PRESETS["mild"],
    pressure_period_s=30.0,
    late_bound_share=0.5,
    stray_devices=1,
)
CONFIGURATION = Configuration(worker=Worker(rules=str(ENGINE_RULES)))


@pytest.fixture(scope="module")
def ward_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("replay") / "ward.jsonl"
    file.write_bytes(b"".join(replay_lines(Simulation(PLAN))))
    return file


@pytest.fixture(scope="module")
def acted_file(ward_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ward, and a nurse who acknowledges some of its alerts, pauses another patient's and puts one off."""
    folder = tmp_path_factory.mktemp("acted")
    replay_through_core(CONFIGURATION, [ward_file], folder)
    signals = [orjson.loads(line) for line in (folder / "journal.jsonl").read_bytes().splitlines()]
    lines = [orjson.loads(line) for line in ward_file.read_bytes().splitlines()]
    told = [one for one in signals if one["event"] == "condition_onset" and one["t"] < lines[-1]["received_at"] - 2]
    for number, alert in enumerate(told):
        at = alert["t"] + 1.3
        common = {"id": f"act-{number}", "t": at, "author": "nurse-1", "patient": alert["patient"]}
        act: dict[str, object] = {"kind": "acknowledge", "alert": alert["id"], "reason": "seen"}
        if number % 4 == 1:
            act = {"kind": "audio_pause", "duration_s": 7.0}
        elif number % 4 == 2:
            act = {"kind": "alarm_off", "alert": alert["id"], "expires_at": at + 9.0, "reason": "suction"}
        lines.append({"command": common | act, "received_at": at})
    lines.sort(key=lambda line: line["received_at"])
    file = folder / "acted.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return file


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES.values()}


def lines_of(plan: SimulationPlan) -> list[Line]:
    return [
        Line(item.at, "", None, msgspec.json.encode(item.command))
        if isinstance(item, Order)
        else Line(item.at, item.topic, item.payload, b"")
        for item in Simulation(plan).stream(commands=True)
    ]


def journal(records: list[Record], batch_records: int = 2000) -> dict[str, list[bytes]]:
    """Everything as it was written, and the settled view."""
    pipeline = Pipeline(CONFIGURATION, START_T, batch_records)
    pipeline.run(records)
    pipeline.finish()
    values = {topic: [(record.key, record.value) for record in found] for topic, found in pipeline.output.items()}
    return {
        "settled": settled_alerts(values.get(ALERTS, [])),
        "twins": twin_lines(values.get(TWIN, [])),
        "conditions": sorted(
            orjson.dumps({k: v for k, v in orjson.loads(value or b"{}").items() if k != "provenance"})
            for _, value in values.get(CONDITIONS, [])
        ),
    }


def test_core_gives_the_same_bytes_every_time(ward_file: Path, tmp_path: Path) -> None:
    first = replay_through_core(CONFIGURATION, [ward_file], tmp_path / "a")
    replay_through_core(CONFIGURATION, [ward_file], tmp_path / "b")
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")
    assert first["alerts.jsonl"] > 0
    assert first["twins.jsonl"] == PLAN.patients
    assert first["quarantine.jsonl"] > 0


def test_a_file_may_be_cut_in_two(ward_file: Path, tmp_path: Path) -> None:
    text = ward_file.read_bytes().splitlines(keepends=True)
    (tmp_path / "1.jsonl").write_bytes(b"".join(text[: len(text) // 3]))
    (tmp_path / "2.jsonl").write_bytes(b"".join(text[len(text) // 3 :]))
    replay_through_core(CONFIGURATION, [ward_file], tmp_path / "whole")
    replay_through_core(CONFIGURATION, [tmp_path / "1.jsonl", tmp_path / "2.jsonl"], tmp_path / "parts")
    assert outputs(tmp_path / "whole") == outputs(tmp_path / "parts")


def test_waiting_readings_are_released_by_the_bind_command_on_its_line(ward_file: Path, tmp_path: Path) -> None:
    replay_through_core(CONFIGURATION, [ward_file], tmp_path)
    quarantined = [orjson.loads(line) for line in (tmp_path / "quarantine.jsonl").read_bytes().splitlines()]
    unbound = [record for record in quarantined if record["reason"] == "unbound_device"]
    assert {record["device"] for record in unbound if not record.get("released")} == {"stray-01"}
    assert any(record.get("released") for record in unbound)


def test_what_people_do_stands_in_the_journal_and_changes_neither_alerts_nor_twins(
    ward_file: Path, acted_file: Path, tmp_path: Path
) -> None:
    replay_through_core(CONFIGURATION, [ward_file], tmp_path / "plain")
    replay_through_core(CONFIGURATION, [acted_file], tmp_path / "acted")
    plain, acted = outputs(tmp_path / "plain"), outputs(tmp_path / "acted")
    assert {name for name in plain if plain[name] != acted[name]} == {"journal.jsonl"}
    journal = [orjson.loads(line) for line in acted["journal.jsonl"].splitlines()]
    assert {"acknowledge", "audio_pause", "alarm_off", "inactivation_expired"} <= {one["event"] for one in journal}
    assert {one.get("actor", "system") for one in journal} == {"nurse-1", "system"}


@pytest.mark.kafka
def test_core_and_kafka_give_the_same_bytes(acted_file: Path, tmp_path: Path) -> None:
    """A real Kafka, a real worker: not one byte differs."""
    replay_through_core(CONFIGURATION, [acted_file], tmp_path / "core")
    counts = replay_through_kafka(CONFIGURATION, [acted_file], tmp_path / "kafka", foreign=False)
    assert outputs(tmp_path / "core") == outputs(tmp_path / "kafka")
    assert counts["alerts.jsonl"] > 0


def test_statuses_in_the_file_raise_and_end_the_condition_of_the_patient_bound_then(tmp_path: Path) -> None:
    """Wills, births and bindings as lines: a stranger's will concerns nobody, and an unbinding ends what stands."""

    def order(at: float, **fields: Any) -> dict[str, Any]:
        body = {"id": f"c{at}", "t": START_T + at, "author": "me", **fields}
        return {"command": body, "received_at": START_T + at}

    def said(at: float, device: str, state: str) -> dict[str, Any]:
        return {"topic": f"biotwin/v1/site/{device}/status", "payload": {"state": state}, "received_at": START_T + at}

    def measured(at: int) -> dict[str, Any]:
        payload = {"session": "s", "seq": at, "t": START_T + at, "v": {"heart_rate": 70}}
        return {"topic": "biotwin/v1/site/strap/heart", "payload": payload, "received_at": START_T + at + 0.1}

    bound = [order(0.1 * n, kind="bind", device=name, patient="p1") for n, name in enumerate(("strap", "band", "pump"))]
    wills = [said(10.3, "band", "offline"), said(10.4, "stranger", "offline"), said(20.3, "pump", "offline")]
    # The pump's new binding is dated back to before its will: the alarm that stands must end all the same.
    moved = order(23.3, kind="bind", device="pump", patient="p2", t=START_T + 19.0)
    ends = [said(30.3, "band", "online"), moved]
    lines = sorted(
        [*bound, *wills, *ends, *(measured(at) for at in range(1, 60))], key=lambda line: float(line["received_at"])
    )
    file = tmp_path / "file.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    replay_through_core(CONFIGURATION, [file], tmp_path / "out")
    alerts = [orjson.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_bytes().splitlines()]
    assert {(one["patient"], one["rule"]) for one in alerts} == {("p1", "device-silent")}
    assert [
        (one["transition"], round(one["t"] - START_T, 3), one["message"]) for one in alerts if one["stage"] == "settled"
    ] == [
        ("onset", 10.3, "Connection lost: band."),
        ("update", 20.3, "Connection lost: band and pump."),
        ("clear", 30.3, "Over: the number of silent devices is now 0."),
    ]


@settings(max_examples=6)
@given(batch_records=st.integers(min_value=1, max_value=700))
def test_any_cut_into_batches_gives_the_same_journal(batch_records: int) -> None:
    records = list(Intake(CONFIGURATION).records(lines_of(PLAN)))
    assert journal(records, batch_records) == journal(records)


def shuffled(lines: list[Line], seed: int, bound_s: float) -> list[Line]:
    """The same payloads in another order of arrival, none more than `bound_s` after its own time."""
    rng = Random(seed)
    moved = [
        line if line.payload is None else line._replace(received_at=line.received_at + rng.uniform(0.0, bound_s))
        for line in lines
    ]
    return sorted(moved, key=lambda line: line.received_at)


@settings(max_examples=8)
@given(seed=st.integers(min_value=0, max_value=2**32), bound_s=st.floats(min_value=0.0, max_value=2.5))
def test_any_order_of_arrival_within_the_bound_settles_the_same(seed: int, bound_s: float) -> None:
    """Duplicates, bursts and reordering included: what is settled does not depend on who came first."""
    faults = msgspec.structs.replace(PRESETS["none"], duplicates=0.05, nan=0.002)
    events = msgspec.structs.replace(
        PLAN, faults=faults, late_bound_share=0.0, stray_devices=0, rehabilitation_share=0.0
    )
    lines = lines_of(events)
    plain = journal(list(Intake(CONFIGURATION).records(lines)))
    other = journal(list(Intake(CONFIGURATION).records(shuffled(lines, seed, bound_s))))
    assert other["settled"] == plain["settled"]
    assert other["twins"] == plain["twins"]
    assert plain["settled"]


def test_every_reading_twice_changes_nothing() -> None:
    plan = msgspec.structs.replace(PLAN, faults=PRESETS["none"], late_bound_share=0.0, stray_devices=0)
    lines = lines_of(plan)
    twice = [line for line in lines for _ in range(1 if line.payload is None else 2)]
    assert journal(list(Intake(CONFIGURATION).records(twice))) == journal(list(Intake(CONFIGURATION).records(lines)))


def test_a_line_that_goes_back_in_time_is_an_error_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "back.jsonl"
    file.write_text(
        '{"topic": "biotwin/v1/site/a/b", "payload": {}, "received_at": 20}\n\n'
        '{"topic": "biotwin/v1/site/a/b", "payload": {}, "received_at": 19.5}\n'
    )
    with pytest.raises(ReplayError, match=r"back\.jsonl, line 3: received_at 19\.5 lies before 20"):
        list(read_lines([file]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "an object is wanted"),
        ('{"topic": "a", "payload": 1}', "`received_at` is missing"),
        ('{"received_at": 1}', "`topic` and `payload`, or `command`"),
        ('{"topic": "a", "payload": {"base64": "!"}, "received_at": 1}', "`base64` cannot be read"),
    ],
)
def test_a_bad_line_is_an_error_that_says_where_and_what(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text + "\n")
    with pytest.raises(ReplayError, match=f"line 1: .*{said}"):
        list(read_lines([file]))


def test_payloads_may_be_text_json_or_bytes(tmp_path: Path) -> None:
    file = tmp_path / "kinds.jsonl"
    file.write_text(
        '{"topic": "t", "payload": "{\\"a\\": 1e400}", "received_at": 1}\n'
        '{"topic": "t", "payload": {"a": [1]}, "received_at": 1}\n'
        '{"topic": "t", "payload": {"base64": "/w=="}, "received_at": 1}\n'
    )
    assert [line.payload for line in read_lines([file])] == [b'{"a": 1e400}', b'{"a":[1]}', b"\xff"]


def test_ticks_come_from_arrival_times_alone() -> None:
    assert list(ticks_between(10.2, 10.9)) == []
    assert list(ticks_between(10.2, 13.0)) == [11.0, 12.0, 13.0]
    long = list(ticks_between(0.5, 100_000.0))
    assert long[:3] == [1.0, 2.0, 3.0]
    assert long[-1] == 100_000.0
    assert len(long) < EVERY_SECOND_S + 100_000 / 60 + 2
    assert long == sorted(set(long))


def test_the_end_is_told_to_every_partition() -> None:
    line = Line(100.5, "biotwin/v1/site/a/b", b"?", b"")
    records = [
        orjson.loads(record.value) for record in Intake(CONFIGURATION).records([line]) if record.topic == TELEMETRY
    ]
    closing = [record for record in records if record.get("closing")]
    assert len(closing) == CONFIGURATION.kafka.partitions
    assert len(records) == CONFIGURATION.kafka.partitions * (CLOSING_S + 1)


def test_what_came_twice_into_quarantine_is_one_line_and_says_whether_it_still_waits() -> None:
    first = {"id": "a", "reason": "unbound_device", "received_at": 5.0, "detail": "", "topic": "t", "raw": ""}
    again = {**first, "received_at": 6.0}
    released = {**first, "released": True}
    values = [(None, orjson.dumps(record)) for record in (again, first, released)]
    (line,) = quarantine_lines(values)
    assert orjson.loads(line)["released"] is True
    assert orjson.loads(line)["received_at"] == 5.0
    assert quarantine_lines(reversed(values)) == [line]


def test_messages_carry_what_replay_reads() -> None:
    item = next(iter(Simulation(PLAN).stream()))
    assert isinstance(item, Message)
    line = orjson.loads(next(replay_lines(Simulation(msgspec.structs.replace(PLAN, patients=1)))))
    assert set(line) in ({"topic", "payload", "received_at"}, {"command", "received_at"})
