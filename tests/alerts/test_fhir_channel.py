"""Alerts as FHIR R4 notifications to a real HTTP receiver: handshake, heartbeat, events with lasting numbers."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
import pytest

from alerts.delivery.fhir.events import EventNumbers
from alerts.delivery.webhook.request import signature
from contracts.configuration import Configuration, FhirSubscription
from loadtest.receivers import Reply, Request, http_receiver
from tests.alerts.delivery_harness import (
    alert,
    deliver_process,
    delivering,
    produce,
    read_receipts,
    until_committed,
    value_of,
)
from tests.waiting import until

SECRET = "a secret of some length"
Kind = Literal["handshake", "heartbeat", "event-notification"]


class Notified:
    """One POST, taken apart as a receiver would."""

    def __init__(self, request: Request) -> None:
        t = int(request.headers["biotwin-signature"].partition(",")[0].removeprefix("t="))
        assert request.headers["biotwin-signature"] == signature(SECRET, t, request.body)
        assert request.headers["content-type"] == "application/fhir+json"
        bundle = orjson.loads(request.body)
        assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "history")
        resources = [entry["resource"] for entry in bundle["entry"]]
        assert resources[0]["resourceType"] == "Parameters"
        self.body = request.body
        self.key = request.headers.get("idempotency-key", "")
        self.resources: dict[str, dict[str, Any]] = {one["resourceType"]: one for one in resources}
        told = {one["name"]: one for one in resources[0]["parameter"]}
        self.kind: Kind = told["type"]["valueCode"]
        self.events = int(told["events-since-subscription-start"]["valueString"])
        part = {one["name"]: one for one in told.get("notification-event", {}).get("part", [])}
        self.number = int(part["event-number"]["valueString"]) if part else 0


def with_receiver(configuration: Configuration, port: int, data: Path, **fields: Any) -> Configuration:
    subscription = FhirSubscription(name="ehr", url=f"http://127.0.0.1:{port}/fhir", secret=SECRET, **fields)
    return msgspec.structs.replace(configuration, subscriptions=[subscription], data=str(data))


async def give(configuration: Configuration, *numbers: int) -> None:
    values = [(f"p{number % 3}".encode(), value_of(alert(number, f"p{number % 3}"))) for number in numbers]
    await produce(configuration, values)


@pytest.mark.kafka
async def test_a_receiver_is_greeted_told_and_kept_sure(without_mqtt: Configuration, tmp_path: Path) -> None:
    heard: list[Notified] = []
    replies: dict[Kind, list[Reply]] = {
        "handshake": [Reply(503)],
        "event-notification": [Reply(500), Reply(200, body=b'{"state": "accepted"}')],
        "heartbeat": [Reply(500)],
    }

    async def answer(request: Request) -> Reply:
        heard.append(Notified(request))
        waiting = replies[heard[-1].kind]
        return waiting.pop(0) if waiting else Reply()

    async with http_receiver(answer) as port:
        configuration = with_receiver(without_mqtt, port, tmp_path, heartbeat_s=0.5)
        async with delivering(configuration):
            await until(lambda: len(heard) >= 2)
            await give(configuration, 3)
            await until_committed(configuration, 1, "ehr")
            await give(configuration, 6)
            await until_committed(configuration, 2, "ehr")
            told = len(heard)
            await until(lambda: [one.kind for one in heard[told:]] == ["heartbeat", "heartbeat"])
            receipts = await read_receipts(configuration, lambda found: len(found) >= 8)
    kinds = [one.kind for one in heard]
    assert kinds[:2] == ["handshake", "handshake"], "the first was answered by 503"
    assert "handshake" not in kinds[2:]
    events = [one for one in heard if one.kind == "event-notification"]
    assert [(one.number, one.events) for one in events] == [(1, 1), (1, 1), (2, 2)]
    assert events[0].body == events[1].body
    assert heard[-1].events == 2
    issue = events[2].resources["DetectedIssue"]
    assert (issue["id"], issue["severity"], issue["detail"]) == (f"{6:016x}", "high", alert(6).message)
    assert events[2].resources["Flag"]["status"] == "active"
    assert events[2].key == f"{6:016x}-onset-settled-1"
    assert {one.channel for one in receipts} == {"fhir"}
    assert [one.state for one in receipts if one.alert[-1] == "3"].count("accepted") == 1


@pytest.mark.kafka
async def test_nothing_is_sent_to_a_receiver_that_refuses_the_handshake(
    without_mqtt: Configuration, tmp_path: Path
) -> None:
    heard: list[Notified] = []
    well = asyncio.Event()

    async def answer(request: Request) -> Reply:
        heard.append(Notified(request))
        return Reply() if well.is_set() else Reply(401)

    async with http_receiver(answer) as port:
        configuration = with_receiver(without_mqtt, port, tmp_path)
        async with delivering(configuration):
            await give(configuration, 1)
            await until(lambda: len(heard) >= 3)
            assert {one.kind for one in heard} == {"handshake"}
            well.set()
            await until_committed(configuration, 1, "ehr")
    assert [one.kind for one in heard[-2:]] == ["handshake", "event-notification"]


@pytest.mark.kafka
async def test_kills_lose_no_event_and_keep_its_number(without_mqtt: Configuration, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    heard: list[Notified] = []
    count = 400

    async def answer(request: Request) -> Reply:
        heard.append(Notified(request))
        return Reply(503) if chance.random() < 0.02 else Reply()

    def numbers() -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for one in heard:
            if one.key:
                found.setdefault(one.key, set()).add(one.number)
        return found

    async with http_receiver(answer) as port:
        configuration = with_receiver(without_mqtt, port, tmp_path)
        await give(configuration, *range(count))
        for reached in sorted(chance.sample(range(20, 350), 2)):
            with deliver_process(configuration, tmp_path) as process:
                await until(lambda reached=reached: len(numbers()) >= reached)  # type: ignore[misc]
                process.kill()
        with deliver_process(configuration, tmp_path):
            await until_committed(configuration, count, "ehr")
    told = numbers()
    assert len(told) == count
    assert sorted(number for (number,) in told.values()) == list(range(1, count + 1))
    bodies: dict[str, set[bytes]] = {}
    for one in heard:
        if one.key:
            bodies.setdefault(one.key, set()).add(one.body)
    assert all(len(same) == 1 for same in bodies.values())
    assert [one.kind for one in heard].count("handshake") >= 3


def test_numbers_last_and_old_ones_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.delivery.fhir.events.KEPT", 3)
    file = tmp_path / "fhir" / "numbers.sqlite"
    assert EventNumbers(file).count() == 0
    assert [EventNumbers(file).number(key) for key in ("a", "b", "a", "c", "d", "e", "d")] == [1, 2, 1, 3, 4, 5, 4]
    assert EventNumbers(file).number("a") == 6
    assert EventNumbers(file).count() == 6
