"""Alerts reach MQTT subscribers through real brokers, whatever is killed, stopped or refuses meanwhile."""

from __future__ import annotations

import asyncio
import getpass
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts.delivery.mqtt.channel import alert_topic
from alerts.delivery.notification import DeliveredMemory, NotificationKey
from contracts.condition import Alert
from contracts.configuration import Configuration, Mqtt
from deploy.children import wait_until
from deploy.mqtt.mosquitto import MosquittoBroker
from deploy.process import running_processes
from tests.alerts.delivery_harness import (
    Key,
    alert,
    committed,
    deliver_process,
    delivering,
    key_of,
    metric,
    produce,
    until_committed,
    value_of,
)
from tests.waiting import until

SUBSCRIBER = Path(__file__).resolve().parents[2] / "docs" / "examples" / "subscribe_alerts.py"


class Inbox:
    """What a subscriber with a session of its own received, in order."""

    def __init__(self) -> None:
        self.messages: list[aiomqtt.Message] = []
        self.alerts: list[Alert] = []
        self.keys: set[Key] = set()

    def add(self, message: aiomqtt.Message) -> None:
        one = msgspec.json.decode(bytes(message.payload), type=Alert)
        self.messages.append(message)
        self.alerts.append(one)
        self.keys.add(key_of(one))

    async def until_holds(self, count: int) -> None:
        await until(lambda: len(self.keys) >= count)


@asynccontextmanager
async def subscriber(broker: MosquittoBroker, site: str) -> AsyncIterator[Inbox]:
    """Subscribes with a session that outlives its connection: the broker keeps what comes while it is away."""
    expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    expiry.SessionExpiryInterval = 600
    inbox = Inbox()

    async def receive(client: aiomqtt.Client) -> None:
        async for message in client.messages:
            inbox.add(message)

    async with aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=f"inbox-{site}",
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=expiry,
    ) as client:
        await client.subscribe(f"biotwin/v1/{site}/alerts/#", qos=1)
        receiving = asyncio.create_task(receive(client))
        try:
            yield inbox
        finally:
            receiving.cancel()


@pytest.mark.kafka
@pytest.mark.mqtt
async def test_alerts_come_on_their_topics_once_and_as_written(
    configuration: Configuration, mqtt: MosquittoBroker
) -> None:
    alerts = [alert(1), alert(2, "p2", "low"), alert(3, "ward/7+", "none"), alert(4, "")]
    values = [(one.patient.encode(), value_of(one)) for one in alerts]
    async with subscriber(mqtt, configuration.site) as inbox, delivering(configuration) as metrics:
        await produce(configuration, [*values, (b"p1", b"not an alert"), *values, (b"p1", value_of(alert(5)))])
        await until(lambda: len(inbox.messages) >= 5)
        await until_committed(configuration, 10)
    topics = {
        message.topic.value.removeprefix(f"biotwin/v1/{configuration.site}/alerts/") for message in inbox.messages
    }
    assert topics == {"high/p1", "low/p2", "none/ward%2F7%2B", "high/-"}
    assert sorted(bytes(message.payload) for message in inbox.messages) == sorted(
        [*(value for _, value in values), value_of(alert(5))]
    )
    assert {(message.qos, message.retain) for message in inbox.messages} == {(1, False)}
    assert metric(metrics, "biotwin_alerts_delivered_total", {"channel": "mqtt"}) == 5
    assert metric(metrics, "biotwin_alert_to_delivered_seconds_count", {"channel": "mqtt"}) == 5
    assert metric(metrics, "biotwin_quarantined_total", {"reason": "bad_record"}) == 1
    assert metric(metrics, "biotwin_mqtt_connected") == 0


@pytest.mark.kafka
@pytest.mark.mqtt
async def test_a_broker_that_is_down_or_goes_away_costs_no_alert(configuration: Configuration, tmp_path: Path) -> None:
    broker = MosquittoBroker(tmp_path)
    broker.start()
    configuration = msgspec.structs.replace(configuration, mqtt=Mqtt(host=broker.host, port=broker.port))
    alerts = [alert(number) for number in range(30)]
    try:
        async with subscriber(broker, configuration.site):
            pass  # its session stays
        broker.stop()
        async with delivering(configuration) as metrics:
            await produce(configuration, [(b"p1", value_of(one)) for one in alerts[:10]])
            await until(lambda: metric(metrics, "biotwin_records_total", {"agent": "deliver"}) == 10)
            assert await committed(configuration) == 0
            broker.start()
            await until_committed(configuration, 10)
            broker.stop()
            await produce(configuration, [(b"p1", value_of(one)) for one in alerts[10:]])
            broker.start()
            async with subscriber(broker, configuration.site) as inbox:
                await inbox.until_holds(30)
                await until_committed(configuration, 30)
        assert inbox.alerts == alerts
    finally:
        broker.stop()


@pytest.mark.kafka
@pytest.mark.mqtt
async def test_an_alert_that_the_broker_refuses_is_not_taken_for_delivered(
    configuration: Configuration, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n")
    template = "listener {port} {host}\nallow_anonymous true\nlog_dest file {log}\n# {data} {max_queued_bytes}\n"
    broker = MosquittoBroker(tmp_path / "broker", configuration=f"{template}acl_file {acl}\nuser {getpass.getuser()}\n")
    broker.start()
    configuration = msgspec.structs.replace(configuration, mqtt=Mqtt(host=broker.host, port=broker.port))
    try:
        async with delivering(configuration) as metrics:
            await produce(configuration, [(b"p1", value_of(alert(1)))])
            await until(lambda: metric(metrics, "biotwin_records_total", {"agent": "deliver"}) == 1)
            await until(lambda: metric(metrics, "biotwin_mqtt_connected") == 1)
            await until(lambda: metric(metrics, "biotwin_mqtt_connected") == 0)  # it left: the PUBLISH was refused
            assert await committed(configuration) == 0
            assert metric(metrics, "biotwin_alerts_delivered_total", {"channel": "mqtt"}) == 0
            acl.write_text("topic readwrite #\n")
            broker.restart()
            async with subscriber(broker, configuration.site) as inbox:
                await until_committed(configuration, 1)
        assert metric(metrics, "biotwin_alerts_delivered_total", {"channel": "mqtt"}) == 1
        assert inbox.keys <= {key_of(alert(1))}
    finally:
        broker.stop()


@pytest.mark.kafka
@pytest.mark.mqtt
async def test_kills_of_deliver_lose_no_alert(
    configuration: Configuration, mqtt: MosquittoBroker, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    alerts = [alert(number, f"p{number % 20}", chance.choice(["high", "medium", "low"])) for number in range(3000)]
    values = [(one.patient.encode(), value_of(one)) for one in alerts]
    kills = sorted(chance.sample(range(100, 2500), 3))
    async with subscriber(mqtt, configuration.site) as inbox:
        producing = asyncio.create_task(produce(configuration, values))
        for reached in kills:
            with deliver_process(configuration, tmp_path) as process:
                await inbox.until_holds(reached)
                process.kill()
        await producing
        with deliver_process(configuration, tmp_path) as process:
            await inbox.until_holds(len(alerts))
            await until_committed(configuration, len(alerts))
            # It may have had nothing left to do: a process that is still starting has no drain to show.
            own = msgspec.structs.replace(configuration, data=str(tmp_path))
            assert await asyncio.to_thread(
                wait_until, lambda: any(one.pid == process.pid for one in running_processes(own)), 60.0
            )
            process.terminate()
            assert await asyncio.to_thread(process.wait, 30) == 0
        assert inbox.keys == {key_of(one) for one in alerts}
        firsts = list(dict.fromkeys((one.patient, one.t) for one in inbox.alerts))
        for patient in {one.patient for one in alerts}:
            assert [t for who, t in firsts if who == patient] == [one.t for one in alerts if one.patient == patient]
        received = len(inbox.messages)
        with deliver_process(configuration, tmp_path):
            last = alert(9999)
            await produce(configuration, [(b"p1", value_of(last))])
            await until(lambda: key_of(last) in inbox.keys)
        assert len(inbox.messages) == received + 1


@pytest.mark.kafka
@pytest.mark.mqtt
async def test_the_example_subscriber_prints_high_alerts(configuration: Configuration, mqtt: MosquittoBroker) -> None:
    program = SUBSCRIBER.read_text().replace("aiomqtt.Client(host,", f"aiomqtt.Client(host, {mqtt.port},")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, mqtt.host, configuration.site, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with delivering(configuration):
            line = b""
            number = 0
            async with asyncio.timeout(60):
                while not line:  # until it has subscribed
                    number += 1
                    await produce(configuration, [(b"p1", value_of(alert(number)))])
                    try:
                        line = await asyncio.wait_for(process.stdout.readline(), 0.5)
                    except TimeoutError:
                        continue
        assert line.decode().strip() == "p1 active settled SpO2 is 82 %, below 85 %."
    finally:
        process.kill()
        await process.wait()


def test_memory_forgets_the_oldest_first() -> None:
    memory = DeliveredMemory(capacity=2)
    keys = [NotificationKey("a", "onset", "settled", n) for n in range(3)]
    for key in keys:
        memory.add(key)
    assert [key in memory for key in keys] == [False, True, True]
    assert len(memory) == 2


def test_a_topic_takes_no_character_of_a_pseudonym_for_a_level() -> None:
    assert alert_topic("site", alert(1, "ä/b")) == "biotwin/v1/site/alerts/high/%C3%A4%2Fb"
