"""The stream of a simulated ward: every PUBLISH and every command in the order of time, with the labels kept apart.

Deterministic: the same `SimulationPlan` gives the same stream, byte for byte. Nothing here reads a clock.
"""

from __future__ import annotations

import heapq
from base64 import b64encode
from collections.abc import Iterator
from hashlib import blake2b
from math import ceil
from random import Random
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from contracts.command import Admit, Bind, Command, Limits, News2, Session
from loadtest import devices
from loadtest.devices import Device, Reading
from loadtest.faults import Faults, broken_bytes, clock_error_s
from loadtest.recording import load_recorded_heart
from loadtest.ward import LIFELIKE, BoolArray, Event, EventPlan, Vitals, Ward

BIND_AHEAD_S = 60.0
"""Bindings begin this long before the stream, so that no clock error puts a reading before its binding."""

COOL_DOWN_S = 20.0
"""How long a session runs on after the load ends."""
LIMITS_LAST_S = 86_400.0
"""How long the personal limits of a simulated patient are ordered for."""


class SimulationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate. `start_t` in s since the epoch; `late_bound_share` of the app devices are bound only 10 s into
    the stream, so that their first readings wait in quarantine; `stray_devices` are never bound at all.
    `network_delay_s` is the shortest and longest way to the broker; with `recorded` one patient's chest strap plays a
    real recording."""

    patients: int
    duration_s: float
    seed: int
    start_t: float
    site: str = "site"
    events: EventPlan = LIFELIKE
    faults: Faults = Faults()
    pressure_period_s: float = 900.0
    wrist_period_s: int = 5
    network_delay_s: tuple[float, float] = (0.005, 0.06)
    late_bound_share: float = 0.0
    stray_devices: int = 0
    rehabilitation_share: float = 0.3
    recorded: bool = False


class Message(NamedTuple):
    """One PUBLISH: when it leaves for the broker (s since the epoch), and the ids that must be found again: of its
    readings, or of the quarantine record where its bytes are broken. A status is retained and has no reading."""

    at: float
    topic: str
    payload: bytes
    identities: tuple[str, ...]
    retain: bool = False


class Order(NamedTuple):
    """One command, and when it is given."""

    at: float
    command: Command


class Simulation:
    """A ward with its devices. `stream` may be walked once. Raises `RecordingMissingError` where the recording that
    the plan asks for is not installed."""

    def __init__(self, plan: SimulationPlan) -> None:
        self.plan = plan
        self.ward = Ward(
            plan.patients, plan.duration_s, plan.seed, plan.start_t, plan.events, plan.rehabilitation_share
        )
        self._rng = Random(f"{plan.seed}:faults")
        self._delay = Random(f"{plan.seed}:network")
        self._heart = load_recorded_heart() if plan.recorded else None
        self.recorded_patient = self._choose_recorded()
        self.devices = [device for patient in range(plan.patients) for device in self._devices_of(patient)]
        self.devices += [self._stray(number) for number in range(plan.stray_devices)]
        self.gateways = {
            device.name: f"gateway-{number // 50 + 1:02d}"
            for number, device in enumerate(
                device for device in self.devices if device.name.startswith("band-") and not device.senml
            )
        }
        self._held: dict[int, list[tuple[Device, Reading]]] = {}
        self._cut_off: set[int] = set()
        self._pending: list[tuple[float, int, Message | Order]] = []
        self._pushed = 0

    @property
    def labels(self) -> tuple[Event, ...]:
        """What truly happens. For the scorer only: it is never published."""
        return self.ward.events

    def pseudonym(self, patient: int) -> str:
        """The pseudonym of the patient of that number."""
        return f"sim-{patient + 1:04d}"

    def _choose_recorded(self) -> int:
        """The patient whose chest strap plays the recording: the first in rehabilitation, -1 without a recording."""
        if self._heart is None:
            return -1
        found = [patient for patient in range(self.plan.patients) if self.ward.kind(patient) == "rehabilitation"]
        return found[0] if found else 0

    def _device(self, kind: str, patient: int, make: Any, *, senml: bool = False) -> Device:
        name = f"{kind}-{patient + 1:04d}"
        rng = Random(f"{self.plan.seed}:{name}")
        device = Device(name, patient, make(rng), rng, self.plan.start_t, senml=senml)
        device.clock_error_s = clock_error_s(self.plan.faults, rng)
        return device

    def _devices_of(self, patient: int) -> Iterator[Device]:
        plan = self.plan
        rehabilitation = self.ward.kind(patient) == "rehabilitation"
        heart = self._heart if patient == self.recorded_patient else None
        if heart is not None:
            yield self._device("strap", patient, lambda _: devices.recorded_strap(heart, plan.start_t))
        elif rehabilitation:
            yield self._device("strap", patient, devices.chest_strap)
        if rehabilitation:
            yield self._device("bike", patient, lambda _: devices.bicycle())
        else:
            yield self._device(
                "monitor", patient, lambda _: devices.bedside_monitor(plan.pressure_period_s, plan.start_t)
            )
        yield self._device(
            "band",
            patient,
            lambda rng: devices.wrist_band(plan.wrist_period_s, plan.start_t, oximeter=rehabilitation, rng=rng),
            senml=patient % 4 == 0,
        )
        yield self._device("app", patient, lambda rng: devices.app(plan.start_t, rng))

    def _stray(self, number: int) -> Device:
        rng = Random(f"{self.plan.seed}:stray:{number}")
        sensor = devices.wrist_band(self.plan.wrist_period_s, self.plan.start_t, oximeter=False, rng=rng)
        return Device(f"stray-{number + 1:02d}", number % self.plan.patients, sensor, rng, self.plan.start_t)

    def commands(self) -> list[Order]:
        """Everything that people order, in order of time: admissions, bindings, limits, exercise sessions."""
        plan, ward = self.plan, self.ward
        start = plan.start_t - BIND_AHEAD_S
        rng = Random(f"{plan.seed}:commands")
        orders: list[Order] = []

        def order(at: float, make: Any, t: float, **fields: Any) -> None:
            words = f"{plan.seed}\x1f{plan.start_t!r}\x1f{len(orders)}"
            identity = blake2b(words.encode(), digest_size=8).hexdigest()
            orders.append(Order(at, make(id=identity, t=t, author="simulator", **fields)))

        for patient in range(plan.patients):
            pseudonym = self.pseudonym(patient)
            order(plan.start_t, Admit, start, patient=pseudonym, age_years=int(ward.age_years[patient]))
            if ward.kind(patient) == "rehabilitation":
                highest = round(min(165.0, 0.8 * (208.0 - 0.7 * float(ward.age_years[patient]))))
                limits: dict[str, Any] = {
                    "heart_rate_maximum": highest,
                    "zone_low": highest - 45,
                    "zone_high": highest - 20,
                }
                limits |= {"reason": "simulated", "expires_at": plan.start_t + LIMITS_LAST_S}
                order(plan.start_t, Limits, start, patient=pseudonym, spo2_floor=88.0, **limits)
            if ward.scale_2[patient]:
                order(plan.start_t, News2, start, patient=pseudonym, spo2_scale=2, reason="simulated")
        for device in self.devices:
            if device.name.startswith("stray-"):
                continue
            late = device.name.startswith("app-") and rng.random() < plan.late_bound_share
            pseudonym = self.pseudonym(device.patient)
            order(plan.start_t + (40.0 if late else 0.0), Bind, start, device=device.name, patient=pseudonym)
        for event in ward.events:
            if event.kind == "exercise":
                pseudonym = self.pseudonym(event.patient)
                order(event.start_t, Session, event.start_t, patient=pseudonym, phase="start")
                end = event.end_t + COOL_DOWN_S
                order(end, Session, end, patient=pseudonym, phase="end")
        return sorted(orders, key=lambda one: one.at)

    def births(self) -> list[Message]:
        """The retained status of each device: that it is there, and its streams."""
        return [self._status(device, "online", self.plan.start_t) for device in self.devices]

    def _status(self, device: Device, state: str, at: float) -> Message:
        payload = orjson.dumps({"state": state, "session": device.session})
        return Message(at, self._topic(device.name, "status"), payload, (), retain=True)

    def _topic(self, device: str, stream: str) -> str:
        return f"biotwin/v1/{self.plan.site}/{device}/{stream}"

    def stream(self, *, commands: bool = False) -> Iterator[Message | Order]:
        """Every message, and with `commands` every command, in order of `at`."""
        if commands:
            for one in self.commands():
                self._push(one.at, one)
        for vitals in self.ward.run():
            self._second(vitals)
            yield from self._due(vitals.t + 1.0)
        end = self.plan.start_t + ceil(self.plan.duration_s)
        self._tell_connections(np.ones(self.plan.patients, np.bool_), end)
        for patient in sorted(self._held):
            self._burst(patient, end)
        yield from self._due(float("inf"))

    def _push(self, at: float, item: Message | Order) -> None:
        self._pushed += 1
        heapq.heappush(self._pending, (at, self._pushed, item))

    def _due(self, until: float) -> Iterator[Message | Order]:
        while self._pending and self._pending[0][0] < until:
            yield heapq.heappop(self._pending)[2]

    def _second(self, vitals: Vitals) -> None:
        batches: dict[str, list[Reading]] = {}
        self._tell_connections(vitals.connected, vitals.t)
        for device in self.devices:
            connected = bool(vitals.connected[device.patient])
            if connected and device.patient in self._held:
                self._burst(device.patient, vitals.t)
            for measured in device.sensor(vitals, device.patient):
                self._measured(device, measured, vitals.t + device.phase_s + measured.after_s, batches, connected)
        for gateway in sorted(batches):
            self._pack(gateway, batches[gateway], vitals.t + 1.0 + self._way_s())

    def _tell_connections(self, connected: BoolArray, t: float) -> None:
        """What the broker, or a gateway in its place, says when an outage cuts off a patient's devices, and what they
        say when they are back: before what they kept."""
        for patient in np.flatnonzero(~connected).tolist():
            if patient not in self._cut_off:
                self._cut_off.add(patient)
                self._tell(patient, "offline", t)
        for patient in sorted(self._cut_off):
            if connected[patient]:
                self._cut_off.discard(patient)
                self._tell(patient, "online", t)

    def _tell(self, patient: int, state: str, t: float) -> None:
        for device in self.devices:
            if device.patient == patient:
                self._push(t, self._status(device, state, t))

    def _way_s(self) -> float:
        return self._delay.uniform(*self.plan.network_delay_s)

    def _measured(
        self,
        device: Device,
        measured: devices.Measured,
        t: float,
        batches: dict[str, list[Reading]],
        connected: bool,
    ) -> None:
        faults, rng = self.plan.faults, self._rng
        if faults.reboot and rng.random() < faults.reboot:
            device.boot()
        gateway = self.gateways.get(device.name)
        nan = bool(faults.nan) and not device.senml and rng.random() < faults.nan
        reading = device.write(measured, t, nan=nan, packed=gateway is not None)
        if faults.loss and rng.random() < faults.loss:
            return
        if not connected:
            self._held.setdefault(device.patient, []).append((device, reading))
            return
        at = t + self._way_s()
        if faults.reordering and rng.random() < faults.reordering:
            self._send(device, reading, at + rng.uniform(0.0, faults.reordering_max_s))
        elif gateway is not None:
            batches.setdefault(gateway, []).append(reading)
        elif faults.garbage and rng.random() < faults.garbage:
            self._break(device, reading, at)
        else:
            self._send(device, reading, at)
        if faults.duplicates and not nan and rng.random() < faults.duplicates:
            self._send(device, reading, at + 1.0 + rng.uniform(0.0, 1.0))

    def _send(self, device: Device, reading: Reading, at: float) -> None:
        gateway = self.gateways.get(device.name)
        if gateway is not None:
            self._pack(gateway, [reading], at)
            return
        topic = self._topic(reading.device, reading.stream)
        self._push(at, Message(at, topic, reading.text, (reading.identity,)))

    def _break(self, device: Device, reading: Reading, at: float) -> None:
        topic = self._topic(device.name, reading.stream)
        payload = broken_bytes(reading.text, self._rng)
        # The identity of a quarantine record whose bytes say nothing: from topic and bytes alone.
        identity = blake2b(topic.encode() + b"\x1f" + payload, digest_size=8).hexdigest()
        self._push(at, Message(at, topic, payload, (identity,)))

    def _pack(self, gateway: str, readings: list[Reading], at: float) -> None:
        payload = b"[" + b",".join(reading.text for reading in readings) + b"]"
        identities = tuple(reading.identity for reading in readings)
        self._push(at, Message(at, self._topic(gateway, "batch"), payload, identities))

    def _burst(self, patient: int, at: float) -> None:
        """What was measured during an outage leaves in order, 2 ms apart."""
        for number, (device, reading) in enumerate(self._held.pop(patient)):
            self._send(device, reading, at + 0.002 * number)


def labels_file(simulation: Simulation) -> Iterator[bytes]:
    """The labels as JSON Lines, with pseudonyms, for a scorer."""
    for event in simulation.labels:
        label = msgspec.to_builtins(event) | {"patient": simulation.pseudonym(event.patient)}
        yield orjson.dumps(label, option=orjson.OPT_APPEND_NEWLINE)


def replay_lines(simulation: Simulation) -> Iterator[bytes]:
    """The stream as `biotwin replay` reads it: arrival time is the time at which the message reaches the broker."""
    for item in simulation.stream(commands=True):
        if isinstance(item, Order):
            line: dict[str, object] = {"command": msgspec.to_builtins(item.command), "received_at": item.at}
        else:
            line = {"topic": item.topic, "payload": _payload(item.payload), "received_at": item.at}
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _payload(payload: bytes) -> object:
    """As text where it is UTF-8, so that numbers keep their spelling; else in base64."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(payload).decode("ascii")}
