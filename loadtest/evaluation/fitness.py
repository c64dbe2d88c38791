"""Task `fitness`: daily training load with a test of performance now and then, as in Clarke and Skiba (2013).

The folder holds one or more `.csv` with columns `Day`, `BikeScore` (load of the day) and `Test_5min_Power` (W, empty
where there was none); a file a person. From the fourth test on each is forecast from all loads and tests before it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.models import fitness as model

TASK = "fitness"
FIRST_TEST = 4
"""The first that is forecast: a model of three parameters says little before."""
HALF_WIDTH = 1.645
"""Standard deviations on each side of a forecast's 90 % interval."""


class Forecast(NamedTuple):
    """One test: day, forecast with its standard deviation (NaN before there is one), result, and the one before it."""

    person: str
    number: int
    day: float
    mean: float
    sd: float
    result: float
    last: float


def read(data: Path) -> dict[str, list[tuple[float, float, float]]]:
    """(day, load, test or NaN) of each person, by day. Raises ValueError for another layout."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for path in sorted(data.glob("*.csv")):
        with path.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        missing = {"Day", "BikeScore", "Test_5min_Power"} - set(rows[0] if rows else ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        found[path.stem] = sorted(
            (float(row["Day"]), float(row["BikeScore"] or 0.0), float(row["Test_5min_Power"] or "nan")) for row in rows
        )
    if not found:
        raise ValueError(f"{data}: there is no .csv of days")
    return found


def forecasts(person: str, days: Sequence[tuple[float, float, float]]) -> list[Forecast]:
    """Each test with what was said of it on its morning, before that day's load."""
    f = np.zeros(model.WIDTH)
    out: Array = np.full(2, np.nan)
    told: list[Forecast] = []
    last = float("nan")
    for day, load, test in days:
        t = day * model.DAY_S
        if not np.isnan(test):
            model.pass_time(f, 0, t)
            known = model.forecast(f, 0, out)
            mean, sd = (float(out[0]), float(np.sqrt(out[1]))) if known else (float("nan"), float("nan"))
            told.append(Forecast(person, len(told) + 1, day, mean, sd, test, last))
            model.observe_test(f, 0, test, t)
            last = test
        model.observe_load(f, 0, load, t)
    return told


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    people = {person: forecasts(person, days) for person, days in read(data).items()}
    counted = {person: [one for one in told if one.number >= FIRST_TEST] for person, told in people.items()}
    units = [[one] for told in counted.values() for one in told] if len(people) == 1 else list(counted.values())

    def error(some: Sequence[Sequence[Forecast]]) -> float:
        found = [abs(one.mean - one.result) for told in some for one in told]
        return float(np.mean(found)) if found else float("nan")

    def of_last(some: Sequence[Sequence[Forecast]]) -> float:
        return float(np.mean([abs(one.last - one.result) for told in some for one in told]))

    everything = [one for told in counted.values() for one in told]
    inside = sum(abs(one.mean - one.result) <= HALF_WIDTH * one.sd for one in everything)
    return Evaluation(
        task=TASK,
        people=len(people),
        unit="session" if len(people) == 1 else "person",
        measures={"mae_w": bootstrapped(units, error, seed, of_last)},
        predictions=[
            Prediction(
                person=one.person,
                t=one.day * model.DAY_S,
                prediction=one.mean,
                low=one.mean - HALF_WIDTH * one.sd,
                high=one.mean + HALF_WIDTH * one.sd,
                label=one.result,
                measure="mae_w",
            )
            for one in everything
        ],
        notes=(
            f"{len(everything)} tests, each forecast on its morning; the plain baseline is the test before it",
            f"{inside} of {len(everything)} lay in their 90 % interval",
        ),
    )


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Each forecast with its interval, and the test."""
    names = sorted({one.person for one in evaluation.predictions})
    drawing, axes = figure(len(names), height_in=3.2, title="Five-minute power: forecast on the morning, and the test")
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        days = [one.t / model.DAY_S for one in own]
        means = np.array([one.prediction for one in own])
        spread = np.array([[one.prediction - one.low for one in own], [one.high - one.prediction for one in own]])
        axis.errorbar(days, means, spread, fmt="o", color="#0b5d8a", capsize=4, label="forecast, 90 % interval")
        axis.plot(days, [one.label for one in own], "x", color="#a3341f", markersize=9, label="test")
        axis.set_ylabel("W")
        axis.legend()
    axes[-1].set_xlabel("day")
    save(drawing, picture)
