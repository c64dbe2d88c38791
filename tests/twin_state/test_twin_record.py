"""The twin record: what a program reads of a patient, field by field as `contracts.twin` has it."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from contracts.canonical import canonical_bytes
from contracts.topics import CONDITIONS, TWIN
from contracts.twin import Twin
from stream.processor import OutputRecord
from stream.twin_record import canonical_twin
from tests.twin_state.conftest import START, Arrival, command, every, logged, make_processor, reading, tick


def outputs_of(arrivals: list[Arrival], now: float = START) -> list[OutputRecord]:
    """Everything written for these arrivals, twins last."""
    processor = make_processor()
    return [*processor.process(logged(arrivals), now), *processor.flush(now)]


def newest_twin(outputs: list[OutputRecord]) -> dict[str, Any]:
    """The last twin record, checked against its type: no field missing, none of a wrong type."""
    record: dict[str, Any] = orjson.loads([output.value or b"" for output in outputs if output.topic == TWIN][-1])
    msgspec.convert(record, Twin)
    return record


def test_a_record_says_what_is_settled_and_what_is_live_and_when() -> None:
    arrivals = [
        command(-9, "admit", age_years=70),
        command(-8, "limits", spo2_floor=86.0, heart_rate_maximum=130.0, expires_at=START + 500),
        *every(1, 0, 80, {"heart_rate": 70, "spo2": 80}, first_seq=0, q={"spo2": 0.75}),
        reading(80, {"heart_rate": 71}, seq=80),
    ]
    outputs = outputs_of(arrivals, now=START + 90)
    twin = newest_twin(outputs)
    assert (twin["patient"], twin["t"] - START, twin["live"]["t"] - START) == ("p1", 74.0, 80.0)
    assert twin["signals"]["heart_rate"]["value"] == 70
    assert twin["live"]["signals"]["heart_rate"]["value"] == 71
    assert twin["live"]["signals"]["spo2"]["quality"] == 0.75
    assert twin["limits"] == {"spo2_floor": 86.0, "heart_rate_maximum": 130.0}
    assert twin["session"] == {"active": False}
    assert twin["news2"]["low"] == 3
    told = [orjson.loads(output.value or b"") for output in outputs if output.topic == CONDITIONS and output.key]
    ids = {c["rule"]: c["id"] for c in told if c["state"] == "onset" and c["stage"] == "settled"}
    assert {c["rule"]: c["id"] for c in twin["conditions"]} == ids
    assert ids.keys() == {"news2-single-parameter", "spo2-below-85", "spo2-low-at-rest"}
    assert twin["provenance"] == {
        "partition": 0,
        "offset": len(arrivals) - 1,
        "received_at": START + 80.1,
        "clock": START + 80,
        "applied_at": START + 90,
    }


def test_limits_that_have_ended_and_sessions_that_are_over_are_not_shown() -> None:
    arrivals = [
        command(-9, "limits", heart_rate_maximum=130.0, expires_at=START + 30),
        command(-8, "session", phase="start"),
        reading(0, {"heart_rate": 70}, seq=0),
    ]
    before = newest_twin(outputs_of(arrivals))
    assert before["live"]["session"] == {"active": True, "start_t": START - 8}
    assert before["live"]["limits"] == {"heart_rate_maximum": 130.0}
    later = [command(40, "session", phase="end"), reading(60, {"heart_rate": 70}, seq=1)]
    after = newest_twin(outputs_of([*arrivals, *later]))
    assert (after["live"]["limits"], after["live"]["session"]) == ({}, {"active": False})


def test_a_patient_of_whom_only_an_order_is_known_has_a_record_too() -> None:
    twin = newest_twin(outputs_of([command(0, "admit", age_years=70)]))
    assert (twin["signals"], twin["live"]["signals"], twin["provenance"]["received_at"]) == ({}, {}, None)
    assert len(twin["news2"]["missing"]) == 7


def test_ticks_write_records_of_what_changed_and_of_nothing_else() -> None:
    processor = make_processor()
    first = processor.process(logged([reading(0, {"heart_rate": 70}, seq=0), tick(1), tick(2), tick(3)]), START)
    assert [output.topic for output in first if output.key] == [TWIN]
    more = [(n + 4, arrival) for n, arrival in enumerate([tick(4), reading(4, {"heart_rate": 70}, seq=1), tick(5)])]
    written = [
        output
        for offset, arrival in more
        for output in processor.process([logged([arrival])[0]._replace(offset=offset)], START)
    ]
    assert [output.topic for output in written if output.key] == [TWIN]


def test_the_canonical_twin_holds_only_what_is_settled() -> None:
    record = newest_twin(outputs_of(every(1, 0, 20, {"heart_rate": 70})))
    canonical = canonical_twin(record)
    settled = {key: value for key, value in record.items() if key != "live"}
    for entry in settled["signals"].values():
        assert entry.pop("received_at") == entry["t"] + 0.1
    assert canonical == canonical_bytes(settled)
    assert orjson.loads(canonical).keys() == record.keys() - {"live", "provenance"}
