"""`biotwin bench alerts`: how soon an alert is with everybody who listens, while one of them has stopped reading.

Console and `biotwin deliver` run as processes of their own on the embedded Kafka and an MQTT broker; all subscribers
are in one further process. Time runs from Kafka's own timestamp of the alert's record, which is its arrival there (ms),
to the moment at which the bytes have come to a subscriber.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random
from secrets import token_urlsafe
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaProducer

from alerts.console.accounts import Accounts
from alerts.console.roles import Principal
from contracts.condition import Alert, Provenance, to_builtins
from contracts.configuration import Configuration
from contracts.topics import ALERTS
from loadtest.fan_out_clients import Plan
from loadtest.system import System

Say = Callable[[str], None]
ACCOUNT = "subscriber"
PATIENTS = 200
WARM_UP = 20
SETTLE_S = 2.0


class FanOutPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`alerts` alerts, `rate_per_s` in the mean at times drawn from the seed."""

    subscribers: int = 500
    mqtt: int = 50
    stalled: int = 1
    alerts: int = 200
    rate_per_s: float = 4.0
    seed: int = 1


def run_fan_out(configuration: Configuration, plan: FanOutPlan, say: Say) -> dict[str, Any]:
    """Measure; `complete` in the result says whether every subscriber that reads got every alert."""
    with System(configuration) as system:
        system.start("console", "console")
        system.start("deliver", "deliver")
        system.wait_ready("console", "deliver")
        mqtt = system.configuration.mqtt
        clients = Plan(
            console_port=system.configuration.console.port,
            session=_sign_in(system.configuration, plan.subscribers),
            mqtt_port=mqtt.port,
            mqtt_topic=f"biotwin/v1/{system.configuration.site}/alerts/#",
            subscribers=plan.subscribers,
            mqtt=plan.mqtt,
            stalled=plan.stalled,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.fan_out_clients", msgspec.json.encode(clients).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        system.guardian.guard(process.pid)
        try:
            if process.stdout is None or process.stdout.readline().strip() != b"ready":
                raise RuntimeError("the subscribers did not come up")
            say(f"{plan.subscribers} SSE and {plan.mqtt} MQTT subscribers listen, {plan.stalled} of each has stopped")
            arrived = asyncio.run(_produce(system.configuration.kafka.bootstrap, plan))
            time.sleep(SETTLE_S)
            system.look()
            output, _ = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        usage = {name: round(used.cpu_s, 1) for name, used in system.usage().items()}
    return _result(plan, arrived, orjson.loads(output), usage)


def _sign_in(configuration: Configuration, subscribers: int) -> str:
    """A session for each subscriber, as for people at browsers; gives what their cookies begin with."""
    accounts, session = Accounts(configuration.console.accounts), token_urlsafe(16)
    accounts.add(ACCOUNT, "clinician", None)
    for number in range(subscribers):
        accounts.open_session(f"{session}-{number}", Principal(ACCOUNT, "clinician", "link"))
    return session


async def _produce(bootstrap: str, plan: FanOutPlan) -> dict[str, float]:
    """Write the alerts; gives when each arrived in Kafka (s), without those that warm up."""
    chance = Random(plan.seed)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    arrived: dict[str, float] = {}
    try:
        for number in range(WARM_UP + plan.alerts):
            await asyncio.sleep(chance.expovariate(plan.rate_per_s))
            alert = _alert(number)
            value = orjson.dumps(to_builtins(alert), option=orjson.OPT_SORT_KEYS)
            written = await producer.send_and_wait(ALERTS, value, key=alert.patient.encode())
            if number >= WARM_UP:
                arrived[alert.id] = written.timestamp / 1000.0
    finally:
        await producer.stop()
    return arrived


def _alert(number: int) -> Alert:
    now = time.time()
    return Alert(
        id=f"{number:016x}",
        patient=f"p{number % PATIENTS:03d}",
        rule="spo2-below-85",
        kind="physiological",
        priority="high",
        state="active",
        transition="onset",
        stage="settled",
        t=now,
        onset_t=now,
        sequence=1,
        message="SpO2 is 82 %, below 85 %.",
        source="loadtest",
        provenance=Provenance(0, number, now, now),
    )


def _result(
    plan: FanOutPlan, arrived: dict[str, float], told: dict[str, Any], usage: dict[str, float]
) -> dict[str, Any]:
    result: dict[str, Any] = {"plan": msgspec.to_builtins(plan)}
    complete = True
    for kind, subscribers in (("sse", plan.subscribers), ("mqtt", plan.mqtt)):
        waited_ms = sorted(1000.0 * (t - arrived[alert]) for alert, t in told["receipts"][kind] if alert in arrived)
        expected = (subscribers - plan.stalled) * len(arrived)
        complete = complete and len(waited_ms) == expected
        result[kind] = {
            "receipts": len(waited_ms),
            "expected": expected,
            "lost_connections": told["lost"][kind],
            **{f"p{q}_ms": _quantile(waited_ms, q) for q in (50, 95, 99)},
            "max_ms": round(waited_ms[-1], 1) if waited_ms else None,
        }
    return result | {"cpu_s": usage, "complete": complete}


def _quantile(ordered: list[float], percent: int) -> float | None:
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1) if ordered else None
