"""Reading the topic `bindings`: to its end once, then on as it grows."""

from __future__ import annotations

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from contracts.configuration import Kafka
from contracts.topics import BINDINGS
from ingest.bindings import BindingTable

RETRY_S = 1.0

_log = structlog.get_logger("biotwin.ingest.bindings")


class BindingsFollower:
    """Keeps a `BindingTable` as the topic says. `ready` is set once the table holds all that stood at the start."""

    def __init__(self, configuration: Kafka, table: BindingTable, client_id: str) -> None:
        self._configuration = configuration
        self._table = table
        self._client_id = client_id
        self._failing = False
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follow the topic until cancelled, through whatever happens to Kafka."""
        while True:
            # Without a group every partition is assigned to every ingest, from its beginning.
            consumer = AIOKafkaConsumer(
                BINDINGS,
                bootstrap_servers=self._configuration.bootstrap,
                client_id=self._client_id,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                request_timeout_ms=int(self._configuration.request_timeout_s * 1000),
            )
            try:
                await consumer.start()
                await self._read(consumer)
            except (KafkaError, OSError) as error:
                if not self._failing:
                    self._failing = True
                    _log.error("bindings_unreadable", error=str(error) or type(error).__name__, action="trying again")
            finally:
                await consumer.stop()
            await asyncio.sleep(RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        partitions = list(consumer.assignment())
        if not partitions:
            raise KafkaError(f"there is no topic {BINDINGS}; `biotwin kafka init` creates it")
        left = await consumer.end_offsets(partitions)
        self._failing = False
        while True:
            # A compacted log ends before its end offset where the last record was cleaned: the position tells.
            if not self.ready.is_set():
                behind = [tp for tp in partitions if await consumer.position(tp) < left[tp]]
                if not behind:
                    _log.info("bindings_read", devices=len(self._table))
                    self.ready.set()
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.key is None or self._table.load(record.key, record.value) is None:
                        _log.warning("binding_record_unreadable", partition=record.partition, offset=record.offset)
