"""Everything running on this machine: every reading is accounted for, kills change nothing, nothing stays behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from contracts import topics
from contracts.command import Bind
from contracts.configuration import Configuration
from deploy.children import wait_until
from loadtest.guardian import Guardian
from loadtest.kafka_log import keyed_values
from loadtest.kill import run_kills
from loadtest.kill_plan import KillPlan, plan_blows
from loadtest.simulate import give_orders
from loadtest.simulation import Order
from loadtest.system import System


@pytest.mark.kafka
@pytest.mark.mqtt
def test_the_demo_loses_nothing_and_accounts_for_every_reading(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "deploy.cli", "demo", "--patients", "20", "--duration", "20"]
    done = subprocess.run(
        [*command, "--report", str(report), "--no-browser"], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = orjson.loads(report.read_bytes())
    assert figures["published"] > 300
    assert figures["acknowledged"] == figures["published"]
    assert figures["lost"] == 0
    accounted = sum(figures[name] for name in ("applied", "late", "quarantined", "duplicates"))
    assert figures["published"] == accounted
    assert figures["latency_ms"]["publish_to_alert"] is None, "fewer than 200 alerts say nothing about a percentile"
    assert {"kafka", "ingest-0", "worker", "console", "simulator"} <= figures["cpu_s"].keys()
    assert "http://127.0.0.1:" in done.stdout


@pytest.mark.kafka
@pytest.mark.mqtt
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_demo_that_ends_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    log = (tmp_path / "demo.log").open("wb")
    demo = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "demo", "--patients", "2", "--no-browser"], stdout=log, stderr=log
    )
    process = psutil.Process(demo.pid)

    try:
        assert wait_until(lambda: b"console   http" in (tmp_path / "demo.log").read_bytes(), 200.0, 0.3)
        started = process.children(recursive=True)
        assert len(started) >= 8
        demo.send_signal(number)
        assert wait_until(lambda: demo.poll() is not None, 60.0, 0.2)
        assert wait_until(lambda: not any(one.is_running() for one in started), 60.0, 0.2)
    finally:
        if demo.poll() is None:
            demo.kill()
        log.close()


def test_the_guardian_ends_what_its_owner_leaves_behind(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    guardian = Guardian()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    guardian.guard(child.pid)
    guardian.remove_at_end(folder)
    guardian.close()
    assert child.wait(60) == -signal.SIGTERM
    assert not folder.exists()


def test_blows_are_drawn_from_the_seed_and_mostly_aimed() -> None:
    plan = KillPlan(kills=60, stalls=5, seed=4)
    blows = plan_blows(plan, 10_000)
    assert blows == plan_blows(plan, 10_000)
    assert blows != plan_blows(KillPlan(kills=60, stalls=5, seed=5), 10_000)
    assert [sum(blow.kind == kind for blow in blows) for kind in ("ingest", "worker", "kafka", "stall")] == [
        20,
        20,
        20,
        5,
    ]
    assert sum(blow.aimed for blow in blows) >= 40


DEVICE = """
import sys, threading
import paho.mqtt.client as paho
port, topic = int(sys.argv[1]), sys.argv[2]
client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
client.will_set(topic, b'{"state": "offline"}', qos=1, retain=True)
up = threading.Event()
client.on_connect = lambda *_: up.set()
client.connect("127.0.0.1", port)
client.loop_start()
up.wait()
client.publish(topic, b'{"state": "online"}', qos=1, retain=True).wait_for_publish()
print("online", flush=True)
threading.Event().wait()
"""
"""A device that says that it is there, leaves a last will, and measures nothing."""


@pytest.mark.kafka
@pytest.mark.mqtt
def test_a_device_whose_connection_breaks_is_told_by_its_last_will_until_it_is_back() -> None:
    """A real broker, a real last will: the device is killed and says nothing any more."""
    with System(Configuration()) as system:
        system.start("worker", "worker")
        system.wait_ready("worker")
        configuration = system.configuration
        bootstrap = configuration.kafka.bootstrap
        bind = Bind(id="b", t=time.time() - 60.0, author="test", device="pump", patient="p1")
        asyncio.run(give_orders(configuration, [Order(0.0, bind)]))
        assert wait_until(lambda: len(asyncio.run(keyed_values(bootstrap, topics.BINDINGS))) == 1, 60.0, 0.2)
        system.start("ingest", "ingest")
        system.wait_ready("ingest")

        def told() -> list[tuple[str, str]]:
            values = asyncio.run(keyed_values(bootstrap, topics.ALERTS))
            alerts = [orjson.loads(value) for _, value in values if value is not None]
            return [(one["transition"], one["message"]) for one in alerts if one["rule"] == "device-silent"]

        topic = f"biotwin/v1/{configuration.site}/pump/status"
        command = [sys.executable, "-c", DEVICE, str(configuration.mqtt.port), topic]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
            try:
                assert device.stdout is not None
                assert device.stdout.readline() == "online\n"
                assert told() == []
            finally:
                device.kill()
        assert wait_until(lambda: told()[:1] == [("onset", "Connection lost: pump.")], 60.0, 0.3), told()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as device:
            try:
                assert wait_until(lambda: told()[-1][0] == "clear", 60.0, 0.3), told()
            finally:
                device.kill()


@pytest.mark.kafka
@pytest.mark.mqtt
@pytest.mark.timeout(600)
def test_kills_of_every_part_change_no_alert_and_no_twin() -> None:
    """The small form of `biotwin bench kills`: one kill -9 of each part, one worker frozen past its session."""
    said: list[str] = []
    result = run_kills(Configuration(), KillPlan(kills=3, stalls=1, readings=2500, seed=2, patients=60), said.append)
    assert result["passed"], (result, said)
    assert result["kills"] == {"ingest": 1, "worker": 1, "kafka": 1}
    assert result["alerts"] > 0
    assert result["twins"] == 60
