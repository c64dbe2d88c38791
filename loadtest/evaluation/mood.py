"""Task `mood`: measurements of the heart with an answer each, and whether the next answer is low.

The folder holds `hrv_measurements.csv.gz` with `user_code`, `measurement_datetime`, `bpm`, `rmssd` (ms), `how_feel` and
`how_mood` (-2 to 2, empty where not given). Before each answer the model knows the measurement that goes with it and
all answers before; `auc_ahead` is without that measurement. An answer is low where either is below 0. People with fewer
than 20 measurements are not judged.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation.additive import fit_additive
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from loadtest.evaluation.scores import auroc, calibration_error
from twin_state.models import mood as model

TASK = "mood"
LEAST_MEASUREMENTS = 20
LEAST_TO_FIT = 8
DECAY = 1e-4
COLUMNS = {"user_code", "measurement_datetime", "bpm", "rmssd", "how_feel", "how_mood"}


class Person(NamedTuple):
    """Measurements in order: time (s), heart rate (1/min), RMSSD (ms), feeling, mood; NaN where not given."""

    name: str
    measurements: Array


class Told(NamedTuple):
    """Of each answer: time (s), probability of a low one, whether it was, share of low ones before it, features,
    and the probability without the measurement that goes with it."""

    name: str
    t: Array
    probability: Array
    low: Array
    before: Array
    features: Array
    ahead: Array


def read(data: Path) -> list[Person]:
    """Everyone. Raises ValueError for another layout."""
    path = data / "hrv_measurements.csv.gz"
    if not path.exists():
        raise ValueError(f"{data}: there is no hrv_measurements.csv.gz")
    people: dict[str, list[tuple[float, ...]]] = {}
    with gzip.open(path, "rt", newline="") as lines:
        rows = csv.DictReader(lines)
        missing = COLUMNS - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        for row in rows:
            t = datetime.fromisoformat(" ".join(row["measurement_datetime"].split())).timestamp()
            values = (float(row[name] or "nan") for name in ("bpm", "rmssd", "how_feel", "how_mood"))
            people.setdefault(row["user_code"], []).append((t, *values))
    if not people:
        raise ValueError(f"{path}: there is no measurement")
    return [Person(name, np.array(sorted(own))) for name, own in sorted(people.items())]


def run_model(person: Person, parameters: Array) -> Told:
    """Foretell each answer from the measurement that goes with it, then take it in."""
    f = np.zeros(model.WIDTH)
    told: list[tuple[float, float, float, float, float]] = []
    x: list[Array] = []
    lows = answers = 0
    for t, heart_rate, rmssd, feeling, mood in person.measurements.tolist():
        model.pass_time(f, 0, t)
        ahead = model.forecast(f, 0, parameters)
        model.observe_heart(f, 0, heart_rate, rmssd, t)
        if np.isnan(feeling) and np.isnan(mood):
            continue
        model.pass_time(f, 0, t)
        probability = model.forecast(f, 0, parameters)
        low = float(feeling < 0.0 or mood < 0.0)
        if not np.isnan(probability):
            told.append((t, probability, low, (lows + 0.3) / (answers + 1.0), ahead))
            x.append(f[model.FEATURE : model.FEATURE + model.FEATURES].copy())
        model.observe_answer(f, 0, mood, feeling, t)
        lows += int(low)
        answers += 1
    columns = np.array(told).reshape(-1, 5)
    features = np.array(x).reshape(-1, model.FEATURES)
    t_s, probability_of, low_of, before, ahead_of = columns.T
    return Told(person.name, t_s, probability_of, low_of, before, features, ahead_of)


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("mood").flat)
    chosen = [one for one in read(data) if len(one.measurements) >= LEAST_MEASUREMENTS]
    return measured([run_model(one, parameters) for one in chosen], seed)


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """Over all answers of all people, and the mean over people of each one's own."""
    told = [one for one in told if len(one.t)]

    def area(some: Sequence[Told]) -> float:
        return auroc(np.concatenate([one.low for one in some]), np.concatenate([one.probability for one in some]))

    def plain(some: Sequence[Told]) -> float:
        return auroc(np.concatenate([one.low for one in some]), np.concatenate([one.before for one in some]))

    def within(some: Sequence[Told]) -> float:
        own = [auroc(one.low, one.probability) for one in some]
        return float(np.nanmean(own)) if not np.isnan(own).all() else float("nan")

    def plain_within(some: Sequence[Told]) -> float:
        return float(np.nanmean([auroc(one.low, one.before) for one in some]))

    def area_ahead(some: Sequence[Told]) -> float:
        return auroc(np.concatenate([one.low for one in some]), np.concatenate([one.ahead for one in some]))

    def within_ahead(some: Sequence[Told]) -> float:
        return float(np.nanmean([auroc(one.low, one.ahead) for one in some]))

    def error(some: Sequence[Told]) -> float:
        said = np.concatenate([one.probability for one in some])
        return calibration_error(np.concatenate([one.low for one in some]), said)

    answers = sum(len(one.t) for one in told)
    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={
            "auc": bootstrapped(told, area, seed, plain),
            "auc_within_person": bootstrapped(told, within, seed, plain_within),
            "auc_ahead": bootstrapped(told, area_ahead, seed, plain),
            "auc_ahead_within_person": bootstrapped(told, within_ahead, seed, plain_within),
            "ece": bootstrapped(told, error, seed),
        },
        predictions=[
            Prediction(
                person=one.name,
                t=float(one.t[n] - one.t[0]),
                prediction=float(one.probability[n]),
                low=float("nan"),
                high=float("nan"),
                label=float(one.low[n]),
                measure="auc",
            )
            for one in told
            for n in range(len(one.t))
        ],
        notes=(
            f"{answers} answers of people with at least {LEAST_MEASUREMENTS} measurements; time from the first of them",
            "auc is over all answers: who often feels low is most of it. auc_within_person is when",
            "auc_ahead is without the measurement that goes with the answer: what was known before it",
            "the plain baseline is the share of low answers so far",
        ),
    )


def fitted(people: Sequence[Person]) -> dict[str, list[float]]:
    """The weights, from all who answered a few times."""
    told = [run_model(one, np.ones(model.PARAMETERS)) for one in people if len(one.measurements) >= LEAST_TO_FIT]
    x, y = np.concatenate([one.features for one in told]), np.concatenate([one.low for one in told])
    return fit_additive(x, y, (), DECAY).values()


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    people = read(data)
    count = sum(len(one.measurements) >= LEAST_TO_FIT for one in people)
    return {
        "model": "mood",
        "version": 1,
        "fitted_on": f"Welltory's measurements in the pandemic, {count} development people with {LEAST_TO_FIT} or more",
        "values": fitted(people),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person foretold by weights that were fitted on all others alone."""
    people = read(data)
    told = []
    for one in people:
        if len(one.measurements) >= LEAST_MEASUREMENTS:
            values = fitted([other for other in people if other.name != one.name])
            told.append(run_model(one, np.array([value for part in values.values() for value in part])))
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Each person's probability before each answer, and whether it was low."""
    names = sorted({one.person for one in evaluation.predictions})[:12]
    title = "Probability that the next answer is low (blue); red: it was"
    drawing, axes = figure(len(names), height_in=1.1, title=title)
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        axis.plot([one.prediction for one in own], color="#0b5d8a")
        low = [n for n, one in enumerate(own) if one.label > 0.5]
        high = [n for n, one in enumerate(own) if one.label <= 0.5]
        axis.plot(low, [1.0] * len(low), "|", color="#a3341f", markersize=8)
        axis.plot(high, [0.0] * len(high), "|", color="#889", markersize=8)
        axis.set_ylim(-0.1, 1.1)
        axis.set_ylabel(name[:6], fontsize=8)
    axes[-1].set_xlabel("answers, in order")
    save(drawing, picture)
