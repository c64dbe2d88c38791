"""A ward of simulated patients: coupled vital signs with personal baselines, daily rhythm, noise and labelled events.

All patients advance together, one second a step, as columns. The same seed gives the same ward on every machine of one
CPU type. It is a source of test data with known truth, not a model to treat anybody by.

Sources of the numbers: docs/simulation.md; the physiology is that of `loadtest.physiology`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from loadtest.physiology import (
    GAIN_BPM_PER_W,
    TAU_OFF_S,
    TAU_ON_S,
    Drive,
    FloatArray,
    Population,
    Spread,
    consciousness,
    daily_rhythm,
    draw_resting,
    effort,
    true_vital_signs,
)

BoolArray = npt.NDArray[np.bool_]

EventKind = Literal["sepsis", "respiratory_failure", "exercise", "artefact", "dropout", "outage"]
PatientKind = Literal["ward", "rehabilitation"]

POPULATION = Population(
    heart_rate=Spread(78.0, 8.0, 48.0, 100.0),
    spo2=Spread(97.0, 0.8, 94.5, 99.5),
    respiratory_rate=Spread(15.0, 1.6, 12.2, 19.5),
    temperature=Spread(36.8, 0.2, 36.2, 37.5),
    systolic=Spread(128.0, 10.0, 112.0, 160.0),
)


class Event(msgspec.Struct, frozen=True):
    """One labelled event: what truly happened to a patient or to what measures him. Times in s since the epoch.

    `severity` is 0..1 for a deterioration or artefact and the power in W for exercise.
    """

    patient: int
    kind: EventKind
    start_t: float
    end_t: float
    severity: float


@dataclass(frozen=True)
class EventPlan:
    """How often events come. `mean_gap_s` lies between two events of one patient, in s; `duration_s` is the shortest
    and longest an event lasts, `ramp_s` how long a deterioration takes to be fully there; `weights` how kinds share.
    """

    mean_gap_s: float
    duration_s: tuple[float, float]
    ramp_s: float
    weights: dict[EventKind, float] = field(
        default_factory=lambda: {
            "sepsis": 0.15,
            "respiratory_failure": 0.15,
            "exercise": 0.3,
            "artefact": 0.2,
            "dropout": 0.15,
            "outage": 0.05,
        }
    )


LIFELIKE = EventPlan(mean_gap_s=6 * 3600.0, duration_s=(600.0, 3600.0), ramp_s=300.0)
"""About as often as on a general ward; for long runs."""

BRISK = EventPlan(
    mean_gap_s=30.0,
    duration_s=(35.0, 70.0),
    ramp_s=6.0,
    weights={
        "sepsis": 0.3,
        "respiratory_failure": 0.3,
        "exercise": 0.2,
        "artefact": 0.1,
        "dropout": 0.06,
        "outage": 0.04,
    },
)
"""Many short events, so that minutes show what a ward shows in days: for demonstrations and tests."""

CALM = EventPlan(mean_gap_s=1e12, duration_s=(1.0, 1.0), ramp_s=1.0)
"""No events."""


class Vitals(NamedTuple):
    """One second of the whole ward; every column has one entry a patient, units as in the signal registry.

    `measured_*` may be an artefact with a low `quality` (0..1), or missing: where `contact` is False nothing is
    measured. `connected` is False during an outage: what is measured then arrives in a burst after it.
    """

    t: float
    heart_rate: FloatArray
    spo2: FloatArray
    respiratory_rate: FloatArray
    body_temperature: FloatArray
    systolic_pressure: FloatArray
    diastolic_pressure: FloatArray
    skin_temperature: FloatArray
    power_w: FloatArray
    cadence_per_min: FloatArray
    consciousness: npt.NDArray[np.int64]
    supplemental_oxygen: BoolArray
    exercising: BoolArray
    measured_heart_rate: FloatArray
    measured_spo2: FloatArray
    quality: FloatArray
    contact: BoolArray
    connected: BoolArray


class Ward:
    """The patients and what will happen to them; `run` makes their vital signs second by second.

    Raises `ValueError` for no patients or no time.
    """

    def __init__(
        self,
        patients: int,
        duration_s: float,
        seed: int,
        start_t: float,
        plan: EventPlan = LIFELIKE,
        rehabilitation_share: float = 0.3,
    ) -> None:
        if patients < 1 or not duration_s > 0:
            raise ValueError(f"a ward has at least one patient and some time, got {patients} and {duration_s:g} s")
        self.patients = patients
        self.duration_s = duration_s
        self.start_t = start_t
        self.plan = plan
        traits, events, self._noise_seed = np.random.SeedSequence(seed).spawn(3)
        rng = np.random.default_rng(traits)
        self.rehabilitation: BoolArray = rng.random(patients) < rehabilitation_share
        fit = self.rehabilitation
        self.resting = draw_resting(rng, patients, POPULATION, np.where(fit, 66.0, 78.0))
        self.oxygen_at_rest: BoolArray = ~fit & (rng.random(patients) < 0.08)
        self.scale_2: BoolArray = ~fit & (rng.random(patients) < 0.03)
        self.gain_bpm_per_w = rng.uniform(*GAIN_BPM_PER_W, patients)
        self.age_years = rng.integers(35, 90, patients)
        self.events = tuple(
            sorted(self._plan_events(np.random.default_rng(events)), key=lambda e: (e.start_t, e.patient))
        )

    def kind(self, patient: int) -> PatientKind:
        """On a ward with a bedside monitor, or in rehabilitation with a chest strap."""
        return "rehabilitation" if self.rehabilitation[patient] else "ward"

    def _plan_events(self, rng: np.random.Generator) -> Iterator[Event]:
        plan = self.plan
        for patient in range(self.patients):
            kinds = [kind for kind in plan.weights if kind != "exercise" or self.rehabilitation[patient]]
            shares = np.array([plan.weights[kind] for kind in kinds])
            at = float(rng.exponential(plan.mean_gap_s))
            while at < self.duration_s:
                kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
                length = float(rng.uniform(*plan.duration_s))
                if kind in ("artefact", "dropout", "outage"):
                    length = min(length, 20.0) * float(rng.uniform(0.3, 1.0))
                severity = float(rng.uniform(70, 160) if kind == "exercise" else rng.uniform(0.75, 1.0))
                yield Event(patient, kind, self.start_t + at, self.start_t + at + length, severity)
                at += length + float(rng.exponential(plan.mean_gap_s))

    def run(self) -> Iterator[Vitals]:
        """One `Vitals` a second, from `start_t` on, for as long as the ward lasts. Each call begins anew."""
        walk = _Walk(self, np.random.default_rng(self._noise_seed))
        for second in range(int(np.ceil(self.duration_s))):
            yield walk.step(self.start_t + second)


class _Walk:
    """The state that moves from second to second."""

    def __init__(self, ward: Ward, rng: np.random.Generator) -> None:
        n = ward.patients
        self.ward = ward
        self.rng = rng
        self.pending = list(reversed(ward.events))
        self.running: list[Event] = []
        self.sepsis = np.zeros(n)
        self.hypoxia = np.zeros(n)
        self.exertion_bpm = np.zeros(n)
        self.wander = np.zeros((5, n))

    def step(self, t: float) -> Vitals:
        ward, rng, n = self.ward, self.rng, self.ward.patients
        while self.pending and self.pending[-1].start_t <= t:
            self.running.append(self.pending.pop())
        self.running = [event for event in self.running if event.end_t > t]
        sepsis_goal, hypoxia_goal, power, artefact = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
        contact, connected = np.ones(n, np.bool_), np.ones(n, np.bool_)
        for event in self.running:
            if event.kind == "sepsis":
                sepsis_goal[event.patient] = event.severity
            elif event.kind == "respiratory_failure":
                hypoxia_goal[event.patient] = event.severity
            elif event.kind == "exercise":
                power[event.patient] = event.severity
            elif event.kind == "artefact":
                artefact[event.patient] = event.severity
            elif event.kind == "dropout":
                contact[event.patient] = False
            else:
                connected[event.patient] = False
        gain = 1.0 - np.exp(-1.0 / (ward.plan.ramp_s / 3.0))
        self.sepsis += gain * (sepsis_goal - self.sepsis)
        self.hypoxia += gain * (hypoxia_goal - self.hypoxia)
        demand_bpm = ward.gain_bpm_per_w * power
        tau_s = np.where(demand_bpm > self.exertion_bpm, TAU_ON_S, TAU_OFF_S)
        self.exertion_bpm += (demand_bpm - self.exertion_bpm) * (1.0 - np.exp(-1.0 / tau_s))
        # First-order autoregressive noise (time constant 20 s), one row a signal, unit variance.
        keep = np.exp(-1.0 / 20.0)
        self.wander = keep * self.wander + np.sqrt(1.0 - keep**2) * rng.standard_normal((5, n))
        sepsis, hypoxia = self.sepsis, self.hypoxia
        true = true_vital_signs(ward.resting, daily_rhythm(t), Drive(sepsis, hypoxia, self.exertion_bpm))
        heart_rate = true.heart_rate + 1.8 * self.wander[0]
        respiratory_rate = true.respiratory_rate + 0.6 * self.wander[1]
        spo2 = np.clip(true.spo2 + 0.35 * self.wander[2], 55.0, 100.0)
        temperature = true.body_temperature + 0.03 * self.wander[3]
        systolic = true.systolic_pressure + 3.0 * self.wander[4]
        diastolic = true.diastolic_pressure + 2.0 * self.wander[4]
        measured_heart_rate = np.where(artefact > 0, heart_rate * np.where(artefact > 0.87, 2.0, 0.5), heart_rate)
        measured_heart_rate = measured_heart_rate + rng.normal(0.0, 0.4, n)
        measured_spo2 = np.clip(spo2 - 25.0 * artefact + rng.normal(0.0, 0.25, n), 0.0, 100.0)
        cadence = np.where(power > 0, 60.0 + 3.0 * self.wander[1], 0.0)
        return Vitals(
            t=t,
            heart_rate=heart_rate,
            spo2=spo2,
            respiratory_rate=np.clip(respiratory_rate, 4.0, 60.0),
            body_temperature=temperature,
            systolic_pressure=systolic,
            diastolic_pressure=diastolic,
            skin_temperature=temperature - 3.6 - 0.5 * effort(self.exertion_bpm),
            power_w=np.where(power > 0, power + 4.0 * self.wander[3], 0.0),
            cadence_per_min=cadence,
            consciousness=consciousness(sepsis),
            supplemental_oxygen=ward.oxygen_at_rest | (hypoxia > 0.5),
            exercising=power > 0,
            measured_heart_rate=np.clip(measured_heart_rate, 20.0, 280.0),
            measured_spo2=measured_spo2,
            quality=np.where(artefact > 0, 0.25, 0.98),
            contact=contact,
            connected=connected,
        )
