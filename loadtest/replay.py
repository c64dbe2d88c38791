"""`biotwin replay`: recorded payloads through the pipeline, in memory or through a real Kafka and a real worker.

Both ways share the intake (`replay_input`) and the form of the output (`replay_output`), so that what they write is the
same bytes. No clock decides anything: ticks stand in the log with the times of the file.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from contracts import topics
from contracts.configuration import Configuration
from deploy.errors import UserError
from deploy.kafka.broker import Broker
from deploy.kafka.topics import create_topics
from loadtest.guardian import Guardian
from loadtest.kafka_log import committed_offsets, end_offsets, keyed_values
from loadtest.pipeline import Pipeline
from loadtest.processes import Child, ChildError, environment_of
from loadtest.replay_input import Intake, Record, read_lines
from loadtest.replay_output import FILES, KeyedValue, write_files
from stream.model_sets import model_set
from stream.processors import alert_rules

OUTSTANDING_SENDS = 2000
APPLY_TIMEOUT_S = 600.0


def replay_through_core(configuration: Configuration, files: Sequence[Path], out: Path) -> dict[str, int]:
    """Replay in memory; returns the number of lines of each output file."""
    pipeline = Pipeline(configuration, first_arrival(files))
    pipeline.run(Intake(configuration).records(read_lines(files)))
    pipeline.finish()
    by_topic = {topic: ((record.key, record.value) for record in records) for topic, records in pipeline.output.items()}
    return write_files(out, by_topic)


def first_arrival(files: Sequence[Path]) -> float:
    """`received_at` of the first line: the rules of a replay are those in force then. 0 where there is no line."""
    return next((line.received_at for line in read_lines(files)), 0.0)


def replay_through_kafka(
    configuration: Configuration, files: Sequence[Path], out: Path, *, foreign: bool
) -> dict[str, int]:
    """Replay through Kafka and a `biotwin worker` of its own; returns the number of lines of each output file.

    With `foreign` the configuration's Kafka is used, which must hold no telemetry; else one is started for this replay
    and removed with everything in it.
    """
    _refuse_other_rules(configuration, first_arrival(files))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="biotwin-replay-")))
        guardian = stack.enter_context(Guardian())
        if not foreign:
            broker = Broker(folder / "kafka")
            stack.callback(broker.stop)
            broker.start()
            if broker.process is not None:
                guardian.guard(broker.process.pid)
            kafka = msgspec.structs.replace(configuration.kafka, bootstrap=broker.bootstrap)
            configuration = msgspec.structs.replace(configuration, kafka=kafka)
        configuration = msgspec.structs.replace(configuration, data=str(folder))
        return asyncio.run(_replay_through_kafka(configuration, files, out, guardian))


def _refuse_other_rules(configuration: Configuration, at: float) -> None:
    """A worker goes by the rules of today; where those of the file's time differ, its output would not be the same."""
    chosen = model_set(configuration.worker.model_set)
    if alert_rules(configuration, chosen, at).hash != alert_rules(configuration, chosen, time.time()).hash:
        raise UserError(
            "the rules in force when the file was recorded are not those in force now, and a worker goes by those of "
            "now. Use --through core, or --rules with a file whose rules have no effective dates."
        )


async def _replay_through_kafka(
    configuration: Configuration, files: Sequence[Path], out: Path, guardian: Guardian
) -> dict[str, int]:
    bootstrap = configuration.kafka.bootstrap
    await create_topics(bootstrap, configuration)
    if any((await end_offsets(bootstrap, [topics.TELEMETRY])).values()):
        raise UserError(f"the Kafka at {bootstrap} already holds telemetry; a replay needs one that is empty")
    await produce(bootstrap, Intake(configuration).records(read_lines(files)))
    environment = environment_of(configuration, worker__ticks="false")
    worker = Child("worker", ["worker"], configuration, environment, Path(configuration.data) / "worker.log", guardian)
    try:
        await all_applied([worker])
    finally:
        status = await asyncio.to_thread(worker.end)
    if status != 0:
        raise ChildError(f"the worker ended with status {status}")
    left = await behind(configuration)
    if left:
        raise ChildError(f"the worker ended before everything was applied: {left}")
    by_topic: dict[str, list[KeyedValue]] = {topic: await keyed_values(bootstrap, topic) for topic in FILES}
    return write_files(out, by_topic)


async def produce(bootstrap: str, records: Iterable[Record]) -> int:
    """Write records to their topics and partitions, in order; returns how many. Raises aiokafka's errors."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5, max_request_size=8 * 1024 * 1024
    )
    await producer.start()
    sent = 0
    outstanding: list[asyncio.Future[object]] = []
    try:
        for record in records:
            outstanding.append(
                await producer.send(
                    record.topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
                )
            )
            sent += 1
            if len(outstanding) >= OUTSTANDING_SENDS:
                await asyncio.gather(*outstanding)
                outstanding.clear()
        await asyncio.gather(*outstanding)
    finally:
        await producer.stop()
    return sent


async def all_applied(workers: Sequence[Child], timeout_s: float = APPLY_TIMEOUT_S) -> None:
    """Wait until the workers have applied all telemetry that stands in Kafka now, and all conditions that follow.

    Asked of their own gauges of lag: first the twin agent's, then the alert agent's, each seen at zero by a look that
    began after the question. Raises `ChildError` when a worker ends, `TimeoutError` when time is up.
    """
    deadline = time.monotonic() + timeout_s
    for agent in AGENTS:
        await asyncio.sleep(GAUGES_EVERY_S)
        while not await _caught_up(workers, agent):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not everything was applied within {timeout_s:g} s")
            await asyncio.sleep(0.2)


async def _caught_up(workers: Sequence[Child], agent: str) -> bool:
    for worker in workers:
        if worker.returncode is not None:
            raise ChildError(f"{worker.name} ended with status {worker.returncode}:\n{worker.last_lines()}")
        found = await asyncio.to_thread(worker.counters)
        if found.get("biotwin_ready") != 1.0 or found.get(f'biotwin_lag_records{{agent="{agent}"}}', 1.0) != 0.0:
            return False
    return True


AGENTS = ("twin", "alerts")

GAUGES_EVERY_S = 1.0
"""A worker brings its gauges up to date twice in this time."""


async def behind(configuration: Configuration) -> dict[tuple[str, int], int]:
    """Records of each partition that the workers' group has not committed; empty once everything is applied."""
    ends = await end_offsets(configuration.kafka.bootstrap, [topics.TELEMETRY, topics.CONDITIONS])
    committed = await committed_offsets(configuration.kafka.bootstrap, configuration.kafka.group)
    return {place: end - committed.get(place, 0) for place, end in ends.items() if committed.get(place, 0) < end}
