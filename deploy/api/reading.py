"""Reading a topic from a point in time to its present end, for commands that show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.configuration import Kafka
from deploy.errors import UserError

START_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 20.0


async def records_of(kafka: Kafka, topic: str, since: float | None = None) -> AsyncIterator[Any]:
    """The topic's records up to the end it had when asked, partition by partition in order; aiokafka's
    `ConsumerRecord`. `since` (s since the epoch) skips what Kafka stored before. Raises `UserError`."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await consumer.start()
            partitions = consumer.assignment()
            ends = await consumer.end_offsets(partitions)
        if not partitions:
            raise UserError(f"there is no topic {topic}; create it with `biotwin kafka init`")
        if since is not None:
            starts = await consumer.offsets_for_times(dict.fromkeys(partitions, int(since * 1000)))
            for tp, start in starts.items():
                consumer.seek(tp, ends[tp] if start is None else start.offset)
        while True:
            left = {tp for tp, end in ends.items() if await consumer.position(tp) < end}
            if not left:
                return
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                batches = await consumer.getmany(*left, timeout_ms=1000)
            for tp, records in batches.items():
                for record in records:
                    if record.offset < ends[tp]:
                        yield record
    except (KafkaError, OSError, TimeoutError) as error:
        raise UserError(f"Kafka at {kafka.bootstrap} cannot be read: {str(error) or type(error).__name__}") from error
    finally:
        await consumer.stop()


async def partition_of(kafka: Kafka, topic: str, partition: int, last: int) -> AsyncIterator[list[Any]]:
    """What one partition still has up to offset `last`, in order, as it is fetched. Raises `UserError`."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    source = TopicPartition(topic, partition)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await consumer.start()
            consumer.assign([source])
            end = min(last + 1, (await consumer.end_offsets([source]))[source])
            await consumer.seek_to_beginning(source)
        while await consumer.position(source) < end:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                fetched = await consumer.getmany(source, timeout_ms=1000, max_records=20_000)
            yield [record for record in fetched.get(source, ()) if record.offset < end]
    except (KafkaError, OSError, TimeoutError) as error:
        raise UserError(f"Kafka at {kafka.bootstrap} cannot be read: {str(error) or type(error).__name__}") from error
    finally:
        await consumer.stop()


async def read_topic(kafka: Kafka, topic: str, since: float | None = None) -> list[Any]:
    """`records_of` as a list, for topics that are small."""
    return [record async for record in records_of(kafka, topic, since)]
