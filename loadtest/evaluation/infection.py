"""Task `infection`: daily records of people around the first symptoms of COVID-19, day 0 being that of the symptoms.

The folder holds one or more `.csv.gz` with columns `id`, `Day`, `Constant Vertical Shift in HR` (heart rate at rest,
1/min) and `Daily step count`: the record that the stream makes of a day. Each day is judged from the days before.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.parameters import shipped_parameters
from loadtest.evaluation.additive import fit_additive
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.models import infection as model

TASK = "infection"
COLUMNS = ("id", "Day", "Constant Vertical Shift in HR", "Daily step count")
WINDOW = (-7.0, 7.0)
ILL_UNTIL = 14.0
"""An alarm after the window and until this day is neither right nor false: people are still ill."""
FIT_ILL, FIT_BEFORE, FIT_AFTER = (-4.0, 6.0), -10.0, 18.0
FALSE_DAYS = 1.15
"""Of the fit: the days that count as ill, those before and after which people count as well; false days in 30 aimed
at."""
DECAY = 1e-2
FOLDS = 6
PLAIN_Z = 2.0


class Person(NamedTuple):
    """Days in order, heart rate at rest (1/min), steps."""

    name: str
    day: Array
    rest_heart_rate_bpm: Array
    steps: Array


class Told(NamedTuple):
    """By the day: log odds (NaN: abstained), whether there was an alarm, and the plain baseline's; features."""

    person: Person
    odds: Array
    alarm: NDArray[np.bool_]
    plain: NDArray[np.bool_]
    features: Array


def read(data: Path) -> list[Person]:
    """Everyone. Raises ValueError for another layout."""
    people: dict[str, dict[float, tuple[float, float]]] = {}
    for path in sorted(data.glob("*.csv.gz")):
        with gzip.open(path, "rt", newline="") as lines:
            rows = csv.DictReader(lines)
            missing = set(COLUMNS) - set(rows.fieldnames or ())
            if missing:
                raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
            for row in rows:
                name, day, heart_rate, steps = (row[column] for column in COLUMNS)
                people.setdefault(name, {})[float(day)] = float(heart_rate or "nan"), float(steps or "nan")
    if not people:
        raise ValueError(f"{data}: there is no .csv.gz of days")
    found = []
    for name, days in sorted(people.items()):
        order = sorted(days)
        values = np.array([days[day] for day in order])
        found.append(Person(name, np.array(order), values[:, 0], values[:, 1]))
    return found


def run_model(person: Person, parameters: Array) -> Told:
    """The live model, day by day. The plain baseline is z of heart rate at rest above `PLAIN_Z`, with the same rest."""
    f = np.zeros(model.WIDTH)
    count = len(person.day)
    odds, alarm, plain = np.full(count, np.nan), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    x = np.zeros((count, model.FEATURES))
    rested = -np.inf
    for n in range(count):
        day = float(person.day[n])
        alarm[n] = model.observe_day(f, 0, parameters, person.rest_heart_rate_bpm[n], person.steps[n], day)
        odds[n] = model.log_odds(f, 0, day)
        x[n] = f[model.FEATURE : model.FEATURE + model.FEATURES]
        if not np.isnan(odds[n]) and x[n, 0] > PLAIN_Z and day - rested > model.REST_DAYS:
            plain[n] = True
            rested = day
    return Told(person, odds, alarm, plain, x)


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("infection").flat)
    return measured([run_model(one, parameters) for one in read(data)], seed)


def _hit(one: Told, alarm: NDArray[np.bool_], until: float) -> float:
    """1 where an alarm lay from the window's beginning until that day, 0 where none; NaN without a judged day in the
    window."""
    day, judged = one.person.day, ~np.isnan(one.odds)
    if not (judged & (day >= WINDOW[0]) & (day <= WINDOW[1])).any():
        return float("nan")
    return float((alarm & (day >= WINDOW[0]) & (day <= until)).any())


def _false(one: Told, alarm: NDArray[np.bool_]) -> tuple[int, int]:
    """Alarms on days on which the person was well, and how many such days were judged."""
    well = ((one.person.day < WINDOW[0]) | (one.person.day > ILL_UNTIL)) & ~np.isnan(one.odds)
    return int((alarm & well).sum()), int(well.sum())


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """Over people."""

    def sensitivity(until: float, which: str) -> Any:
        hits = {id(one): _hit(one, getattr(one, which), until) for one in told}

        def statistic(some: Sequence[Told]) -> float:
            found = [hits[id(one)] for one in some if not np.isnan(hits[id(one)])]
            return float(np.mean(found)) if found else float("nan")

        return statistic

    def false_days(which: str) -> Any:
        counts = {id(one): _false(one, getattr(one, which)) for one in told}

        def statistic(some: Sequence[Told]) -> float:
            alarms, days = (sum(counts[id(one)][n] for one in some) for n in (0, 1))
            return 30.0 * alarms / days if days else float("nan")

        return statistic

    judged = sum(not np.isnan(_hit(one, one.alarm, WINDOW[1])) for one in told)
    days = sum(int((~np.isnan(one.odds)).sum()) for one in told)
    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={
            "sensitivity_7d": bootstrapped(
                told, sensitivity(WINDOW[1], "alarm"), seed, sensitivity(WINDOW[1], "plain")
            ),
            "sensitivity_by_onset": bootstrapped(told, sensitivity(0.0, "alarm"), seed, sensitivity(0.0, "plain")),
            "false_days_per_30d": bootstrapped(told, false_days("alarm"), seed, false_days("plain")),
        },
        predictions=[
            Prediction(
                person=one.person.name,
                t=86_400.0 * float(one.person.day[n]),
                prediction=float(one.alarm[n]),
                low=float("nan"),
                high=float("nan"),
                label=float(WINDOW[0] <= one.person.day[n] <= WINDOW[1]),
                measure="sensitivity_7d",
            )
            for one in told
            for n in np.flatnonzero(~np.isnan(one.odds)).tolist()
        ],
        notes=(
            f"{judged} people have a judged day about their first symptoms; {days} days were judged",
            "t counts from the day of the first symptoms",
            f"an alarm is false before day {WINDOW[0]:.0f} and after day {ILL_UNTIL:.0f}",
            f"after an alarm there is none for {model.REST_DAYS:.0f} days",
            f"the plain baseline is heart rate at rest alone, {PLAIN_Z:.0f} of its scatter above its median",
        ),
    )


def fitted(people: Sequence[Person]) -> dict[str, list[float]]:
    """Weights from days of illness against days of health, each person's illness counting alike; then the threshold
    that keeps false days to `FALSE_DAYS`."""
    told = [run_model(one, np.ones(model.PARAMETERS)) for one in people]
    x, y, weight = [], [], []
    for one in told:
        day, judged = one.person.day, ~np.isnan(one.odds)
        ill = judged & (day >= FIT_ILL[0]) & (day <= FIT_ILL[1])
        well = judged & ((day < FIT_BEFORE) | (day > FIT_AFTER))
        chosen = ill | well
        x.append(one.features[chosen])
        y.append(ill[chosen].astype(np.float64))
        weight.append(np.where(ill[chosen], 1.0 / max(int(ill.sum()), 1), 1.0 / 60.0))
    values = fit_additive(np.concatenate(x), np.concatenate(y), (), DECAY, np.concatenate(weight)).values()
    flat = np.array([value for part in values.values() for value in part])

    def false_days(threshold: float) -> float:
        counts = [_false(one, run_model(one.person, np.append(flat, threshold)).alarm) for one in told]
        return 30.0 * sum(alarms for alarms, _ in counts) / max(sum(days for _, days in counts), 1)

    # Runs again for each: an alarm silences the days after it.
    low, high = -8.0, 8.0
    for _ in range(14):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if false_days(middle) > FALSE_DAYS else (low, middle)
    return {**values, "threshold": [round(high, 4)]}


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    people = read(data)
    return {
        "model": "infection",
        "version": 1,
        "fitted_on": f"daily heart rate about the onset of COVID-19, {len(people)} development people with wearables",
        "values": fitted(people),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person judged by weights and a threshold that were fitted on other folds of people alone."""
    people = read(data)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(people))
    told = []
    for part in range(FOLDS):
        values = fitted([one for n, one in enumerate(people) if fold[n] != part])
        flat = np.array([value for some in values.values() for value in some])
        told += [run_model(one, flat) for n, one in enumerate(people) if fold[n] == part]
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """On which day about the first symptoms how many people had an alarm, of those judged."""
    drawing, (axis,) = figure(1, height_in=3.6, title="Alarms about the first symptoms")
    edges = np.arange(-60, 61, 3)
    days = np.array([one.t / 86_400.0 for one in evaluation.predictions])
    alarms = np.array([one.prediction for one in evaluation.predictions])
    judged, _ = np.histogram(days, edges)
    raised, _ = np.histogram(days[alarms > 0.5], edges)
    axis.axvspan(*WINDOW, color="#f3d2c8", linewidth=0, label="seven days before and after")
    axis.bar(edges[:-1], 100.0 * raised / np.maximum(judged, 1), width=2.6, align="edge", color="#0b5d8a")
    axis.axvline(0.0, color="#a3341f", linewidth=1)
    axis.set_xlabel("day, counted from the first symptoms")
    axis.set_ylabel("days with an alarm, %")
    axis.legend()
    save(drawing, picture)
