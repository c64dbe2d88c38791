"""What `biotwin bench alert-kills` feeds and breaks: all from a seed.

A ward whose patients again and again pass a high-priority limit and come back: heart rate beyond the personal maximum,
some of it where only a tick can raise the alert because the device pauses; pressures of 255 mmHg. Readings are
repeated, overtake each other within the lateness bound, or come far too late. Half of the alerts are acknowledged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Literal, NamedTuple

import msgspec
import orjson

from contracts.command import Acknowledge, Admit, Bind, Command, Limits
from contracts.condition import Alert
from loadtest.replay_input import Line

Part = Literal["worker", "deliver", "escalator", "console", "mqtt", "webhook", "email", "mllp", "fhir"]
PARTS: tuple[Part, ...] = ("worker", "webhook", "deliver", "console", "mllp", "escalator", "mqtt", "fhir", "email")
"""What is killed, in turn; `escalator` is `biotwin deliver` at the moment at which a call has become visible."""

MAXIMUM = 130.0
DUPLICATES, REORDERED, LATE = 0.05, 0.05, 0.03
REORDERING_MAX_S = 1.5
LATE_S = 90.0
READING_EVERY_S = 2.0
QUIET_END_S = 120.0


class AlertKillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`kills` kill -9 while a feed of `duration_s` of event time flows; `undisturbed` also runs it without."""

    kills: int = 20
    seed: int = 1
    patients: int = 24
    duration_s: float = 900.0
    undisturbed: bool = True


class Kill(NamedTuple):
    """One planned kill: before which record of the feed, of what, and how long it stays away (s)."""

    record: int
    part: Part
    away_s: float


def plan_kills(plan: AlertKillPlan, records: int) -> list[Kill]:
    """Where in the feed what is killed. Each part comes before any comes again; none in the last tenth."""
    rng = Random(f"alert-kills:{plan.seed}")
    parts = [PARTS[number % len(PARTS)] for number in range(plan.kills)]
    rng.shuffle(parts)
    places = sorted(rng.sample(range(records // 20, records - records // 10), len(parts)))
    return [Kill(place, part, rng.uniform(0.0, 2.0)) for place, part in zip(places, parts, strict=True)]


class _Feed:
    """One patient's device, its streams, and the lines that come of them. `rng` draws what is measured, `way` what
    becomes of it on its way."""

    def __init__(self, plan: AlertKillPlan, number: int, start_t: float, site: str, *, faults: bool) -> None:
        self.rng = Random(f"alert-kills:{plan.seed}:{number}")
        self.way = Random(f"alert-kills:{plan.seed}:{number}:way") if faults else None
        self.name, self.patient = f"monitor-{number}", f"p{number:03d}"
        self._start_t, self._site = start_t, site
        self._sequence: Counter[str] = Counter()
        self.lines: list[Line] = []

    def order(self, at: float, command: Command) -> None:
        """A person's command that arrives at `at` (s of the feed)."""
        self.lines.append(Line(self._start_t + at, "", None, msgspec.json.encode(command)))

    def measure(self, t: float, stream: str, signal: str, value: float, late_s: float = 0.0) -> None:
        """A reading measured at `t` (s of the feed), with the faults of its way."""
        way = self.way
        self._sequence[stream] += 1
        document = {"session": "s", "seq": self._sequence[stream], "t": self._start_t + t, "v": {signal: value}}
        arrivals = [t + 0.2 + late_s]
        if way is not None:
            at = t + way.uniform(0.05, 0.4) + late_s
            if way.random() < REORDERED:
                at += way.uniform(0.0, REORDERING_MAX_S)
            arrivals = [at, at + way.uniform(0.5, 3.0)] if way.random() < DUPLICATES else [at]
        topic = f"biotwin/v1/{self._site}/{self.name}/{stream}"
        self.lines += [Line(self._start_t + arrived, topic, orjson.dumps(document), b"") for arrived in arrivals]


def feed_lines(plan: AlertKillPlan, start_t: float, site: str, *, faults: bool = True) -> list[Line]:
    """The feed without acknowledgements, by time of arrival, from `start_t` (s since the epoch) on. Without `faults`
    each reading arrives once, in order, and none too late."""
    lines: list[Line] = []
    for number in range(plan.patients):
        feed = _Feed(plan, number, start_t, site, faults=faults)
        _admit(feed, start_t)
        fast, paused = _spells(feed, plan.duration_s)
        t = feed.rng.uniform(1.0, 1.0 + READING_EVERY_S)
        while t < plan.duration_s:
            if not any(begin <= t < end for begin, end in paused):
                beyond = any(begin <= t < end for begin, end in fast)
                feed.measure(t, "vitals", "heart_rate", round((160.0 if beyond else 75.0) + feed.rng.uniform(-4, 4), 1))
            if feed.way is not None and feed.way.random() < LATE and t > LATE_S + 10.0:
                feed.measure(t - LATE_S, "spot", "systolic_pressure", 256.0, late_s=LATE_S)
            t += READING_EVERY_S
        lines += feed.lines
    return sorted(lines, key=lambda line: line.received_at)


def _admit(feed: _Feed, start_t: float) -> None:
    t, author, patient = start_t - 60.0, "clinician-a", feed.patient
    feed.order(0.0, Admit(id=f"admit-{patient}", t=t, author=author, patient=patient, age_years=60))
    feed.order(0.0, Bind(id=f"bind-{patient}", t=t, author=author, patient=patient, device=feed.name))
    why: Any = {"reason": "beta blocker", "expires_at": t + 86_400.0, "heart_rate_maximum": MAXIMUM}
    feed.order(0.0, Limits(id=f"limits-{patient}", t=t, author=author, patient=patient, **why))


def _spells(feed: _Feed, duration_s: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """When the heart is too fast, and when the device says nothing; pressures are measured on the way."""
    rng = feed.rng
    fast: list[tuple[float, float]] = []
    paused: list[tuple[float, float]] = []
    at = rng.uniform(20.0, 80.0)
    while at < duration_s - QUIET_END_S:
        kind = rng.choice(["pulse", "pulse", "pause", "pressure"])
        if kind == "pressure":
            feed.measure(at, "cuff", "systolic_pressure", 255.0)
            feed.measure(at + rng.uniform(20.0, 60.0), "cuff", "systolic_pressure", 130.0)
        else:
            fast.append((at, at + rng.uniform(25.0, 45.0)))
        if kind == "pause":
            paused.append((at + 5.0, at + rng.uniform(16.0, 22.0)))
        at += rng.uniform(110.0, 200.0)
    return fast, paused


def acknowledgements(plan: AlertKillPlan, alerts: list[Alert], received_at: dict[str, float]) -> list[Line]:
    """Acts on half of the alerts, 15 to 50 s after their onset arrived. `alerts` are their settled onsets,
    `received_at` the arrival (s since the epoch) by alert id."""
    rng = Random(f"alert-kills:{plan.seed}:acts")
    lines = []
    for alert in sorted(alerts, key=lambda one: (one.t, one.id)):
        if rng.random() < 0.5:
            at = round(received_at[alert.id] + rng.uniform(15.0, 50.0), 3)
            act = Acknowledge(id=f"ack-{alert.id}", t=at, author="nurse-a", patient=alert.patient, alert=alert.id)
            lines.append(Line(at, "", None, msgspec.json.encode(act)))
    return lines


def merged(lines: list[Line], more: list[Line]) -> Iterator[Line]:
    """Both, by time of arrival."""
    yield from sorted([*lines, *more], key=lambda line: line.received_at)
