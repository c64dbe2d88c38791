"""`biotwin doctor` on this machine: it says what is there, what is missing and how to get it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.children import free_ports
from deploy.kafka.scratch import ScratchKafka


def doctor(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    ports = [str(port) for port in free_ports(2)]
    defaults = {"BIOTWIN_KAFKA__BOOTSTRAP": f"127.0.0.1:{ports[0]}", "BIOTWIN_MQTT__PORT": ports[1]}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", "doctor"],
        cwd=folder,
        env=os.environ | defaults | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def line(done: subprocess.CompletedProcess[str], what: str) -> str:
    return next((text for text in done.stdout.splitlines() if f" {what} " in text), "")


def test_an_empty_home_says_what_will_be_fetched(tmp_path: Path) -> None:
    done = doctor(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), BIOTWIN_MAVEN_URL="http://mirror.example")
    assert "46 of 46" in line(done, "Kafka's jars")
    assert "44 MB from http://mirror.example" in line(done, "Kafka's jars")
    assert "biotwin kafka up" in line(done, "Kafka")
    assert "good" in line(done, "Java runtime")


def test_a_stranger_on_kafkas_port_is_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        done = doctor(tmp_path, BIOTWIN_KAFKA__BOOTSTRAP=f"127.0.0.1:{stranger.getsockname()[1]}")
    assert done.returncode == 1
    assert "something else listens" in line(done, "Kafka")
    assert "kafka.bootstrap" in line(done, "Kafka")


@pytest.mark.kafka
async def test_topics_are_compared_with_the_configuration(kafka: ScratchKafka, tmp_path: Path) -> None:
    await kafka.wipe()
    assert "biotwin kafka init" in line(doctor(tmp_path, BIOTWIN_KAFKA__BOOTSTRAP=kafka.bootstrap), "topics")
    await kafka.create(partitions=4)
    as_configured = doctor(tmp_path, BIOTWIN_KAFKA__BOOTSTRAP=kafka.bootstrap)
    assert "good" in line(as_configured, "topics")
    wider = doctor(tmp_path, BIOTWIN_KAFKA__BOOTSTRAP=kafka.bootstrap, BIOTWIN_KAFKA__PARTITIONS="8")
    assert wider.returncode == 1
    assert "partitions is 4, not 8" in line(wider, "topic telemetry")
    await kafka.wipe()
