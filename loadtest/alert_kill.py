"""`biotwin bench alert-kills`: whoever makes, delivers and receives alerts dies, and nobody may be told less, or twice.

One seeded feed (`alert_kill_feed`) is taken three ways: by the worker's own processors in memory; through running
processes undisturbed; and through running processes of which one after the other is killed with -9 and started again.
Arrival times and ticks stand in the feed, so that conditions, alerts and the journal of signals must be the same bytes
each time, provisional ones too. What every receiver wrote down is compared with what it should have been told.

By nature a disturbed run differs in repeats (at least once: the same notification again, under the same key) and in
calls, which follow from receipts and from the clock of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaProducer

from alerts.delivery.notification import decode_notification
from alerts.quality.alarms import INTERRUPTIVE
from contracts import topics
from contracts.alert_signal import SignalTransition
from contracts.condition import Alert
from contracts.configuration import (
    MQTT,
    Configuration,
    EmailSubscription,
    EscalationChain,
    EscalationStep,
    FhirSubscription,
    MllpSubscription,
    Subscription,
    WebhookSubscription,
)
from deploy.children import free_ports, wait_until
from loadtest.alert_kill_feed import AlertKillPlan, Kill, Part, acknowledgements, feed_lines, merged, plan_kills
from loadtest.alert_kill_told import Told, expected_keys, told_by
from loadtest.kafka_log import checkpoint_of_block, committed_offsets, end_offsets, keyed_values, next_record
from loadtest.kill import Say
from loadtest.pipeline import Pipeline
from loadtest.processes import Child, ChildError
from loadtest.replay import all_applied
from loadtest.replay_input import Intake, Record
from loadtest.replay_output import KeyedValue, journal_lines
from loadtest.settled_journal import differences
from loadtest.sse import AlertListener
from loadtest.system import System

SESSION_TIMEOUT_S = 6.0
AIM_TIMEOUT_S = 6.0
READY_TIMEOUT_S = 120.0
DELIVERED_TIMEOUT_S = 120.0
SECONDS_A_KILL = 5.0
QUIET_S = 30.0
"""How long a feed takes without kills."""

COMPARED = (topics.CONDITIONS, topics.ALERTS, topics.JOURNAL)
PROCESS_OF: dict[Part, str] = {"escalator": "deliver"}
"""Parts that are no process of their own."""

RECEIVERS = ("webhook", "email", "mllp", "fhir", "phone", MQTT)
SECRET = "sixteen letters are enough"  # noqa: S105 - of a receiver that lives for this run
RECONNECT_S = 0.2


class Outcome(NamedTuple):
    """What one run left: canonical lines by topic, what each channel was told, and the calls that were made."""

    lines: dict[str, list[bytes]]
    told: dict[str, Told]
    calls: list[dict[str, Any]]
    killed: Counter[str]
    seconds: float


def run_alert_kills(configuration: Configuration, plan: AlertKillPlan, say: Say) -> dict[str, Any]:
    """Run all ways and compare. The result's `passed` says whether everything held."""
    start_t = float(int(time.time() - plan.duration_s - 120.0))
    replace = msgspec.structs.replace
    kafka = replace(configuration.kafka, session_timeout_s=SESSION_TIMEOUT_S, heartbeat_s=SESSION_TIMEOUT_S / 4.0)
    configuration = replace(configuration, kafka=kafka)
    records, core = _in_memory(configuration, plan, start_t)
    kills = plan_kills(plan, len(records))
    lines = {topic: journal_lines(core.get(topic, ())) for topic in COMPARED}
    alerts = [msgspec.json.decode(line, type=Alert) for line in lines[topics.ALERTS]]
    high = [alert for alert in alerts if alert.priority == "high"]
    faultless = _records(configuration, feed_lines(plan, start_t, configuration.site, faults=False))
    plain = _output(configuration, faultless, start_t)
    say(f"seed {plan.seed}: {len(records)} records, {len(high)} notifications of high priority, {len(kills)} kills")
    calm = None
    if plan.undisturbed:
        calm = _through_system(configuration, records, [], high, QUIET_S, say)
        say(f"undisturbed run took {calm.seconds:.0f} s; now the kills …")
    hurt = _through_system(configuration, records, kills, high, SECONDS_A_KILL * (len(kills) + 1), say)
    result = _verdict(plan, core, lines, high, calm, hurt)
    of_faults = _interruptive(lines[topics.ALERTS]) - _interruptive(journal_lines(plain[topics.ALERTS]))
    result["alarms_of_duplicates_and_late_data"] = len(of_faults)
    result["passed"] = result["passed"] and not of_faults
    return result


def _in_memory(
    configuration: Configuration, plan: AlertKillPlan, start_t: float
) -> tuple[list[Record], dict[str, list[KeyedValue]]]:
    """The feed's records, acknowledgements included, and what must come of them by topic."""
    lines = feed_lines(plan, start_t, configuration.site)
    first = _output(configuration, _records(configuration, lines), start_t)
    onsets, arrived = [], {}
    for _, value in first[topics.ALERTS]:
        alert = msgspec.json.decode(value or b"", type=Alert)
        if alert.priority == "high" and alert.transition == "onset" and alert.stage == "settled":
            onsets.append(alert)
            arrived[alert.id] = max(alert.provenance.received_at, alert.t)
    records = _records(configuration, [*merged(lines, acknowledgements(plan, onsets, arrived))])
    return records, _output(configuration, records, start_t)


def _records(configuration: Configuration, lines: Sequence[Any]) -> list[Record]:
    return [record for record in Intake(configuration).records(lines) if record.topic == topics.TELEMETRY]


def _output(configuration: Configuration, records: Sequence[Record], at: float) -> dict[str, list[KeyedValue]]:
    pipeline = Pipeline(configuration, at)
    pipeline.run(records)
    pipeline.finish()
    return {topic: [(one.key, one.value) for one in found] for topic, found in pipeline.output.items()}


def _through_system(
    configuration: Configuration,
    records: Sequence[Record],
    kills: Sequence[Kill],
    high: Sequence[Alert],
    seconds: float,
    say: Say,
) -> Outcome:
    with System(configuration) as system:
        return asyncio.run(_Run(system, high, say).play(records, kills, seconds))


class _Receiver:
    """One receiver as a process of its own; what it was told stands in `file`."""

    def __init__(self, name: str, channel: str, port: int, system: System) -> None:
        self.file = system.folder / f"{name}.received"
        self.file.touch()
        self._arguments = [sys.executable, "-m", "loadtest.receivers", channel, str(port), str(self.file)]
        self._system = system
        self._listens = None if channel.startswith(MQTT) else port

    def start(self) -> None:
        self.process = subprocess.Popen(self._arguments, stdin=subprocess.DEVNULL)
        self._system.guardian.guard(self.process.pid)
        if self._listens is not None and not wait_until(lambda: _answers(self._listens or 0), READY_TIMEOUT_S, 0.05):
            raise ChildError(f"the receiver {self.file.name} did not come up")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


class _Run:
    """One run of the feed through running processes."""

    def __init__(self, system: System, high: Sequence[Alert], say: Say) -> None:
        self.system = system
        self.high = high
        self.say = say
        self.killed: Counter[str] = Counter()
        self.receivers: dict[str, _Receiver] = {}
        self.listener = AlertListener("127.0.0.1", system.configuration.console.port, system.measuring_token)
        self.settings: dict[str, str] = {}

    @property
    def bootstrap(self) -> str:
        return self.system.configuration.kafka.bootstrap

    async def play(self, records: Sequence[Record], kills: Sequence[Kill], seconds: float) -> Outcome:
        began = time.monotonic()
        self._start_receivers()
        starting = [self._start(name) for name in ("worker", "deliver", "console")]
        for child in starting:
            await asyncio.to_thread(child.wait_ready, READY_TIMEOUT_S)
        listening = asyncio.create_task(self._listen())
        await self.listener.connected.wait()
        try:
            await self._feed(records, kills, seconds)
            await all_applied([self.system.children["worker"]])
            await self._delivered()
            told = await self._told()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        values = {topic: await keyed_values(self.bootstrap, topic) for topic in (*COMPARED, topics.CALLS)}
        calls = {value for _, value in values[topics.CALLS] if value is not None}
        return Outcome(
            {topic: journal_lines(values[topic]) for topic in COMPARED},
            told,
            [orjson.loads(value) for value in calls],
            self.killed,
            time.monotonic() - began,
        )

    def _start_receivers(self) -> None:
        configuration = self.system.configuration
        names = [name for name in RECEIVERS if name != MQTT]
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        for name, port in ports.items():
            self.receivers[name] = _Receiver(name, "webhook" if name == "phone" else name, port, self.system)
        topic = f"mqtt:biotwin/v1/{configuration.site}/alerts/high/#"
        self.receivers[MQTT] = _Receiver(MQTT, topic, configuration.mqtt.port, self.system)
        for receiver in self.receivers.values():
            receiver.start()
        subscriptions = _subscriptions(ports)
        chain = [EscalationChain(name="high", steps=[EscalationStep(subscription="phone", within_s=3600.0)])]
        self.settings = {
            "subscriptions": msgspec.json.encode(subscriptions).decode(),
            "escalation": msgspec.json.encode(chain).decode(),
            "smtp__host": "127.0.0.1",
            "smtp__port": str(ports["email"]),
            "smtp__tls": "none",
            "ingest__reconnect_min_s": "0.2",
            "ingest__reconnect_max_s": "1.0",
            "worker__ticks": "false",
            "worker__checkpoint_min_s": "0.3",
            "worker__checkpoint_bytes_per_s": "1e9",
        }

    def _start(self, name: str) -> Child:
        return self.system.start(name, name, **self.settings)

    async def _listen(self) -> None:
        """As a browser does: come back when the console does."""
        while True:
            with contextlib.suppress(OSError):
                await self.listener.run()
            await asyncio.sleep(RECONNECT_S)

    async def _feed(self, records: Sequence[Record], kills: Sequence[Kill], seconds: float) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        waiting = list(reversed(kills))
        striking: dict[str, asyncio.Task[None]] = {}
        due, step_s = time.monotonic(), seconds / len(records)
        try:
            for number, record in enumerate(records):
                while waiting and waiting[-1].record <= number:
                    kill = waiting.pop()
                    name = PROCESS_OF.get(kill.part, kill.part)
                    if name in striking:
                        # What is not back yet cannot be killed; the feed waits for it, and hurries after nothing.
                        await striking[name]
                        due = max(due, time.monotonic() - 1.0)
                    striking[name] = asyncio.create_task(self._strike(kill, name))
                await producer.send(
                    record.topic, record.value, key=record.key, partition=record.partition, headers=list(record.headers)
                )
                due += step_s
                if due > time.monotonic() + 0.02:
                    await asyncio.sleep(due - time.monotonic())
            await asyncio.gather(*striking.values())
        finally:
            await producer.stop()

    # Kills

    async def _strike(self, kill: Kill, name: str) -> None:
        part = kill.part
        if part in self.receivers:
            receiver = self.receivers[part]
            receiver.kill()
            await asyncio.sleep(kill.away_s)
            await asyncio.to_thread(receiver.start)
        else:
            await self._aim(part)
            child = self.system.children[name]
            child.signal(signal.SIGKILL)
            await asyncio.to_thread(child.kill)
            started = self._start(name)
            await asyncio.to_thread(started.wait_ready, READY_TIMEOUT_S)
        self.killed[part] += 1
        self.say(f"  {self.killed.total()}: {part}")

    async def _aim(self, part: Part) -> None:
        """Wait for the moment at which a kill may do harm; if none comes in time, it is done all the same."""
        aims: dict[str, tuple[list[str], Callable[[Any], bool]]] = {
            "worker": (
                [topics.TWIN_CHANGELOG, topics.ALERT_CHANGELOG],
                lambda record: checkpoint_of_block(record) is not None,
            ),
            "deliver": ([topics.ALERT_RECEIPTS], lambda record: b'"state":"sent"' in record.value),
            "escalator": ([topics.CALLS], lambda _record: True),
        }
        if part in aims:
            await next_record(self.bootstrap, *aims[part], AIM_TIMEOUT_S)

    # The end

    async def _delivered(self) -> None:
        """Wait until every subscription is through with all alerts and calls, and no further call comes."""
        group = self.system.configuration.kafka.group
        names = ["", *(f"-{name}" for name in RECEIVERS if name != MQTT)]
        deadline = time.monotonic() + DELIVERED_TIMEOUT_S
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(1.0)
            ends = await end_offsets(self.bootstrap, [topics.ALERTS, topics.CALLS])
            left = 0
            for name in names:
                done = await committed_offsets(self.bootstrap, f"{group}-deliver{name}")
                left += sum(end - done.get(place, 0) for place, end in ends.items())
            quiet = 0 if left else quiet + 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"{left} notifications are not through")

    async def _told(self) -> dict[str, Told]:
        """What each channel was told; MQTT and the stream are on their own way and are waited for."""
        deadline = time.monotonic() + 20.0
        while True:
            told = {name: told_by(name, receiver.file, self.high) for name, receiver in self.receivers.items()}
            heard = [receipt.alert for receipt in self.listener.receipts if receipt.alert["priority"] == "high"]
            told["sse"] = Told.of(_name_of(alert) for alert in heard if alert["patient"])
            wanted = expected_keys(self.high)
            if all(wanted <= told[name].keys() for name in (MQTT, "sse")) or time.monotonic() > deadline:
                return told
            await asyncio.sleep(0.2)


def _name_of(alert: Mapping[str, Any]) -> str:
    return str(decode_notification(orjson.dumps(alert), 0.0).key)


def _subscriptions(ports: Mapping[str, int]) -> list[Subscription]:
    def url(name: str) -> str:
        return f"http://127.0.0.1:{ports[name]}/"

    return [
        WebhookSubscription(
            name="webhook", url=url("webhook"), secret=SECRET, priorities=["high"], timeout_s=5.0, receipt_within_s=3.0
        ),
        FhirSubscription(name="fhir", url=url("fhir"), secret=SECRET, priorities=["high"], timeout_s=5.0),
        MllpSubscription(name="mllp", host="127.0.0.1", port=ports["mllp"], priorities=["high"], timeout_s=5.0),
        EmailSubscription(name="email", to=["ward@h.example"], priorities=["high"], interval_s=0.5),
        WebhookSubscription(name="phone", url=url("phone"), secret=SECRET, timeout_s=5.0, only_escalated=True),
    ]


def _verdict(
    plan: AlertKillPlan,
    core: Mapping[str, list[KeyedValue]],
    lines: Mapping[str, list[bytes]],
    high: Sequence[Alert],
    calm: Outcome | None,
    hurt: Outcome,
) -> dict[str, Any]:
    wanted = expected_keys(high)
    journal = [msgspec.json.decode(line, type=SignalTransition) for line in lines[topics.JOURNAL]]
    occurrences = {one.id for one in journal if one.event == "condition_onset" and one.priority == "high"}
    called = {call["id"] for call in hurt.calls}
    channels = {}
    unheard: set[str] = set()
    for name, told in sorted(hurt.told.items()):
        due = {_call_name(call) for call in hurt.calls} if name == "phone" else wanted
        onsets = {key.partition("-")[0] for key in told if "-onset-" in key}
        if name != "phone":
            unheard |= occurrences - onsets - called
        channels[name] = {
            "expected": len(due),
            "missing": len(due - told.keys()),
            "unexpected": len(told.keys() - due),
            "repeats": told.total() - len(told),
        }
        if calm is not None:
            channels[name]["repeats_undisturbed"] = calm.told[name].total() - len(calm.told[name])
    result: dict[str, Any] = {
        "seed": plan.seed,
        "kills": dict(sorted(hurt.killed.items())),
        "occurrences": len(occurrences),
        "announced_by_a_tick": _by_tick(core),
        "notifications": len(wanted),
        "acknowledged": sum(one.event == "acknowledge" and "refuse" not in one.effects for one in journal),
        "neither_notified_nor_escalated": len(unheard),
        "channels": channels,
        "calls": len(hurt.calls),
        "calls_twice": len(hurt.calls) - len({_call_name(call) for call in hurt.calls}),
        "calls_because": _reasons(hurt.calls),
    }
    for topic in COMPARED:
        result[f"{topic.rpartition('.')[2]}_equal"] = hurt.lines[topic] == lines[topic]
        result.setdefault("differences", []).extend(differences(hurt.lines[topic], lines[topic]))
    if calm is not None:
        result["undisturbed_equal"] = all(calm.lines[topic] == lines[topic] for topic in COMPARED)
        result["calls_undisturbed"] = len(calm.calls)
        result["calls_undisturbed_because"] = _reasons(calm.calls)
        result["seconds_undisturbed"] = round(calm.seconds, 1)
    result["seconds"] = round(hurt.seconds, 1)
    result["passed"] = (
        not unheard
        and not any(one["missing"] or one["unexpected"] for one in channels.values())
        and result["calls_twice"] == 0
        and not result["differences"]
        and result.get("undisturbed_equal", True)
    )
    return result


def _interruptive(alerts: Sequence[bytes]) -> set[str]:
    """Ids of alerts, settled or not, that call somebody away from what they do."""
    found = [msgspec.json.decode(line, type=Alert) for line in alerts]
    return {alert.id for alert in found if alert.priority in INTERRUPTIVE}


def _by_tick(core: Mapping[str, list[KeyedValue]]) -> int:
    """Provisional onsets of high priority that no reading completed: at their moment the clock had only gone on."""
    found = set()
    for _, value in core[topics.CONDITIONS]:
        record = orjson.loads(value or b"{}")
        evidence = record.get("evidence")
        if record.get("stage") == "provisional" and record.get("state") == "onset" and evidence:
            newest = max(one["t"] for one in evidence["inputs"])
            if record["priority"] == "high" and record["t"] > newest + 2.5:
                found.add(record["id"])
    return len(found)


def _call_name(call: Mapping[str, Any]) -> str:
    return f"{call['id']}-call-{call['escalated']['round']}-{call['escalated']['step']}"


def _reasons(calls: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(sorted(Counter(call["escalated"]["because"] for call in calls).items()))
