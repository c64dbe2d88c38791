"""A worker whose processors only count, for tests that kill it: `counting_worker.py BOOTSTRAP [setting=value ...]`.

It is the product's own worker in everything but the two processors. With `stop_raises=NAME` that exception comes out of
Faust's stop, once everything is checkpointed.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import Sequence

import orjson
from aiokafka.errors import KafkaConnectionError

from contracts.metrics import ProcessMetrics
from deploy.configuration import load_configuration
from deploy.process import configure_logging, run
from stream.processor import Block, OutputRecord, SourceRecord
from stream.transport import Consumer, Transport
from stream.worker import EXIT_KAFKA, WorkerProcess, start_again, worker_stages

ROW = struct.Struct("<32sqq")
ROWS = 64
STOP_RAISES: dict[str, type[BaseException]] = {
    error.__name__: error for error in (asyncio.CancelledError, RuntimeError, KafkaConnectionError)
}


class CountingProcessor:
    """Counts records per key. A row is (key, count, next offset); every `every`-th record of a key is announced."""

    def __init__(self, partition: int, topic: str, every: int = 10) -> None:
        self._partition = partition
        self._topic = topic
        self._every = every
        self._index: dict[bytes, int] = {}
        self._rows: list[list[int]] = []
        self._keys: list[bytes] = []
        self._dirty: set[int] = set()
        self._counters = {"records": 0, "applied": 0, "fence_skips": 0}

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:  # noqa: ARG002
        outputs = []
        for record in records:
            self._counters["records"] += 1
            if record.key is None:
                continue
            if record.value == b"bug":
                raise ValueError("a bug in the processor")
            if record.value == b"cancelled":
                raise asyncio.CancelledError("cancelled by nobody")
            index = self._index.get(record.key)
            if index is None:
                index = self._index[record.key] = len(self._rows)
                self._rows.append([0, 0])
                self._keys.append(record.key)
            row = self._rows[index]
            if record.offset < row[1]:
                self._counters["fence_skips"] += 1
                continue
            row[0] += 1
            row[1] = record.offset + 1
            self._counters["applied"] += 1
            self._dirty.add(index // ROWS)
            if self._topic and row[0] % self._every == 0:
                value = orjson.dumps({"key": record.key.decode(), "count": row[0]})
                outputs.append(OutputRecord(self._topic, record.key, value))
        return outputs

    def flush(self, now: float) -> list[OutputRecord]:  # noqa: ARG002
        return []

    def changed_blocks(self) -> list[Block]:
        blocks = []
        for number in sorted(self._dirty):
            span = range(number * ROWS, min((number + 1) * ROWS, len(self._rows)))
            payload = b"".join(ROW.pack(self._keys[i], *self._rows[i]) for i in span)
            blocks.append(Block(number, min(self._rows[i][1] for i in span), payload))
        self._dirty.clear()
        return blocks

    def load_block(self, number: int, payload: bytes) -> None:
        for index, (key, count, fence) in enumerate(ROW.iter_unpack(payload), start=number * ROWS):
            name = key.rstrip(b"\0")
            while len(self._rows) <= index:
                self._rows.append([0, 0])
                self._keys.append(b"")
            self._index[name] = index
            self._keys[index] = name
            self._rows[index] = [count, fence]

    def changed_bytes(self) -> int:
        return len(self._dirty) * ROWS * ROW.size

    def counters(self) -> dict[str, int]:
        return self._counters | {"rows": len(self._rows)}


def counts_of(payload: bytes) -> dict[bytes, int]:
    """The counts in one stored block."""
    return {key.rstrip(b"\0"): count for key, count, _ in ROW.iter_unpack(payload)}


def raise_at_stop(error: type[BaseException]) -> None:
    """Let Faust's stop end as it does when a crash has ended the consumer's thread under it."""

    class Stumbling(Consumer):
        async def wait_empty(self) -> None:
            await super().wait_empty()
            raise error("stumbled while stopping")

    Transport.Consumer = Stumbling


def main() -> int:
    bootstrap, *settings = sys.argv[1:]
    overrides = {"kafka.bootstrap": bootstrap} | dict(setting.split("=", 1) for setting in settings)
    if (stop_raises := overrides.pop("stop_raises", None)) is not None:
        raise_at_stop(STOP_RAISES[stop_raises])
    configuration = load_configuration(overrides=overrides)
    configure_logging("counting-worker", os.environ.get("LOG", "WARNING"))
    stages = worker_stages(
        configuration,
        lambda partition: CountingProcessor(partition, "conditions"),
        lambda partition: CountingProcessor(partition, "", every=1),
    )
    process = WorkerProcess(configuration, ProcessMetrics(), stages)
    status = run(process.run)
    if status == EXIT_KAFKA:
        start_again()
    return status


if __name__ == "__main__":
    sys.exit(main())
