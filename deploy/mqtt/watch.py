"""Watch the MQTT broker's own figures ($SYS): what it holds, what it dropped. Mosquitto publishes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiomqtt
import structlog

from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from deploy.mqtt.client import client_of
from deploy.mqtt.mosquitto import MAX_QUEUED_BYTES

STORED = "$SYS/broker/store/messages/bytes"
DROPPED = "$SYS/broker/publish/messages/dropped"
RETRY_S = 2.0

log = structlog.get_logger(__name__)


async def watch_broker(configuration: Configuration, metrics: ProcessMetrics, stop: asyncio.Event) -> None:
    """Keep the gauges up to date until `stop`; reconnects by itself."""
    metrics.gauge("biotwin_mqtt_broker_full_bytes").set(MAX_QUEUED_BYTES)
    gauges: dict[str, Callable[[float], None]] = {
        STORED: metrics.gauge("biotwin_mqtt_broker_stored_bytes").set,
        DROPPED: metrics.gauge("biotwin_mqtt_broker_dropped").set,
    }
    connected = metrics.gauge("biotwin_mqtt_connected")
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        watching = asyncio.create_task(_watch(configuration, gauges, connected.set))
        await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        try:
            await watching
        except asyncio.CancelledError:
            break
        except aiomqtt.MqttError as error:
            log.warning("mqtt_disconnected", reason=str(error))
            await asyncio.wait({stopping}, timeout=RETRY_S)
        finally:
            connected.set(0)
    stopping.cancel()


async def _watch(
    configuration: Configuration, gauges: dict[str, Callable[[float], None]], connected: Callable[[float], None]
) -> None:
    async with client_of(configuration.mqtt) as client:
        connected(1)
        for topic in gauges:
            await client.subscribe(topic)
        async for message in client.messages:
            payload = message.payload
            if isinstance(payload, bytes) and payload.isdigit():
                gauges[str(message.topic)](float(payload))
