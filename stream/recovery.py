"""Recovery: from a changelog partition back to a processor, and where reading of the source must go on.

The manifest says up to which offset everything is applied and which version of each block that takes. A block that is
older than that (a worker thought dead wrote it late) or missing is noticed here, and the source is read again from the
position of the version that was found, or from the beginning; rows that know those records skip them by their fence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.checkpoint import MANIFEST, Manifest, StoredBlock, parse_manifest, parse_value
from stream.processor import PartitionProcessor

log = structlog.get_logger("stream.recovery")


class Plan(NamedTuple):
    """What a changelog partition holds. `start` is where reading of the source goes on, None for "no state at all".
    `stale` numbers the blocks that are older than the manifest says, or missing."""

    blocks: list[StoredBlock]
    manifest: Manifest | None
    start: int | None
    stale: list[int]


class Recovered(NamedTuple):
    """A processor with its state, the offset at which it goes on and what its last checkpoint knew."""

    processor: PartitionProcessor
    position: int | None
    checkpoint: int
    block_positions: dict[int, int]


def plan_recovery(partition: int, newest: Mapping[bytes, bytes]) -> Plan:
    """Judge the newest value of each key of one changelog partition."""
    manifest: Manifest | None = None
    blocks: dict[int, StoredBlock] = {}
    for key, value in newest.items():
        owner, _, name = key.partition(b"/")
        if owner != b"%d" % partition:
            continue
        if name == MANIFEST:
            manifest = parse_manifest(value)
        else:
            header, payload = parse_value(value)
            blocks[int(name)] = StoredBlock(int(name), header, payload)
    ordered = [blocks[number] for number in sorted(blocks)]
    if manifest is None:
        # Blocks without a manifest: the first checkpoint was never closed. What they hold is true, the rest is unknown.
        return Plan(ordered, None, 0 if blocks else None, [])
    stale = [
        number
        for number, position in manifest.blocks.items()
        if number not in blocks or blocks[number].header.position < position
    ]
    start = min(
        [manifest.position, *(blocks[number].header.position if number in blocks else 0 for number in stale)],
    )
    return Plan(ordered, manifest, start, stale)


async def read_newest(
    bootstrap: str, topic: str, partition: int, progress: Callable[[int], None]
) -> dict[bytes, bytes]:
    """The newest value of each key of one partition, read from its start to the end it has now.

    `progress` is told how many records are left to read.
    """
    source = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=32 * 1024 * 1024,
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    newest: dict[bytes, bytes] = {}
    try:
        consumer.assign([source])
        end = (await consumer.end_offsets([source]))[source]
        begin = (await consumer.beginning_offsets([source]))[source]
        consumer.seek(source, begin)
        at = begin
        while at < end:
            progress(end - at)
            fetched = await consumer.getmany(source, timeout_ms=500, max_records=5000)
            for record in fetched.get(source, ()):
                if record.value is None:
                    newest.pop(record.key, None)
                else:
                    newest[record.key] = record.value
            at = await consumer.position(source)
        progress(0)
    finally:
        await consumer.stop()
    return newest


async def partitions_of(bootstrap: str, topic: str) -> list[int]:
    """The partitions of a topic, as the brokers have it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        return sorted(partition["partition"] for partition in described["partitions"])
    finally:
        await admin.close()


async def recover_partition(
    bootstrap: str,
    changelog: str,
    partition: int,
    create: Callable[[int], PartitionProcessor],
    progress: Callable[[int], None],
) -> Recovered:
    """A processor of `partition` with everything its changelog holds. Raises `StateVersionError` or `ChangelogError`
    where that cannot be read by this build."""
    plan = plan_recovery(partition, await read_newest(bootstrap, changelog, partition, progress))
    processor = create(partition)
    for count, block in enumerate(plan.blocks):
        processor.load_block(block.number, block.payload)
        if count % 32 == 0:
            await asyncio.sleep(0)
    if plan.stale:
        log.warning(
            "blocks are older than their manifest says; reading the source again",
            changelog=changelog,
            partition=partition,
            blocks=len(plan.stale),
            start=plan.start,
        )
    elif plan.manifest is None and plan.blocks:
        log.warning("changelog has blocks but no manifest; reading the source from its start", changelog=changelog)
    positions = {block.number: block.header.position for block in plan.blocks}
    checkpoint = plan.manifest.checkpoint if plan.manifest else 0
    return Recovered(processor, plan.start, checkpoint, positions)
