"""The simulated ward: the same seed gives the same stream, and what happens to a patient shows in what is measured."""

from __future__ import annotations

from collections import Counter
from math import ceil
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from contracts.configuration import Configuration
from contracts.quarantine import Quarantined
from contracts.topics import QUARANTINE
from loadtest.faults import PRESETS, Faults, parse_faults
from loadtest.recording import detect_beats, find_recording, load_recorded_heart, read_recording
from loadtest.replay_input import Intake, Line
from loadtest.simulation import Message, Order, Simulation, SimulationPlan, labels_file, replay_lines
from loadtest.ward import BRISK, CALM, LIFELIKE, EventPlan, Ward

START_T = 1_767_225_600.0
PLAN = SimulationPlan(
    patients=20, duration_s=40.0, seed=7, start_t=START_T, events=BRISK, faults=PRESETS["harsh"], pressure_period_s=30.0
)


def messages(plan: SimulationPlan) -> list[Message]:
    return [item for item in Simulation(plan).stream() if isinstance(item, Message)]


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert list(replay_lines(Simulation(PLAN))) == list(replay_lines(Simulation(PLAN)))
    other = msgspec.structs.replace(PLAN, seed=8)
    assert list(replay_lines(Simulation(PLAN))) != list(replay_lines(Simulation(other)))


def test_messages_and_commands_come_in_order_of_time() -> None:
    for duration_s in (40.0, 22.7):
        plan = msgspec.structs.replace(PLAN, duration_s=duration_s, patients=40)
        times = [item.at for item in Simulation(plan).stream(commands=True)]
        assert times == sorted(times)


def test_ingest_knows_every_reading_by_the_id_that_the_simulator_gave_it() -> None:
    """Native, packed by a gateway, SenML, and what is refused: all are found again by the announced id."""
    intake = Intake(Configuration())
    announced: set[str] = set()
    found: set[str] = set()
    for item in Simulation(PLAN).stream(commands=True):
        if isinstance(item, Order):
            line = Line(item.at, "", None, msgspec.json.encode(item.command))
        else:
            announced.update(item.identities)
            line = Line(item.at, item.topic, item.payload, b"")
        for record in intake.take(line):
            if record.topic == QUARANTINE:
                refused = msgspec.json.decode(record.value, type=Quarantined)
                found.add(refused.reading or refused.id)
            found.update(value.decode() for name, value in record.headers if name == "ce_id")
    assert announced
    assert found == announced


def test_devices_of_every_kind_publish_and_every_patient_is_heard_each_second() -> None:
    plan = msgspec.structs.replace(PLAN, faults=Faults(), events=CALM)
    streams = Counter(
        "/".join((topic := message.topic.split("/"))[3].split("-")[:1] + topic[4:]) for message in messages(plan)
    )
    assert {"strap/heart", "monitor/vitals", "monitor/pressure", "band/wrist", "gateway/batch", "app/answers"} <= set(
        streams
    )
    assert streams["strap/heart"] + streams["monitor/vitals"] == plan.patients * 40


def test_a_deterioration_couples_the_vital_signs() -> None:
    ward = Ward(1, 120.0, 3, START_T, EventPlan(10.0, (300.0, 300.0), 6.0, {"sepsis": 1.0}), rehabilitation_share=0.0)
    (event,) = ward.events
    vitals = list(ward.run())
    before = next(one for one in vitals if one.t >= event.start_t - 2.0)
    after = vitals[-1]
    assert after.heart_rate[0] > before.heart_rate[0] + 25
    assert after.respiratory_rate[0] > before.respiratory_rate[0] + 7
    assert after.systolic_pressure[0] < before.systolic_pressure[0] - 20
    assert after.spo2[0] < before.spo2[0] - 2


def test_heart_rate_follows_a_load_with_its_time_constants() -> None:
    plan = EventPlan(1e-6, (120.0, 120.0), 6.0, {"exercise": 1.0})
    ward = Ward(1, 119.0, 5, START_T, plan, rehabilitation_share=1.0)
    power = ward.events[0].severity
    rates = np.array([vitals.heart_rate[0] for vitals in ward.run()])
    rise = ward.gain_bpm_per_w[0] * power
    at_tau = (rates[30] - rates[0]) / rise
    assert at_tau == pytest.approx(1 - np.exp(-1), abs=0.15)
    assert (rates[-1] - rates[0]) / rise == pytest.approx(1.0, abs=0.15)


def test_an_outage_holds_readings_back_and_then_sends_them_in_a_burst() -> None:
    plan = msgspec.structs.replace(
        PLAN,
        patients=1,
        duration_s=60.0,
        faults=Faults(),
        events=EventPlan(15.0, (20.0, 20.0), 6.0, {"outage": 1.0}),
    )
    simulation = Simulation(plan)
    (outage, *_) = simulation.labels
    everything = messages(plan)
    statuses = [message for message in everything if message.topic.endswith("/status")]
    sent = [message for message in everything if message not in statuses]
    during = [message for message in sent if outage.start_t + 1.5 < message.at < outage.end_t - 1.0]
    late = [
        message
        for message in sent
        if message.at >= outage.end_t and b'"t":' in message.payload and message.topic.endswith("vitals")
        if outage.start_t < orjson.loads(message.payload)["t"] < outage.end_t - 1.0
    ]
    assert during == []
    assert len(late) >= 3
    told = {
        (message.topic.split("/")[3], orjson.loads(message.payload)["state"], ceil(at))
        for message in statuses
        for at in (outage.start_t, outage.end_t)
        if message.at == ceil(at)
    }
    assert told == {
        (device.name, state, ceil(at))
        for device in simulation.devices
        for state, at in (("offline", outage.start_t), ("online", outage.end_t))
    }
    assert all(message.retain and not message.identities for message in statuses)


def test_faults_leave_their_marks() -> None:
    plan = msgspec.structs.replace(
        PLAN, faults=Faults(loss=0.1, duplicates=0.1, nan=0.05, garbage=0.05, reboot=0.02), events=CALM
    )
    clean = sum(len(message.identities) for message in messages(msgspec.structs.replace(plan, faults=Faults())))
    counted = Counter(identity for message in messages(plan) for identity in message.identities)
    payloads = [message.payload for message in messages(plan)]
    assert len(counted) < 0.95 * clean
    assert sum(count > 1 for count in counted.values()) > 0.05 * clean
    assert any(b"NaN" in payload for payload in payloads)
    assert any(payload[:1] == b"\xff" for payload in payloads)
    sessions = {
        document["session"]
        for message in messages(plan)
        if message.topic.endswith("monitor-0001/vitals")
        and message.payload[-1:] == b"}"
        and b"NaN" not in message.payload
        for document in [orjson.loads(message.payload)]
    }
    assert len(sessions) >= 1


def test_labels_stand_in_a_file_of_their_own_and_nowhere_in_the_stream() -> None:
    simulation = Simulation(PLAN)
    labels = [orjson.loads(line) for line in labels_file(simulation)]
    assert {label["kind"] for label in labels} >= {"sepsis", "respiratory_failure"}
    stream = b"".join(replay_lines(Simulation(PLAN)))
    assert not any(kind in stream for kind in (b"sepsis", b"respiratory_failure", b"severity", b"artefact"))


def test_the_recording_gives_a_resting_heart() -> None:
    beats = detect_beats(*read_recording(find_recording()))
    assert len(beats.rr_ms) > 60
    assert 50 < 60_000 / np.mean(beats.rr_ms) < 90


def test_the_recorded_heart_can_be_played_on_and_on() -> None:
    heart = load_recorded_heart()
    total = [rr for second in range(600) for rr in heart.between(float(second), second + 1.0)[1]]
    assert sum(total) / 1000.0 == pytest.approx(600.0, rel=0.02)


def test_one_patient_wears_the_recording() -> None:
    plan = msgspec.structs.replace(PLAN, recorded=True, faults=Faults())
    simulation = Simulation(plan)
    strap = f"strap-{simulation.recorded_patient + 1:04d}"
    sent = [orjson.loads(message.payload)["v"] for message in messages(plan) if f"/{strap}/" in message.topic]
    recorded = {float(rr) for rr in detect_beats(*read_recording(find_recording())).rr_ms}
    assert sent
    assert {rr for values in sent for rr in values.get("rr_ms", [])} <= recorded


def test_faults_are_named_or_refused_in_words() -> None:
    assert parse_faults("mild,loss=0.5").loss == 0.5
    assert parse_faults("none") == Faults()
    with pytest.raises(ValueError, match="there are none, mild, harsh"):
        parse_faults("terrible")
    with pytest.raises(ValueError, match="no fault 'lost'"):
        parse_faults("lost=1")
    with pytest.raises(ValueError, match="takes a number"):
        parse_faults("loss=much")


def test_a_ward_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one patient"):
        Ward(0, 10.0, 1, START_T, LIFELIKE)


def test_record_writes_input_for_replay(tmp_path: Path) -> None:
    from loadtest.replay_input import read_lines
    from loadtest.simulate import record

    file = tmp_path / "ward.jsonl"
    count = record(PLAN, file, tmp_path / "labels.jsonl")
    lines = list(read_lines([file]))
    assert len(lines) == count
    assert sum(line.payload is None for line in lines) == len(Simulation(PLAN).commands())
    assert (tmp_path / "labels.jsonl").read_bytes().count(b"\n") == len(Simulation(PLAN).labels)
