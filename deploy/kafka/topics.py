"""Create the topics of `contracts.topics` and compare those that exist with what the configuration asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from contracts.configuration import Configuration
from contracts.topics import TOPICS, Topic
from deploy.errors import UserError
from deploy.kafka.broker import MAX_MESSAGE_BYTES
from deploy.kafka.probe import any_broker_answers

MINUTE_MS = 60_000
TOPIC_EXISTS = 36
"""Kafka's error code TOPIC_ALREADY_EXISTS."""


class TopicsError(UserError):
    """Kafka could not be reached or refused."""


class Difference(NamedTuple):
    """A setting of an existing topic that is not as configured."""

    topic: str
    setting: str
    found: str
    wanted: str


class TopicState(msgspec.Struct, frozen=True):
    """One existing topic: partitions, replication and the settings this module asks for."""

    name: str
    partitions: int
    replication: int
    settings: dict[str, str]


def topic_settings(topic: Topic, configuration: Configuration) -> dict[str, str]:
    """Kafka's per-topic settings."""
    settings = {
        "min.insync.replicas": str(configuration.kafka.min_insync_replicas),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        # Retention counts from arrival: a replayed recording of last year must not vanish at once.
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.compacted:
        # Only closed segments are compacted, and recovery reads what is left: close and clean them soon.
        return settings | {
            "cleanup.policy": "compact",
            "retention.ms": "-1",
            "segment.ms": str(5 * MINUTE_MS),
            "segment.bytes": str(64 << 20),
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": str(24 * 60 * MINUTE_MS),
        }
    return settings | {"cleanup.policy": "delete", "retention.ms": str(topic.retention_ms), "retention.bytes": "-1"}


def partitions_of(topic: Topic, configuration: Configuration) -> int:
    """How many partitions the topic gets."""
    return configuration.kafka.partitions if topic.follows_partitions else 1


async def create_topics(
    bootstrap: str, configuration: Configuration, topics: Iterable[Topic] = TOPICS
) -> tuple[list[str], list[Difference]]:
    """Create what is missing. Returns the names created and how existing topics differ; changes none of those.

    Raises `TopicsError`."""
    wanted = tuple(topics)
    existing = {state.name: state for state in await describe_topics(bootstrap, [topic.name for topic in wanted])}
    new = [
        NewTopic(
            topic.name,
            partitions_of(topic, configuration),
            configuration.kafka.replication,
            topic_configs=topic_settings(topic, configuration),
        )
        for topic in wanted
        if topic.name not in existing
    ]
    created: list[str] = []
    if new:
        async with _Admin(bootstrap) as admin:
            created = _created(await admin.create_topics(new))
    differences = [
        difference
        for topic in wanted
        if topic.name in existing
        for difference in _differences(topic, existing[topic.name], configuration)
    ]
    return created, differences


def _created(reply: Any) -> list[str]:
    created = []
    for name, code, *rest in reply.topic_errors:
        if code == 0:
            created.append(name)
        elif code != TOPIC_EXISTS:  # another process was quicker: fine
            detail = rest[0] if rest and rest[0] else for_code(code).__name__
            raise TopicsError(f"Kafka did not create topic {name}: {detail}")
    return created


def _differences(topic: Topic, state: TopicState, configuration: Configuration) -> list[Difference]:
    wanted = {
        "partitions": str(partitions_of(topic, configuration)),
        "replication": str(configuration.kafka.replication),
        **topic_settings(topic, configuration),
    }
    found = {"partitions": str(state.partitions), "replication": str(state.replication), **state.settings}
    return [
        Difference(topic.name, name, found.get(name, ""), value)
        for name, value in wanted.items()
        if found.get(name) != value
    ]


async def describe_topics(bootstrap: str, names: Iterable[str] | None = None) -> list[TopicState]:
    """The topics that exist (of `names`, if given) with their settings. Raises `TopicsError`."""
    asked = None if names is None else set(names)
    async with _Admin(bootstrap) as admin:
        described = [
            topic
            for topic in await admin.describe_topics()
            if not topic["is_internal"] and (asked is None or topic["topic"] in asked)
        ]
        settings = await _settings(admin, [topic["topic"] for topic in described])
    return [
        TopicState(
            topic["topic"],
            len(topic["partitions"]),
            len(topic["partitions"][0]["replicas"]) if topic["partitions"] else 0,
            settings.get(topic["topic"], {}),
        )
        for topic in sorted(described, key=lambda each: each["topic"])
    ]


async def _settings(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    replies = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]} for reply in replies for resource in reply.resources
    }


async def delete_topics(bootstrap: str, names: Iterable[str]) -> None:
    """Delete topics with everything in them."""
    async with _Admin(bootstrap) as admin:
        await admin.delete_topics(list(names))


class _Admin:
    """An admin client as a context manager whose failures are `TopicsError`."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=15_000)

    async def __aenter__(self) -> Any:
        # The client's own bootstrap retries loudly; a plain question first gives one clear line.
        if not await asyncio.to_thread(any_broker_answers, self.bootstrap, 3.0):
            raise TopicsError(
                f"no Kafka answers at {self.bootstrap}. Start the embedded one with `biotwin kafka up`, "
                "or name another with --kafka host:port."
            )
        await self.client.start()
        return self.client

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        await self.client.close()
        if isinstance(error, KafkaError):
            raise TopicsError(f"Kafka at {self.bootstrap}: {error}") from error


def topic_bytes(data: Path, name: str) -> int:
    """Bytes on disk of a topic of the embedded broker; `data` is its data folder."""
    partitions = (folder for folder in data.glob(f"{name}-*") if folder.name.rpartition("-")[0] == name)
    return sum(path.stat().st_blocks * 512 for folder in partitions for path in folder.iterdir())
