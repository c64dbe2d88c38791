"""The labelled ward: days of vital signs of many patients as columns, with everything that truly happens labelled.

It shares the physiology of `loadtest.ward`, which makes whole devices second by second for minutes; this one makes
what a wireless ward system reports, for weeks. All numbers are those of `loadtest.ward_table`. The same seed gives the
same ward on one build of numpy and one type of processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loadtest.physiology import (
    DAY_S,
    GAIN_BPM_PER_W,
    TAU_OFF_S,
    Drive,
    FloatArray,
    Population,
    Resting,
    Spread,
    Truth,
    consciousness,
    daily_rhythm,
    draw_resting,
    true_vital_signs,
)
from loadtest.ward_events import START_T, event_course, exertion, plan_events
from loadtest.ward_table import number, pair

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

CHUNK_STEPS = 720
"""Steps that are made at once: two hours."""


class Bouts(NamedTuple):
    """Stretches of time of single patients, in order of patient; each column has one entry a bout, times in s."""

    patient: IntArray
    begin_t: FloatArray
    end_t: FloatArray
    size: FloatArray
    flagged: BoolArray


class Spots(NamedTuple):
    """Values taken now and then, in order of time: k records of shape (k, signals); NaN where a signal is not among
    them."""

    patient: IntArray
    t: FloatArray
    value: FloatArray
    true_value: FloatArray


class Chunk(NamedTuple):
    """Two hours of the ward. `t` (steps,) in s; all others (steps, patients). Measured values are NaN where none is
    taken; `quality` is 0..1. `cuff` has systolic and diastolic pressure, `rounds` temperature, consciousness and
    oxygen."""

    first_step: int
    t: FloatArray
    truth: Truth
    heart_rate: FloatArray
    respiratory_rate: FloatArray
    spo2: FloatArray
    patch_quality: FloatArray
    oximeter_quality: FloatArray
    cuff: Spots
    rounds: Spots


class LabelledWard:
    """Patients, events and disturbances, drawn from `seed`; `chunks` makes the vital signs.

    Raises `ValueError` for no patients or no time.
    """

    def __init__(self, patients: int, days: float, seed: int) -> None:
        if patients < 1 or not days > 0:
            raise ValueError(f"a ward has at least one patient and some time, got {patients} and {days:g} days")
        self.patients = patients
        self.period_s = number("sample_period_s")
        self.steps = round(days * DAY_S / self.period_s)
        self.end_t = START_T + self.steps * self.period_s
        traits, events, background, self._noise_seed = np.random.SeedSequence(seed).spawn(4)
        rng = np.random.default_rng(traits)
        self.resting, self.hypercapnic = _draw_patients(rng, patients)
        self.on_oxygen: BoolArray = self.hypercapnic | (rng.random(patients) < number("oxygen_share"))
        self.gain_bpm_per_w = rng.uniform(*GAIN_BPM_PER_W, patients)
        youngest, oldest = pair("age_years")
        self.age_years = rng.integers(int(youngest), int(oldest), patients, endpoint=True)
        self.phase_s = rng.uniform(0.0, self.period_s, patients)
        self.events = tuple(plan_events(np.random.default_rng(events), patients, self.end_t))
        rng = np.random.default_rng(background)
        self.apnoea = self._plan_apnoea(rng)
        self.motion = self._plan_motion(rng)
        self.probe = self._plan_artefacts(rng, "probe", pair("probe_fall"))
        self.electrode = self._plan_artefacts(rng, "electrode", (0.0, 1.0))
        self.patch_gaps = self._plan_gaps(rng, number("patch_missing_share"))
        self.oximeter_gaps = self._plan_gaps(rng, number("oximeter_missing_share"))
        self.outages = self._plan_outages(rng)
        self._cuff_times = [self._cuff_schedule(rng) for _ in range(patients)]
        self._round_times = [self._round_schedule(rng) for _ in range(patients)]

    def _plan_apnoea(self, rng: np.random.Generator) -> Bouts:
        columns = _BoutColumns()
        nights = int(np.ceil((self.end_t - START_T) / DAY_S)) + 1
        for patient in np.flatnonzero(rng.random(self.patients) < number("apnoea_share")).tolist():
            for night in range(nights):
                for _ in range(rng.poisson(number("apnoea_bouts"))):
                    begin = START_T + ((night - 1) * 24.0 + rng.uniform(*pair("apnoea_hours"))) * 3600.0
                    columns.add(
                        patient, begin, begin + rng.uniform(*pair("apnoea_bout_s")), rng.random(), flagged=False
                    )
        return columns.bouts()

    def _plan_motion(self, rng: np.random.Generator) -> Bouts:
        columns = _BoutColumns()
        gaps_s = number("motion_gap_s") * np.exp(rng.normal(0.0, number("motion_spread"), self.patients))
        for patient, gap_s in enumerate(gaps_s):
            at = START_T + rng.exponential(gap_s)
            while at < self.end_t:
                end = at + rng.exponential(number("motion_s"))
                columns.add(patient, at, end, 1.0, flagged=False)
                at = end + rng.exponential(gap_s)
        return columns.bouts()

    def _plan_artefacts(self, rng: np.random.Generator, name: str, size: tuple[float, float]) -> Bouts:
        columns = _BoutColumns()
        for patient, begin, end in zip(self.motion.patient, self.motion.begin_t, self.motion.end_t, strict=True):
            for at in np.sort(rng.uniform(begin, end, rng.poisson(number(f"{name}_rate") * (end - begin) / 3600.0))):
                flagged = bool(rng.random() < number("flagged_share"))
                length = rng.exponential(number(f"{name}_s"))
                columns.add(patient, at, at + length, rng.uniform(*size), flagged=flagged)
        return columns.bouts()

    def _plan_gaps(self, rng: np.random.Generator, missing: float) -> Bouts:
        """Long and short gaps, each as often as its share of the missing time asks for."""
        columns = _BoutColumns()
        for share, length_s in (
            (number("long_gap_share"), number("long_gap_s")),
            (1.0 - number("long_gap_share"), number("short_gap_s")),
        ):
            # Of two kinds of gap that fall independently, the one hides what the other covers too.
            covered = 1.0 - (1.0 - missing) ** share
            apart_s = length_s * (1.0 - covered) / covered
            for patient in range(self.patients):
                at = START_T + rng.exponential(apart_s)
                while at < self.end_t:
                    end = at + rng.exponential(length_s)
                    columns.add(patient, at, end, 1.0, flagged=False)
                    at = end + rng.exponential(apart_s)
        return columns.bouts()

    def _plan_outages(self, rng: np.random.Generator) -> Bouts:
        columns = _BoutColumns()
        for patient in range(self.patients):
            free_from = START_T
            for at in np.sort(
                rng.uniform(START_T, self.end_t, rng.poisson(number("outage_rate") * (self.end_t - START_T) / DAY_S))
            ):
                if at < free_from:
                    continue
                free_from = at + rng.uniform(*pair("outage_s"))
                columns.add(patient, at, free_from, 1.0, flagged=False)
        return columns.bouts()

    def _cuff_schedule(self, rng: np.random.Generator) -> FloatArray:
        morning, evening = pair("cuff_day_hours")
        at = START_T + rng.uniform(0.0, number("cuff_night_s"))
        times = []
        while at < self.end_t:
            times.append(at)
            hour = (at - START_T) % DAY_S / 3600.0
            at += number("cuff_day_s") if morning <= hour < evening else number("cuff_night_s")
        return np.array(times)

    def _round_schedule(self, rng: np.random.Generator) -> FloatArray:
        spread_s = number("round_spread_s")
        first = START_T + rng.uniform(0.0, spread_s)
        count = int(np.ceil((self.end_t - first) / number("round_s")))
        times = first + np.arange(count) * number("round_s") + rng.uniform(0.0, spread_s, count)
        return times[times < self.end_t]

    def chunks(self) -> Iterator[Chunk]:
        """The ward from its beginning, two hours at a time; each call gives the same."""
        walk = _Walk(self, np.random.default_rng(self._noise_seed))
        for first in range(0, self.steps, CHUNK_STEPS):
            yield walk.chunk(first, min(CHUNK_STEPS, self.steps - first))

    def cuff_times(self, begin_t: float, end_t: float) -> tuple[IntArray, FloatArray]:
        """(patients, times) of the cuff readings that are tried in [begin, end)."""
        return _within(self._cuff_times, begin_t, end_t)

    def round_times(self, begin_t: float, end_t: float) -> tuple[IntArray, FloatArray]:
        """(patients, times) of the nurses' rounds in [begin, end)."""
        return _within(self._round_times, begin_t, end_t)


def _draw_patients(rng: np.random.Generator, n: int) -> tuple[Resting, BoolArray]:
    population = Population(
        heart_rate=Spread(*pair("heart_rate"), *pair("heart_rate_kept")),
        spo2=Spread(*pair("spo2"), *pair("spo2_kept")),
        respiratory_rate=Spread(*pair("respiratory_rate"), *pair("respiratory_rate_kept")),
        temperature=Spread(*pair("temperature"), *pair("temperature_kept")),
        systolic=Spread(*pair("systolic"), *pair("systolic_kept")),
    )
    resting = draw_resting(rng, n, population)
    hypercapnic = rng.random(n) < number("hypercapnic_share")
    resting.spo2[hypercapnic] = rng.normal(*pair("hypercapnic_spo2"), int(hypercapnic.sum()))
    return resting, hypercapnic


def _within(times: list[FloatArray], begin_t: float, end_t: float) -> tuple[IntArray, FloatArray]:
    found = [one[(one >= begin_t) & (one < end_t)] for one in times]
    patients = np.repeat(np.arange(len(found)), [len(one) for one in found])
    t = np.concatenate(found) if found else np.zeros(0)
    order = np.argsort(t, kind="stable")
    return patients[order], t[order]


class _BoutColumns:
    """Bouts as they are drawn."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, float, float, bool]] = []

    def add(self, patient: int, begin_t: float, end_t: float, size: float, *, flagged: bool) -> None:
        self._rows.append((int(patient), float(begin_t), float(end_t), float(size), flagged))

    def bouts(self) -> Bouts:
        rows = np.array(self._rows, np.float64).reshape(-1, 5)
        return Bouts(rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4] > 0.0)


DRIFTS = ("heart_rate", "respiratory_rate", "spo2", "systolic")


class _Walk:
    """The noise that goes on from chunk to chunk."""

    def __init__(self, ward: LabelledWard, rng: np.random.Generator) -> None:
        self.ward = ward
        drift, motion, self._spot = (np.random.default_rng(seed) for seed in rng.integers(0, 1 << 62, 3))
        self._rng = rng
        period_s = ward.period_s
        self._drift = _FirstOrder(drift, (len(DRIFTS), ward.patients), period_s, number("drift_time_s"))
        self._motion = _FirstOrder(motion, (3, ward.patients), period_s, number("motion_noise_time_s"))

    def chunk(self, first: int, steps: int) -> Chunk:
        ward, rng = self.ward, self._rng
        t = np.asarray(START_T + (first + np.arange(steps)) * ward.period_s, np.float64)
        truth, scatter = self._truth(t)
        shape = (steps, ward.patients)
        moving = self._covered(ward.motion, t)
        noise = self._motion.run(steps)
        heart_rate = truth.heart_rate + rng.normal(0.0, number("noise_heart_rate"), shape) + scatter
        heart_rate += moving * number("motion_heart_rate") * noise[:, 0]
        respiratory_rate = truth.respiratory_rate + rng.normal(0.0, number("noise_respiratory_rate"), shape)
        bias, sd = pair("motion_respiratory_rate")
        respiratory_rate += moving * (bias + sd * noise[:, 1])
        spo2 = truth.spo2 + rng.normal(0.0, number("noise_spo2"), shape)
        spo2 -= moving * number("motion_spo2") * np.abs(noise[:, 2])
        patch_quality, oximeter_quality = (np.full(shape, number("usual_quality")) for _ in range(2))
        for which, at, patient in self._each(ward.probe, t):
            spo2[at, patient] -= ward.probe.size[which]
            if ward.probe.flagged[which]:
                oximeter_quality[at, patient] = number("flagged_quality")
        for which, at, patient in self._each(ward.electrode, t):
            heart_rate[at, patient] *= 2.0 if ward.electrode.size[which] > 0.5 else 0.5
            if ward.electrode.flagged[which]:
                patch_quality[at, patient] = number("flagged_quality")
        lost = moving & (rng.random(shape) < number("motion_respiratory_lost_share"))
        no_patch, no_oximeter = self._covered(ward.patch_gaps, t), self._covered(ward.oximeter_gaps, t)
        return Chunk(
            first_step=first,
            t=t,
            truth=truth,
            heart_rate=np.where(no_patch, np.nan, np.clip(np.round(heart_rate), 15.0, 300.0)),
            respiratory_rate=np.where(no_patch | lost, np.nan, np.clip(np.round(respiratory_rate), 2.0, 70.0)),
            spo2=np.where(no_oximeter, np.nan, np.clip(np.round(spo2), 40.0, 100.0)),
            patch_quality=patch_quality,
            oximeter_quality=oximeter_quality,
            cuff=self._cuff(t, truth),
            rounds=self._rounds(t, truth),
        )

    def _truth(self, t: FloatArray) -> tuple[Truth, FloatArray]:
        """True vital signs, and the scatter of an irregular pulse, which a sensor sees and no mean value has."""
        ward = self.ward
        shape = (len(t), ward.patients)
        drift = self._drift.run(len(t))
        drive = Drive(np.zeros(shape), np.zeros(shape), np.zeros(shape))
        fall, scatter = np.zeros(shape), np.zeros(shape)
        arrhythmias = []
        for event in ward.events:
            if event.begin_t > t[-1] or event.end_t + 10.0 * TAU_OFF_S < t[0]:
                continue
            if event.kind == "exercise":
                drive.exertion_bpm[:, event.patient] += exertion(event, ward.gain_bpm_per_w[event.patient], t)
                continue
            course = event_course(event, t)
            if event.kind == "sepsis":
                drive.sepsis[:, event.patient] += event.size * course
            elif event.kind == "respiratory_failure":
                drive.hypoxia[:, event.patient] += event.size * course
            elif event.kind == "desaturation":
                fall[:, event.patient] += event.size * course
            else:
                arrhythmias.append((event, course))
        for which, at, patient in self._each(ward.apnoea, t):
            draw = ward.apnoea.size[which]
            cycle_s = float(np.interp(draw, (0.0, 1.0), pair("apnoea_cycle_s")))
            depth = float(np.interp((draw * 7.0) % 1.0, (0.0, 1.0), pair("apnoea_depth")))
            fall[at, patient] += depth * np.clip(
                np.sin(2.0 * np.pi * (t[at] - ward.apnoea.begin_t[which]) / cycle_s), 0, 1
            )
        truth = true_vital_signs(ward.resting, daily_rhythm(t)[:, None], drive)
        heart_rate = truth.heart_rate + number("drift_heart_rate") * drift[:, 0]
        for event, course in arrhythmias:
            own = heart_rate[:, event.patient]
            heart_rate[:, event.patient] = own + course * (event.size - own)
            if event.kind == "tachyarrhythmia":
                irregular = self._spot.normal(0.0, number("arrhythmia_irregularity"), len(t))
                scatter[:, event.patient] += course * irregular
        systolic_drift = number("drift_systolic") * drift[:, 3]
        return truth._replace(
            heart_rate=heart_rate,
            respiratory_rate=truth.respiratory_rate + number("drift_respiratory_rate") * drift[:, 1],
            spo2=np.clip(truth.spo2 + number("drift_spo2") * drift[:, 2] - fall, 50.0, 100.0),
            systolic_pressure=truth.systolic_pressure + systolic_drift,
            diastolic_pressure=truth.diastolic_pressure + 0.5 * systolic_drift,
        ), scatter

    def _each(self, bouts: Bouts, t: FloatArray) -> Iterator[tuple[int, slice, int]]:
        """The bouts that fall into `t`: their number, the steps they cover, whose they are."""
        for which in np.flatnonzero((bouts.begin_t <= t[-1]) & (bouts.end_t > t[0])):
            begin, end = np.searchsorted(t, (bouts.begin_t[which], bouts.end_t[which]))
            if end > begin:
                yield int(which), slice(int(begin), int(end)), int(bouts.patient[which])

    def _covered(self, bouts: Bouts, t: FloatArray) -> BoolArray:
        found = np.zeros((len(t), self.ward.patients), np.bool_)
        for _, at, patient in self._each(bouts, t):
            found[at, patient] = True
        return found

    def _cuff(self, t: FloatArray, truth: Truth) -> Spots:
        patient, at = self.ward.cuff_times(t[0], t[-1] + self.ward.period_s)
        taken = self._spot.random(len(at)) < number("cuff_success_share")
        patient, at = patient[taken], at[taken]
        step = ((at - t[0]) // self.ward.period_s).astype(np.int64)
        true = np.stack([truth.systolic_pressure[step, patient], truth.diastolic_pressure[step, patient]], axis=1)
        off = self._spot.uniform(*pair("cuff_artefact"), len(at)) * self._spot.choice((-1.0, 1.0), len(at))
        wrong = self._spot.random(len(at)) < number("cuff_artefact_share")
        noise = self._spot.normal(0.0, number("noise_pressure"), true.shape) + np.where(wrong, off, 0.0)[:, None]
        return Spots(patient, at, (true + noise).clip(30.0, 290.0).round(), true)

    def _rounds(self, t: FloatArray, truth: Truth) -> Spots:
        ward = self.ward
        patient, at = ward.round_times(t[0], t[-1] + ward.period_s)
        step = ((at - t[0]) // ward.period_s).astype(np.int64)
        sepsis, hypoxia = np.zeros(len(at)), np.zeros(len(at))
        for event in ward.events:
            if event.kind in ("sepsis", "respiratory_failure"):
                own = np.flatnonzero(patient == event.patient)
                course = event.size * event_course(event, at[own])
                (sepsis if event.kind == "sepsis" else hypoxia)[own] += course
        oxygen = ward.on_oxygen[patient] | (hypoxia > 0.5)
        true: FloatArray = np.stack(
            [truth.body_temperature[step, patient], consciousness(sepsis), oxygen], axis=1, dtype=np.float64
        )
        value = true.copy()
        value[:, 0] = np.round(true[:, 0] + self._spot.normal(0.0, number("noise_temperature"), len(at)), 1)
        return Spots(patient, at, value, true)


class _FirstOrder:
    """First-order autoregressive noise of unit variance that goes on from call to call."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], period_s: float, time_s: float) -> None:
        self._rng = rng
        self._keep = float(np.exp(-period_s / time_s))
        self._last = rng.standard_normal(shape)

    def run(self, steps: int) -> FloatArray:
        """The next steps, of shape (steps, *shape)."""
        white: FloatArray = self._rng.standard_normal((steps, *self._last.shape)) * np.sqrt(1.0 - self._keep**2)
        for n in range(steps):
            self._last = self._keep * self._last + white[n]
            white[n] = self._last
        return white
