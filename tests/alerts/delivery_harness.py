"""What the tests of delivery share: alerts, Kafka's side of it, and a running deliverer."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from alerts.delivery.deliver import Deliverer
from contracts.condition import Alert, Priority, Provenance, to_builtins
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.receipt import Receipt
from contracts.topics import ALERT_RECEIPTS, ALERTS

Key = tuple[str, str, str, int]


def alert(number: int, patient: str = "p1", priority: Priority = "high", sequence: int = 1) -> Alert:
    return Alert(
        id=f"{number:016x}",
        patient=patient,
        rule="spo2-below-85",
        kind="physiological",
        priority=priority,
        state="active",
        transition="onset",
        stage="settled",
        t=100.0 + number,
        onset_t=100.0 + number,
        sequence=sequence,
        message="SpO2 is 82 %, below 85 %.",
        source="a book",
        provenance=Provenance(partition=0, offset=number, applied_at=1.0),
    )


def value_of(one: Alert) -> bytes:
    return orjson.dumps(to_builtins(one), option=orjson.OPT_SORT_KEYS)


def key_of(one: Alert) -> Key:
    return (one.id, one.transition, one.stage, one.sequence)


async def produce(
    configuration: Configuration, values: Sequence[tuple[bytes | None, bytes]], topic: str = ALERTS
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=configuration.kafka.bootstrap, linger_ms=5)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, key=key) for key, value in values]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def committed(configuration: Configuration, subscription: str = "") -> int:
    """Sum of the offsets that the group of a subscription (of MQTT without a name) has committed."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=configuration.kafka.bootstrap,
        group_id="-".join([configuration.kafka.group, "deliver", *filter(None, [subscription])]),
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(ALERTS, number) for number in range(configuration.kafka.partitions)]
        return sum([await consumer.committed(partition) or 0 for partition in partitions])
    finally:
        await consumer.stop()


async def until_committed(
    configuration: Configuration, count: int, subscription: str = "", limit_s: float = 60.0
) -> None:
    async with asyncio.timeout(limit_s):
        while await committed(configuration, subscription) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@asynccontextmanager
async def delivering(configuration: Configuration) -> AsyncIterator[ProcessMetrics]:
    stop, metrics = asyncio.Event(), ProcessMetrics()
    running = asyncio.create_task(Deliverer(configuration, metrics, stop).run())
    try:
        yield metrics
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


@contextmanager
def deliver_process(configuration: Configuration, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`biotwin deliver` as a user starts it."""
    environment = os.environ | {
        "BIOTWIN_SITE": configuration.site,
        "BIOTWIN_DATA": str(data),
        "BIOTWIN_KAFKA__BOOTSTRAP": configuration.kafka.bootstrap,
        "BIOTWIN_KAFKA__SESSION_TIMEOUT_S": "1.5",
        "BIOTWIN_KAFKA__HEARTBEAT_S": "0.5",
        "BIOTWIN_MQTT__HOST": configuration.mqtt.host,
        "BIOTWIN_MQTT__PORT": str(configuration.mqtt.port),
        "BIOTWIN_DELIVER__MQTT": str(configuration.deliver.mqtt).lower(),
        "BIOTWIN_SMTP__PORT": str(configuration.smtp.port),
        "BIOTWIN_SMTP__TLS": configuration.smtp.tls,
        "BIOTWIN_SUBSCRIPTIONS": msgspec.json.encode(configuration.subscriptions).decode(),
        "BIOTWIN_ESCALATION": msgspec.json.encode(configuration.escalation).decode(),
        "BIOTWIN_CONSOLE__DIRECTORY": str(data / "directory.sqlite"),
        "BIOTWIN_INGEST__RECONNECT_MIN_S": str(configuration.ingest.reconnect_min_s),
        "BIOTWIN_INGEST__RECONNECT_MAX_S": str(configuration.ingest.reconnect_max_s),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "deliver"], env=environment, stderr=(data / "log").open("ab")
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def metric(metrics: ProcessMetrics, name: str, labels: dict[str, str] | None = None) -> float:
    return metrics.registry.get_sample_value(name, labels or {}) or 0.0


async def read_receipts(configuration: Configuration, enough: Callable[[list[Receipt]], Any]) -> list[Receipt]:
    """All receipts from the first on, as soon as they are enough."""
    found: list[Receipt] = []
    consumer = AIOKafkaConsumer(
        ALERT_RECEIPTS, bootstrap_servers=configuration.kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            while not enough(found):
                batch = await consumer.getmany(timeout_ms=200)
                found += [
                    msgspec.json.decode(record.value, type=Receipt) for records in batch.values() for record in records
                ]
    finally:
        await consumer.stop()
    return found
