"""The Faust app, from a factory: nothing is built at import.

Faust supplies the group membership, the agents and the streams; its tables, its web server, its leader election, its
exactly-once mode and its own topic creation are off (`docs/decisions/` says why).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import faust
from mode.supervisors import CrashingSupervisor

from contracts.configuration import Configuration
from stream.agents import Agents, Stage
from stream.ledger import Source
from stream.processor import OutputRecord
from stream.transport import Consumer, Producer, broker_url, register

LINGER_S = 0.002
MAX_FETCH_BYTES = 4 * 1024 * 1024
BUFFERED_FETCHES = 4
"""Fetches that may wait for one agent before its partitions are left alone."""


class WorkerApp(faust.App):  # type: ignore[misc]
    """A Faust app whose transport asks `custodian` what may be committed and where to start."""

    custodian: Agents


class FaustKafka:
    """The agents' way to Kafka: through the app's consumer and producer."""

    def __init__(self, app: WorkerApp) -> None:
        self._app = app

    @property
    def _consumer(self) -> Consumer:
        consumer: Consumer = self._app.consumer
        return consumer

    async def write(self, record: OutputRecord) -> asyncio.Future[Any]:
        producer: Producer = self._app.producer
        return await producer.write(record)

    async def commit(self) -> None:
        await self._consumer.commit()

    def acknowledge(self, source: Source, offset: int) -> None:
        self._consumer.acknowledge(source, offset)

    async def seek(self, source: Source, offset: int) -> None:
        await self._consumer.seek_to(source, offset)

    async def committed(self, sources: Sequence[Source]) -> Mapping[Source, int | None]:
        return await self._consumer.committed_offsets(sources)

    async def beginnings(self, sources: Sequence[Source]) -> Mapping[Source, int]:
        return await self._consumer.beginning_offsets(sources)

    async def ends(self, sources: Sequence[Source]) -> Mapping[Source, int]:
        return await self._consumer.end_offsets(sources)

    def end(self, source: Source) -> int | None:
        return self._consumer.end_offset(source)


def create_app(configuration: Configuration, stages: Sequence[Stage], agents: Agents) -> WorkerApp:
    """The app of one worker process: an agent for each stage, all of them bodies of `agents.consume`."""
    register()
    kafka, worker = configuration.kafka, configuration.worker
    brokers = broker_url(kafka.bootstrap)
    app = WorkerApp(
        kafka.group,
        broker=brokers,
        broker_consumer=brokers,
        broker_producer=brokers,
        autodiscover=False,
        store="memory://",
        datadir=configuration.data,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=kafka.partitions,
        table_standby_replicas=0,
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        agent_supervisor=CrashingSupervisor,
        broker_session_timeout=kafka.session_timeout_s,
        broker_heartbeat_interval=kafka.heartbeat_s,
        broker_request_timeout=max(kafka.request_timeout_s, kafka.session_timeout_s + 1.0),
        broker_max_poll_records=worker.fetch_records,
        broker_commit_interval=2.0,
        broker_commit_livelock_soft_timeout=10.0 * worker.stuck_after_s,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        consumer_group_instance_id=worker.instance or None,
        consumer_metadata_max_age_ms=30_000,
        producer_acks=-1,
        producer_linger=LINGER_S,
        producer_max_batch_size=262_144,
        producer_request_timeout=kafka.request_timeout_s,
        stream_buffer_maxsize=BUFFERED_FETCHES,
        stream_recovery_delay=0.0,
        stream_processing_timeout=10.0 * worker.stuck_after_s,
        worker_redirect_stdouts=False,
    )
    app.custodian = agents
    agents.connect(FaustKafka(app))
    for stage in stages:
        topic = app.topic(stage.source, partitions=kafka.partitions)
        app.agent(topic, name=stage.name)(_body(agents))

    async def on_rebalance_complete(_: Any, **__: Any) -> None:
        await restore(app)

    app.on_rebalance_complete.connect(on_rebalance_complete, weak=False)
    return app


def _body(agents: Agents) -> Any:
    async def agent(stream: Any) -> None:
        await agents.consume(stream.noack().events())

    return agent


async def restore(app: WorkerApp) -> None:
    """Bring back the state of what is assigned; Faust waits for this before it lets records through."""
    assignment = [Source(tp.topic, tp.partition) for tp in app.consumer.assignment()]
    try:
        await app.custodian.on_assigned(assignment)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        app.custodian.fail(error)
        raise
