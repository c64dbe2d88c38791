"""A Kafka whose topics come and go: for tests, benchmarks and replay."""

from __future__ import annotations

import asyncio

from contracts.configuration import Configuration, Kafka
from deploy.kafka.broker import Broker
from deploy.kafka.topics import create_topics, delete_topics, describe_topics

WIPE_TIMEOUT_S = 30.0


class ScratchKafka(Broker):
    """A `Broker` with what one does between two runs on it."""

    async def create(self, *, partitions: int = 4) -> Configuration:
        """Create BioTwin's topics; returns a configuration that points here."""
        configuration = Configuration(kafka=Kafka(bootstrap=self.bootstrap, partitions=partitions))
        await create_topics(self.bootstrap, configuration)
        return configuration

    async def wipe(self) -> None:
        """Delete every topic and wait until they are gone. Kafka offers no event for that, so it is asked again."""
        names = [state.name for state in await describe_topics(self.bootstrap)]
        if names:
            await delete_topics(self.bootstrap, names)
        async with asyncio.timeout(WIPE_TIMEOUT_S):
            while await describe_topics(self.bootstrap):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
