"""What every process shares: a metrics endpoint that can be found, logs without forbidden fields, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import pytest

from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from deploy.children import wait_until
from deploy.process import drop_forbidden_keys, run_folder, running_processes, serve_metrics

PROGRAM = """
import asyncio
import structlog
from deploy.configuration import load_configuration
from contracts.metrics import ProcessMetrics
from deploy.process import configure_logging, run, serve_metrics

async def main(stop):
    metrics = ProcessMetrics()
    with serve_metrics(load_configuration(), metrics, "ingest-0") as endpoint:
        metrics.counter("biotwin_ingest_readings_total").inc(42)
        structlog.get_logger().info("admitted", patient="p1", display_name="Ann Example", nested={"token": "s3cret"})
        endpoint.set_ready(True)
        await stop.wait()
        structlog.get_logger().info("drained")

configure_logging("ingest-0")
run(main)
"""


def test_endpoint_says_live_ready_and_metrics(tmp_path: Path) -> None:
    configuration = Configuration(data=str(tmp_path))
    metrics = ProcessMetrics()
    alive = True
    with serve_metrics(configuration, metrics, "worker-a", live=lambda: alive) as endpoint:
        (found,) = running_processes(configuration)
        assert (found.name, found.pid, found.port) == ("worker-a", os.getpid(), endpoint.port)
        assert found.host == "127.0.0.1"
        assert httpx.get(f"{found.url}/healthz").status_code == 200
        assert httpx.get(f"{found.url}/readyz").status_code == 503
        endpoint.set_ready(True)
        assert httpx.get(f"{found.url}/readyz").status_code == 200
        alive = False
        assert httpx.get(f"{found.url}/healthz").status_code == 503
        text = httpx.get(f"{found.url}/metrics").text
        assert "biotwin_ready 1.0" in text
        resident = next(line for line in text.splitlines() if line.startswith("biotwin_resident_memory_bytes "))
        assert float(resident.split()[1]) > 1e6
    assert running_processes(configuration) == []
    assert list(run_folder(configuration).iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_zero(tmp_path: Path, number: signal.Signals) -> None:
    configuration = Configuration(data=str(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"BIOTWIN_DATA": str(tmp_path)},
        stderr=subprocess.PIPE,
    )
    try:
        assert wait_until(lambda: bool(running_processes(configuration)), 60.0)
        (found,) = running_processes(configuration)
        assert wait_until(lambda: httpx.get(f"{found.url}/readyz").status_code == 200, 60.0)
        child.send_signal(number)
        _, stderr = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0
    lines = [orjson.loads(line) for line in stderr.splitlines()]
    admitted = next(line for line in lines if line["event"] == "admitted")
    assert admitted["process"] == "ingest-0"
    assert admitted["patient"] == "p1"
    assert admitted["dropped"] == ["display_name", "token"]
    assert b"Ann" not in stderr
    assert b"s3cret" not in stderr
    assert lines[-1]["event"] == "drained"
    assert running_processes(configuration) == []


def test_two_processes_of_one_name_are_both_found(tmp_path: Path) -> None:
    configuration = Configuration(data=str(tmp_path))
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=os.environ | {"BIOTWIN_DATA": str(tmp_path)}, stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: bool(running_processes(configuration)), 60.0)
        with serve_metrics(configuration, ProcessMetrics(), "ingest-0"):
            found = running_processes(configuration)
            assert {process.pid for process in found} == {child.pid, os.getpid()}
            assert len({process.name for process in found}) == 2
    finally:
        child.terminate()
        child.wait(30)


def test_forbidden_fields_are_dropped_whatever_their_case() -> None:
    event = {"event": "x", "Birth_Date": "1950-01-01", "t": 1.0}
    assert drop_forbidden_keys(None, "info", event) == {"event": "x", "t": 1.0, "dropped": ["Birth_Date"]}
