"""`biotwin bench kills`: parts die while readings flow, and nothing may come of it.

The same seeded stream is taken three ways: through the running system while ingest, worker and Kafka are killed with -9
and a worker is frozen past its session; through the running system undisturbed; and through `biotwin replay`'s core.
The settled alerts and the settled twins must be the same bytes each time, no acknowledged reading may be missing, and
nothing may be said twice in different words.

Kills come at places in the stream drawn from the seed. Two thirds are aimed: of a worker or of Kafka, at the first
block of a checkpoint that becomes visible in a changelog, before its manifest; of an ingest, at the first reading of a
burst that becomes visible in `telemetry`, before its PUBACK. Whether an aimed kill hit is judged afterwards, from what
stands in Kafka: a checkpoint that was not closed when the process died; a reading that MQTT delivered again.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import topics
from contracts.command import Bind
from contracts.configuration import Configuration
from contracts.quarantine import Quarantined
from contracts.reading import Tick
from deploy.children import wait_until
from loadtest.kafka_log import checkpoint_of_block, end_offsets, keyed_values, next_record, read_topic
from loadtest.kill_plan import Blow, KillPlan, plan_blows, stream_plan
from loadtest.processes import Child, ChildError
from loadtest.publisher import Publisher
from loadtest.replay import all_applied, behind
from loadtest.replay_output import twin_lines
from loadtest.settled_journal import contradictions, differences, settled_alerts, through_core
from loadtest.simulate import give_orders
from loadtest.simulation import Message, Simulation, SimulationPlan
from loadtest.system import System
from stream.checkpoint import parse_value

Say = Callable[[str], None]

SESSION_TIMEOUT_S = 6.0
STALL_S = SESSION_TIMEOUT_S + 3.0
READY_TIMEOUT_S = 120.0
AIM_TIMEOUT_S = 8.0
"""An aimed kill that sees nothing for so long is done all the same, and counts as not aimed."""

WORKERS_TO_THE_END = 4
BURST = 80
QUIET_RATE_PER_S = 400.0


class Struck(NamedTuple):
    """One disturbance as it happened. For an aimed one that saw a checkpoint: which."""

    kind: str
    aimed: bool
    at: float
    seen: tuple[str, int, int, int] | None = None


class Outcome(NamedTuple):
    """What one run left in Kafka."""

    alerts: list[bytes]
    twins: list[bytes]
    lost: set[str]
    telemetry: dict[str, list[float]]
    contradictions: int
    struck: list[Struck]
    exits: Counter[str]
    hits: int
    seconds: float


def run_kills(configuration: Configuration, plan: KillPlan, say: Say) -> dict[str, Any]:
    """Run all three ways and compare. The result's `passed` says whether everything held."""
    duration_s = stream_plan(plan, 0.0, configuration.site).duration_s
    simulated = stream_plan(plan, float(int(time.time() - duration_s - 60.0)), configuration.site)
    replace = msgspec.structs.replace
    configuration = replace(
        configuration,
        kafka=replace(configuration.kafka, session_timeout_s=SESSION_TIMEOUT_S, heartbeat_s=SESSION_TIMEOUT_S / 4.0),
    )
    messages = [item for item in Simulation(simulated).stream() if isinstance(item, Message)]
    readings = sum(len(message.identities) for message in messages)
    blows = plan_blows(plan, len(messages))
    say(f"seed {plan.seed}: {readings} readings in {len(messages)} messages, {plan.kills} kills, {plan.stalls} stalls")
    with TemporaryDirectory(prefix="biotwin-kills-") as folder:
        core = through_core(configuration, simulated, Path(folder))
    say("undisturbed run …")
    calm = _through_system(configuration, simulated, messages, [], QUIET_RATE_PER_S, say)
    say(f"undisturbed run took {calm.seconds:.0f} s; now the kills …")
    rate = min(QUIET_RATE_PER_S, readings / (7.0 * plan.kills + 20.0 * plan.stalls + 10.0))
    hurt = _through_system(configuration, simulated, messages, blows, rate, say)
    return _verdict(plan, readings, core, calm, hurt)


def _verdict(
    plan: KillPlan, readings: int, core: tuple[list[bytes], list[bytes]], calm: Outcome, hurt: Outcome
) -> dict[str, Any]:
    aimed = sum(blow.aimed for blow in hurt.struck)
    result: dict[str, Any] = {
        "seed": plan.seed,
        "readings": readings,
        "kills": dict(Counter(blow.kind for blow in hurt.struck if blow.kind != "stall")),
        "stalls": sum(blow.kind == "stall" for blow in hurt.struck),
        "aimed": aimed,
        "hit_inside": hurt.hits,
        "lost": len(hurt.lost),
        "lost_undisturbed": len(calm.lost),
        "contradictions": hurt.contradictions,
        "alerts": len(calm.alerts),
        "alerts_equal": hurt.alerts == calm.alerts,
        "undisturbed_equals_replay": calm.alerts == core[0] and calm.twins == core[1],
        "alerts_equal_replay": hurt.alerts == core[0],
        "twins": len(calm.twins),
        "twins_equal": hurt.twins == calm.twins,
        "twins_equal_replay": hurt.twins == core[1],
        "differences": differences(hurt.alerts, calm.alerts) + differences(hurt.twins, calm.twins),
        "delivered_again": sum(len(stamps) - 1 for stamps in hurt.telemetry.values())
        - sum(len(stamps) - 1 for stamps in calm.telemetry.values()),
        "exits": dict(hurt.exits),
        "seconds": round(hurt.seconds, 1),
        "seconds_undisturbed": round(calm.seconds, 1),
    }
    result["passed"] = (
        not hurt.lost
        and not calm.lost
        and hurt.contradictions == 0
        and all(result[name] for name in ("alerts_equal", "alerts_equal_replay", "twins_equal", "twins_equal_replay"))
    )
    return result


def _through_system(
    configuration: Configuration,
    simulated: SimulationPlan,
    messages: list[Message],
    blows: list[Blow],
    rate_per_s: float,
    say: Say,
) -> Outcome:
    with System(configuration) as system:
        return asyncio.run(_Run(system, simulated, say).play(messages, blows, rate_per_s))


class _Run:
    """One run of the stream through a running system."""

    def __init__(self, system: System, simulated: SimulationPlan, say: Say) -> None:
        self.system = system
        self.simulated = simulated
        self.say = say
        self.struck: list[Struck] = []
        self.exits: Counter[str] = Counter()
        self.burst = asyncio.Event()
        self.supervised: set[str] = set()

    @property
    def bootstrap(self) -> str:
        return self.system.configuration.kafka.bootstrap

    async def play(self, messages: list[Message], blows: list[Blow], rate_per_s: float) -> Outcome:
        began = time.monotonic()
        await self._start("worker")
        orders = Simulation(self.simulated).commands()
        await give_orders(self.system.configuration, orders)
        binds = sum(isinstance(order.command, Bind) for order in orders)
        await self._until_written(topics.BINDINGS, binds)
        # Only now: an ingest that begins reads all bindings first, so that no reading waits for its device.
        await self._start("ingest")
        supervisor = asyncio.create_task(self._supervise())
        try:
            # One connection, so that what leaves in order arrives in order: over several, the readings of an outage's
            # burst overtake each other by more than the lateness bound, and which of them is late would be chance.
            async with Publisher(self.system.configuration.mqtt, "biotwin-kills", connections=1) as publisher:
                await self._publish(publisher, messages, blows, rate_per_s)
                await publisher.finish()
            await self._drained()
            await self._settle()
        finally:
            supervisor.cancel()
            await asyncio.gather(supervisor, return_exceptions=True)
        if supervisor.done() and not supervisor.cancelled() and (error := supervisor.exception()) is not None:
            raise error
        await self._end()
        return await self._read(messages, time.monotonic() - began)

    async def _start(self, name: str) -> None:
        settings = {"worker__checkpoint_min_s": "0.3", "worker__checkpoint_bytes_per_s": "1e9"}
        if name == "ingest":
            child = self.system.start(name, "ingest")
        elif name == "worker":
            child = self.system.start(name, "worker", **settings)
        else:
            child = self.system.start(name, "worker", worker__instance=name, **settings)
        self.supervised.add(name)
        await self._ready(child)

    async def _ready(self, child: Child) -> None:
        await asyncio.to_thread(child.wait_ready, READY_TIMEOUT_S)

    async def _supervise(self) -> None:
        """Start again what ended by itself, as a service manager would."""
        while True:
            await asyncio.sleep(0.2)
            for name in list(self.supervised):
                child = self.system.children[name]
                status = child.returncode
                if status is not None:
                    self.exits[f"{name}: {status}"] += 1
                    self.supervised.discard(name)
                    await self._start(name)

    async def _publish(
        self, publisher: Publisher, messages: list[Message], blows: list[Blow], rate_per_s: float
    ) -> None:
        per_message = sum(len(message.identities) for message in messages) / len(messages)
        step_s = per_message / rate_per_s
        waiting = list(reversed(blows))
        striking: asyncio.Task[None] | None = None
        due = time.monotonic()
        for number, message in enumerate(messages):
            if waiting and waiting[-1].message <= number:
                if striking is not None:
                    await striking
                blow = waiting.pop()
                self.burst.clear()
                striking = asyncio.create_task(self._strike(blow))
                if blow.aimed and blow.kind == "ingest":
                    await self.burst.wait()
                    due = time.monotonic() - BURST * step_s
            publisher.publish(message)
            due += step_s
            wait_s = due - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif wait_s < -2.0:
                due = time.monotonic()
            if number % 20 == 0:
                await asyncio.sleep(0)
        if striking is not None:
            await striking
        for blow in reversed(waiting):
            await self._strike(blow)

    # Blows

    async def _strike(self, blow: Blow) -> None:
        if blow.kind == "stall":
            await self._stall()
        elif blow.kind == "kafka":
            await self._kill_kafka(aimed=blow.aimed)
        else:
            await self._kill_child(blow.kind, aimed=blow.aimed)
        self.say(f"  {len(self.struck)}: {blow.kind}{' (aimed)' if blow.aimed else ''}")

    async def _kill_child(self, name: str, *, aimed: bool) -> None:
        child = self.system.children[name]
        watched = [topics.TELEMETRY] if name == "ingest" else [topics.TWIN_CHANGELOG, topics.ALERT_CHANGELOG]
        self.supervised.discard(name)
        seen = await self._await_moment(watched, blocks=name != "ingest") if aimed else None
        child.signal(signal.SIGKILL)
        self.struck.append(Struck(name, aimed, time.time(), seen))
        await asyncio.to_thread(child.kill)
        await self._start(name)

    async def _kill_kafka(self, *, aimed: bool) -> None:
        broker = self.system.kafka
        if broker is None or broker.process is None:
            raise ChildError("there is no Kafka of this run's own to kill")
        seen = await self._await_moment([topics.TWIN_CHANGELOG, topics.ALERT_CHANGELOG], blocks=True) if aimed else None
        broker.process.send_signal(signal.SIGKILL)
        self.struck.append(Struck("kafka", aimed, time.time(), seen))
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        self.system.guard_brokers()
        for name in ("worker", "ingest"):
            await self._until_ready(name)

    async def _until_ready(self, name: str) -> None:
        """Wait for a process that may meanwhile be started anew by the supervisor."""

        def ready() -> bool:
            return self.system.children[name].ready()

        if not await asyncio.to_thread(wait_until, ready, READY_TIMEOUT_S, 0.2):
            raise ChildError(f"{name} did not become ready again:\n{self.system.children[name].last_lines()}")

    async def _stall(self) -> None:
        """Freeze the worker until another has taken its place, then let it go on."""
        await self._start("worker-2")
        worker = self.system.children["worker"]
        worker.signal(signal.SIGSTOP)
        self.struck.append(Struck("stall", False, time.time()))
        await asyncio.sleep(STALL_S)
        worker.signal(signal.SIGCONT)
        # It finds that it was frozen and ends itself; the supervisor starts it again.
        await asyncio.sleep(1.0)
        await self._until_ready("worker")
        self.supervised.discard("worker-2")
        second = self.system.children["worker-2"]
        status = await asyncio.to_thread(second.end)
        if status != 0:
            raise ChildError(f"the second worker did not end cleanly (status {status}):\n{second.last_lines()}")
        await self._until_ready("worker")

    async def _await_moment(self, watched: list[str], *, blocks: bool) -> tuple[str, int, int, int] | None:
        """Wait for the first new record of the topics (with `blocks`, the first block of a checkpoint); returns
        (topic, partition, offset, checkpoint), None if none came in time."""

        def wanted(record: Any) -> bool:
            return checkpoint_of_block(record) is not None if blocks else record.key is not None

        record = await next_record(self.bootstrap, watched, wanted, AIM_TIMEOUT_S, self.burst.set)
        self.burst.set()
        if record is None:
            return None
        checkpoint = checkpoint_of_block(record) if blocks else -1
        return record.topic, record.partition, record.offset, -1 if checkpoint is None else checkpoint

    # The end

    async def _drained(self) -> None:
        def held() -> float:
            return self.system.children["ingest"].counters().get("biotwin_mqtt_unacknowledged", 1.0)

        if not await asyncio.to_thread(wait_until, lambda: held() == 0.0, 120.0, 0.3):
            raise ChildError("ingest still holds messages that are not acknowledged")

    async def _settle(self) -> None:
        """Say in every partition that nothing more will come, and wait until that is applied."""
        configuration = self.system.configuration
        await all_applied([self.system.children["worker"]])
        value = msgspec.json.encode(Tick(float(int(time.time()) + 1), closing=True))
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for partition in range(configuration.kafka.partitions):
                await producer.send_and_wait(topics.TELEMETRY, value, partition=partition)
        finally:
            await producer.stop()
        await all_applied([self.system.children["worker"]])

    async def _end(self) -> None:
        """End everything cleanly. A worker that had not yet been given every partition, because another one had just
        left, leaves some of the log unread: then the next one reads it."""
        for _ in range(WORKERS_TO_THE_END):
            self.supervised.clear()
            for name, child in self.system.children.items():
                status = await asyncio.to_thread(child.end)
                if status != 0:
                    raise ChildError(f"{name} did not end cleanly (status {status}):\n{child.last_lines()}")
            left = await behind(self.system.configuration)
            if not left:
                return
            await self._start("worker")
            await all_applied([self.system.children["worker"]])
        raise ChildError(f"not everything was applied: {left}")

    async def _until_written(self, topic: str, records: int) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while sum((await end_offsets(self.bootstrap, [topic])).values()) < records:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} did not reach {records} records")
            await asyncio.sleep(0.2)

    async def _read(self, messages: list[Message], seconds: float) -> Outcome:
        telemetry: dict[str, list[float]] = defaultdict(list)
        async for record in read_topic(self.bootstrap, topics.TELEMETRY):
            for name, value in record.headers:
                if name == "ce_id":
                    telemetry[value.decode()].append(record.timestamp / 1000.0)
        refused: set[str] = set()
        async for record in read_topic(self.bootstrap, topics.QUARANTINE):
            quarantined = msgspec.json.decode(record.value, type=Quarantined)
            refused.add(quarantined.reading or quarantined.id)
        published = Counter(identity for message in messages for identity in message.identities)
        values = await keyed_values(self.bootstrap, topics.ALERTS)
        repeated = {identity for identity, count in published.items() if count > 1}
        once = {identity: stamps for identity, stamps in telemetry.items() if identity not in repeated}
        return Outcome(
            alerts=settled_alerts(values),
            twins=twin_lines(await keyed_values(self.bootstrap, topics.TWIN)),
            lost=published.keys() - telemetry.keys() - refused,
            telemetry=dict(telemetry),
            contradictions=contradictions(values),
            struck=self.struck,
            exits=self.exits,
            hits=await self._hits(once),
            seconds=seconds,
        )

    async def _hits(self, once: dict[str, list[float]]) -> int:
        """Kills that fell inside a checkpoint, or between Kafka's acknowledgement and the PUBACK."""
        hits = 0
        for blow in self.struck:
            if blow.kind == "ingest":
                hits += any(stamps[0] <= blow.at < stamps[-1] for stamps in once.values() if len(stamps) > 1)
            elif blow.seen is not None:
                hits += not await self._closed_by(blow.seen, blow.at)
        return hits

    async def _closed_by(self, seen: tuple[str, int, int, int], at: float) -> bool:
        """Whether the checkpoint seen begun was closed by its manifest before `at`."""
        topic, partition, offset, checkpoint = seen
        place = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, offset + 1)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                record = await consumer.getone()
                if record.timestamp / 1000.0 > at:
                    return False
                if record.key is not None and record.key.endswith(b"/manifest"):
                    header, _ = parse_value(record.value)
                    return bool(header.checkpoint >= checkpoint)
        finally:
            await consumer.stop()
        return False
