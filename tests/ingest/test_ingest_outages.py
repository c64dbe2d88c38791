"""Brokers that are down at start, go away, refuse writes or speak only MQTT 3.1.1: said once, recovered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import msgspec
import orjson
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts.configuration import Configuration, Ingest, Kafka, Mqtt
from contracts.metrics import ProcessMetrics
from contracts.quarantine import Quarantined
from contracts.topics import QUARANTINE
from deploy.api.reading import read_topic
from deploy.kafka.scratch import ScratchKafka
from deploy.kafka.topics import delete_topics, describe_topics
from deploy.mqtt.mosquitto import MosquittoBroker
from ingest.service import IngestService
from tests.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.mqtt]

DEADLINE_S = 90.0
FAST = Ingest(reconnect_min_s=0.1, reconnect_max_s=0.5)


@asynccontextmanager
async def running(configuration: Configuration) -> AsyncIterator[IngestService]:
    stop = asyncio.Event()
    service = IngestService(configuration, ProcessMetrics())
    task = asyncio.create_task(service.run(stop))
    try:
        yield service
    finally:
        stop.set()
        await task


async def written(service: IngestService, records: int) -> None:
    """Wait until so many records are in Kafka and nothing is held any more."""
    await until(
        lambda: service.writer.records_acknowledged >= records and not service.session.unacknowledged,
        timeout_s=DEADLINE_S,
    )


async def held(service: IngestService, records: int) -> None:
    """Wait until so many messages at least wait for their acknowledgement."""
    await until(lambda: service.session.unacknowledged >= records, timeout_s=DEADLINE_S)


async def publish(configuration: Configuration, numbers: range) -> None:
    """Publish readings of devices that nobody bound: each makes one record in quarantine."""
    async with aiomqtt.Client(configuration.mqtt.host, configuration.mqtt.port) as client:
        for number in numbers:
            body = {"session": "s", "seq": number, "t": 1_763_900_000 + number, "v": {"heart_rate": 70}}
            await client.publish(f"biotwin/v1/{configuration.site}/stranger/chest", orjson.dumps(body), qos=1)


async def quarantined(configuration: Configuration) -> list[int]:
    """The seconds at which what stands in quarantine was measured, once each."""
    records = await read_topic(configuration.kafka, QUARANTINE)
    times = {msgspec.json.decode(record.value, type=Quarantined).t for record in records}
    return sorted(int(t - 1_763_900_000) for t in times if t is not None)


def events(logs: list[structlog.typing.EventDict], *names: str) -> list[str]:
    return [log["event"] for log in logs if log["event"] in names]


async def said(logs: list[structlog.typing.EventDict], name: str) -> None:
    """Wait until the event was logged."""
    await until(lambda: events(logs, name), timeout_s=DEADLINE_S)


async def test_topics_that_are_missing_at_start_are_waited_for(kafka: ScratchKafka, mqtt: MosquittoBroker) -> None:
    configuration = Configuration(
        site="missing-topics",
        kafka=Kafka(bootstrap=kafka.bootstrap, request_timeout_s=2.0),
        mqtt=Mqtt(host=mqtt.host, port=mqtt.port),
        ingest=FAST,
    )
    with structlog.testing.capture_logs() as logs:
        async with running(configuration) as service:
            async with asyncio.timeout(DEADLINE_S):
                await service._subscribed.wait()
            await publish(configuration, range(20))
            await said(logs, "bindings_unreadable")
            await held(service, 20)
            await kafka.create()
            await written(service, 20)
    assert await quarantined(configuration) == list(range(20))
    assert len(events(logs, "bindings_unreadable")) == 1
    await kafka.wipe()


async def test_topic_deleted_and_made_again_under_a_running_ingest(kafka: ScratchKafka, mqtt: MosquittoBroker) -> None:
    base = await kafka.create()
    configuration = msgspec.structs.replace(
        base, site="deleted-topic", mqtt=Mqtt(host=mqtt.host, port=mqtt.port), ingest=FAST
    )
    with structlog.testing.capture_logs() as logs:
        async with running(configuration) as service:
            async with asyncio.timeout(DEADLINE_S):
                await service._subscribed.wait()
            await publish(configuration, range(5))
            await written(service, 5)
            await delete_topics(kafka.bootstrap, [QUARANTINE])

            async def gone() -> bool:
                return not await describe_topics(kafka.bootstrap, [QUARANTINE])

            await until(gone, timeout_s=DEADLINE_S)
            await publish(configuration, range(5, 10))
            await said(logs, "kafka_not_writable")
            await held(service, 5)
            await kafka.create()
            await written(service, 10)
    assert set(await quarantined(configuration)) >= set(range(5, 10))
    await kafka.wipe()


async def set_record_limit(bootstrap: str, count: int) -> None:
    """Bytes that Kafka takes in one batch of the quarantine topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    configs = {"max.message.bytes": str(count)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, QUARANTINE, configs=configs)])
    await admin.close()


async def test_refused_writes_withhold_acknowledgements_until_kafka_takes_them(
    kafka: ScratchKafka, mqtt: MosquittoBroker
) -> None:
    base = await kafka.create()
    configuration = msgspec.structs.replace(
        base, site="refused-writes", mqtt=Mqtt(host=mqtt.host, port=mqtt.port), ingest=FAST
    )
    await set_record_limit(kafka.bootstrap, 10)
    with structlog.testing.capture_logs() as logs:
        async with running(configuration) as service:
            async with asyncio.timeout(DEADLINE_S):
                await service._subscribed.wait()
            count = 0
            async with asyncio.timeout(DEADLINE_S):
                # Kafka takes a change of settings up a moment after it said so.
                while not events(logs, "kafka_not_writable"):
                    await publish(configuration, range(count, count + 1))
                    count += 1
            await publish(configuration, range(count, count + 20))
            count += 20
            await held(service, 20)
            assert service._metrics.kafka_up._value.get() == 0
            await set_record_limit(kafka.bootstrap, 1_000_000)
            await written(service, count)
            await said(logs, "kafka_writable_again")
            assert service._metrics.kafka_up._value.get() == 1
    assert await quarantined(configuration) == list(range(count))
    assert events(logs, "kafka_not_writable", "kafka_writable_again") == ["kafka_not_writable", "kafka_writable_again"]
    await kafka.wipe()


async def test_kafka_down_at_start_and_killed_later(tmp_path: Path, mqtt: MosquittoBroker) -> None:
    kafka = ScratchKafka(tmp_path / "kafka")
    kafka.start()
    try:
        base = await kafka.create()
        configuration = msgspec.structs.replace(
            base, site="kafka-down", mqtt=Mqtt(host=mqtt.host, port=mqtt.port), ingest=FAST
        )
        kafka.kill()
        with structlog.testing.capture_logs() as logs:
            async with running(configuration) as service:
                async with asyncio.timeout(DEADLINE_S):
                    await service._subscribed.wait()
                await publish(configuration, range(10))
                await asyncio.to_thread(kafka.start)
                await written(service, 10)
                kafka.kill()
                await publish(configuration, range(10, 20))
                await asyncio.to_thread(kafka.start)
                await written(service, 20)
        assert await quarantined(configuration) == list(range(20))
        heard = events(logs, "kafka_not_writable", "kafka_writable_again")
        assert heard == ["kafka_not_writable", "kafka_writable_again"] * (len(heard) // 2)
        assert 1 <= len(heard) // 2 <= 2
    finally:
        kafka.stop()


async def test_mqtt_broker_down_at_start_and_restarted_keeps_the_session(
    kafka: ScratchKafka, tmp_path: Path, free_port: int
) -> None:
    mqtt = MosquittoBroker(tmp_path / "mqtt", free_port)
    base = await kafka.create()
    configuration = msgspec.structs.replace(
        base, site="mqtt-down", mqtt=Mqtt(host=mqtt.host, port=free_port), ingest=FAST
    )
    try:
        with structlog.testing.capture_logs() as logs:
            async with running(configuration) as service:
                await said(logs, "mqtt_unreachable")
                await asyncio.to_thread(mqtt.start)
                async with asyncio.timeout(DEADLINE_S):
                    await service._subscribed.wait()
                await publish(configuration, range(10))
                await written(service, 10)
                await asyncio.to_thread(mqtt.restart)
                await publish(configuration, range(10, 20))
                await written(service, 20)
        assert await quarantined(configuration) == list(range(20))
        heard = events(logs, "mqtt_unreachable", "mqtt_connected_again")
        assert heard == ["mqtt_unreachable", "mqtt_connected_again"] * 2
    finally:
        mqtt.stop()
        await kafka.wipe()


class OldBroker:
    """A proxy that makes a broker speak MQTT 3.1.1 only: a CONNECT of version 5 is refused."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refused = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1024)
        if first[first.index(b"MQTT") + 4] == 5:
            self.refused += 1
            writer.write(bytes([0x20, 0x02, 0x00, 0x01]))
            await writer.drain()
            writer.close()
            return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.port)
        inner_writer.write(first)
        await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_broker_that_speaks_only_mqtt_3_1_1(kafka: ScratchKafka, mqtt: MosquittoBroker) -> None:
    base = await kafka.create()
    proxy = OldBroker(mqtt.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    configuration = msgspec.structs.replace(
        base, site="old-broker", mqtt=Mqtt(host="127.0.0.1", port=port), ingest=FAST
    )
    direct = msgspec.structs.replace(configuration, mqtt=Mqtt(host=mqtt.host, port=mqtt.port))
    with structlog.testing.capture_logs() as logs:
        async with running(configuration) as service:
            async with asyncio.timeout(DEADLINE_S):
                await service._subscribed.wait()
            await publish(direct, range(10))
            await written(service, 10)
    server.close()
    assert proxy.refused == 1
    assert events(logs, "mqtt_5_refused") == ["mqtt_5_refused"]
    assert await quarantined(configuration) == list(range(10))
    await kafka.wipe()
