"""Escalations reach people through real receivers, and who is lost is missed."""

from __future__ import annotations

import asyncio
import random
import signal as signals
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from alerts.delivery.mqtt.channel import presence_topic
from alerts.on_call import OnCallTable
from contracts.alert_signal import signal_to_builtins
from contracts.command import TakeRole
from contracts.configuration import Configuration, EscalationChain, EscalationStep, Watch, WebhookSubscription
from contracts.topics import ALERTS, CALLS, HEARTBEATS, JOURNAL, ON_CALL
from deploy.mqtt.mosquitto import MosquittoBroker
from loadtest.receivers import Reply, Request, http_receiver
from tests.alerts.delivery_harness import alert, deliver_process, delivering, metric, produce, value_of
from tests.alerts.test_escalation import ACKNOWLEDGED, ANNOUNCED, ESCALATED, hook
from tests.waiting import until

pytestmark = pytest.mark.kafka

Answers = dict[str, Callable[[], Awaitable[Reply]]]


class Phones:
    """Webhook receivers by name, and what each was called about, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.ports: dict[str, int] = {}

    def of(self, name: str) -> list[str]:
        """The keys of the calls that it got."""
        return [key for who, key, _ in self.heard if who == name]


@asynccontextmanager
async def phones(names: Sequence[str], replies: dict[str, Reply] | None = None) -> AsyncIterator[Phones]:
    found = Phones()
    async with AsyncExitStack() as stack:
        for name in names:

            async def answer(request: Request, name: str = name) -> Reply:
                message = orjson.loads(request.body)["message"]
                found.heard.append((name, request.headers["idempotency-key"], message))
                return (replies or {}).get(name, Reply())

            found.ports[name] = await stack.enter_async_context(http_receiver(answer))
        yield found


def subscription(phones: Phones, name: str, **fields: Any) -> WebhookSubscription:
    url = f"http://127.0.0.1:{phones.ports[name]}/"
    return msgspec.structs.replace(hook(name, only_escalated=True, **fields), url=url)


def chain(*steps: EscalationStep) -> list[EscalationChain]:
    return [EscalationChain(name="high", steps=list(steps))]


async def on_call(configuration: Configuration, role: str, holder: str) -> None:
    value = OnCallTable().apply(TakeRole(id=f"c-{role}", t=1.0, author=holder, role=role), 1.0)
    assert value is not None
    await produce(configuration, [(role.encode(), value)], ON_CALL)


async def journal(configuration: Configuration, *transitions: Any) -> None:
    stamped = [msgspec.structs.replace(one, t=time.time()) for one in transitions]
    values: list[tuple[bytes | None, bytes]] = [(b"p1", orjson.dumps(signal_to_builtins(one))) for one in stamped]
    await produce(configuration, values, JOURNAL)


async def read(configuration: Configuration, topic: str, enough: Callable[[list[Any]], Any]) -> list[Any]:
    found: list[Any] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=configuration.kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while not enough(found):
                batch = await consumer.getmany(timeout_ms=200)
                found += [orjson.loads(record.value) for records in batch.values() for record in records]
    finally:
        await consumer.stop()
    return found


def alarms(found: list[Any], rule: str) -> list[str]:
    return [one["transition"] for one in found if one["rule"] == rule]


async def test_the_chain_is_called_in_turn_and_its_end_is_an_alarm(without_mqtt: Configuration) -> None:
    replies = {"pager": Reply(200, body=b'{"state": "declined"}')}
    async with phones(["nurse", "pager", "security"], replies) as people:
        configuration = msgspec.structs.replace(
            without_mqtt,
            subscriptions=[
                subscription(people, "nurse", role="nurse"),
                subscription(people, "pager", account="dr-b"),
                subscription(people, "security"),
            ],
            escalation=chain(
                EscalationStep(role="nurse", within_s=1.0),
                EscalationStep(role="physician", within_s=60.0),
                EscalationStep(subscription="security", within_s=0.5),
            ),
        )
        await on_call(configuration, "nurse", "nurse-a")
        await on_call(configuration, "physician", "dr-b")
        async with delivering(configuration) as metrics:
            await produce(configuration, [(b"p1", value_of(alert(1)))])
            await journal(configuration, ANNOUNCED)
            await until(lambda: metric(metrics, "biotwin_escalation_ready") == 1)
            assert people.heard == []
            await journal(configuration, ESCALATED)
            await until(lambda: len(people.heard) >= 3)
            told = await read(configuration, ALERTS, lambda found: alarms(found, "escalation-exhausted"))
            assert metric(metrics, "biotwin_escalations_waiting") == 1
            await journal(configuration, ACKNOWLEDGED)
            enough = lambda found: len(alarms(found, "escalation-exhausted")) > 1  # noqa: E731
            told = await read(configuration, ALERTS, enough)
            await until(lambda: metric(metrics, "biotwin_escalations_waiting") == 0)
    assert [(who, key[-3:]) for who, key, _ in people.heard] == [
        ("nurse", "1-1"),
        ("pager", "1-2"),
        ("security", "1-3"),
    ]
    assert people.heard[0][2].startswith("Escalated, step 1, because nobody answered in time: SpO2")
    assert people.heard[2][2].startswith("Escalated, step 3, because pager declined it: SpO2")
    assert alarms(told, "escalation-exhausted") == ["onset", "clear"]
    calls = await read(configuration, CALLS, lambda found: len(found) == 3)
    assert [(one["escalated"].get("role"), one["escalated"].get("holder")) for one in calls] == [
        ("nurse", "nurse-a"), ("physician", "dr-b"), (None, None),
    ]  # fmt: skip


async def test_kill_9_loses_no_call_and_makes_none_twice(without_mqtt: Configuration, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with phones(["a", "b", "c"]) as people:
        configuration = msgspec.structs.replace(
            without_mqtt,
            subscriptions=[subscription(people, name) for name in "abc"],
            escalation=chain(*(EscalationStep(subscription=name, within_s=0.5) for name in "abc")),
        )
        await produce(configuration, [(b"p1", value_of(alert(1)))])
        await journal(configuration, ANNOUNCED, ESCALATED)
        for name in "ab":
            with deliver_process(configuration, tmp_path) as process:
                await until(lambda name=name: people.of(name))  # type: ignore[misc]
                await asyncio.sleep(chance.random() * 0.5)
                process.send_signal(signals.SIGKILL)
        with deliver_process(configuration, tmp_path):
            await until(lambda: people.of("c"))
            await read(configuration, ALERTS, lambda found: alarms(found, "escalation-exhausted"))
    for number, name in enumerate("abc", 1):
        assert set(people.of(name)) == {f"{alert(1).id}-call-1-{number}"}
    calls = await read(configuration, CALLS, lambda found: len(found) >= 3)
    assert [one["escalated"]["step"] for one in calls] == [1, 2, 3]


@pytest.mark.mqtt
async def test_who_is_lost_is_missed_until_they_are_back(configuration: Configuration, mqtt: MosquittoBroker) -> None:
    replies = {"paging": Reply(503)}
    async with phones(["paging"], replies) as people:
        configuration = msgspec.structs.replace(
            configuration,
            subscriptions=[msgspec.structs.replace(subscription(people, "paging"), only_escalated=False)],
            watch=Watch(consoles=["3-west"], subscribers=["gateway"]),
        )
        watch = msgspec.structs.replace(configuration.watch, lost_after_s=1.0)  # below what a file may say: a test's
        configuration = msgspec.structs.replace(configuration, watch=watch)
        presence = presence_topic(configuration.site, "gateway")
        will = aiomqtt.Will(presence, b"offline", qos=1, retain=True)
        async with delivering(configuration) as metrics:

            def lost(kind: str, name: str) -> bool:
                return metric(metrics, "biotwin_lost", {"kind": kind, "name": name}) == 1

            await produce(configuration, [(b"p1", value_of(alert(1)))])
            await until(lambda: lost("console", "3-west") and lost("subscriber", "mqtt:gateway"))
            await until(lambda: lost("subscriber", "paging"))
            # The metric rises before the alarm is written.
            all_told = lambda found: len(alarms(found, "subscriber-lost") + alarms(found, "console-lost")) == 3  # noqa: E731
            await read(configuration, ALERTS, all_told)
            async with aiomqtt.Client(mqtt.host, mqtt.port, will=will) as gateway:
                await gateway.publish(presence, b"online", qos=1, retain=True)
                await produce(configuration, [(b"console:3-west", b"{}")], HEARTBEATS)
                await until(lambda: not lost("subscriber", "mqtt:gateway"))
                enough = lambda found: "clear" in alarms(found, "console-lost")  # noqa: E731
                told = await read(configuration, ALERTS, enough)
            assert alarms(told, "console-lost")[:2] == ["onset", "clear"]
            assert {one["patient"] for one in told if one["rule"] != "spo2-below-85"} == {""}
            assert alarms(told, "subscriber-lost").count("onset") == 2
            replies["paging"] = Reply()
            await until(lambda: not lost("subscriber", "paging"))


@pytest.mark.mqtt
async def test_a_subscriber_that_is_killed_is_missed_by_its_last_will(
    configuration: Configuration, mqtt: MosquittoBroker
) -> None:
    """Its connection breaks without a word, and the broker says so."""
    watch = msgspec.structs.replace(Watch(subscribers=["gateway"]), lost_after_s=1.0)
    configuration = msgspec.structs.replace(configuration, watch=watch)
    presence = presence_topic(configuration.site, "gateway")
    expected: list[str] = []

    async def told() -> None:
        await read(configuration, ALERTS, lambda found: alarms(found, "subscriber-lost") == expected)

    async with delivering(configuration):
        for _ in range(2):
            expected.append("onset")
            await told()
            command = [sys.executable, "-c", GATEWAY, str(mqtt.port), presence]
            gateway = await asyncio.create_subprocess_exec(*command)
            try:
                expected.append("clear")
                await told()
            finally:
                gateway.kill()
                await gateway.wait()
        expected.append("onset")
        await told()


GATEWAY = """
import sys, threading
import paho.mqtt.client as paho
port, topic = int(sys.argv[1]), sys.argv[2]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
client.will_set(topic, b"offline", qos=1, retain=True)
client.on_connect = lambda *_: client.publish(topic, b"online", qos=1, retain=True)
client.connect("127.0.0.1", port)
client.loop_start()
threading.Event().wait()
"""
"""A paging gateway that says that it is there, and leaves a last will."""
