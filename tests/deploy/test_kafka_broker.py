"""The embedded Kafka: it serves, keeps its data, stops cleanly, and creates the topics as configured."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.configuration import Configuration, Kafka
from contracts.topics import TOPICS
from deploy.children import free_ports
from deploy.kafka.broker import MAX_MESSAGE_BYTES, Broker, BrokerError
from deploy.kafka.scratch import ScratchKafka
from deploy.kafka.topics import TopicsError, create_topics, describe_topics

pytestmark = pytest.mark.kafka


async def send(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=MAX_MESSAGE_BYTES)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"patient")
    finally:
        await producer.stop()


async def receive(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


async def test_data_are_kept_over_clean_stop_and_kill(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "kafka")
    bootstrap = broker.start()
    try:
        configuration = Configuration(kafka=Kafka(bootstrap=bootstrap, partitions=2))
        created, differences = await create_topics(bootstrap, configuration)
        assert set(created) == {topic.name for topic in TOPICS}
        assert differences == []
        await send(bootstrap, "telemetry", [b"one"])

        pid = broker.status()["pid"]
        assert isinstance(pid, int)
        assert broker.stop(), "it had to be killed"
        assert not psutil.pid_exists(pid)
        assert broker.start() == bootstrap
        await send(bootstrap, "telemetry", [b"two"])

        broker.kill()
        assert broker.start() == bootstrap
        assert await receive(bootstrap, "telemetry", 2) == [b"one", b"two"]

        broker.reset()
        assert not (tmp_path / "kafka").exists()
        broker.start()
        assert await describe_topics(broker.bootstrap) == []
    finally:
        broker.kill()


def test_a_restart_never_takes_its_own_port_for_the_inner_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, own, last = free_ports(3)
    monkeypatch.setattr("deploy.kafka.broker.free_ports", lambda count: [first, own, last][:count])
    broker = Broker(tmp_path / "kafka", own)
    try:
        assert broker.start() == f"127.0.0.1:{own}"
    finally:
        broker.kill()


async def test_topics_are_created_once_and_differences_are_reported(kafka: ScratchKafka) -> None:
    await kafka.wipe()
    configuration = await kafka.create(partitions=3)
    states = {state.name: state for state in await describe_topics(kafka.bootstrap)}
    assert states["telemetry"].partitions == 3
    assert states["bindings"].partitions == 1
    assert states["bindings"].settings["cleanup.policy"] == "compact"
    assert states["alerts"].settings["retention.ms"] == str(365 * 86_400_000)

    created, differences = await create_topics(kafka.bootstrap, configuration)
    assert (created, differences) == ([], [])
    wider = Configuration(kafka=Kafka(bootstrap=kafka.bootstrap, partitions=5))
    _, differences = await create_topics(kafka.bootstrap, wider)
    assert ("telemetry", "partitions", "3", "5") in differences
    await kafka.wipe()


async def test_a_block_of_eight_mebibytes_passes(kafka: ScratchKafka) -> None:
    await kafka.create()
    block = bytes(MAX_MESSAGE_BYTES - 1024)
    await send(kafka.bootstrap, "twin.changelog", [block])
    assert await receive(kafka.bootstrap, "twin.changelog", 1) == [block]
    await kafka.wipe()


async def test_unreachable_kafka_is_said_plainly(free_port: int) -> None:
    with pytest.raises(TopicsError, match=f"no Kafka answers at 127.0.0.1:{free_port}.*biotwin kafka up"):
        await describe_topics(f"127.0.0.1:{free_port}")


def test_a_taken_port_is_said_plainly(kafka: ScratchKafka, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=f"port {kafka.port} is taken"):
        Broker(tmp_path / "other", port=kafka.port).start()
