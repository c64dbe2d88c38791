"""Writes receipts to `alerts.receipts`, in the order in which they were given."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.configuration import Configuration
from contracts.receipt import Receipt
from contracts.topics import ALERT_RECEIPTS

BATCH_RECEIPTS = 500

log = structlog.get_logger(__name__)


class ReceiptLog:
    """`put` takes a receipt and gives a future that is done when Kafka has it, however long Kafka is away.

    `on_up` is told whether receipts can be written: without the topic they cannot.
    """

    def __init__(self, configuration: Configuration, on_up: Callable[[bool], None]) -> None:
        self._configuration = configuration
        self._on_up = on_up
        self._waiting: asyncio.Queue[tuple[Receipt, asyncio.Future[None]]] = asyncio.Queue()

    def put(self, receipt: Receipt) -> asyncio.Future[None]:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((receipt, written))
        return written

    async def drained(self) -> None:
        """Until Kafka has everything that was put."""
        await self._waiting.join()

    async def run(self) -> None:
        """Write until cancelled; a producer that fails is replaced after a pause."""
        delay = shortest = self._configuration.ingest.reconnect_min_s
        batch: list[tuple[Receipt, asyncio.Future[None]]] = []
        while True:
            producer = self._producer()
            try:
                await producer.start()
                await producer.partitions_for(ALERT_RECEIPTS)
                self._on_up(True)
                while True:
                    if not batch:
                        batch.append(await self._waiting.get())
                        while len(batch) < BATCH_RECEIPTS and not self._waiting.empty():
                            batch.append(self._waiting.get_nowait())
                    await self._write(producer, batch)
                    batch = []
                    delay = shortest
            except KafkaError as error:
                self._on_up(False)
                log.warning("receipts_not_written", reason=str(error) or type(error).__name__, retry_s=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, self._configuration.ingest.reconnect_max_s)
            finally:
                with contextlib.suppress(KafkaError):
                    await producer.stop()

    async def _write(self, producer: AIOKafkaProducer, batch: list[tuple[Receipt, asyncio.Future[None]]]) -> None:
        on_their_way = [
            await producer.send(ALERT_RECEIPTS, msgspec.json.encode(receipt), key=receipt.patient.encode())
            for receipt, _ in batch
        ]
        await asyncio.gather(*on_their_way)
        for _, written in batch:
            if not written.done():
                written.set_result(None)
            self._waiting.task_done()

    def _producer(self) -> AIOKafkaProducer:
        kafka = self._configuration.kafka
        return AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap,
            client_id="biotwin-receipts",
            acks="all",
            enable_idempotence=True,
            linger_ms=2,
            request_timeout_ms=int(kafka.request_timeout_s * 1000),
        )
