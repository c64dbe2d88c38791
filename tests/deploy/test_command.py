"""The `biotwin` command: quick help whatever is missing, global options anywhere, plain errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from deploy.children import free_ports
from deploy.cli import COMMANDS


def biotwin(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_lists_every_command_and_imports_none(tmp_path: Path) -> None:
    done = biotwin(tmp_path, "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    traced = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "deploy.cli", "--help"], capture_output=True, text=True, check=True
    )
    for heavy in ("numba", "numpy", "aiokafka", "faust", "pyarrow", "deploy.cli.kafka"):
        assert f" {heavy}\n" not in traced.stderr


def test_help_is_quick(tmp_path: Path) -> None:
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        biotwin(tmp_path, "--help")
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.5


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_and_explains_itself(tmp_path: Path, name: str) -> None:
    done = biotwin(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_global_options_stand_before_or_after_the_command(tmp_path: Path) -> None:
    before = biotwin(tmp_path, "--kafka", "k:1", "--set", "kafka.partitions=7", "config", "show")
    after = biotwin(tmp_path, "config", "show", "--set=kafka.partitions=7", "--kafka", "k:1")
    assert before.stdout == after.stdout
    shown = orjson.loads(after.stdout)
    assert (shown["kafka"]["bootstrap"], shown["kafka"]["partitions"]) == ("k:1", 7)


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    done = biotwin(tmp_path, "config", "show", "--set", "kafka.partitions=x")
    assert done.returncode == 1
    assert done.stderr.startswith("biotwin: BIOTWIN_KAFKA__PARTITIONS: 'x' does not fit")
    assert "Traceback" not in done.stderr


@pytest.mark.kafka
def test_kafka_from_up_to_reset(tmp_path: Path) -> None:
    environment = {"BIOTWIN_KAFKA__BOOTSTRAP": f"127.0.0.1:{free_ports(1)[0]}", "BIOTWIN_KAFKA__PARTITIONS": "2"}

    def kafka(*arguments: str) -> subprocess.CompletedProcess[str]:
        return biotwin(tmp_path, "kafka", *arguments, **environment)

    assert "biotwin kafka up" in kafka("init").stderr
    try:
        assert "is up" in kafka("up").stdout
        assert "runs already" in kafka("up").stdout
        assert "created: telemetry" in kafka("init").stdout
        assert "all topics exist" in kafka("init").stdout
        differing = kafka("init", "--set", "kafka.partitions=3")
        assert differing.returncode == 1
        assert "telemetry: partitions is 2, the configuration asks for 3" in differing.stderr
        status = kafka("status").stdout
        assert "telemetry.quarantine" in status
        assert "latest of each key" in status
        pid = int((tmp_path / "var/kafka/kafka.pid").read_text())
        assert "Kafka is down" in kafka("down").stdout
        assert not psutil.pid_exists(pid)
        assert kafka("status").returncode == 1

        kafka("up")
        assert "telemetry.quarantine" in kafka("status").stdout
    finally:
        assert "is gone" in kafka("reset", "--yes").stdout
    assert not (tmp_path / "var/kafka").exists()


@pytest.mark.mqtt
def test_mqtt_from_up_to_reset(tmp_path: Path) -> None:
    port = str(free_ports(1)[0])

    def mqtt(*arguments: str) -> subprocess.CompletedProcess[str]:
        return biotwin(tmp_path, "mqtt", *arguments, BIOTWIN_MQTT__PORT=port)

    try:
        assert "is up" in mqtt("up").stdout
        assert "runs already" in mqtt("up").stdout
        assert f"answers at 127.0.0.1:{port}" in mqtt("status").stdout
        assert "is down" in mqtt("down").stdout
        assert mqtt("status").returncode == 1
    finally:
        assert "is gone" in mqtt("reset", "--yes").stdout
