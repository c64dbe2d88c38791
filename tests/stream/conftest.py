"""Workers as processes of their own on the real Kafka, and what they left behind."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import topics
from stream.recovery import Plan, plan_recovery, read_newest
from tests.waiting import until

SCRIPT = Path(__file__).parent / "counting_worker.py"
FAST = (
    "kafka.session_timeout_s=6",
    "kafka.heartbeat_s=1",
    "worker.checkpoint_min_s=0.2",
    "worker.checkpoint_max_s=1",
    "worker.fetch_records=500",
    "worker.ticks=false",
)


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def counting() -> ModuleType:
    """The module with the counting processor."""
    return _load("counting_worker", SCRIPT)


class Workers:
    """Starts counting workers and ends those that are left."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *settings: str) -> subprocess.Popen[bytes]:
        number = len(self._started)
        with self.log_of(number).open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, str(SCRIPT), self._bootstrap, *FAST, f"data={self._folder}", *settings],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LOG": "INFO"},
            )
        self._started.append(worker)
        return worker

    def log_of(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"

    def text_of(self, worker: subprocess.Popen[bytes]) -> str:
        return self.log_of(self._started.index(worker)).read_text()

    def close(self) -> None:
        for worker in self._started:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()


class Ward:
    """Fills `telemetry`, and reads back what the workers made of it."""

    def __init__(self, bootstrap: str, module: ModuleType) -> None:
        self.bootstrap = bootstrap
        self._module = module

    async def produce(self, records: int, keys: int, *, first: int = 0, per_s: float | None = None) -> None:
        """`records` records over `keys` patients, in turn."""
        # Idempotent, so that a write repeated over an outage of Kafka is one record and the counts can be exact.
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5, enable_idempotence=True)
        await producer.start()
        started = time.monotonic()
        try:
            for i in range(first, first + records):
                await producer.send(topics.TELEMETRY, b'{"n":%d}' % i, key=b"patient-%04d" % (i % keys))
                if per_s is not None and i % 20 == 0:
                    await asyncio.sleep(max(started + (i - first) / per_s - time.monotonic(), 0))
        finally:
            await producer.stop()

    async def write(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> None:
        """One record."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            await producer.send_and_wait(topic, value, key, partition)
        finally:
            await producer.stop()

    async def plans(self, changelog: str, partitions: int = 4) -> list[Plan]:
        return [
            plan_recovery(number, await read_newest(self.bootstrap, changelog, number, lambda _: None))
            for number in range(partitions)
        ]

    async def counts(self, changelog: str = topics.TWIN_CHANGELOG) -> dict[bytes, int]:
        """The counts that a worker starting now would recover."""
        found: dict[bytes, int] = {}
        for plan in await self.plans(changelog):
            for block in plan.blocks:
                found.update(self._module.counts_of(block.payload))
        return {key: count for key, count in found.items() if key}

    async def announced(self) -> dict[bytes, set[int]]:
        """What was written to `conditions`: per key the set of counts, repeats dropped as every reader drops them."""
        found: dict[bytes, set[int]] = {}
        for record in await self.read(topics.CONDITIONS):
            found.setdefault(record.key, set()).add(orjson.loads(record.value)["count"])
        return found

    async def read(self, topic: str, partitions: int = 4) -> list[Any]:
        """Every record of a topic."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        records = []
        try:
            sources = [TopicPartition(topic, number) for number in range(partitions)]
            consumer.assign(sources)
            await consumer.seek_to_beginning(*sources)
            ends = await consumer.end_offsets(sources)
            for source in sources:
                while await consumer.position(source) < ends[source]:
                    for fetched in (await consumer.getmany(timeout_ms=200)).values():
                        records.extend(fetched)
        finally:
            await consumer.stop()
        return records

    async def committed(self, topic: str, partitions: int = 4, group: str = "biotwin") -> list[int | None]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            return [await consumer.committed(TopicPartition(topic, number)) for number in range(partitions)]
        finally:
            await consumer.stop()

    async def until(self, condition: Callable[[], Awaitable[bool]], timeout_s: float = 60.0) -> None:
        await until(condition, timeout_s=timeout_s)

    async def until_total(self, total: int, timeout_s: float = 90.0) -> dict[bytes, int]:
        """Wait until the durable counts add up to `total`, and return them."""
        counts: dict[bytes, int] = {}

        async def reached() -> bool:
            counts.clear()
            counts.update(await self.counts())
            return sum(counts.values()) >= total

        await until(reached, timeout_s=timeout_s, what=lambda: f"{sum(counts.values())} of {total} counted")
        return counts


@pytest.fixture
async def ward(kafka: Any, counting: ModuleType) -> Ward:
    """A Kafka with empty topics, and a way to fill and read them."""
    await kafka.wipe()
    await kafka.create()
    return Ward(kafka.bootstrap, counting)


@pytest.fixture
def workers(ward: Ward, tmp_path: Path) -> Iterator[Workers]:
    """Counting workers on that Kafka."""
    started = Workers(ward.bootstrap, tmp_path)
    yield started
    started.close()


@pytest.fixture(scope="session")
def ward_of() -> type[Ward]:
    """For tests with a Kafka of their own."""
    return Ward


@pytest.fixture(scope="session")
def workers_of() -> type[Workers]:
    """For tests with a Kafka of their own."""
    return Workers
