"""Hostile payloads: each is applied or stands in quarantine with a reason, and nothing grows or falls over."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.configuration import Configuration
from contracts.topics import QUARANTINE, TELEMETRY
from loadtest.fuzz import START_T, Fuzzer, fuzz_core, publish_fuzz
from loadtest.kafka_log import read_topic
from loadtest.system import System


def test_every_hostile_payload_is_answered_in_bounded_memory() -> None:
    report = fuzz_core(Configuration(), 5000, seed=11)
    assert report.unexplained == 0
    assert report.applied > 500
    assert len(report.quarantined) >= 12
    assert report.rss_growth_mb < 50


def test_the_same_seed_gives_the_same_payloads() -> None:
    assert list(Fuzzer(3).payloads(500, START_T, 0.1)) == list(Fuzzer(3).payloads(500, START_T, 0.1))


@pytest.mark.kafka
@pytest.mark.mqtt
def test_a_running_ingest_survives_hostile_payloads_over_mqtt(tmp_path: Path) -> None:
    """One ingest, never restarted, acknowledges all of them; what it refused says why."""
    with System(Configuration(data=str(tmp_path))) as system:
        ingest = system.start("ingest", "ingest")
        system.wait_ready("ingest")
        sent = asyncio.run(publish_fuzz(system.configuration.mqtt, 800, 5, START_T))
        topics_of = {message.topic for message in sent}

        async def answered() -> int:
            found = 0
            for topic in (TELEMETRY, QUARANTINE):
                async for _ in read_topic(system.configuration.kafka.bootstrap, topic):
                    found += 1
            return found

        counters = ingest.counters()
        for _ in range(100):
            counters = ingest.counters()
            if counters.get("biotwin_mqtt_unacknowledged") == 0.0 and asyncio.run(answered()) > 400:
                break
        assert counters["biotwin_mqtt_unacknowledged"] == 0.0
        assert len(topics_of) > 10
        assert ingest.end() == 0
        assert asyncio.run(answered()) > 400
