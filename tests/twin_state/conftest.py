"""A log by hand and the twin agent's processor over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from contracts.canonical import canonical_bytes
from contracts.configuration import Configuration, Worker
from contracts.topics import CONDITIONS, TWIN
from stream.processor import OutputRecord
from stream.processors import Processors, processors
from stream.twin_processor import TwinProcessor
from stream.twin_record import canonical_twin

ENGINE_RULES = Path(__file__).with_name("engine_rules.toml")
"""Rules whose channels take values as they come; the shipped ones are tested by their vectors."""

START = 1_764_000_000.0
"""Event time at which the logs of these tests begin, s."""


class Logged(NamedTuple):
    """A record as a processor reads it."""

    offset: int
    key: bytes | None
    value: bytes | None


class Arrival(NamedTuple):
    """A record before it has an offset."""

    key: bytes | None
    value: bytes


def reading(
    t: float,
    v: dict[str, Any],
    *,
    seq: int,
    patient: str = "p1",
    device: str = "monitor",
    stream: str = "vitals",
    session: str = "boot-1",
    received_at: float | None = None,
    q: dict[str, float] | None = None,
    hashed: bool = False,
) -> Arrival:
    """A reading measured `t` s after START."""
    document: dict[str, Any] = {
        "kind": "reading",
        "device": device,
        "stream": stream,
        "session": session,
        "seq": seq,
        "t": START + t,
        "received_at": START + (t + 0.1 if received_at is None else received_at),
        "v": v,
    }
    if q:
        document["q"] = q
    if hashed:
        document["hashed"] = True
    return Arrival(patient.encode(), orjson.dumps(document))


def command(t: float, kind: str, *, patient: str = "p1", **fields: Any) -> Arrival:
    """A command that takes effect `t` s after START; its id follows from what it says."""
    body = {"kind": kind, "id": f"{kind}-{t}-{sorted(fields.items())}", "t": START + t, "author": "test"}
    document = {"kind": "command", "received_at": START + t, "command": {**body, "patient": patient, **fields}}
    return Arrival(patient.encode(), orjson.dumps(document))


def status(t: float, state: str, *, device: str = "monitor", patient: str = "p1") -> Arrival:
    """What is known of a device's connection `t` s after START."""
    document = {"kind": "device", "device": device, "state": state, "t": START + t, "received_at": START + t}
    return Arrival(patient.encode(), orjson.dumps(document))


def tick(t: float, *, closing: bool = False) -> Arrival:
    """The arrival clock at `t` s after START."""
    return Arrival(None, orjson.dumps({"kind": "tick", "t": START + t, **({"closing": True} if closing else {})}))


def every(
    step: float, begin: float, end: float, v: dict[str, Any], *, first_seq: int | None = None, **other: Any
) -> list[Arrival]:
    """The same values each `step` s from `begin` up to but not including `end`; numbers go on from the time."""
    count = round((end - begin) / step)
    seq = round(begin * 10) if first_seq is None else first_seq
    return [reading(begin + n * step, v, seq=seq + n, **other) for n in range(count)]


def logged(arrivals: Iterable[Arrival]) -> list[Logged]:
    """Arrivals as they stand in the log."""
    return [Logged(offset, key, value) for offset, (key, value) in enumerate(arrivals)]


@cache
def _makers() -> Processors:
    return processors(Configuration(worker=Worker(rules=str(ENGINE_RULES))), START)


def make_processor() -> TwinProcessor:
    """A fresh processor under the rules of these tests."""
    return _makers().twin(0)


class Outcome(NamedTuple):
    """What came out of a log."""

    conditions: list[dict[str, Any]]
    twins: dict[str, bytes]
    counters: dict[str, int]

    def journal(self, stage: str | None = None) -> list[bytes]:
        """Conditions in canonical form, sorted; those of one stage if it is given."""
        return sorted(canonical_bytes(c) for c in self.conditions if stage in (None, c["stage"]))

    def told(self, rule: str) -> list[tuple[str, str, float, float]]:
        """(state, stage, t, onset_t) of a rule's conditions, times in s after START."""
        return [
            (c["state"], c["stage"], round(c["t"] - START, 6), round(c["onset_t"] - START, 6))
            for c in self.conditions
            if c["rule"] == rule
        ]


def read_outputs(outputs: Sequence[OutputRecord], counters: dict[str, int]) -> Outcome:
    """Outputs as an outcome; of each twin the last record counts, as in a compacted topic."""
    conditions = [orjson.loads(o.value or b"") for o in outputs if o.topic == CONDITIONS and o.key]
    twins = {}
    for output in outputs:
        if output.topic == TWIN:
            record = orjson.loads(output.value or b"")
            twins[record["patient"]] = canonical_twin(record)
    return Outcome(conditions, twins, counters)


def run_log(records: Sequence[Logged], cuts: Sequence[int] = ()) -> Outcome:
    """Run a log through a fresh processor, cut into batches at `cuts`."""
    processor = make_processor()
    outputs: list[OutputRecord] = []
    edges = sorted({0, len(records), *(cut for cut in cuts if 0 < cut < len(records))})
    for begin, end in pairwise(edges):
        outputs += processor.process(records[begin:end], START)
    outputs += processor.flush(START)
    return read_outputs(outputs, processor.counters())


@pytest.fixture
def run() -> Callable[[Iterable[Arrival]], Outcome]:
    """Run arrivals, then a closing tick."""

    def run_arrivals(arrivals: Iterable[Arrival], *, close: bool = True) -> Outcome:
        listed = list(arrivals)
        if close:
            listed.append(tick(1e6, closing=True))
        return run_log(logged(listed))

    return run_arrivals
