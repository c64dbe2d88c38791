"""`biotwin demo`: everything on this machine, a simulated ward streaming through it, and figures about it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import msgspec
import orjson

from alerts.console.accounts import Accounts
from alerts.console.directory import Directory, Entry
from contracts import topics
from contracts.command import Bind
from contracts.configuration import Configuration
from deploy.children import wait_until
from deploy.mqtt.embedded import WARNING
from loadtest.accounting import FEWEST_ALERTS, account, latencies_ms, lost, percentiles, read_acknowledged, read_log
from loadtest.faults import PRESETS
from loadtest.kafka_log import end_offsets
from loadtest.processes import Child, ChildError, Usage
from loadtest.recording import RecordingMissingError, find_recording
from loadtest.replay import all_applied
from loadtest.simulate import COMMANDS_EVERY_S, give_orders, give_orders_in_time
from loadtest.simulation import Simulation, SimulationPlan
from loadtest.sse import AlertListener
from loadtest.system import System
from loadtest.ward import BRISK

ENDLESS_S = 86_400.0
"""How long a demo without a duration goes on when nobody ends it."""
SETTLE_TIMEOUT_S = 120.0
ACCOUNT = "demo"
WARD_NAMES = ("North", "South", "East", "West")

Say = Callable[[str], None]


class DemoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to show. `duration_s` None runs a day, or until it is told to end, and measures nothing;
    `slots` ingest processes share the load."""

    patients: int
    duration_s: float | None = None
    seed: int = 1
    slots: int = 1
    faults: str = "mild"
    browser: bool = True
    console_port: int = 0


def simulation_plan(plan: DemoPlan, start_t: float, site: str) -> SimulationPlan:
    """The ward of the demo: short events of every kind where it is measured, the recording on one chest strap."""
    try:
        find_recording()
        recorded = True
    except RecordingMissingError:
        recorded = False
    return SimulationPlan(
        patients=plan.patients,
        duration_s=plan.duration_s or ENDLESS_S,
        seed=plan.seed,
        start_t=start_t,
        site=site,
        events=BRISK if plan.duration_s else replace(BRISK, mean_gap_s=180.0),
        faults=PRESETS[plan.faults],
        pressure_period_s=60.0,
        late_bound_share=0.05,
        stray_devices=1,
        recorded=recorded,
    )


def run_demo(
    configuration: Configuration,
    plan: DemoPlan,
    say: Say,
    *,
    foreign_kafka: bool = False,
    foreign_mqtt: bool = False,
) -> dict[str, Any]:
    """Start everything, stream, measure, end everything; returns the report. Ctrl-C ends it at any point.

    Raises `ChildError` and the brokers' errors where something does not start.
    """
    say("starting Kafka and the MQTT broker …")
    system = System(
        configuration, foreign_kafka=foreign_kafka, foreign_mqtt=foreign_mqtt, console_port=plan.console_port
    )
    with system:
        if system.mqtt is not None and not system.mqtt.keeps_sessions:
            say(WARNING)
        say("starting ingest, worker, delivery, history and console (the first time, the kernels are compiled) …")
        ingests = [f"ingest-{slot}" for slot in range(plan.slots)]
        for slot, name in enumerate(ingests):
            system.start(name, "ingest", "--slot", str(slot), ingest__slots=str(plan.slots))
        system.start("worker", "worker")
        system.start("deliver", "deliver")
        system.start("history", "history")
        system.start("console", "console")
        system.wait_ready(*ingests, "worker", "deliver", "history", "console")
        return asyncio.run(_stream(system, plan, ingests, say))


async def _stream(system: System, plan: DemoPlan, ingests: list[str], say: Say) -> dict[str, Any]:
    configuration = system.configuration
    bootstrap = configuration.kafka.bootstrap
    # Admissions and bindings first, for a ward that begins now; the stream begins when they have taken effect.
    simulation = Simulation(simulation_plan(plan, time.time(), configuration.site))
    say(f"admitting {plan.patients} patients and binding {len(simulation.devices)} devices …")
    await asyncio.to_thread(_write_directory, system, simulation)
    first = [order for order in simulation.commands() if order.at <= simulation.plan.start_t]
    await give_orders(configuration, first)
    binds = sum(isinstance(order.command, Bind) for order in first)
    await _until(lambda: _count(bootstrap, topics.BINDINGS), binds, SETTLE_TIMEOUT_S)
    measured = plan.duration_s is not None
    listener = AlertListener(configuration.console.host, configuration.console.port, system.measuring_token)
    listening = asyncio.create_task(listener.run() if measured else asyncio.sleep(0.0))
    if measured:
        await asyncio.wait_for(listener.connected.wait(), 30.0)
    chosen = simulation_plan(plan, time.time() + 2.5 + 0.005 * plan.patients, configuration.site)
    plan_file, file, report = (system.folder / name for name in ("plan.json", "acknowledged.jsonl", "counts.json"))
    await asyncio.to_thread(plan_file.write_bytes, msgspec.json.encode(chosen))
    arguments = ["simulate", "--plan", str(plan_file), "--report", str(report), "--no-commands"]
    simulator = system.start("simulator", *arguments, *(["--file", str(file)] if measured else []))
    orders = [order for order in Simulation(chosen).commands() if order.at > chosen.start_t]
    await asyncio.sleep(max(0.0, chosen.start_t - time.time()))
    door = await asyncio.to_thread(_one_time_link, configuration)
    say(_where_to_look(system, plan, door))
    if plan.browser:
        open_browser(door)
    steering = asyncio.create_task(give_orders_in_time(configuration, orders, chosen.start_t, chosen.start_t, 1.0))
    system.look()
    before = {name: usage.cpu_s for name, usage in system.usage().items()}
    try:
        while simulator.returncode is None:
            await asyncio.to_thread(system.look)
            _raise_if_one_ended(system, simulator)
            await asyncio.sleep(1.0)
        if simulator.returncode != 0:
            raise ChildError(f"the simulator ended with status {simulator.returncode}; see {simulator.log}")
        if not measured:
            return {}
        say("the stream has ended; waiting until everything is applied …")
        await _settled(system, ingests)
        await asyncio.to_thread(system.look)
    finally:
        for task in (steering, listening):
            task.cancel()
        await asyncio.gather(steering, listening, return_exceptions=True)
    usage = system.usage()
    usage["demo"] = Usage()
    usage["demo"].look(os.getpid())
    return await _report(system, listener, file, report, usage, before)


async def _report(
    system: System,
    listener: AlertListener,
    file: Path,
    counts_file: Path,
    usage: dict[str, Usage],
    before: dict[str, float],
) -> dict[str, Any]:
    counts: dict[str, int] = orjson.loads(await asyncio.to_thread(counts_file.read_bytes))
    acknowledged = await asyncio.to_thread(read_acknowledged, file)
    log = await read_log(system.configuration.kafka.bootstrap)
    counters = await asyncio.to_thread(system.children["worker"].counters)
    applied, delivered, left_out = latencies_ms(acknowledged, log, listener.receipts)
    missing = lost(acknowledged, log)
    figures = account(counts["published"], counters, log)
    return {
        "published": counts["published"],
        "acknowledged": acknowledged.readings,
        **figures,
        "lost": len(missing),
        "lost_ids": sorted(missing)[:20],
        "alerts": len({receipt.alert["id"] for receipt in listener.receipts}),
        "alert_records": len(listener.receipts),
        "alerts_timed": len(delivered),
        "alerts_not_timed": dict(left_out),
        "latency_ms": {
            "publish_to_applied": percentiles(applied),
            "publish_to_alert": percentiles(delivered, FEWEST_ALERTS),
        },
        "cpu_s": {name: round(one.cpu_s, 2) for name, one in usage.items()},
        "cpu_s_while_streaming": {name: round(one.cpu_s - before.get(name, 0.0), 2) for name, one in usage.items()},
        "rss_mb": {name: round(one.rss_mb, 1) for name, one in usage.items()},
        "messages": counts["messages"],
        "published_late": counts["delayed"],
    }


def _write_directory(system: System, simulation: Simulation) -> None:
    """Beds and made-up names, into the site's own directory as `biotwin patient admit` does."""
    directory = Directory(system.configuration.console.directory)
    for patient in range(simulation.plan.patients):
        age = int(simulation.ward.age_years[patient])
        kind = "rehabilitation" if simulation.ward.kind(patient) == "rehabilitation" else WARD_NAMES[patient % 4]
        directory.put(
            Entry(
                pseudonym=simulation.pseudonym(patient),
                display_name=f"Simulated patient {patient + 1}",
                ward=kind,
                bed=f"{patient // 4 + 1}-{'ABCD'[patient % 4]}",
                age_band=f"{age // 10 * 10}-{age // 10 * 10 + 9}",
            )
        )


def _raise_if_one_ended(system: System, simulator: Child) -> None:
    for name, child in system.children.items():
        if child is not simulator and child.returncode is not None:
            raise ChildError(f"{name} ended with status {child.returncode}; its log:\n{child.last_lines()}")


async def _settled(system: System, ingests: list[str]) -> None:
    """Wait until ingest holds nothing, the worker has applied everything, and nothing is being released any more."""

    def held() -> float:
        return sum(system.children[name].counters().get("biotwin_mqtt_unacknowledged", 1.0) for name in ingests)

    if not await asyncio.to_thread(wait_until, lambda: held() == 0, SETTLE_TIMEOUT_S, 0.3):
        raise ChildError("ingest did not hand everything over; its MQTT messages are still unacknowledged")
    await asyncio.sleep(2 * COMMANDS_EVERY_S)
    await all_applied([system.children["worker"]], SETTLE_TIMEOUT_S)


async def _count(bootstrap: str, topic: str) -> int:
    return sum((await end_offsets(bootstrap, [topic])).values())


async def _until(ask: Callable[[], Any], wanted: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while await ask() < wanted:
        if time.monotonic() > deadline:
            raise ChildError("the worker did not write the bindings in time")
        await asyncio.sleep(0.2)


def _one_time_link(configuration: Configuration) -> str:
    """An account for this run, and the address that signs in to it, once."""
    accounts, secret = Accounts(configuration.console.accounts), token_urlsafe(32)
    accounts.add(ACCOUNT, "charge_nurse", None)
    accounts.add_link(ACCOUNT, secret)
    return f"http://{configuration.console.host}:{configuration.console.port}/login#link={secret}"


def _where_to_look(system: System, plan: DemoPlan, door: str) -> str:
    configuration = system.configuration
    mqtt = configuration.mqtt
    lines = [
        "",
        f"  console   {door}  (signs in once, as {ACCOUNT})",
        f"  alerts    mosquitto_sub -h {mqtt.host} -p {mqtt.port} -t 'biotwin/v1/{configuration.site}/alerts/#' -v",
        f"  Kafka     {configuration.kafka.bootstrap}",
    ]
    for name, child in system.children.items():
        endpoint = child.endpoint()
        if endpoint is not None:
            lines.append(f"  metrics   {endpoint.url}/metrics  ({name})")
    lines.append("")
    end = "" if plan.duration_s else " Ctrl-C ends it all."
    lines.append(f"Not a medical device; the patients are simulated.{end}")
    return "\n".join(lines)


def open_browser(url: str) -> None:
    """Open the page where there is a desktop to open it on; never a browser in the terminal."""
    if sys.platform in {"darwin", "win32"} or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
