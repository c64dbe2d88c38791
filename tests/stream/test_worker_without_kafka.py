"""Kafka is not there, goes away, or refuses writes: a clear message, recovery by itself, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from contracts import topics
from deploy.children import free_ports
from deploy.kafka.scratch import ScratchKafka
from stream.worker import EXIT_UNCLEAN

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

KEYS = 100


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[ScratchKafka]:
    """A Kafka of this test's own, not yet started."""
    broker = ScratchKafka(tmp_path / "kafka", free_ports(1)[0])
    yield broker
    broker.kill()


@pytest.fixture
def own_ward(own_kafka: ScratchKafka, counting: ModuleType, ward_of: Any) -> Any:
    return ward_of(own_kafka.bootstrap, counting)


@pytest.fixture
def own_workers(own_kafka: ScratchKafka, tmp_path: Path, workers_of: Any) -> Iterator[Any]:
    started = workers_of(own_kafka.bootstrap, tmp_path)
    yield started
    started.close()


def expected(records: int) -> dict[bytes, int]:
    return {b"patient-%04d" % key: len(range(key, records, KEYS)) for key in range(KEYS)}


async def test_down_at_start_then_killed_in_the_middle(own_kafka: Any, own_ward: Any, own_workers: Any) -> None:
    worker = own_workers.start("kafka.request_timeout_s=8")

    async def said(text: str) -> None:
        async def found() -> bool:
            return text in own_workers.text_of(worker)

        await own_ward.until(found)

    await said(f"no Kafka answers at {own_kafka.bootstrap}")
    await asyncio.to_thread(own_kafka.start)
    await said("topics are missing: ")
    await own_kafka.create()
    producing = asyncio.create_task(own_ward.produce(5_000, KEYS, per_s=500))
    await own_ward.until_total(1000)
    own_kafka.kill()
    await asyncio.sleep(3.0)
    await asyncio.to_thread(own_kafka.start)
    await producing
    assert await own_ward.until_total(5_000) == expected(5_000)
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 60) == 0


async def test_an_outage_longer_than_its_patience_makes_the_worker_start_again(
    own_kafka: Any, own_ward: Any, own_workers: Any
) -> None:
    await asyncio.to_thread(own_kafka.start)
    await own_kafka.create()
    worker = own_workers.start("kafka.request_timeout_s=7", "worker.checkpoint_min_s=5", "worker.checkpoint_max_s=5")
    await own_ward.produce(1000, KEYS)
    await own_ward.until_total(1000)
    producing = asyncio.create_task(own_ward.produce(2000, KEYS, first=1000, per_s=100))
    await own_ward.until_total(1200)
    # Between two checkpoints, so that records wait for one: a worker that was just committing only waits.
    await asyncio.sleep(1.0)
    own_kafka.kill()
    assert not producing.done(), "a worker with nothing to write has no reason to start again"

    async def waits_again() -> bool:
        return "no Kafka answers" in own_workers.text_of(worker)

    await own_ward.until(waits_again)
    assert worker.poll() is None, "it starts again by itself"
    await asyncio.to_thread(own_kafka.start)
    await producing
    assert await own_ward.until_total(3000) == expected(3000)
    own_kafka.kill()
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 60) in {EXIT_UNCLEAN, 0}


async def test_refused_writes_stop_the_commit_until_they_are_taken(
    own_kafka: Any, own_ward: Any, own_workers: Any
) -> None:
    await asyncio.to_thread(own_kafka.start)
    await own_kafka.create()
    await own_ward.produce(1000, KEYS)
    worker = own_workers.start("kafka.request_timeout_s=7")
    await own_ward.until_total(1000)

    async def committed() -> bool:
        return sum(offset or 0 for offset in await own_ward.committed(topics.TELEMETRY)) == 1000

    await own_ward.until(committed)
    await accept_at_most(own_kafka.bootstrap, topics.CONDITIONS, 10)
    await own_ward.produce(1000, KEYS, first=1000)

    async def refused() -> bool:
        return "Kafka did not take a record for 'conditions'" in own_workers.text_of(worker)

    await own_ward.until(refused)
    assert await committed()
    assert sum((await own_ward.counts()).values()) == 1000
    await accept_at_most(own_kafka.bootstrap, topics.CONDITIONS, 1_000_000)
    assert await own_ward.until_total(2000) == expected(2000)
    worker.terminate()
    assert await asyncio.to_thread(worker.wait, 60) == 0
    announced = await own_ward.announced()
    assert announced == {key: {10, 20} for key in expected(2000)}


async def accept_at_most(bootstrap: str, topic: str, size: int) -> None:
    """Make Kafka refuse every write that is larger, in bytes."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        settings = {"max.message.bytes": str(size)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])
    finally:
        await admin.close()
