"""`biotwin simulate`: publish a simulated ward, or record it as input for `biotwin replay`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import structlog

from contracts.configuration import Configuration
from deploy.api.commands import send
from loadtest.publisher import PublishCounts, Publisher
from loadtest.simulation import Message, Order, Simulation, SimulationPlan, labels_file, replay_lines
from loadtest.ward import BRISK, CALM, LIFELIKE, EventPlan

EVENT_PLANS: dict[str, EventPlan] = {"lifelike": LIFELIKE, "brisk": BRISK, "calm": CALM}

RECORDED_START_T = 1_767_225_600.0
"""2026-01-01: where a recorded stream begins, so that the same seed gives the same file at any time."""

COMMANDS_EVERY_S = 0.5
COMMANDS_AT_ONCE = 200

_log = structlog.get_logger("biotwin.simulate")


def live_start(duration_s: float, speed: float, now: float) -> float:
    """`start_t` of a stream that begins now: nothing is ever measured in the future. Sped up, the stream lies in the
    past and reaches the present at its end."""
    return now + duration_s / speed - duration_s if speed > 1.0 else now


def write_labels(plan: SimulationPlan, file: Path | None) -> None:
    """Write what truly happens, for a scorer; it is never published."""
    if file is not None:
        file.write_bytes(b"".join(labels_file(Simulation(plan))))


def record(plan: SimulationPlan, file: Path, labels: Path | None) -> int:
    """Write the stream, commands included, as input for `biotwin replay`; returns the number of lines."""
    simulation = Simulation(plan)
    write_labels(plan, labels)
    count = 0
    with file.open("wb") as out:
        for line in replay_lines(simulation):
            out.write(line)
            count += 1
    return count


async def give_orders(configuration: Configuration, orders: list[Order]) -> None:
    """Send commands to Kafka the way `biotwin patient` and `biotwin device` do. Raises `NotSentError`."""
    chunks = [orders[at : at + COMMANDS_AT_ONCE] for at in range(0, len(orders), COMMANDS_AT_ONCE)]
    await asyncio.gather(*(send(configuration.kafka, [order.command for order in chunk]) for chunk in chunks))


async def give_orders_in_time(
    configuration: Configuration, orders: list[Order], start_t: float, begin_at: float, speed: float
) -> None:
    """Send each command when the stream reaches its time."""
    waiting = list(orders)
    while waiting:
        await asyncio.sleep(COMMANDS_EVERY_S)
        reached = start_t + (time.time() - begin_at) * speed
        due = [order for order in waiting if order.at <= reached]
        if due:
            await give_orders(configuration, due)
            waiting = waiting[len(due) :]


async def publish(
    configuration: Configuration,
    plan: SimulationPlan,
    begin_at: float,
    speed: float,
    stop: asyncio.Event,
    *,
    file: Path | None,
    commands: bool,
) -> PublishCounts:
    """Publish the stream over MQTT, its time `start_t` falling on the clock time `begin_at`; with `commands` also
    admit, bind and steer the patients, which needs Kafka. Returns once everything is acknowledged."""
    simulation = Simulation(plan)
    orders = simulation.commands() if commands else []
    at_once = [order for order in orders if order.at <= plan.start_t]
    await give_orders(configuration, at_once)
    name = f"biotwin-simulator-{plan.seed}"
    async with Publisher(configuration.mqtt, name, file) as publisher:
        for birth in simulation.births():
            publisher.publish(birth)
        await publisher.finish()
        steering = asyncio.create_task(
            give_orders_in_time(configuration, orders[len(at_once) :], plan.start_t, begin_at, speed)
        )
        messages = (item for item in simulation.stream() if isinstance(item, Message))
        await publisher.play(messages, plan.start_t, begin_at, speed, stop)
        await publisher.finish()
        steering.cancel()
        await asyncio.gather(steering, return_exceptions=True)
        _log.info("published", **msgspec.to_builtins(publisher.counts))
        return publisher.counts
