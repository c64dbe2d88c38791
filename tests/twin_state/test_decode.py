"""What stands in the log is applied or quarantined with a reason; nothing in it can stop the worker."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.quarantine import Quarantined, Reason
from contracts.topics import QUARANTINE
from tests.twin_state.conftest import START, Arrival, Logged, command, logged, make_processor, reading, tick

GOOD: dict[str, Any] = orjson.loads(reading(1, {"heart_rate": 70, "rr_ms": [800, 810]}, seq=1).value)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A reading or command with a field replaced, removed or nested."""
    document = draw(
        st.sampled_from(
            [
                GOOD,
                orjson.loads(command(1, "limits", heart_rate_maximum=130.0).value),
                orjson.loads(command(1, "admit", age_years=60).value),
                orjson.loads(tick(1).value),
            ]
        )
    )
    document = orjson.loads(orjson.dumps(document))
    inside = draw(st.sampled_from([document, *(v for v in document.values() if isinstance(v, dict))]))
    key = draw(st.sampled_from(sorted(inside)))
    if draw(st.booleans()):
        inside[key] = draw(json_values)
    else:
        del inside[key]
    try:
        return orjson.dumps(document)
    except TypeError:
        return repr(document).encode()


values = (
    st.binary(max_size=64)
    | nearly_good()
    | json_values.map(lambda v: repr(v).encode("utf-8", "replace"))
    | st.sampled_from([b"1,2", b"]", b"[", b"],[", b"{}", b"null", b"", b'{"a":[1', b"2]}", b"{},{}", b"NaN", b"1e999"])
)


@given(st.lists(st.tuples(st.sampled_from([b"p1", b"p2", b"", b"\xff\xfe", None]), values), max_size=12), st.data())
@settings(max_examples=250)
def test_any_record_is_applied_or_quarantined(records: list[tuple[bytes | None, bytes]], data: st.DataObject) -> None:
    good = [reading(n, {"heart_rate": 70 + n}, seq=n, patient="steady") for n in range(5)]
    places = [data.draw(st.integers(0, len(records))) for _ in good]
    arrivals = [Arrival(key, value) for key, value in records]
    for place, arrival in sorted(zip(places, good, strict=True), key=lambda pair: -pair[0]):
        arrivals.insert(place, arrival)
    processor = make_processor()
    outputs = processor.process(logged(arrivals), START)
    outputs += processor.flush(START)
    refused = [msgspec.json.decode(o.value or b"", type=Quarantined) for o in outputs if o.topic == QUARANTINE]
    counted = processor.counters()
    taken = sum(counted[name] for name in ("applied", "late", "duplicates", "commands", "ticks"))
    assert taken + len(refused) == counted["records"] == len(arrivals)
    assert counted["quarantined"] == len(refused)
    assert all(entry.reason is Reason.BAD_RECORD and entry.detail for entry in refused)
    sent = sorted(value for _, value in records)
    assert all(entry.payload() in sent for entry in refused)
    (steady,) = [orjson.loads(o.value or b"") for o in outputs if o.topic == "twin" and o.key == b"steady"]
    assert steady["live"]["signals"]["heart_rate"]["value"] in range(70, 75)


@pytest.mark.parametrize(
    "odd",
    [
        [b"1,2"],
        [b"]", b"["],
        [b"{}],[{}"],
        [b'{"a":[{}', b"{}]}", b"{},{}"],
        [b'{"kind":"tick"', b'"t":1}', b"1,2"],
        [b"[", b"]", b"1,2,3"],
        [b""],
        [b"", b"1,2"],
        [b"1 2"],
        [b'"'],
    ],
)
def test_records_that_only_make_sense_side_by_side_are_quarantined_one_by_one(odd: list[bytes]) -> None:
    """A fetch is parsed as one list: that must not show."""
    arrivals = [reading(0, {"heart_rate": 70}, seq=0), *(Arrival(b"p9", value) for value in odd)]
    arrivals.append(reading(1, {"heart_rate": 71}, seq=1))
    processor = make_processor()
    outputs = processor.process(logged(arrivals), START)
    refused = [msgspec.json.decode(o.value or b"", type=Quarantined).payload() for o in outputs]
    assert refused == odd
    assert processor.counters()["applied"] == 2


def changed(**fields: Any) -> bytes:
    """The good reading with fields replaced."""
    return orjson.dumps({**GOOD, **fields})


def order(**fields: Any) -> bytes:
    """A limits command with fields replaced; None removes one."""
    document = orjson.loads(command(1, "limits", heart_rate_maximum=130.0).value)
    body = {**document["command"], **fields}
    document["command"] = {key: value for key, value in body.items() if value is not None}
    return orjson.dumps(document)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (changed(t=-5), "not a time"),
        (changed(t="1764000000"), "not a time"),
        (changed(t=1e300), "not a time"),
        (changed(received_at=None), "float"),
        (changed(seq=1.5), "64-bit"),
        (changed(seq=True), "64-bit"),
        (changed(v={"blood_type": 3}), "blood_type"),
        (changed(v={"heart_rate": True}), "heart_rate"),
        (changed(v={"heart_rate": [70]}), "heart_rate"),
        (changed(v={"heart_rate": "A"}), "A"),
        (changed(v={"consciousness": "Z"}), "Z"),
        (changed(v={"supplemental_oxygen": 7}), "supplemental_oxygen has no code 7"),
        (changed(v={"rr_ms": [800, "x"]}), "finite"),
        (changed(q={"heart_rate": 1.5}), "quality"),
        (changed(q=[0.5]), "list"),
        (changed(kind="rumour"), "rumour"),
        (b'{"kind":"reading"}', "KeyError"),
        (order(heart_rate_maximum=0.0), "above 0"),
        (order(spo2_floor=-4.0), "above 0"),
        (order(expires_at=0.0), "not a time"),
        (order(heart_rate_max=130.0), "heart_rate_max"),
        (order(id=None), "id"),
        (order(t=None), "t"),
        (order(author=None), "author"),
        (order(patient="p2"), "another patient"),
        (order(kind="bind"), "bind"),
    ],
)
def test_a_bad_field_is_named_and_the_record_changes_nothing(value: bytes, why: str) -> None:
    processor = make_processor()
    (output,) = processor.process([Logged(0, b"p1", value)], START)
    refused = msgspec.json.decode(output.value or b"", type=Quarantined)
    assert (refused.reason, refused.payload()) == (Reason.BAD_RECORD, value)
    assert why in refused.detail
    assert processor.flush(START) == []
    assert processor.counters()["rows"] == 0


@given(st.integers(-(2**63), 2**63 - 1), st.floats(-1e308, 1e308), st.floats(1, 9e10))
@example(2**63 - 1, 1e308, 9e10)
@example(-(2**63), -1e308, 1.0)
@settings(max_examples=50)
def test_any_finite_number_in_its_place_is_taken(seq: int, value: float, t: float) -> None:
    processor = make_processor()
    document = {**GOOD, "seq": seq, "t": t, "v": {"heart_rate": value, "spo2": value, "respiratory_rate": value}}
    arrivals = [Arrival(b"p1", orjson.dumps(document)), reading(5, {"heart_rate": 70}, seq=3), tick(9, closing=True)]
    processor.process(logged(arrivals), START)
    assert processor.counters()["quarantined"] == 0
    assert all(o.value is not None for o in processor.flush(START))
