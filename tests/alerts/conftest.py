"""A configuration of its own for each test of delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from contracts.configuration import Configuration, Deliver, Ingest, Mqtt
from deploy.mqtt.mosquitto import MosquittoBroker


@pytest.fixture
async def configuration(
    kafka: Any, mqtt: MosquittoBroker, request: pytest.FixtureRequest
) -> AsyncIterator[Configuration]:
    """Topics of this test's own on the session's brokers, and a site of its own."""
    await kafka.wipe()
    made: Configuration = await kafka.create(partitions=4)
    yield msgspec.structs.replace(
        made,
        site=f"site-{abs(hash(request.node.name)) % 10**6}",
        mqtt=Mqtt(host=mqtt.host, port=mqtt.port),
        ingest=Ingest(reconnect_min_s=0.05, reconnect_max_s=0.5),
    )
    await kafka.wipe()


@pytest.fixture
async def without_mqtt(kafka: Any, request: pytest.FixtureRequest) -> AsyncIterator[Configuration]:
    """The same for subscriptions alone."""
    await kafka.wipe()
    made: Configuration = await kafka.create(partitions=2)
    yield msgspec.structs.replace(
        made,
        site=f"site-{abs(hash(request.node.name)) % 10**6}",
        deliver=Deliver(mqtt=False),
        ingest=Ingest(reconnect_min_s=0.05, reconnect_max_s=0.5),
    )
    await kafka.wipe()
