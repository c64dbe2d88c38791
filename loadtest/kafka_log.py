"""Reading Kafka from the side: whole topics from their beginning, ends and commits. Never part of any group's work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from loadtest.replay_output import KeyedValue
from stream.checkpoint import ChangelogError, parse_value

READ_TIMEOUT_S = 60.0


async def partitions_of(bootstrap: str, topics: Sequence[str]) -> list[TopicPartition]:
    """Every partition of the topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    return [TopicPartition(one["topic"], each["partition"]) for one in described for each in one["partitions"]]


async def read_topic(bootstrap: str, topic: str) -> AsyncIterator[Any]:
    """Every record that stands in the topic now (`ConsumerRecord`), partition by partition mixed, each in order.

    Raises `TimeoutError` when Kafka stops answering on the way.
    """
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = await partitions_of(bootstrap, [topic])
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        open_partitions = {one for one in partitions if begins[one] < ends[one]}
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        while open_partitions:
            async with asyncio.timeout(READ_TIMEOUT_S):
                fetched = await consumer.getmany(timeout_ms=500, max_records=20_000)
            for partition, records in fetched.items():
                for record in records:
                    if record.offset < ends[partition]:
                        yield record
            for partition in list(open_partitions):
                if await consumer.position(partition) >= ends[partition]:
                    open_partitions.discard(partition)
    finally:
        await consumer.stop()


async def keyed_values(bootstrap: str, topic: str) -> list[KeyedValue]:
    """(key, value) of every record in the topic."""
    return [(record.key, record.value) async for record in read_topic(bootstrap, topic)]


async def end_offsets(bootstrap: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """The next offset of each partition of the topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(await partitions_of(bootstrap, topics))
    finally:
        await consumer.stop()
    return {(partition.topic, partition.partition): offset for partition, offset in ends.items()}


async def next_record(
    bootstrap: str,
    topics: Sequence[str],
    wanted: Callable[[Any], bool],
    timeout_s: float,
    listening: Callable[[], None] = lambda: None,
) -> Any | None:
    """The first new record of the topics that is `wanted`; None if none comes in time, or Kafka does not answer.
    `listening` is called once whatever is written from then on will be seen."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50, request_timeout_ms=5000
    )
    try:
        async with asyncio.timeout(timeout_s):
            await consumer.start()
            ends = await end_offsets(bootstrap, topics)
            consumer.assign([TopicPartition(*place) for place in ends])
            for place, offset in ends.items():
                consumer.seek(TopicPartition(*place), offset)
            listening()
            async for record in consumer:
                if wanted(record):
                    return record
    except (TimeoutError, KafkaError):
        return None
    finally:
        with contextlib.suppress(KafkaError):
            await consumer.stop()
    return None


async def committed_offsets(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """What the group has committed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    return {(partition.topic, partition.partition): meta.offset for partition, meta in found.items()}


def checkpoint_of_block(record: Any) -> int | None:
    """The checkpoint of a changelog block; None for a manifest or another record."""
    if record.key is None or record.value is None or record.key.endswith(b"/manifest"):
        return None
    try:
        header, _ = parse_value(record.value)
    except ChangelogError:
        return None
    return header.checkpoint
