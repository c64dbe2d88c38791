"""Alarms against what truly happened. docs/synthetic-ward.md has the definitions, and why they are so.

An alarm matches an adverse event from its onset to 30 min after it, or if it came while the effect was still rising and
stands at the onset. Each event is matched once, by the first such alarm, and each alarm matches one event. Further
alarms between an event's beginning and its end belong to it: neither hit nor false. All others are false.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alerts.quality import intervals as by_patient
from alerts.quality.truth import WINDOW_S, matches
from loadtest.labelled_ward import BoolArray, IntArray, LabelledWard
from loadtest.physiology import DAY_S, FloatArray
from loadtest.threshold_alarms import MINUTE_S, MinuteValues
from loadtest.ward_events import START_T, Event

LEAST_SEEN = 0.5
"""Share of the window's minutes in which a vital sign that the event changes must have been measured well."""

SIGNALS_OF: dict[str, tuple[str, ...]] = {
    "sepsis": ("heart_rate", "spo2"),
    "respiratory_failure": ("heart_rate", "spo2"),
    "desaturation": ("spo2",),
    "tachyarrhythmia": ("heart_rate",),
    "bradycardia": ("heart_rate",),
}
"""One of these must have been measured for an event to count as seen by a sensor."""


class Span(NamedTuple):
    """An alarm as it is scored: whose, when it was told, until when it stood; s since the epoch."""

    patient: int
    t: float
    until_t: float


class Score(NamedTuple):
    """What became of each alarm and each event. `hit_by[e]` is the alarm that matched event e, -1 where none did;
    `false` says which alarms are false, `hits` which match an event that a sensor saw."""

    hit_by: IntArray
    hits: BoolArray
    false: BoolArray


def seen_events(events: Sequence[Event], minutes: MinuteValues) -> BoolArray:
    """Which events a sensor saw: the others say nothing about a rule."""
    trusted = {signal: minutes.trusted(signal) for signal in ("heart_rate", "spo2")}
    seen = np.zeros(len(events), np.bool_)
    for n, event in enumerate(events):
        first = int((event.onset_t - START_T) // MINUTE_S)
        window = slice(first, first + round(WINDOW_S / MINUTE_S))
        seen[n] = any(trusted[name][window, event.patient].mean() >= LEAST_SEEN for name in SIGNALS_OF[event.kind])
    return seen


def score(events: Sequence[Event], seen: BoolArray, alarms: Sequence[Span]) -> Score:
    """Match alarms with adverse events; `seen` comes from `seen_events`."""
    order = sorted(range(len(alarms)), key=lambda n: (alarms[n].patient, alarms[n].t))
    of_patient: dict[int, list[int]] = {}
    for n in order:
        of_patient.setdefault(alarms[n].patient, []).append(n)
    hit_by = np.full(len(events), -1)
    hits = np.zeros(len(alarms), np.bool_)
    false = np.ones(len(alarms), np.bool_)
    taken = np.zeros(len(alarms), np.bool_)
    for e in sorted(range(len(events)), key=lambda e: events[e].onset_t):
        event = events[e]
        for n in of_patient.get(event.patient, []):
            alarm = alarms[n]
            if not event.begin_t <= alarm.t <= event.end_t:
                continue
            false[n] = False
            if hit_by[e] < 0 and not taken[n] and matches(event.begin_t, event.onset_t, alarm.t, alarm.until_t):
                hit_by[e], taken[n], hits[n] = n, True, seen[e]
    return Score(hit_by, hits, false)


def chance_sensitivity(ward: LabelledWard, events: Sequence[Event], seen: BoolArray, alarms: Sequence[Span]) -> float:
    """The share of events that these alarms would match if they knew nothing: the same half hours, moved by whole days
    and hours within the ward's time."""
    length = ward.end_t - START_T
    by_patient: dict[int, list[float]] = {}
    for alarm in alarms:
        by_patient.setdefault(alarm.patient, []).append(alarm.t)
    shifts = np.arange(1, 24) * length / 24.0
    found: list[float] = []
    for event in (event for event, one in zip(events, seen, strict=True) if one):
        times = np.sort(by_patient.get(event.patient, []))
        onsets = START_T + (event.onset_t - START_T + shifts) % length
        found.append(float((np.searchsorted(times, onsets + WINDOW_S) > np.searchsorted(times, onsets)).mean()))
    return float(np.mean(found)) if found else 0.0


class Tally(NamedTuple):
    """Counts of each patient, shape (patients,), from which all rates follow."""

    alarms: FloatArray
    monitored_days: FloatArray
    hits: FloatArray
    false: FloatArray
    events: FloatArray


def tally(
    ward: LabelledWard,
    events: Sequence[Event],
    seen: BoolArray,
    alarms: Sequence[Span],
    scored: Score,
    monitored: BoolArray,
) -> Tally:
    """Counts of each patient."""
    n = ward.patients
    patients = np.array([alarm.patient for alarm in alarms], np.int64)
    owners = np.array([event.patient for event in events], np.int64)

    def count(whose: IntArray) -> FloatArray:
        return np.bincount(whose, minlength=n).astype(np.float64)

    return Tally(
        alarms=count(patients),
        monitored_days=monitored.sum(axis=0) * MINUTE_S / DAY_S,
        hits=count(owners[seen & (scored.hit_by >= 0)]),
        false=count(patients[scored.false]),
        events=count(owners[seen]),
    )


def rates(counts: Tally) -> dict[str, float]:
    """`per_patient_day`, `sensitivity` and `ppv` of the patients together; NaN where there is nothing to divide by."""
    hits, false = counts.hits.sum(), counts.false.sum()
    return {
        "per_patient_day": _ratio(counts.alarms.sum(), counts.monitored_days.sum()),
        "sensitivity": _ratio(hits, counts.events.sum()),
        "ppv": _ratio(hits, hits + false),
    }


def intervals(counts: Tally) -> dict[str, tuple[float, float]]:
    """95 % intervals of `rates`: patients drawn with replacement, percentiles. The same counts give the same."""
    weights = by_patient.resampling_weights(len(counts.alarms))
    alarms, days, hits, false, events = (weights @ column for column in counts)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = {"per_patient_day": alarms / days, "sensitivity": hits / events, "ppv": hits / (hits + false)}
    return {name: by_patient.percentile_interval(values) for name, values in drawn.items()}


def median_interval(values: FloatArray, patients: IntArray, n: int) -> tuple[float, float]:
    """95 % interval of the median of values of n patients, by drawing patients with replacement."""
    rng = np.random.default_rng(0)
    of_patient = [values[patients == patient] for patient in range(n)]
    drawn = []
    for _ in range(by_patient.RESAMPLES // 2):
        chosen = [of_patient[patient] for patient in rng.integers(0, n, n)]
        together = np.concatenate(chosen)
        if len(together):
            drawn.append(float(np.median(together)))
    return by_patient.percentile_interval(np.array(drawn))


def worst_tenth_share(counts: Tally) -> float:
    """Share of all alarms that the tenth of patients with the most alarms has."""
    return by_patient.worst_tenth_share(counts.alarms)


def join_tallies(parts: Sequence[Tally]) -> Tally:
    """The patients of several wards together."""
    return Tally(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
