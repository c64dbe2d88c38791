"""`biotwin bench twin --workload w1`: one worker on the embedded Kafka, beside the plain drain, in one run.

Rates and CPU are those of the steady part: for the drain from its first record to its last, for the worker from the
first look at which a twentieth of the records was applied to the one at which all were. CPU is all threads of the
process.
"""

from __future__ import annotations

import asyncio
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from contracts import topics
from contracts.configuration import Configuration
from deploy.kafka.scratch import ScratchKafka
from loadtest import w1
from loadtest.kafka_log import end_offsets, read_topic
from loadtest.processes import Child, ChildError, environment_of

LOOK_EVERY_S = 0.1
LONGEST_RUN_S = 300.0
Z_DIGITS = 9


class Steady(NamedTuple):
    """The steady part of a run."""

    records: float
    seconds: float
    cpu_s: float

    @property
    def records_per_s(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / self.records * 1e6


def workload(patients: int, seconds: int) -> Iterator[tuple[int, bytes]]:
    """W1's records: number of the patient, value."""
    for t, order, values in w1.rounds(patients, seconds):
        for patient, row in zip(order.tolist(), values.tolist(), strict=True):
            yield patient, w1.payload(patient, t, row)


async def load(bootstrap: str, patients: int, records: Iterable[tuple[int, bytes]], partitions: int) -> int:
    """Write (number of the patient, value), partitioned as Kafka's own producer would. Returns how many."""
    keys = [f"p{patient:05d}".encode() for patient in range(patients)]
    partition = [(murmur2(key) & 0x7FFF_FFFF) % partitions for key in keys]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_batch_size=524_288)
    await producer.start()
    written = 0
    try:
        builders = [producer.create_batch() for _ in range(partitions)]
        pending = []
        for patient, value in records:
            p = partition[patient]
            while builders[p].append(key=keys[patient], value=value, timestamp=None) is None:
                pending.append(await producer.send_batch(builders[p], topics.TELEMETRY, partition=p))
                builders[p] = producer.create_batch()
            written += 1
        for p, builder in enumerate(builders):
            pending.append(await producer.send_batch(builder, topics.TELEMETRY, partition=p))
        await asyncio.gather(*pending)
    finally:
        await producer.stop()
    return written


def drain(bootstrap: str) -> Steady:
    """The plain drain in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.w1_drain", bootstrap, topics.TELEMETRY],
        check=True,
        capture_output=True,
        timeout=LONGEST_RUN_S,
    )
    return Steady(**orjson.loads(done.stdout))


def work(configuration: Configuration, records: int, folder: Path, group: str, model_set: str) -> tuple[Steady, float]:
    """One worker from the beginning of the log to its end. Returns the steady part and its peak memory (MB)."""
    environment = environment_of(
        msgspec.structs.replace(configuration, data=str(folder)),
        kafka__group=group,
        worker__model_set=model_set,
        worker__ticks="false",
        worker__twin_interval_s="1e9",
    )
    child = Child(
        "worker",
        ["worker"],
        msgspec.structs.replace(configuration, data=str(folder)),
        environment,
        folder / "worker.log",
    )
    begin: tuple[float, float, float] | None = None
    deadline = time.monotonic() + LONGEST_RUN_S
    try:
        while True:
            if time.monotonic() > deadline or child.returncode is not None:
                raise ChildError(f"the worker did not get through the workload; see {child.log.read_text()[-2000:]}")
            applied = child.counters().get('biotwin_records_total{agent="twin"}', 0.0)
            child.look()
            now = (applied, time.perf_counter(), child.usage.cpu_s)
            if begin is None and applied >= records / 20:
                begin = now
            if applied >= records:
                break
            time.sleep(LOOK_EVERY_S)
        # The twin agent's conditions must be delivered before the alert agent can be through with them.
        for agent in ("twin", "alerts"):
            while child.counters().get(f'biotwin_lag_records{{agent="{agent}"}}', 1.0) > 0.0 or not _all_read(
                configuration, child
            ):
                if time.monotonic() > deadline or child.returncode is not None:
                    raise ChildError(f"agent {agent} did not get through; see {child.log.read_text()[-2000:]}")
                time.sleep(LOOK_EVERY_S)
    finally:
        if child.returncode is None:
            child.end()
    if begin is None or begin[0] == now[0]:
        raise ChildError("the worker was through before it could be watched: use more records")
    return Steady(now[0] - begin[0], now[1] - begin[1], now[2] - begin[2]), child.usage.rss_mb


def _all_read(configuration: Configuration, child: Child) -> bool:
    """Whether the alert agent has read every condition that stands in Kafka now."""
    ends = asyncio.run(end_offsets(configuration.kafka.bootstrap, [topics.CONDITIONS]))
    return child.counters().get('biotwin_records_total{agent="alerts"}', 0.0) >= sum(ends.values())


async def found_alerts(bootstrap: str) -> set[tuple[str, float, int, float]]:
    """The settled onsets in `alerts`, and the provisional ones that the end of the log left unsettled."""
    found: set[tuple[str, float, int, float]] = set()
    async for record in read_topic(bootstrap, topics.ALERTS):
        alert = orjson.loads(record.value)
        if alert["transition"] != "onset" or alert["rule"] != "news2-5":
            continue
        evidence = alert["evidence"]
        z = next(entry["z"] for entry in evidence["inputs"] if entry["signal"] == "heart_rate")
        found.add((alert["patient"], alert["t"], int(evidence["value"]), round(z, Z_DIGITS)))
    return found


async def run(
    records: int, patients: int, repeats: int, say: Callable[[str], None], partitions: int = 4
) -> dict[str, Any]:
    """Load, drain and work in turn; medians over the repeats, each run listed. `say` is told how far it is."""
    seconds = max(2, records // patients)
    drains: list[Steady] = []
    works: list[Steady] = []
    memory = 0.0
    with TemporaryDirectory(prefix="biotwin-bench-") as folder:
        kafka = ScratchKafka(Path(folder) / "kafka")
        kafka.start()
        try:
            for turn in range(repeats):
                configuration = await kafka.create(partitions=partitions)
                say(f"turn {turn + 1} of {repeats}: writing {seconds * patients} records")
                written = await load(kafka.bootstrap, patients, workload(patients, seconds), partitions)
                say("plain drain")
                drains.append(await asyncio.to_thread(drain, kafka.bootstrap))
                say("worker")
                steady, peak = await asyncio.to_thread(
                    work,
                    configuration,
                    written,
                    Path(folder) / f"run-{turn}",
                    f"bench-{turn}",
                    "loadtest.w1:MODEL_SET",
                )
                works.append(steady)
                memory = max(memory, peak)
                alerts = await found_alerts(kafka.bootstrap)
                if turn + 1 < repeats:
                    await kafka.wipe()
        finally:
            kafka.stop()
    expected = {(a.patient, a.t, a.score, round(a.z, Z_DIGITS)) for a in w1.plain_loop(patients, seconds)}
    rate = statistics.median(one.records_per_s for one in works)
    cpu = statistics.median(one.cpu_s_per_million for one in works)
    drain_rate = statistics.median(one.records_per_s for one in drains)
    drain_cpu = statistics.median(one.cpu_s_per_million for one in drains)
    return {
        "records": written,
        "patients": patients,
        "records_per_s": round(rate),
        "cpu_s_per_million": round(cpu, 3),
        "drain_records_per_s": round(drain_rate),
        "drain_cpu_s_per_million": round(drain_cpu, 3),
        "rate_of_drain": round(rate / drain_rate, 3),
        "cpu_of_drain": round(cpu / drain_cpu, 3),
        "alerts": len(alerts),
        "alerts_expected": len(expected),
        "alerts_equal": alerts == expected,
        "rss_mb": round(memory, 1),
        "runs": [
            {"records_per_s": round(one.records_per_s), "cpu_s_per_million": round(one.cpu_s_per_million, 3)}
            for one in works
        ],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("aiokafka", "faust-streaming", "numba", "numpy", "orjson")},
    }
