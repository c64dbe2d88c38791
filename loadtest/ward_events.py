"""What happens on the labelled ward: events with their labels, and the course of each.

All numbers are those of `loadtest.ward_table`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from loadtest.physiology import DAY_S, TAU_OFF_S, TAU_ON_S, FloatArray
from loadtest.ward_table import number, pair

START_T = 1_767_225_600.0
"""Midnight, s since the epoch."""

EventKind = Literal["sepsis", "respiratory_failure", "desaturation", "tachyarrhythmia", "bradycardia", "exercise"]
Shape = Literal["sudden", "gradual", "slow", "stuttering"]

SHAPES: tuple[Shape, ...] = ("sudden", "gradual", "slow", "stuttering")


class Event(NamedTuple):
    """What truly happens to a patient. Times in s since the epoch.

    `begin_t`: the vital signs leave their usual course; `onset_t`: the effect is as large as that of the smallest event
    of its kind (an arrhythmia: half of it is there); `end_t`: they are back. `size` is the share of the full effect
    (deteriorations), the fall of SpO2 (%), the heart rate (1/min) or the power (W). An alarm is wanted for those that
    are `adverse`.
    """

    patient: int
    kind: EventKind
    shape: Shape
    begin_t: float
    onset_t: float
    end_t: float
    size: float
    rise_s: float
    plateau_s: float
    fall_s: float
    adverse: bool = True
    session: bool = False


def event_course(event: Event, t: FloatArray) -> FloatArray:
    """How much of an event's full effect is there at `t` (s): 0..1."""
    since = t - event.begin_t
    rise = np.clip(since / event.rise_s, 0.0, 1.0)
    if event.shape == "slow":
        rise = 0.5 - 0.5 * np.cos(np.pi * rise)
    if event.shape == "stuttering":
        # A period of its own for each event, from a number it has anyway.
        shortest, longest = pair("stuttering_period_s")
        period = shortest + (longest - shortest) * (event.plateau_s % 997.0) / 997.0
        rise = rise * (
            1.0 - number("stuttering_fall") * np.sin(np.pi * np.maximum(since - event.rise_s, 0.0) / period) ** 2
        )
    fall = np.clip((event.end_t - t) / event.fall_s, 0.0, 1.0)
    return np.minimum(rise, fall)


def plan_events(rng: np.random.Generator, patients: int, end_t: float) -> Iterator[Event]:
    """What happens to that many patients from `START_T` to `end_t`, patient by patient."""
    rates = [number(f"{kind}_rate") for kind in ("deterioration", "desaturation", "arrhythmia")]
    for patient in range(patients):
        # The gap that is kept free after an event, and its own length, would lower the rate: an event is moved on.
        count = rng.poisson(sum(rates) * (end_t - START_T) / DAY_S)
        free_from = START_T
        for wanted in np.sort(rng.uniform(START_T, end_t, count)):
            event = _draw_event(rng, patient, max(float(wanted), free_from), rates)
            if event.onset_t + 1800.0 < end_t:
                yield event
            free_from = event.end_t + number("event_gap_s")
        for start in _daytime(rng, end_t, number("exercise_rate"), pair("exercise_hours")):
            length = rng.uniform(*pair("exercise_s"))
            yield Event(
                patient,
                "exercise",
                "sudden",
                start,
                start,
                start + length,
                size=float(rng.uniform(*pair("exercise_power_w"))),
                rise_s=TAU_ON_S,
                plateau_s=length,
                fall_s=TAU_OFF_S,
                adverse=False,
                session=bool(rng.random() < number("exercise_session_share")),
            )


def _draw_event(rng: np.random.Generator, patient: int, begin_t: float, rates: list[float]) -> Event:
    group = int(rng.choice(3, p=np.array(rates) / sum(rates)))
    shape: Shape = "sudden"
    kind: EventKind
    if group == 0:
        kind = "sepsis" if rng.random() < number("sepsis_share") else "respiratory_failure"
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        name, size, least = "deterioration", _skewed(rng, pair("severity")), pair("severity")[0]
        rise_s = rng.uniform(*pair(f"{shape}_rise_s"))
    elif group == 1:
        kind = name = "desaturation"
        size, least = _skewed(rng, pair("desaturation_depth")), pair("desaturation_depth")[0]
        rise_s = rng.uniform(*pair("desaturation_rise_s"))
    else:
        kind = "tachyarrhythmia" if rng.random() < number("tachyarrhythmia_share") else "bradycardia"
        name = "arrhythmia"
        size, rise_s = rng.uniform(*pair(kind)), rng.uniform(*pair("arrhythmia_rise_s"))
        least = 0.5 * size
    plateau_s = rng.uniform(*pair(f"{name}_plateau_s"))
    fall_s = rng.uniform(*pair(f"{name}_fall_s")) if name != "arrhythmia" else rise_s
    share = least / size
    risen = np.arccos(1.0 - 2.0 * share) / np.pi if shape == "slow" else share
    return Event(
        patient,
        kind,
        shape,
        begin_t,
        begin_t + risen * rise_s,
        begin_t + rise_s + plateau_s + fall_s,
        float(size),
        float(rise_s),
        float(plateau_s),
        float(fall_s),
    )


def _daytime(rng: np.random.Generator, end_t: float, a_day: float, hours: tuple[float, float]) -> FloatArray:
    """Times between two hours of the day, `a_day` of them on average."""
    days = int(np.ceil((end_t - START_T) / DAY_S))
    count = rng.poisson(a_day * days)
    day = rng.integers(0, days, count)
    times = START_T + day * DAY_S + rng.uniform(*hours, count) * 3600.0
    return np.sort(times[times < end_t])


def _skewed(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """The square of a uniform draw, spread over `span`: small sizes are more frequent."""
    return float(span[0] + (span[1] - span[0]) * rng.random() ** 2)


def exertion(event: Event, gain_bpm_per_w: float, t: FloatArray) -> FloatArray:
    """By how much exercise raises the heart rate at `t`, 1/min: first order up, then first order down."""
    reached = gain_bpm_per_w * event.size
    rise = reached * (1.0 - np.exp(-np.clip(t - event.begin_t, 0.0, None) / TAU_ON_S))
    top = reached * (1.0 - np.exp(-(event.end_t - event.begin_t) / TAU_ON_S))
    return np.where(t < event.end_t, rise, top * np.exp(-np.clip(t - event.end_t, 0.0, None) / TAU_OFF_S))
