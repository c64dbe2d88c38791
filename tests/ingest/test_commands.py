"""What people decide: checked, authored by the token's holder or the login, sent to topic `commands`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from starlette.applications import Starlette
from typer.testing import CliRunner

from alerts.console.directory import Directory
from alerts.console.server import access_of
from contracts.command import Bind, Command, Limits
from contracts.configuration import Configuration, Console, Kafka
from contracts.quarantine import Quarantined, Reason
from contracts.signals import default_registry
from contracts.topics import BINDINGS, COMMANDS, QUARANTINE, TELEMETRY
from deploy.api.commands import KINDS, CommandError, build, key_of
from deploy.api.http import command_routes
from deploy.api.reading import read_topic
from deploy.api.schema import command_schema, schema_text
from deploy.cli import app
from deploy.kafka.scratch import ScratchKafka
from ingest.bindings import BindingTable
from ingest.core import IngestCore

NOW = 1_763_900_000.0
ROLE_KINDS = ("take_role", "hand_over_role", "release_role")
EXAMPLES: dict[str, dict[str, Any]] = {
    "bind": {"device": "chest-1", "patient": "p1"},
    "unbind": {"device": "chest-1"},
    "admit": {"patient": "p1", "age_years": 63},
    "discharge": {"patient": "p1"},
    "limits": {
        "patient": "p1",
        "zone_low": 95,
        "zone_high": 120,
        "spo2_floor": 90,
        "reason": "rehabilitation",
        "expires_at": NOW + 3600,
    },
    "news2": {"patient": "p1", "spo2_scale": 2, "reason": "hypercapnic failure"},
    "session": {"patient": "p1", "phase": "start"},
    "acknowledge": {"patient": "p1", "alert": "9409b1f2be48937f"},
    "audio_pause": {"patient": "p1", "duration_s": 60},
    "alarm_off": {"patient": "p1", "alert": "9409b1f2be48937f", "expires_at": NOW + 900, "reason": "suction"},
    "alarm_resume": {"patient": "p1", "alert": "9409b1f2be48937f"},
    "feedback": {"patient": "p1", "alert": "9409b1f2be48937f", "useful": False, "reason": "artefact"},
    "take_role": {"role": "ward-nurse", "until": NOW + 28_800},
    "hand_over_role": {"role": "ward-nurse", "to": "nurse-7"},
    "release_role": {"role": "ward-nurse"},
}


def test_there_is_an_example_of_every_kind() -> None:
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_command_matches_its_published_schema_and_is_keyed_by_what_it_concerns(kind: str) -> None:
    command = build(kind, EXAMPLES[kind], author="dr.example", now=NOW)
    encoded = msgspec.json.encode(command)
    jsonschema.validate(orjson.loads(encoded), command_schema())
    assert msgspec.json.decode(encoded, type=Command) == command
    assert (command.t, command.author) == (NOW, "dr.example")
    concerned = {"bind": "chest-1", "unbind": "chest-1"} | dict.fromkeys(ROLE_KINDS, "ward-nurse")
    assert key_of(command) == concerned.get(kind, "p1").encode()


def test_published_schema_is_that_of_the_types() -> None:
    path = Path(__file__).parents[2] / "docs" / "command.schema.json"
    assert path.read_bytes() == schema_text(), "run: python -m deploy.api.schema > docs/command.schema.json"


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        ("dance", {}, "dance"),
        ("bind", {"device": "chest 1", "patient": "p1"}, "device"),
        ("bind", {"device": "chest-1", "patient": "Mary Miller"}, "patient"),
        ("bind", {"device": "chest-1", "patient": "p1", "until": NOW - 1}, "until"),
        ("bind", {"device": "chest-1"}, "patient"),
        ("admit", {"patient": "p1", "name": "Mary"}, "name"),
        ("admit", {"patient": "p1", "age_years": -3}, "age_years"),
        ("admit", {"patient": "p1", "author": "somebody"}, "author"),
        ("limits", {"patient": "p1", "spo2_floor": 9}, "spo2_floor"),
        ("limits", {"patient": "p1", "zone_low": 130, "zone_high": 120}, "zone_low"),
        ("limits", {"patient": "p1", "zone_low": 90, "expires_at": NOW + 60}, "reason"),
        ("limits", {"patient": "p1", "zone_low": 90, "expires_at": NOW + 60, "reason": " "}, "reason"),
        ("limits", {"patient": "p1", "spo2_floor": 88, "reason": "COPD"}, "expires_at"),
        ("news2", {"patient": "p1", "spo2_scale": 3}, "spo2_scale"),
        ("session", {"patient": "p1", "phase": "pause"}, "phase"),
        ("discharge", {"patient": "p1", "t": 12}, "t"),
        ("acknowledge", {"patient": "p1"}, "alert"),
        ("acknowledge", {"patient": "p1", "alert": "the first"}, "alert"),
        ("feedback", {"patient": "p1", "alert": "a"}, "useful"),
        ("feedback", {"patient": "p1", "alert": "", "useful": True}, "alert"),
        ("audio_pause", {"patient": "p1", "duration_s": 121}, "duration_s"),
        ("audio_pause", {"patient": "p1", "duration_s": 0}, "duration_s"),
        ("alarm_off", {"patient": "p1", "alert": "a", "expires_at": NOW + 60}, "reason"),
        ("alarm_off", {"patient": "p1", "alert": "a", "expires_at": NOW + 60, "reason": " "}, "reason"),
        ("alarm_off", {"patient": "p1", "alert": "", "expires_at": NOW + 60, "reason": "x"}, "alert"),
        ("alarm_off", {"patient": "p1", "alert": "a", "expires_at": NOW - 1, "reason": "x"}, "expires_at"),
        ("alarm_off", {"patient": "p1", "alert": "a", "expires_at": NOW + 86_401, "reason": "x"}, "expires_at"),
    ],
)
def test_command_that_cannot_be_meant_is_refused_naming_the_field(
    kind: str, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(CommandError, match=named):
        build(kind, fields, author="Dr. Example", now=NOW)


def console_in(folder: Path) -> Console:
    return Console(
        directory=str(folder / "directory.sqlite"),
        accounts=str(folder / "accounts.sqlite"),
        audit=str(folder / "audit.jsonl"),
    )


@pytest.fixture
def configuration(kafka: ScratchKafka, tmp_path: Path) -> Iterator[Configuration]:
    asyncio.run(kafka.wipe())  # the console's tests leave commands
    base = asyncio.run(kafka.create())
    yield msgspec.structs.replace(
        base,
        tokens={"secret-1": "Nurse One", "secret-2": "Nurse Two"},
        console=console_in(tmp_path),
    )
    asyncio.run(kafka.wipe())


def ask(configuration: Configuration, method: str, path: str, **request: Any) -> httpx.Response:
    """One request to the HTTP interface as this configuration makes it."""

    async def answered() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=command_routes(configuration, access_of(configuration))))
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            return await client.request(method, path, **request)

    return asyncio.run(answered())


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def commands_in(configuration: Configuration) -> list[Any]:
    records = asyncio.run(read_topic(configuration.kafka, COMMANDS))
    return [msgspec.json.decode(record.value, type=Command) for record in records]


@pytest.mark.kafka
def test_http_command_is_authored_by_the_tokens_holder(configuration: Configuration) -> None:
    body = EXAMPLES["bind"] | {"id": "b1"}
    answer = ask(configuration, "POST", "/api/commands/bind", json=body, headers=bearer("secret-2"))
    assert (answer.status_code, answer.json()["author"], answer.json()["id"]) == (202, "Nurse Two", "b1")
    (command,) = commands_in(configuration)
    assert isinstance(command, Bind)
    assert (command.author, command.device, command.patient) == ("Nurse Two", "chest-1", "p1")


@pytest.mark.kafka
def test_http_admit_keeps_the_name_at_the_site(configuration: Configuration) -> None:
    body = {"patient": "p7", "age_years": 63, "directory": {"display_name": "Mary Miller", "ward": "3B", "bed": "12"}}
    answer = ask(configuration, "POST", "/api/commands/admit", json=body, headers=bearer("secret-1"))
    assert answer.status_code == 202
    entry = Directory(configuration.console.directory).get("p7")
    assert entry is not None
    assert (entry.display_name, entry.ward, entry.bed) == ("Mary Miller", "3B", "12")
    (record,) = asyncio.run(read_topic(configuration.kafka, COMMANDS))
    assert b"Mary" not in record.value


def test_http_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    configuration = Configuration(
        tokens={"secret": "Nurse"}, kafka=Kafka(bootstrap="127.0.0.1:1"), console=console_in(tmp_path)
    )
    good = EXAMPLES["bind"]
    cases: list[tuple[int, str, dict[str, Any]]] = [
        (401, "bind", {"json": good}),
        (401, "bind", {"json": good, "headers": bearer("guess")}),
        (401, "bind", {"json": good, "headers": {"Authorization": "Basic secret"}}),
        (404, "dance", {"json": good, "headers": bearer("secret")}),
        (400, "bind", {"content": b"{", "headers": bearer("secret")}),
        (400, "bind", {"content": b"[]", "headers": bearer("secret")}),
        (400, "bind", {"content": b"[" * 60_000, "headers": bearer("secret")}),
        (413, "bind", {"content": b" " * 70_000, "headers": bearer("secret")}),
        (422, "bind", {"json": {"device": "x"}, "headers": bearer("secret")}),
        (422, "bind", {"json": good | {"author": "me"}, "headers": bearer("secret")}),
        (422, "bind", {"json": good | {"kind": "admit"}, "headers": bearer("secret")}),
        (422, "admit", {"json": {"patient": "p", "directory": {"shoe": 1}}, "headers": bearer("secret")}),
        (503, "bind", {"json": good, "headers": bearer("secret")}),
    ]
    for status, kind, request in cases:
        answer = ask(configuration, "POST", f"/api/commands/{kind}", **request)
        assert (status, set(answer.json())) == (answer.status_code, {"error"}), (kind, request)
        assert "secret" not in answer.text
    unnamed = ask(configuration, "POST", "/api/commands/bind", json=good)
    assert unnamed.headers["www-authenticate"].startswith("Bearer")
    assert ask(configuration, "GET", "/api/commands", headers=bearer("secret")).json() == command_schema()
    no_tokens = ask(
        Configuration(console=console_in(tmp_path)), "POST", "/api/commands/bind", json=good, headers=bearer("")
    )
    assert no_tokens.status_code == 401


def invoke(configuration: Configuration, *words: str) -> str:
    environment = {
        "BIOTWIN_KAFKA__BOOTSTRAP": configuration.kafka.bootstrap,
        "BIOTWIN_CONSOLE__DIRECTORY": configuration.console.directory,
        "BIOTWIN_AUTHOR": "Dr. Example",
    }
    result = CliRunner().invoke(app, list(words), env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.kafka
def test_command_line_sends_commands_and_fills_the_directory(configuration: Configuration) -> None:
    invoke(configuration, "patient", "admit", "p1", "--name", "Mary Miller", "--bed", "12", "--age", "63", "--id", "a")
    invoke(configuration, "device", "bind", "chest-1", "p1", "--at", "2026-01-31T14:05+00:00")
    zone = ("--zone-low", "95", "--zone-high", "120", "--reason", "plan", "--expires", str(time.time() + 900))
    invoke(configuration, "patient", "limits", "p1", *zone)
    invoke(configuration, "patient", "news2", "p1", "--scale", "2", "--reason", "hypercapnic failure")
    invoke(configuration, "patient", "session", "p1", "start")
    invoke(configuration, "patient", "discharge", "p1")
    invoke(configuration, "device", "unbind", "chest-1")
    invoke(configuration, "alerts", "acknowledge", "p1", "9409b1f2be48937f", "--reason", "on my way")
    invoke(configuration, "alerts", "pause", "p1", "--seconds", "60")
    until = str(time.time() + 900)
    invoke(configuration, "alerts", "off", "p1", "9409b1f2be48937f", "--until", until, "--reason", "suction")
    invoke(configuration, "alerts", "resume", "p1", "9409b1f2be48937f")
    invoke(configuration, "alerts", "not-useful", "9409b1f2be48937f", "--patient", "p1", "--reason", "artefact")
    invoke(configuration, "oncall", "take", "ward-nurse", "--author", "nurse-3")
    invoke(configuration, "oncall", "hand-over", "ward-nurse", "nurse-7")
    invoke(configuration, "oncall", "release", "ward-nurse")
    by_kind = {command.__struct_config__.tag: command for command in commands_in(configuration)}
    assert set(by_kind) == set(KINDS)
    assert {command.author for command in by_kind.values()} == {"Dr. Example", "nurse-3"}
    assert by_kind["admit"].id == "a"
    assert by_kind["bind"].t == 1_769_868_300.0
    assert isinstance(by_kind["limits"], Limits)
    assert (by_kind["audio_pause"].alert, by_kind["audio_pause"].duration_s) == ("", 60.0)
    entry = Directory(configuration.console.directory).get("p1")
    assert entry is not None
    assert (entry.display_name, entry.bed, entry.age_band) == ("Mary Miller", "12", "60-69")


async def put(configuration: Configuration, topic: str, key: bytes, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=configuration.kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, value, key)
    await producer.stop()


@pytest.mark.kafka
def test_quarantine_is_listed_shown_and_replayed_once_its_cause_is_gone(configuration: Configuration) -> None:
    core = IngestCore(default_registry(), configuration.ingest, "site", BindingTable())
    topic = "biotwin/v1/site/chest-1/chest"
    reading = {"session": "s", "seq": 1, "t": NOW, "v": {"heart_rate": 70}}
    unbound = core.take(topic, orjson.dumps(reading), NOW).quarantined[0]
    broken = core.take(topic, b"\x1b[2Jnoise", NOW + 1).quarantined[0]
    for record in (unbound, broken):
        asyncio.run(put(configuration, QUARANTINE, b"chest-1", msgspec.json.encode(record)))
    listed = invoke(configuration, "quarantine", "list")
    assert unbound.id in listed
    assert "1 unbound_device" in listed
    assert "\x1b" not in invoke(configuration, "quarantine", "show", broken.id)
    assert "0 records released" in invoke(configuration, "quarantine", "replay")

    table = BindingTable()
    value = table.apply(Bind(id="b", t=NOW - 9, author="x", device="chest-1", patient="p1"))
    assert value is not None
    asyncio.run(put(configuration, BINDINGS, b"chest-1", value))
    assert "chest-1" in invoke(configuration, "device", "list")
    assert "1 records would be released" in invoke(configuration, "quarantine", "replay", "--dry-run")
    assert "1 records released (1 readings), 1 still refused" in invoke(configuration, "quarantine", "replay")
    (taken,) = asyncio.run(read_topic(configuration.kafka, TELEMETRY))
    assert taken.key == b"p1"
    assert orjson.loads(taken.value)["received_at"] == NOW
    marks = [
        msgspec.json.decode(record.value, type=Quarantined)
        for record in asyncio.run(read_topic(configuration.kafka, QUARANTINE))
    ]
    assert [(mark.id, mark.reason) for mark in marks if mark.released] == [(unbound.id, Reason.UNBOUND_DEVICE)]
    assert unbound.id not in invoke(configuration, "quarantine", "list")
    assert "0 records released" in invoke(configuration, "quarantine", "replay", "--reason", "unbound_device")
