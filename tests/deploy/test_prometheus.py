"""Metrics as Prometheus sees them: found, scraped, queried; rules that parse; a document that is current."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.configuration import Configuration, Mqtt
from contracts.metrics import METRICS, ProcessMetrics
from deploy.children import free_ports, wait_until
from deploy.mqtt.mosquitto import MosquittoBroker
from deploy.mqtt.watch import watch_broker
from deploy.process import serve_metrics
from deploy.prometheus.document import metrics_document
from deploy.prometheus.generate import write_prometheus

REPOSITORY = Path(__file__).resolve().parents[2]


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        reply = httpx.get(f"{self.url}/api/v1/query", params={"query": expression})
        found: list[dict[str, Any]] = reply.json()["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return Configuration(data=str(tmp_path / "var"))


@pytest.fixture
def prometheus(tmp_path: Path, configuration: Configuration) -> Iterator[Prometheus]:
    file = write_prometheus(configuration, tmp_path / "prometheus", interval="1s")
    port = free_ports(1)[0]
    with (tmp_path / "prometheus.log").open("wb") as log:
        child = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(f"http://127.0.0.1:{port}")

    def is_ready() -> bool:
        try:
            return httpx.get(f"{server.url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        assert wait_until(is_ready, 60), (tmp_path / "prometheus.log").read_text()
        yield server
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


@pytest.mark.prometheus
def test_real_prometheus_finds_and_scrapes_a_process(prometheus: Prometheus, configuration: Configuration) -> None:
    metrics = ProcessMetrics()
    with serve_metrics(configuration, metrics, "ingest-0") as endpoint:
        metrics.counter("biotwin_ingest_readings_total").inc(42)
        metrics.counter("biotwin_quarantined_total").labels("not_json").inc(3)
        metrics.histogram("biotwin_publish_to_ingest_seconds").observe(0.004)
        endpoint.set_ready(True)
        assert wait_until(lambda: prometheus.value('biotwin_ready{process="ingest-0"}') == 1.0, 60.0, 0.2)
        assert prometheus.value("biotwin_ingest_readings_total") == 42.0
        assert prometheus.value('biotwin_quarantined_total{reason="not_json"}') == 3.0
        assert prometheus.value("biotwin_publish_to_ingest_seconds_count") == 1.0
        resident = prometheus.value("biotwin_resident_memory_bytes")
        assert resident is not None
        assert resident > 1e6
        labels = prometheus.query("biotwin_ingest_readings_total")[0]["metric"]
        assert set(labels) == {"__name__", "instance", "job", "process"}
    assert wait_until(lambda: prometheus.query("up") == [], 60.0, 0.2), "a process that said goodbye is still scraped"


@pytest.mark.prometheus
def test_every_rule_runs_on_a_real_prometheus(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = httpx.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    assert wait_until(lambda: bool(rules()) and all(rule["health"] != "unknown" for rule in rules()), 60.0, 0.2)
    assert {rule["name"]: rule["health"] for rule in rules()} == {rule["name"]: "ok" for rule in rules()}
    assert len(rules()) >= 10


def test_rules_use_declared_metrics_only(tmp_path: Path, configuration: Configuration) -> None:
    write_prometheus(configuration, tmp_path / "out")
    known = {metric.name for metric in METRICS}
    text = (tmp_path / "out" / "rules.yml").read_text()
    used = {
        word.removesuffix("_bucket")
        for line in text.splitlines()
        if line.strip().startswith("expr:")
        for word in "".join(c if c.isalnum() or c == "_" else " " for c in line).split()
        if word.startswith("biotwin_")
    }
    assert used
    assert used <= known


def test_document_of_metrics_is_current() -> None:
    assert (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8") == metrics_document(), "run `make docs`"


@pytest.mark.mqtt
async def test_the_brokers_own_figures_become_metrics(mqtt: MosquittoBroker) -> None:
    configuration = Configuration(mqtt=Mqtt(host=mqtt.host, port=mqtt.port))
    metrics, stop = ProcessMetrics(), asyncio.Event()
    task = asyncio.create_task(watch_broker(configuration, metrics, stop))

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(name)

    assert await asyncio.to_thread(wait_until, lambda: bool(value("biotwin_mqtt_broker_stored_bytes")), 30)
    assert value("biotwin_mqtt_connected") == 1.0
    assert value("biotwin_mqtt_broker_dropped") == 0.0
    full = value("biotwin_mqtt_broker_full_bytes")
    assert full is not None
    assert full > 1e6
    stop.set()
    await asyncio.wait_for(task, 10)
    assert value("biotwin_mqtt_connected") == 0.0


def test_command_writes_a_configuration_that_prometheus_accepts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "metrics", "prometheus"],
        cwd=tmp_path,
        env=os.environ | {"BIOTWIN_DATA": "data"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "data/prometheus/prometheus.yml" in done.stdout
    text = (tmp_path / "data/prometheus/prometheus.yml").read_text()
    assert f"{tmp_path}/data/run/*.json" in text
    if (promtool := shutil.which("promtool")) is not None:
        subprocess.run([promtool, "check", "config", tmp_path / "data/prometheus/prometheus.yml"], check=True)
