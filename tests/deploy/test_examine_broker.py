"""`biotwin doctor --mqtt`: the shipped configuration loses nothing, Mosquitto's defaults are found out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.configuration import Mqtt
from deploy.mqtt.examine import examine
from deploy.mqtt.mosquitto import MosquittoBroker

DEFAULTS = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {data}/
log_dest file {log}
"""


@pytest.mark.mqtt
def test_shipped_configuration_loses_nothing(mqtt: MosquittoBroker) -> None:
    findings = examine(Mqtt(host=mqtt.host, port=mqtt.port))
    assert [finding for finding in findings if not finding.good] == []
    details = {finding.what: finding.detail for finding in findings}
    assert details["kept for an absent member"] == "0 of 6000 lost"
    assert details["receive-maximum honoured"] == "20 sent unacknowledged, 20 allowed"
    assert details["unacknowledged messages sent again"] == "0 of 100 lost"


@pytest.mark.mqtt
def test_mosquittos_defaults_are_found_out(tmp_path: Path) -> None:
    broker = MosquittoBroker(tmp_path, configuration=DEFAULTS)
    broker.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli", "doctor", "--mqtt", broker.url],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        broker.stop()
    assert done.returncode == 1
    lost = re.search(r"kept for an absent member.*?(\d+) of (\d+) lost", done.stdout)
    assert lost is not None, done.stdout
    assert int(lost[1]) > 100
    assert "max_queued_messages 0" in done.stdout


def test_a_broker_that_is_not_there_is_said(free_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "doctor", "--mqtt", f"127.0.0.1:{free_port}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"no connection to 127.0.0.1:{free_port}" in done.stdout.replace("\n", " ")
