"""Who is on call and what became of notifications, over HTTP; a client that has stopped reading; who is missed."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from alerts.console import heartbeat
from alerts.console.event_stream import Streams
from alerts.console.heartbeat import beat
from alerts.console.ward import Ward
from alerts.on_call import OnCallTable
from contracts.command import HandOverRole, ReleaseRole, RoleCommand, TakeRole
from contracts.condition import to_builtins
from contracts.configuration import Configuration, Deliver, Ingest, Watch, WebhookSubscription
from contracts.metrics import ProcessMetrics
from contracts.topics import ALERT_RECEIPTS, ALERTS, CALLS, HEARTBEATS, ON_CALL
from deploy.children import free_ports
from deploy.kafka.scratch import ScratchKafka
from loadtest.kafka_log import keyed_values
from loadtest.sse import AlertListener, http_get
from tests.alerts.delivery_harness import alert, delivering, metric, produce, value_of
from tests.alerts.test_escalation_delivery import alarms, read
from tests.console.console_harness import Console, running_console, signed_in_client
from tests.console.test_receipt_book import call, receipt
from tests.waiting import until

pytestmark = pytest.mark.kafka

ROLE = "ward-nurse-3-west"
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def configuration(kafka: ScratchKafka) -> Configuration:
    await kafka.wipe()
    return await kafka.create(partitions=2)


async def loaded(console: Console) -> None:
    async def is_loaded() -> bool:
        async with signed_in_client(base_url=console.url) as client:
            return bool((await client.get("/api/ward")).json()["loaded"])

    await until(is_loaded)


async def got(console: Console, path: str) -> Any:
    async with signed_in_client(base_url=console.url) as client:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def test_who_is_on_call_is_told_for_now_and_for_any_time(configuration: Configuration, tmp_path: Path) -> None:
    now = time.time()
    table = OnCallTable()
    shifts: list[RoleCommand] = [
        TakeRole(id="c1", t=now - 7200.0, author="nurse-a", role=ROLE),
        HandOverRole(id="c2", t=now - 3600.0, author="charge", role=ROLE, to="nurse-b", until=now + 3600.0),
        ReleaseRole(id="c3", t=now + 1800.0, author="charge", role=ROLE),
    ]
    values = [(ROLE.encode(), table.apply(shift, shift.t) or b"") for shift in shifts]
    await produce(configuration, [*values, (b"broken", b"rubbish")], ON_CALL)
    async with running_console(tmp_path, configuration.kafka.bootstrap) as console:
        await loaded(console)
        present = await got(console, "/api/oncall")
        assert present["at"] == pytest.approx(now, abs=60.0)
        (role,) = present["roles"]
        assert (role["role"], role["holder"]) == (ROLE, "nurse-b")
        assert role["since"] == pytest.approx(now - 3600.0)
        assert role["until"] == pytest.approx(now + 1800.0), "the release ends the shift before its own end"
        assert [(one["holder"], one["author"], one["act"]) for one in role["shifts"]] == [
            ("nurse-a", "nurse-a", "take_role"),
            ("nurse-b", "charge", "hand_over_role"),
            ("", "charge", "release_role"),
        ]
        holders = {
            at: (await got(console, f"/api/oncall?at={now + at}"))["roles"][0]["holder"] for at in (-9000, -5000, 2000)
        }
        assert holders == {-9000: "", -5000: "nurse-a", 2000: ""}
        async with signed_in_client(base_url=console.url) as client:
            assert (await client.get("/api/oncall?at=yesterday")).status_code == 400


async def test_what_became_of_a_notification_is_told_with_the_alert_and_by_its_id(
    configuration: Configuration, tmp_path: Path
) -> None:
    one = alert(1)
    steps = [
        receipt("queued", 1.0, one.id),
        receipt("sent", 2.0, one.id, attempt=1),
        receipt("delivered", 3.0, one.id, attempt=1, detail="HTTP 204"),
        receipt("delivered", 51.0, one.id, subscription="phone", call="1-1"),
    ]
    await produce(configuration, [(b"p1", value_of(one))])
    await produce(configuration, [(b"p1", msgspec.json.encode(step)) for step in steps], ALERT_RECEIPTS)
    await produce(configuration, [(b"p1", orjson.dumps(to_builtins(call(one.id))))], CALLS)
    async with running_console(tmp_path, configuration.kafka.bootstrap) as console:
        await loaded(console)
        told = (await got(console, f"/api/alerts/{one.id}/receipts"))["receipts"]
        assert [(step["subscription"], step["state"], step["transition"]) for step in told] == [
            ("paging", "queued", "onset"),
            ("paging", "sent", "onset"),
            ("paging", "delivered", "onset"),
            ("phone", "delivered", "call"),
        ]
        assert (told[2]["detail"], told[3]["holder"]) == ("HTTP 204", "nurse-a")
        (shown,) = (await got(console, "/api/patients/p1"))["alerts"]
        assert shown["receipts"] == told
        assert (await got(console, "/api/alerts/nobody-knows-it/receipts"))["receipts"] == []


async def test_a_client_that_has_stopped_reading_holds_up_no_other(
    configuration: Configuration, tmp_path: Path
) -> None:
    """What is sent is far more than the kernel keeps for a connection, so the stalled one is stalled indeed."""
    count, padding = 2_000, "x" * 6_000
    tokens = {TOKEN: "listener"}
    async with running_console(tmp_path, configuration.kafka.bootstrap, tokens=tokens) as console:
        await loaded(console)
        port = int(console.url.rsplit(":", 1)[1])
        listener = AlertListener("127.0.0.1", port, TOKEN)
        listening = asyncio.create_task(listener.run())
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", port))
            stalled.sendall(http_get("127.0.0.1", port, "/events?station=3-west", Authorization=f"Bearer {TOKEN}"))
            await asyncio.wait_for(listener.connected.wait(), 30)
            values = [(b"p1", value_of(msgspec.structs.replace(alert(n), message=padding))) for n in range(count)]
            await produce(configuration, values)
            await until(lambda: len(listener.receipts) >= count)
            log = (tmp_path / "console.log").read_text()

            async def beats() -> bool:
                found = await keyed_values(configuration.kafka.bootstrap, HEARTBEATS)
                return b"console:3-west" in {key for key, _ in found}

            await until(beats)  # a station whose browser listens is said to be there
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    assert [one.alert["id"] for one in listener.receipts] == [alert(n).id for n in range(count)]
    assert "client_dropped" not in log, "the others wait until the one that is stalled has been dropped"


class Source:
    """A feed that is up."""

    up = True
    loaded = True


async def test_a_station_whose_browser_is_gone_is_missed_until_it_is_back(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.2)
    watch = msgspec.structs.replace(Watch(consoles=["3-west"]), lost_after_s=2.0)  # below what a file may say
    (dead,) = free_ports(1)
    configuration = msgspec.structs.replace(
        configuration,
        watch=watch,
        deliver=Deliver(mqtt=False),
        ingest=Ingest(reconnect_min_s=0.05, reconnect_max_s=0.5),
        subscriptions=[
            WebhookSubscription(name="one", url=f"http://127.0.0.1:{dead}/", secret="a secret of some length")
        ],
    )
    streams = Streams(Ward(), Source(), ProcessMetrics())
    beating = asyncio.create_task(beat(configuration.kafka.bootstrap, streams.stations))
    expected = ["onset"]

    async def told() -> list[Any]:
        return await read(configuration, ALERTS, lambda found: alarms(found, "console-lost") == expected)

    try:
        async with delivering(configuration) as metrics:
            await told()
            for _ in range(2):
                browser = streams.events(station="3-west")
                await anext(browser)
                expected.append("clear")
                await told()
                assert metric(metrics, "biotwin_lost", {"kind": "console", "name": "3-west"}) == 0
                await browser.aclose()
                assert streams.stations() == set()
                expected.append("onset")
                found = await told()
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    assert {(one["priority"], one["kind"], one["patient"]) for one in found if one["rule"] == "console-lost"} == {
        ("high", "technical", "")
    }
