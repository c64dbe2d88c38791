"""What aiokafka's fetcher does while one partition has much to read and another is quiet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import topics
from stream.transport import hold_short_while_left_out

BUSY = TopicPartition(topics.TELEMETRY, 0)
QUIET = TopicPartition(topics.TELEMETRY, 1)
RECORDS = 400


@pytest.mark.kafka
async def test_a_busy_partition_does_not_wait_for_a_quiet_one(kafka: Any) -> None:
    await kafka.wipe()
    await kafka.create()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_batch_size=20_000)
    await producer.start()
    for _ in range(RECORDS):
        await producer.send(BUSY.topic, bytes(1000), partition=BUSY.partition)
    await producer.stop()

    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        enable_auto_commit=False,
        max_partition_fetch_bytes=40_000,
        fetch_max_wait_ms=30_000,
    )
    await consumer.start()
    hold_short_while_left_out(consumer._fetcher)
    consumer.assign([BUSY, QUIET])
    await consumer.seek_to_beginning(BUSY)
    read = 0
    try:
        while read < RECORDS:
            fetched = await consumer.getmany(timeout_ms=10_000, max_records=20)
            assert fetched, f"nothing for 10 s after {read} of {RECORDS} records"
            read += sum(map(len, fetched.values()))
            # Longer than aiokafka waits for its reader before it fetches what is not here yet: the quiet partition.
            await asyncio.sleep(0.15)
    finally:
        await consumer.stop()
