"""What `biotwin bench kills` breaks, and the stream that flows meanwhile: all from a seed."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal, NamedTuple

import msgspec

from loadtest.faults import Faults
from loadtest.simulation import SimulationPlan
from loadtest.ward import BRISK, EventPlan

Part = Literal["ingest", "worker", "kafka"]

PATIENTS = 100

EVENTS = EventPlan(
    mean_gap_s=BRISK.mean_gap_s,
    duration_s=BRISK.duration_s,
    ramp_s=BRISK.ramp_s,
    weights={kind: weight for kind, weight in BRISK.weights.items() if kind != "exercise"},
)
"""Without exercise: a session is a command, and commands go another way than readings, so that where they meet in the
log depends on the run."""

FAULTS = Faults(duplicates=0.01, reordering=0.01, reordering_max_s=1.5, nan=0.001, garbage=0.001, skew_s=0.1)


class KillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to break: `kills` shared by ingest, worker and Kafka, `stalls` of a worker, over about `readings`."""

    kills: int = 60
    stalls: int = 5
    readings: int = 30_000
    seed: int = 1
    patients: int = PATIENTS


class Blow(NamedTuple):
    """One planned disturbance: before which message, on what, and whether it waits for its moment."""

    message: int
    kind: Part | Literal["stall"]
    aimed: bool


def plan_blows(plan: KillPlan, messages: int) -> list[Blow]:
    """Where in the stream what is hit: from the seed alone. None in the first and last twentieth."""
    rng = Random(f"kills:{plan.seed}")
    parts: tuple[Part, ...] = ("ingest", "worker", "kafka")
    kinds: list[Part | Literal["stall"]] = [parts[number % 3] for number in range(plan.kills)]
    kinds += ["stall"] * plan.stalls
    rng.shuffle(kinds)
    places = sorted(rng.sample(range(messages // 20, messages - messages // 20), len(kinds)))
    seen: Counter[str] = Counter()
    blows = []
    for place, kind in zip(places, kinds, strict=True):
        seen[kind] += 1
        blows.append(Blow(place, kind, kind != "stall" and seen[kind] % 3 != 0))
    return blows


def stream_plan(plan: KillPlan, start_t: float, site: str) -> SimulationPlan:
    """A ward that publishes about as many readings as asked for."""
    per_second = 1.25 * plan.patients
    return SimulationPlan(
        patients=plan.patients,
        duration_s=max(20.0, plan.readings / per_second),
        seed=plan.seed,
        start_t=start_t,
        site=site,
        events=EVENTS,
        faults=FAULTS,
        pressure_period_s=60.0,
    )
