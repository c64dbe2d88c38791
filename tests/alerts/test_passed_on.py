"""What the twin agent passes on to the alert agent: ticks and acts about alerts, in the one order of the log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from contracts.configuration import Configuration, Worker
from contracts.topics import CONDITIONS, QUARANTINE, TWIN
from stream.processor import LoggedRecord, OutputRecord
from stream.processors import processors
from tests.twin_state.conftest import ENGINE_RULES

START = 1_763_900_000.0
PARTITION = 2


def reading(second: int, spo2: float) -> tuple[bytes, bytes]:
    body = {"kind": "reading", "device": "d", "stream": "s", "session": "b", "seq": second, "t": START + second}
    return b"p1", orjson.dumps(body | {"received_at": START + second + 0.1, "v": {"spo2": spo2}})


def tick(second: int) -> tuple[None, bytes]:
    return None, orjson.dumps({"kind": "tick", "t": START + second})


def act(number: int, patient: str = "p1", **fields: object) -> tuple[bytes, bytes]:
    command = {"kind": "acknowledge", "id": f"c{number}", "t": START, "author": "n", "patient": patient, "alert": "a"}
    body = {"kind": "command", "received_at": START + number, "command": command | fields}
    return patient.encode(), orjson.dumps(body)


LOG = [
    LoggedRecord(10 + place, key, value)
    for place, (key, value) in enumerate(
        [
            tick(0),
            *(reading(second, 80.0) for second in range(1, 11)),
            tick(10),
            reading(11, 80.0),
            act(1),
            reading(12, 80.0),
            act(2, kind="audio_pause", alert=""),
            *(reading(second, 97.0) for second in range(13, 60)),
            tick(60),
        ]
    )
]


def passed(cuts: Sequence[int] = (), log: Sequence[LoggedRecord] = LOG) -> list[OutputRecord]:
    twin = processors(Configuration(worker=Worker(rules=str(ENGINE_RULES))), START).twin(PARTITION)
    edges = [0, *sorted(cuts), len(log)]
    outputs = [output for a, b in pairwise(edges) for output in twin.process(log[a:b], START)]
    assert not [output for output in outputs if output.topic == QUARANTINE]
    return [output for output in outputs if output.topic == CONDITIONS]


def outline(outputs: Sequence[OutputRecord]) -> list[str]:
    bodies = [orjson.loads(output.value or b"") for output in outputs]
    return [body["state"] if "state" in body else body["kind"] for body in bodies]


def test_each_stands_behind_what_its_predecessors_brought_about() -> None:
    outputs = passed()
    told = outline(outputs)
    assert told[:5] == ["tick", "tick", "onset", "command", "command"]
    assert told[-1] == "tick"
    assert {"clear"} == set(told[6:-1])
    values = {record.value for record in LOG}
    for output, kind in zip(outputs, told, strict=True):
        if kind == "tick":
            assert (output.key, output.partition, output.value in values) == (None, PARTITION, True)
        if kind == "command":
            assert (output.key, output.partition, output.value in values) == (b"p1", None, True)


@given(st.lists(st.integers(0, len(LOG)), max_size=5))
def test_any_cut_passes_on_the_same_in_the_same_order(cuts: list[int]) -> None:
    assert passed(cuts) == passed()


def test_an_act_makes_no_twin_and_one_that_cannot_be_read_is_set_aside() -> None:
    twin = processors(Configuration(worker=Worker(rules=str(ENGINE_RULES))), START).twin(PARTITION)
    (output,) = twin.process([LoggedRecord(0, *act(1, "nobody"))], START)
    assert output.topic == CONDITIONS
    assert twin.counters()["rows"] == 0
    assert [one for one in twin.flush(START) if one.topic == TWIN] == []
    bad = [act(1, author=None), act(2, kind="audio_pause", duration_s=1e9), (b"p2", act(3)[1])]
    outputs = twin.process([LoggedRecord(1 + n, key, value) for n, (key, value) in enumerate(bad)], START)
    assert [one.topic for one in outputs] == [QUARANTINE] * 3
    assert msgspec.json.decode(outputs[0].value or b"")["topic"] == "telemetry"
