"""Says in Kafka which stations have this console open, so that one that is lost is missed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.topics import HEARTBEATS

BEAT_S = 5.0
RETRY_S = 1.0

log = structlog.get_logger(__name__)


async def beat(bootstrap: str, stations: Callable[[], Iterable[str]]) -> None:
    """A heartbeat for each station whose browser listens now, every `BEAT_S`, until cancelled."""
    said = False
    while True:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, client_id="biotwin-console")
        try:
            await producer.start()
            said = False
            while True:
                for station in sorted(set(stations())):
                    value = b'{"t":%.3f}' % time.time()
                    await producer.send_and_wait(HEARTBEATS, value, key=b"console:" + station.encode())
                await asyncio.sleep(BEAT_S)
        except KafkaError as error:
            if not said:
                log.warning("heartbeats_not_written", reason=str(error) or type(error).__name__)
            said = True
        finally:
            with contextlib.suppress(KafkaError):
                await producer.stop()
        await asyncio.sleep(RETRY_S)
