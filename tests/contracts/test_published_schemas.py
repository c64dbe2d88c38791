"""What stands in Kafka is what the published schemas say, and what an earlier version wrote can still be read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest

from alerts.delivery.notification import decode_notification
from alerts.delivery.receipts import receipt, reference_of
from alerts.on_call import OnCallTable
from contracts.canonical import canonical_bytes
from contracts.command import HandOverRole, ReleaseRole, TakeRole
from contracts.condition import Alert, to_builtins
from contracts.configuration import Configuration, EmailSubscription, WebhookSubscription, Worker
from contracts.escalation import Call
from contracts.topics import ALERTS, CONDITIONS, JOURNAL, QUARANTINE, TELEMETRY, TWIN
from deploy.schemas import SCHEMAS, schema, schema_bytes
from loadtest.pipeline import Pipeline
from loadtest.replay_input import Intake, Line

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
START = 1_763_900_000.0

GOLDEN_FILES = sorted(GOLDEN.glob("*.jsonl"))


def command(t: float, **fields: Any) -> Line:
    body = orjson.dumps({"id": f"c{t}-{fields['kind']}", "t": t, "author": "test", **fields})
    return Line(t, "", None, body)


def payload(t: float, device: str, stream: str, seq: int, v: dict[str, Any], arrives_s: float = 0.1) -> Line:
    body = {"session": "b1", "seq": seq, "t": t, "v": v, "q": dict.fromkeys(v, 0.9)}
    return Line(t + arrives_s, f"biotwin/v1/site/{device}/{stream}", orjson.dumps(body), b"")


def ward() -> Iterator[Line]:
    """A patient who deteriorates, is treated and exercises, with a late reading, a stranger's device and garbage."""
    yield command(START, kind="admit", patient="p1", age_years=71)
    yield command(START, kind="bind", patient="p1", device="d1")
    yield command(
        START, kind="limits", patient="p1", zone_high=110.0, spo2_floor=88.0, reason="test", expires_at=START + 86_400
    )
    yield payload(START + 1, "d1", "vitals", 0, {"systolic_pressure": 118, "respiratory_rate": 16})
    yield payload(START + 1, "d9", "vitals", 0, {"heart_rate": 70})
    yield Line(START + 1.1, "biotwin/v1/site/d1/vitals", b"\xff garbage", b"")
    for second in range(2, 200):
        ill = 60 <= second < 120
        vitals = {"heart_rate": 135 if ill else 72, "spo2": 82 if ill else 97, "respiratory_rate": 28 if ill else 15}
        yield payload(START + second, "d1", "monitor", second, vitals)
        if second == 100:
            yield command(START + second, kind="audio_pause", patient="p1", duration_s=30.0, reason="at the bedside")
        if second == 90:
            yield payload(START + 1.5, "d1", "app", 1, {"symptom": "chest_pain"}, arrives_s=88.6)
    yield command(START + 200, kind="session", patient="p1", phase="start")
    for second in range(201, 300):
        yield payload(START + second, "d1", "monitor", second, {"heart_rate": 128, "spo2": 95})
    yield payload(START + 300, "d1", "app", 2, {"rpe": 16})
    yield Line(START + 301.1, "biotwin/v1/site/d1/status", b'{"state": "offline"}', b"")
    yield Line(START + 330.1, "biotwin/v1/site/d1/status", b'{"state": "online"}', b"")
    yield command(START + 331, kind="unbind", device="d1")


@cache
def records() -> dict[str, list[bytes]]:
    """Every record of the ward by its kind, as it stands in Kafka."""
    logged = list(Intake(Configuration()).records(ward()))
    # Rules on the values as they come: the ward is short, and steady values want minutes.
    rules = REPOSITORY / "tests" / "twin_state" / "engine_rules.toml"
    pipeline = Pipeline(Configuration(worker=Worker(rules=str(rules))), START)
    pipeline.run(logged, now=START + 1000.0)
    pipeline.finish(now=START + 1000.0)
    found: dict[str, list[bytes]] = {name: [] for name in SCHEMAS}
    kinds = {"reading": "reading", "device": "device-status", "tick": "tick", "command": "logged-command"}
    for record in logged:
        if record.topic == TELEMETRY:
            found[kinds[orjson.loads(record.value)["kind"]]].append(record.value)
    written = {
        "condition": [output for output in pipeline.output[CONDITIONS] if b'"evidence"' in (output.value or b"")],
        "alert": pipeline.output[ALERTS],
        "signal-transition": pipeline.output[JOURNAL],
        "twin": pipeline.output[TWIN],
        "quarantined": pipeline.output[QUARANTINE],
    }
    for name, outputs in written.items():
        found[name] = [output.value for output in outputs if output.value is not None]
    found["call"] = list(calls(found["alert"][0]))
    found["on-call"] = list(shifts())
    found["receipt"] = list(receipts(found["alert"][0]))
    return found


def calls(value: bytes) -> Iterator[bytes]:
    """A call of the role's holder, and one of a subscription."""
    alert = msgspec.json.decode(value)
    step = {"chain": "high", "round": 1, "step": 1, "because": "nobody answered in time", "t": START}
    role = step | {"subscription": "phone", "role": "ward-nurse-3-west", "holder": "nurse-a"}
    for escalated in (role, step | {"subscription": "security", "step": 2}):
        yield canonical_bytes(to_builtins(msgspec.convert(alert | {"escalated": escalated}, Call)))


def shifts() -> Iterator[bytes]:
    """A role that is taken, handed over until a time, and released."""
    table = OnCallTable()
    role = "ward-nurse-3-west"
    for command in (
        TakeRole(id="c1", t=START, author="nurse-a", role=role),
        HandOverRole(id="c2", t=START + 10, author="nurse-a", role=role, to="nurse-b", until=START + 30),
        ReleaseRole(id="c3", t=START + 20, author="charge-nurse", role=role),
    ):
        value = table.apply(command, command.t + 0.1)
        assert value is not None
        yield value


def receipts(value: bytes) -> Iterator[bytes]:
    """A notification that is sent twice and accepted, and one of e-mail that expires."""
    about = reference_of(decode_notification(value, START))
    hook = WebhookSubscription(name="paging", url="https://paging.example/alerts", secret="0123456789abcdef")
    mail = EmailSubscription(name="desk", to=["desk@hospital.example"])
    yield msgspec.json.encode(receipt(hook, about, "queued", START))
    yield msgspec.json.encode(receipt(hook, about, "sent", START, 1))
    yield msgspec.json.encode(receipt(hook, about, "queued", START + 1, 1, "HTTP 503"))
    yield msgspec.json.encode(receipt(hook, about, "delivered", START + 2, 2, "HTTP 200"))
    yield msgspec.json.encode(receipt(hook, about, "accepted", START + 2))
    yield msgspec.json.encode(receipt(mail, about, "expired", START + 86_400, 9, "its time is over"))


def strict(name: str) -> dict[str, Any]:
    """The schema, closed: a field it does not name is an error."""

    def closed(node: Any) -> Any:
        if isinstance(node, list):
            return [closed(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        inner = {key: closed(value) for key, value in node.items()}
        return inner | {"additionalProperties": False} if "properties" in node else inner

    made: dict[str, Any] = closed(schema(name))
    return made


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_published_schema_is_that_of_the_types(name: str) -> None:
    published = REPOSITORY / "docs" / "schemas" / f"{name}.json"
    assert published.read_bytes() == schema_bytes(name), "run: python -m deploy.schemas docs/schemas"
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_nothing_else_is_published() -> None:
    assert {path.stem for path in (REPOSITORY / "docs" / "schemas").glob("*.json")} == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_what_the_pipeline_writes_fits_its_schema(name: str) -> None:
    written = records()[name]
    assert written
    validator = jsonschema.Draft202012Validator(strict(name))
    for value in written[:: max(1, len(written) // 200)]:
        validator.validate(orjson.loads(value))
        msgspec.json.decode(value, type=SCHEMAS[name].type)


def test_the_ward_gives_every_transition_an_alert_can_have() -> None:
    alerts = [msgspec.json.decode(value, type=Alert) for value in records()["alert"]]
    told = {(alert.rule, alert.transition, alert.stage) for alert in alerts}
    assert ("spo2-below-85", "onset", "provisional") in told
    assert ("spo2-below-85", "onset", "settled") in told
    assert ("spo2-below-85", "clear", "settled") in told
    assert ("past-event", "onset", "settled") in told
    assert ("heart-rate-above-zone", "onset", "settled") in told
    assert ("exertion-high", "onset", "settled") in told
    silent = next(alert for alert in alerts if alert.rule == "device-silent-session")
    assert (silent.message, silent.kind) == ("Connection lost in exercise: d1.", "technical")
    assert silent.evidence is not None
    assert silent.evidence.devices == ["d1"]
    news2 = next(alert for alert in alerts if alert.rule == "news2-emergency")
    missing = "(9 to 17 possible; supplemental oxygen, consciousness and temperature missing)"
    assert news2.message == f"NEWS2 is 9 {missing}, limit 7: emergency assessment."
    (late,) = [alert for alert in alerts if alert.rule == "past-event"]
    assert late.message == "Past event, received late: symptom was chest pain at 12:13:21 UTC on 2025-11-23."
    onset = next(alert for alert in alerts if alert.rule == "spo2-below-85")
    assert onset.message == "SpO2 is 82 %, below 85 %."
    assert onset.evidence is not None
    assert [(used.signal, used.value, used.quality) for used in onset.evidence.inputs] == [("spo2", 82.0, 0.9)]


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.name)
def test_bytes_of_every_version_can_still_be_read(path: Path) -> None:
    """The files are never changed, only added to: `{name}.{version}.jsonl`, one record a line, as it stood in Kafka."""
    name, version, _ = path.name.split(".")
    lines = path.read_bytes().splitlines()
    assert lines
    for line in lines:
        record = msgspec.json.decode(line, type=SCHEMAS[name].type)
        again = orjson.loads(msgspec.json.encode(record))
        if int(version) == SCHEMAS[name].version:
            assert canonical_bytes(again) == canonical_bytes(orjson.loads(line))
            jsonschema.validate(orjson.loads(line), schema(name))


def test_every_version_has_its_golden_bytes() -> None:
    expected = {f"{name}.{n}.jsonl" for name in SCHEMAS for n in range(1, SCHEMAS[name].version + 1)}
    assert {path.name for path in GOLDEN_FILES} == expected


def test_no_record_holds_a_number_that_json_has_not() -> None:
    def numbers(node: Any) -> Iterator[float]:
        if isinstance(node, dict):
            node = list(node.values())
        if isinstance(node, list):
            for inner in node:
                yield from numbers(inner)
        elif isinstance(node, float):
            yield node

    for written in records().values():
        assert all(math.isfinite(number) for value in written for number in numbers(orjson.loads(value)))
