"""What becomes of payloads: the golden ones of each format, hostile ones, and those of devices nobody bound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.command import Bind
from contracts.configuration import Ingest
from contracts.identity import identity_text, reading_identity, session_identity, source_identity
from contracts.quarantine import Reason
from contracts.reading import DeviceStatus, Reading
from contracts.signals import default_registry
from ingest.bindings import BindingTable
from ingest.core import IngestCore, Outcome, held_reading

FORMATS = Path(__file__).parents[2] / "ingest" / "formats"
GOLDEN = sorted(FORMATS.glob("*/golden/*.json"))
BOUND = ("chest-1", "app-1", "urn:dev:mac:0024befffe804ff1")
NOW = 1_763_900_000.5
TOPIC = "biotwin/v1/site/chest-1/chest"


def make_core(**limits: Any) -> IngestCore:
    bindings = BindingTable()
    for device in BOUND:
        bindings.apply(Bind(id=device, t=1.7e9, author="test", device=device, patient=f"patient-of-{device}"))
    return IngestCore(default_registry(), Ingest(**limits), "site", bindings)


def native(**fields: Any) -> bytes:
    reading: dict[str, Any] = {"session": "b3f1", "seq": 1, "t": 1_763_900_000, "v": {"heart_rate": 72}}
    return json.dumps(reading | fields).encode()


def reasons(outcome: Outcome) -> list[Reason]:
    return [record.reason for record in outcome.quarantined]


def test_every_format_has_golden_payloads() -> None:
    folders = {path.name for path in FORMATS.iterdir() if (path / "__init__.py").exists()}
    assert folders == {path.parent.parent.name for path in GOLDEN}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_golden_payload(path: Path) -> None:
    golden = orjson.loads(path.read_bytes())
    outcome = make_core().take(golden["topic"], orjson.dumps(golden["payload"]), golden["received_at"])
    assert outcome.format == path.parent.parent.name
    accepted = [orjson.loads(record.value) for record in outcome.accepted]
    assert [record.pop("kind") for record in accepted] == ["reading"] * len(accepted)
    for record, expected in zip(accepted, golden["accepted"], strict=True):
        assert {name: record[name] for name in expected if name != "v"} == {
            name: value for name, value in expected.items() if name != "v"
        }
        assert set(record) == set(expected) | {"seq"}
        for signal, value in expected["v"].items():
            assert record["v"][signal] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12))
    for refused, expected in zip(outcome.quarantined, golden["quarantined"], strict=True):
        assert {name: getattr(refused, name) for name in expected} == expected


def test_accepted_record_is_a_reading_keyed_by_patient_with_cloudevents_headers() -> None:
    record = make_core().take(TOPIC, native(), NOW).accepted[0]
    reading = msgspec.json.decode(record.value, type=Reading)
    assert record.key == b"patient-of-chest-1"
    identity = reading_identity(source_identity("chest-1", "chest"), session_identity("b3f1"), 1)
    assert record.reading == identity_text(identity)
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"biotwin.reading.v1",
        "ce_source": b"/site/chest-1/chest",
        "ce_id": record.reading.encode(),
        "ce_time": b"2025-11-23T12:13:20.000000+00:00",
        "ce_dataschema": b"biotwin:reading:1",
    }
    assert (reading.v, reading.received_at) == ({"heart_rate": 72}, NOW)


def test_content_hash_tells_readings_without_counter_apart_and_fits_signed_64_bits() -> None:
    pack = [{"bn": "chest-1:chest:", "bt": NOW - i, "n": "heart_rate", "v": 70} for i in range(200)]
    core = make_core()
    topic = "biotwin/v1/site/gateway/batch"
    first = core.take(topic, orjson.dumps(pack), NOW).accepted
    again = core.take(topic, orjson.dumps(pack), NOW + 9).accepted
    numbers = [orjson.loads(record.value)["seq"] for record in first]
    assert len(set(numbers)) == 200
    assert all(0 <= number < 2**63 for number in numbers)
    assert [record.reading for record in again] == [record.reading for record in first]


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("biotwin/v1/elsewhere/chest-1/chest", native(), Reason.UNKNOWN_TOPIC),
        ("biotwin/v1/site/chest-1", native(), Reason.UNKNOWN_TOPIC),
        ("biotwin/v1/site/alerts/chest", native(), Reason.UNKNOWN_TOPIC),
        (f"biotwin/v1/site/{'d' * 65}/chest", native(), Reason.UNKNOWN_TOPIC),
        ("\ud800" * 70_000, native(), Reason.UNKNOWN_TOPIC),
        (TOPIC, b"\xff\xfe", Reason.NOT_UTF8),
        (TOPIC, b"", Reason.NOT_JSON),
        (TOPIC, b"[" * 500_000, Reason.NOT_JSON),
        (TOPIC, b"9" * 100_000, Reason.NOT_JSON),
        (TOPIC, b" " * 1_048_577, Reason.TOO_LARGE),
        (TOPIC, b"[" + b"1," * 20_000 + b"1]", Reason.TOO_MANY_VALUES),
        (TOPIC, b"[1,2,3]", Reason.UNKNOWN_FORMAT),
        (TOPIC, b'{"temperature": 20}', Reason.UNKNOWN_FORMAT),
        (TOPIC, b'[{"bn": "heart_rate"}]', Reason.BAD_FIELD),
        (TOPIC, native(t=-5), Reason.BAD_TIME),
        (TOPIC, native(t=float("nan")), Reason.BAD_TIME),
        (TOPIC, native(t=True), Reason.BAD_TIME),
        (TOPIC, native(t=NOW + 2.1), Reason.FUTURE_TIME),
        (TOPIC, native(seq=-1), Reason.BAD_FIELD),
        (TOPIC, native(seq=2**63), Reason.BAD_FIELD),
        (TOPIC, native(seq=True), Reason.BAD_FIELD),
        (TOPIC, native(seq=1.0), Reason.BAD_FIELD),
        (TOPIC, native(session=""), Reason.BAD_FIELD),
        (TOPIC, native(session=None), Reason.BAD_FIELD),
        (TOPIC, native(device="chest-2"), Reason.BAD_FIELD),
        (TOPIC, native(v={}), Reason.BAD_FIELD),
        (TOPIC, native(v=[1]), Reason.BAD_FIELD),
        (TOPIC, native(q=3), Reason.BAD_FIELD),
        (TOPIC, native(u="Cel"), Reason.BAD_FIELD),
        (TOPIC, native(hz=0), Reason.BAD_FIELD),
        (TOPIC, native(q={"heart_rate": 1.5}), Reason.BAD_VALUE),
        (TOPIC, native(v={"heart_rate": float("inf")}), Reason.BAD_VALUE),
        (TOPIC, native(v={"heart_rate": None}), Reason.BAD_VALUE),
        (TOPIC, native(v={"heart_rate": [70]}), Reason.BAD_VALUE),
        (TOPIC, native(v={"rr_ms": [800, "x"]}), Reason.BAD_VALUE),
        (TOPIC, native(v={"symptom": "boredom"}), Reason.BAD_VALUE),
        (TOPIC, native(v={"consciousness": 1}), Reason.BAD_VALUE),
        (TOPIC, native(v={"heart_rate": 10**400}), Reason.IMPLAUSIBLE_VALUE),
        (TOPIC, native(v={"heart_rate": -1}), Reason.IMPLAUSIBLE_VALUE),
        (TOPIC, native(v={"ecg_mv": [0.1] * 100 + [1e9]}), Reason.IMPLAUSIBLE_VALUE),
        (TOPIC, native(v={"ecg_mv": [0.1] * 4097}), Reason.TOO_MANY_VALUES),
        (TOPIC, native(v={"ecg_mv": [0.1] * 4096, "heart_rate": 60}), Reason.TOO_MANY_VALUES),
        (TOPIC, native(u={"heart_rate": "kg"}), Reason.WRONG_UNIT),
        (TOPIC, native(u={"heart_rate": ["/min"]}), Reason.WRONG_UNIT),
    ],
)
def test_refused_with_a_reason_and_the_bytes(topic: str, payload: bytes, reason: Reason) -> None:
    outcome = make_core().take(topic, payload, NOW)
    assert outcome.accepted == []
    assert reasons(outcome) == [reason]
    assert payload.startswith(outcome.quarantined[0].payload())
    assert len(msgspec.json.encode(outcome.quarantined[0])) < 4_100_000
    assert len(outcome.quarantined[0].detail) < 300


def test_one_bad_number_costs_its_own_reading_only() -> None:
    items = [{"device": "chest-1", "stream": "chest", "session": "b3f1", "seq": i, "t": NOW, "v": {}} for i in range(3)]
    for item, number in zip(items, ("NaN", "1e400", "61"), strict=True):
        item["v"] = {"heart_rate": f"<{number}>"}
    payload = json.dumps(items).replace('"<', "").replace('>"', "").encode()
    outcome = make_core().take("biotwin/v1/site/gateway/batch", payload, NOW)
    assert [orjson.loads(record.value)["seq"] for record in outcome.accepted] == [2]
    assert reasons(outcome) == [Reason.BAD_VALUE, Reason.BAD_VALUE]
    assert b"NaN" in outcome.quarantined[0].payload()
    assert all(record.reading for record in outcome.quarantined)


def test_item_too_deep_to_be_written_alone_keeps_the_payload_once() -> None:
    deep = b'{"v":{"heart_rate":' + b"[" * 900 + b"]" * 900 + b"}}"
    good = native(device="chest-1", stream="chest")
    payload = b"[" + deep + b"," + good + b"," + deep + b"]"
    outcome = make_core().take("biotwin/v1/site/gateway/batch", payload, NOW)
    assert len(outcome.accepted) == 1
    assert {record.payload() for record in outcome.quarantined} <= {payload, deep}
    assert reasons(outcome)[0] == Reason.BAD_FIELD


def test_unbound_reading_waits_and_becomes_the_same_record_when_bound() -> None:
    core = make_core()
    payload = native(device="later", stream="chest", v={"body_temperature": 98.6}, u={"body_temperature": "[degF]"})
    held = core.take("biotwin/v1/site/gateway/batch", payload, NOW).quarantined[0]
    assert held.reason is Reason.UNBOUND_DEVICE
    core.bindings.apply(Bind(id="b", t=1.7e9, author="test", device="later", patient="p9"))
    direct = core.take("biotwin/v1/site/gateway/batch", payload, NOW).accepted[0]
    assert held_reading(held, "p9", "site") == direct
    by_hand = core.take(held.topic, held.payload(), NOW).accepted[0]
    assert by_hand == direct


def test_refused_reading_of_a_pack_can_be_taken_again_alone() -> None:
    core = make_core()
    pack = [{"bn": "chest-1:chest:", "bt": NOW, "n": "heart_rate", "u": "beat/min", "v": 500}, {"n": "spo2", "v": 9.0}]
    refused = core.take("biotwin/v1/site/gateway/batch", orjson.dumps(pack), NOW).quarantined
    again = core.take(refused[0].topic, refused[0].payload(), NOW + 100).quarantined
    assert [(r.reason, r.id, r.t) for r in again] == [(r.reason, r.id, r.t) for r in refused]


def test_clock_a_little_ahead_is_corrected_once_it_is_known_and_a_wild_time_is_not() -> None:
    core = make_core()
    results = [core.take(TOPIC, native(seq=i, t=NOW + i + 3.0), NOW + i) for i in range(20)]
    assert [len(result.accepted) for result in results] == [0] * 7 + [1] * 13
    assert results[-1].skews_s[0] == pytest.approx(-3.0)
    assert reasons(core.take(TOPIC, native(seq=99, t=NOW + 3600), NOW + 20)) == [Reason.FUTURE_TIME]
    assert len(core.take(TOPIC, native(seq=100, t=NOW + 24), NOW + 21).accepted) == 1


def test_clock_far_ahead_stays_refused() -> None:
    core = make_core()
    results = [core.take(TOPIC, native(seq=i, t=NOW + i + 60), NOW + i) for i in range(50)]
    assert all(reasons(result) == [Reason.FUTURE_TIME] for result in results)


def test_lost_sequence_numbers_are_counted_once_they_are_overdue() -> None:
    core = make_core()
    numbers = [n for n in range(300) if n not in (10, 11, 50)]
    numbers[20], numbers[21] = numbers[21], numbers[20]
    assert sum(core.take(TOPIC, native(seq=n), NOW).lost for n in numbers) == 3


def test_status_topic_tells_birth_and_last_will() -> None:
    core = make_core()
    topic = "biotwin/v1/site/chest-1/status"
    states: tuple[Literal["online", "offline"], ...] = ("online", "offline")
    for state in states:
        outcome = core.take(topic, b'{"state":"%s","streams":{}}' % state.encode(), NOW)
        assert outcome.status is not None
        assert (outcome.accepted, outcome.quarantined, outcome.format) == ([], [], "status")
        assert (outcome.status.device, outcome.status.online, outcome.status.key) == (
            "chest-1",
            state == "online",
            b"patient-of-chest-1",
        )
        written = msgspec.json.decode(outcome.status.value, type=DeviceStatus)
        assert written == DeviceStatus("chest-1", state, NOW, NOW), "a last will has no time but that of its arrival"
    unbound = core.take("biotwin/v1/site/stranger/status", b'{"state":"offline"}', NOW).status
    assert unbound is not None
    assert (unbound.device, unbound.online, unbound.key) == ("stranger", False, None), "it concerns no patient"
    assert core.take(topic, b"", NOW) == Outcome("status", [], [])
    assert reasons(core.take(topic, b"[]", NOW)) == [Reason.BAD_FIELD]


def test_our_own_alerts_are_left_alone() -> None:
    assert make_core().take("biotwin/v1/site/alerts/high/p1", b"{}", NOW) == Outcome("alerts", [], [])


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["heart_rate", "rr_ms", "symptom", "chest-1", "chest", "/min", "b3f1"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "device",
                    "stream",
                    "session",
                    "seq",
                    "t",
                    "v",
                    "q",
                    "u",
                    "hz",
                    "hashed",
                    "n",
                    "bn",
                    "bt",
                    "bu",
                    "bv",
                    "bver",
                    "vs",
                    "vb",
                    "heart_rate",
                    "rr_ms",
                    "symptom",
                    "ecg_mv",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
TOPICS = st.sampled_from([TOPIC, "biotwin/v1/site/g/batch", "biotwin/v1/site/chest-1/status", "x"]) | st.text(
    st.characters(), max_size=30
)


@given(TOPICS, st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=600, deadline=None)
def test_any_bytes_give_an_outcome(topic: str, payload: bytes) -> None:
    outcome = make_core().take(topic, payload, NOW)
    for record in outcome.accepted:
        assert msgspec.json.decode(record.value, type=Reading).received_at == NOW
    for refused in outcome.quarantined:
        assert msgspec.json.decode(msgspec.json.encode(refused), type=type(refused)) == refused


@given(st.lists(JSON_VALUES, min_size=1, max_size=4), st.sampled_from([{"session": "a", "seq": 1}, {"n": "x:y:z"}]))
@settings(max_examples=600, deadline=None)
def test_every_item_of_a_pack_is_answered(items: list[Any], first: dict[str, Any]) -> None:
    """Nothing a gateway packed vanishes: native items are each accepted or refused."""
    payload = json.dumps([first, *items]).encode()
    outcome = make_core().take("biotwin/v1/site/g/batch", payload, NOW)
    answered = len(outcome.accepted) + len(outcome.quarantined)
    assert answered >= 1
    if outcome.format == "native":
        assert answered == 1 + len(items)
