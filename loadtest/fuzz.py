"""Hostile payloads by the thousand: every one must be applied or stand in quarantine with a reason, in bounded memory.

Seeded. The payloads go through the same intake and processors as everything else (`fuzz_core`), or over real MQTT.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import msgspec
import orjson
import psutil

from contracts import topics
from contracts.command import Bind
from contracts.configuration import Configuration, Mqtt
from contracts.quarantine import Quarantined, Reason
from contracts.signals import default_registry
from loadtest.pipeline import Pipeline
from loadtest.publisher import Publisher
from loadtest.replay_input import Intake, Line
from loadtest.simulation import Message

START_T = 1_767_225_600.0
DEVICES = 40
HOSTILE_NUMBERS = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "5e-324", "-0.0", "0", "-1", "1e16", "9" * 30),
    *("18446744073709551616", "9223372036854775807", "-9223372036854775808", "0.1e-999", "1E+2", "true", "null"),
    *('"72"', '"NaN"', "[]", "{}", "[[1]]"),
)
UNITS = ("beat/min", "mmHg", "kPa", "[degF]", "K", "%", "furlong", "", "𝛍", "Cel", "1/s")


class FuzzReport(NamedTuple):
    """`statuses` are what devices say of themselves, which are no readings. `unexplained` payloads were neither that
    nor applied, late, a repeat or quarantined."""

    payloads: int
    statuses: int
    readings: int
    quarantined: dict[str, int]
    applied: int
    late: int
    duplicates: int
    rejected_by_twin: int
    unexplained: int
    rss_growth_mb: float


def device_name(number: int) -> str:
    """One of the fuzzed devices; a fifth of them is never bound."""
    return f"fuzz-{number % DEVICES:02d}"


def bind_commands() -> list[Bind]:
    """Bindings for four fifths of the devices."""
    return [
        Bind(id=f"fuzz-{number}", t=START_T - 3600.0, author="fuzz", device=device_name(number), patient=f"p-{number}")
        for number in range(DEVICES)
        if number % 5
    ]


class Fuzzer:
    """Makes (topic, payload) pairs, `t` in the payloads near `now`."""

    def __init__(self, seed: int, site: str = "site") -> None:
        self._rng = Random(f"fuzz:{seed}")
        self._site = site
        self._signals = [signal.name for signal in default_registry().signals]
        self._sequence = 0
        self._kinds: list[tuple[float, Callable[[float], bytes]]] = [
            (4.0, self._good),
            (3.0, self._hostile_number),
            (2.0, self._mutated),
            (2.0, self._fields_changed),
            (1.5, self._random_json),
            (1.0, self._noise),
            (1.0, self._cut),
            (1.0, self._times),
            (1.0, self._senml),
            (1.0, self._packed),
            (0.5, self._units),
            (0.15, self._huge_array),
            (0.15, self._deep),
            (0.05, self._huge),
        ]

    def payloads(self, count: int, now: float, step_s: float) -> Iterator[tuple[float, str, bytes]]:
        """(time, topic, payload); the time goes on by `step_s` each."""
        makers = [maker for _, maker in self._kinds]
        weights = [weight for weight, _ in self._kinds]
        for number in range(count):
            at = now + step_s * number
            (maker,) = self._rng.choices(makers, weights)
            payload = maker(at)
            batch = maker == self._packed or (maker == self._senml and self._rng.random() < 0.5)
            yield at, self._topic(batch=batch), payload

    def _topic(self, *, batch: bool) -> str:
        roll = self._rng.random()
        if roll < 0.02:
            return self._rng.choice(
                ("biotwin/v1/site", "biotwin/v2/site/a/b", "a/b/c/d/e", "biotwin/v1/other/fuzz-01/vitals", "biotwin//")
            )
        if roll < 0.03:
            return f"biotwin/v1/{self._site}/{device_name(self._rng.randrange(DEVICES))}/status"
        if roll < 0.04:
            return f"biotwin/v1/{self._site}/dev ice\u0000/vitals"
        device = device_name(self._rng.randrange(DEVICES))
        return f"biotwin/v1/{self._site}/{device}/{'batch' if batch else 'vitals'}"

    def _document(self, at: float) -> dict[str, Any]:
        self._sequence += 1
        rng = self._rng
        return {
            "session": rng.choice(("s1", "s2")),
            "seq": self._sequence,
            "t": round(at - rng.uniform(0.0, 8.0), 3),
            "v": {"heart_rate": rng.randint(30, 220), "spo2": rng.randint(60, 100)},
        }

    def _good(self, at: float) -> bytes:
        return orjson.dumps(self._document(at))

    def _hostile_number(self, at: float) -> bytes:
        field = self._rng.choice(("seq", "t", "heart_rate", "spo2"))
        text = orjson.dumps(self._document(at)).decode()
        head, _, rest = text.partition(f'"{field}":')
        end = min((rest.find(mark) for mark in ",}" if mark in rest), default=0)
        return f'{head}"{field}":{self._rng.choice(HOSTILE_NUMBERS)}{rest[end:]}'.encode()

    def _mutated(self, at: float) -> bytes:
        payload = bytearray(self._good(at))
        for _ in range(self._rng.randint(1, 6)):
            payload[self._rng.randrange(len(payload))] = self._rng.randrange(256)
        return bytes(payload)

    def _fields_changed(self, at: float) -> bytes:
        rng = self._rng
        document = self._document(at)
        strange: list[Any] = [None, "", "x" * 300, [], {}, -1, 1.5, True, "\ud800".encode("utf-8", "replace").decode()]
        for _ in range(rng.randint(1, 3)):
            name = rng.choice(("session", "seq", "t", "v", "q", "hz", "u", "device", "stream", "hashed", "extra"))
            if rng.random() < 0.3:
                document.pop(name, None)
            else:
                document[name] = rng.choice(strange)
        if rng.random() < 0.3 and isinstance(document.get("v"), dict):
            name = rng.choice((*self._signals, "unknown", "heart rate", ""))
            document["v"] = {**document["v"], name: rng.choice(strange)}
        return orjson.dumps(document)

    def _random_json(self, _at: float) -> bytes:
        return orjson.dumps(self._value(4))

    def _value(self, depth: int) -> Any:
        rng = self._rng
        kind = rng.randrange(7 if depth else 5)
        if kind == 5:
            return [self._value(depth - 1) for _ in range(rng.randrange(4))]
        if kind == 6:
            names = ("v", "seq", "session", "t", "n", "bn", "a", "", "device")
            return {rng.choice(names): self._value(depth - 1) for _ in range(rng.randrange(4))}
        return (None, rng.random() < 0.5, rng.uniform(-1e9, 1e9), rng.randint(-(2**63), 2**63 - 1), "text")[kind]

    def _noise(self, _at: float) -> bytes:
        return self._rng.randbytes(self._rng.randrange(200))

    def _cut(self, at: float) -> bytes:
        payload = self._good(at)
        return payload[: self._rng.randrange(len(payload))]

    def _times(self, at: float) -> bytes:
        wild = (-1.0, 0.0, at + 3600.0, at * 1000.0, 1e18, at - 86_400.0 * 400, at + 2.5, at - 40.0, 4.2e9)
        return orjson.dumps({**self._document(at), "t": self._rng.choice(wild)})

    def _senml(self, at: float) -> bytes:
        rng = self._rng
        records: list[dict[str, Any]] = [{"bn": f"{device_name(rng.randrange(DEVICES))}:vitals:", "bt": round(at, 3)}]
        for _ in range(rng.randint(1, 4)):
            record: dict[str, Any] = {"n": rng.choice(("heart_rate", "spo2", "nothing", "")), "u": rng.choice(UNITS)}
            record[rng.choice(("v", "vs", "vb", "vd", "s", "t", "must_"))] = rng.choice((72, "x", True, None, 1e300))
            records.append(record)
        return orjson.dumps(records)

    def _packed(self, at: float) -> bytes:
        rng = self._rng
        items: list[Any] = []
        for _ in range(rng.randint(0, 5)):
            item = self._document(at) | {"device": device_name(rng.randrange(DEVICES)), "stream": "vitals"}
            items.append(item if rng.random() < 0.8 else self._value(2))
        return orjson.dumps(items)

    def _units(self, at: float) -> bytes:
        return orjson.dumps({**self._document(at), "u": {"heart_rate": self._rng.choice(UNITS)}})

    def _huge_array(self, at: float) -> bytes:
        return orjson.dumps({**self._document(at), "v": {"ecg_mv": [0.1] * self._rng.choice((4096, 4097, 50_000))}})

    def _deep(self, _at: float) -> bytes:
        depth = self._rng.choice((100, 2000, 20_000))
        opening, closing = self._rng.choice((("[", "]"), ('{"v":', "}")))
        return (opening * depth + "1" + closing * depth).encode()

    def _huge(self, at: float) -> bytes:
        return self._good(at) + b" " * self._rng.choice((1_048_576, 1_500_000))


def fuzz_core(configuration: Configuration, count: int, seed: int) -> FuzzReport:
    """Push `count` payloads through ingest core, twin and alert processors; an exception is a finding and comes out."""
    process = psutil.Process()
    intake = Intake(configuration)
    pipeline = Pipeline(configuration, START_T)
    fuzzer = Fuzzer(seed, configuration.site)
    for command in bind_commands():
        pipeline.run(intake.take(Line(START_T - 1.0, "", None, msgspec.json.encode(command))))
    reasons: Counter[str] = Counter()
    readings = unexplained = statuses = 0
    rss_after_warm_up = 0.0
    rss_peak = 0.0
    for number, (at, topic, payload) in enumerate(fuzzer.payloads(count, START_T, 0.02)):
        records = list(intake.take(Line(at, topic, payload, b"")))
        readings += sum(record.topic == topics.TELEMETRY and bool(record.headers) for record in records)
        refused = [record for record in records if record.topic == topics.QUARANTINE]
        for record in refused:
            reasons[Reason(msgspec.json.decode(record.value, type=Quarantined).reason).value] += 1
        answered = any(bool(record.headers) or record.topic == topics.QUARANTINE for record in records)
        if not answered:
            status = _is_status(topic, payload)
            statuses += status
            unexplained += not status
        pipeline.run(records)
        pipeline.output.clear()
        if number == count // 5:
            rss_after_warm_up = process.memory_info().rss / 1e6
        elif number % 1000 == 0:
            rss_peak = max(rss_peak, process.memory_info().rss / 1e6)
    counters = pipeline.counters()
    accounted = counters["applied"] + counters["late"] + counters["duplicates"] + counters["quarantined"]
    return FuzzReport(
        payloads=count,
        statuses=statuses,
        readings=readings,
        quarantined=dict(sorted(reasons.items())),
        applied=counters["applied"],
        late=counters["late"],
        duplicates=counters["duplicates"],
        rejected_by_twin=counters["quarantined"],
        unexplained=unexplained + abs(readings - accounted),
        rss_growth_mb=round(max(rss_peak - rss_after_warm_up, 0.0), 1),
    )


def _is_status(topic: str, payload: bytes) -> bool:
    """A birth, a last will, or a status taken back."""
    if not topic.endswith("/status"):
        return False
    try:
        document = orjson.loads(payload or b'{"state": "offline"}')
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and document.get("state") in ("online", "offline")


async def publish_fuzz(mqtt: Mqtt, count: int, seed: int, start_t: float, site: str = "site") -> list[Message]:
    """Publish fuzzed payloads over real MQTT, as fast as the broker takes them; returns what was acknowledged."""
    sent = [
        Message(at, topic, payload, ())
        for at, topic, payload in Fuzzer(seed, site).payloads(count, start_t, 0.0)
        if _publishable(topic)
    ]
    async with Publisher(mqtt, f"biotwin-fuzz-{seed}") as publisher:
        for message in sent:
            publisher.publish(message)
            await asyncio.sleep(0)
        await publisher.finish()
    return sent


def _publishable(topic: str) -> bool:
    """MQTT itself forbids a NUL in a topic."""
    return "\x00" not in topic
