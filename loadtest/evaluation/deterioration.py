"""Task `deterioration`: hourly vital signs of stays in intensive care, and whether sepsis is near (label of the hour).

The folder holds an `.npz` with one entry an hour, a stay's hours one after another: `pid`, `ICULOS` (hour of the stay),
`HR`, `O2Sat`, `Temp_x10`, `SBP`, `MAP`, `DBP`, `Resp`, `FiO2_x100` (-1 where not taken) and `SepsisLabel`. Of all that
stands in it only these are used: vital signs and oxygen. Each hour is foretold from the hours before it and its own
signs; the model of the partition learns the labels of a stay when it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation.additive import Additive, fit_additive
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from loadtest.evaluation.scores import auroc, calibration_slope
from loadtest.w1 import plain_news2
from stream.population_model import PopulationModel
from twin_state.compiled import compiled
from twin_state.models import deterioration as model

TASK = "deterioration"
SIGNS = (("HR", 1.0), ("O2Sat", 1.0), ("Temp_x10", 10.0), ("SBP", 1.0), ("MAP", 1.0), ("DBP", 1.0), ("Resp", 1.0))
"""Array and how many of its units one unit is, in the order of the model's signs."""
NORMAL = (75.0, 97.0, 37.0, 120.0, 80.0, 60.0, 16.0)
"""What the plain NEWS2 takes for a sign that was never taken."""
QUANTILES = (0.05, 0.2, 0.5, 0.8, 0.95)
DECAY = 1e-3
FOLDS = 5
RESAMPLES = 200


class Stay(NamedTuple):
    """One stay by the hour: signs (hours, 7), fraction of oxygen, hour of the stay, label."""

    person: str
    signs: Array
    oxygen: Array
    hour: Array
    label: Array


class Told(NamedTuple):
    """Probabilities by the hour, given before each label was seen; NEWS2 of the last known signs beside them."""

    stay: Stay
    probability: Array
    news2: Array


def read(data: Path) -> list[Stay]:
    """The stays, in the file's order. Raises ValueError for another layout."""
    paths = sorted(data.glob("*.npz"))
    if not paths:
        raise ValueError(f"{data}: there is no .npz of hours")
    found: list[Stay] = []
    for path in paths:
        with np.load(path, allow_pickle=False) as arrays:
            wanted = {"pid", "ICULOS", "FiO2_x100", "SepsisLabel", *(name for name, _ in SIGNS)}
            missing = wanted - set(arrays.files)
            if missing:
                raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
            columns = {name: arrays[name].astype(np.float64) for name in wanted}
        if len({len(column) for column in columns.values()}) != 1:
            raise ValueError(f"{path}: the arrays have different lengths")
        signs = np.stack([_taken(columns[name], units) for name, units in SIGNS], axis=1)
        oxygen = _taken(columns["FiO2_x100"], 100.0)
        begins = np.flatnonzero(np.diff(columns["pid"], prepend=np.nan) != 0.0)
        for begin, end in zip(begins, [*begins[1:], len(oxygen)], strict=True):
            own = slice(begin, end)
            person = f"{columns['pid'][begin]:.0f}"
            found.append(Stay(person, signs[own], oxygen[own], columns["ICULOS"][own], columns["SepsisLabel"][own]))
    return found


def _taken(column: Array, units: float) -> Array:
    return np.where(column < 0.0, np.nan, column / units)


@compiled
def _run(f: Array, signs: Array, oxygen: Array, hour: Array, x: Array) -> None:
    for n in range(len(hour)):
        model.observe_hour(f, 0, signs[n], oxygen[n], hour[n] * model.HOUR_S, hour[n])
        model.features(f, 0, x[n])


def features_of(stay: Stay) -> Array:
    """The live model's features after each hour, (hours, 2 FEATURES); `_odds` writes what each adds behind them."""
    x = np.zeros((len(stay.hour), 2 * model.FEATURES))
    _run(np.zeros(model.WIDTH), stay.signs, stay.oxygen, stay.hour, x)
    return x


@compiled
def _odds(x: Array, p: Array, out: Array) -> None:
    for n in range(len(x)):
        out[n] = model.log_odds(x[n], p)


def _news2(stay: Stay) -> Array:
    last = list(NORMAL)
    oxygen = float("nan")
    score = np.zeros(len(stay.hour))
    for n, row in enumerate(stay.signs.tolist()):
        last = [known if np.isnan(value) else value for value, known in zip(row, last, strict=True)]
        oxygen = oxygen if np.isnan(stay.oxygen[n]) else float(stay.oxygen[n])
        score[n] = plain_news2(last[0], last[1], last[6], last[2], last[3]) + (2 if oxygen > model.ROOM_AIR else 0)
    return score


def foretold(stays: Sequence[Stay], parameters: Array, version: int) -> list[Told]:
    """Hour by hour through the partition's model, which learns the labels of a stay when it has ended: that an hour was
    near sepsis is known long after it, and within a stay one label gives away the next."""
    online = PopulationModel("deterioration", version, model.NAMES)
    told: list[Told] = []
    for stay in stays:
        x = features_of(stay)
        odds = np.zeros(len(x))
        _odds(x, parameters, odds)
        probability = np.zeros(len(x))
        for n in range(len(x)):
            named = dict(zip(model.NAMES, x[n, : model.FEATURES].tolist(), strict=True))
            probability[n] = online.expect(stay.person, float(stay.hour[n]) * model.HOUR_S, float(odds[n]), named)
        for hour, label in zip(stay.hour.tolist(), stay.label.tolist(), strict=True):
            online.label(stay.person, hour * model.HOUR_S, label > 0.5, 0.0)
        told.append(Told(stay, probability, _news2(stay)))
    return told


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    shipped = shipped_parameters("deterioration")
    return measured(foretold(read(data), np.array(shipped.flat), shipped.version), seed)


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """Over all hours of all stays."""

    def labels(some: Sequence[Told]) -> Array:
        return _joined([one.stay.label for one in some])

    def area(some: Sequence[Told]) -> float:
        return auroc(labels(some), _joined([one.probability for one in some]))

    def plain(some: Sequence[Told]) -> float:
        return auroc(labels(some), _joined([one.news2 for one in some]))

    def slope(some: Sequence[Told]) -> float:
        p = np.clip(_joined([one.probability for one in some]), 1e-6, 1.0 - 1e-6)
        return calibration_slope(labels(some), np.log(p / (1.0 - p)))

    hours, near = sum(len(one.probability) for one in told), 100.0 * float(np.mean(labels(told)))
    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={
            "auroc": bootstrapped(told, area, seed, plain, RESAMPLES),
            "calibration_slope": bootstrapped(told, slope, seed, resamples=RESAMPLES),
        },
        predictions=[
            Prediction(
                person=one.stay.person,
                t=float(one.stay.hour[n] * model.HOUR_S),
                prediction=float(one.probability[n]),
                low=float("nan"),
                high=float("nan"),
                label=float(one.stay.label[n]),
                measure="auroc",
            )
            for one in told
            for n in range(len(one.probability))
        ],
        notes=(
            f"{hours} hours, {near:.1f} % of them with sepsis near; no laboratory values are used",
            "the plain baseline is NEWS2 of the signs last taken",
        ),
    )


def _fitted(stays: Sequence[Stay]) -> Additive:
    x = np.concatenate([features_of(stay)[:, : model.FEATURES] for stay in stays])
    y = np.concatenate([stay.label for stay in stays])
    return fit_additive(x, y, QUANTILES, DECAY)


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    stays = read(data)
    return {
        "model": "deterioration",
        "version": 1,
        "fitted_on": f"PhysioNet challenge 2019, set B, {len(stays)} development stays: onset of sepsis within hours",
        "values": _fitted(stays).values(),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each stay foretold by parameters that were fitted on the stays of other folds alone."""
    stays = read(data)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(stays))
    told: list[Told] = []
    for part in range(FOLDS):
        parameters = _fitted([one for n, one in enumerate(stays) if fold[n] != part]).flat()
        told += foretold([one for n, one in enumerate(stays) if fold[n] == part], parameters, 0)
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """How often sepsis was near where the model said so, and the risk in the days before it and without it."""
    drawing, (calibration, course) = figure(2, height_in=3.6, title="Risk of sepsis by the hour")
    p = np.array([one.prediction for one in evaluation.predictions])
    y = np.array([one.label for one in evaluation.predictions])
    edges = np.unique(np.quantile(p, np.linspace(0.0, 1.0, 21)))
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    count = np.bincount(place, minlength=len(edges) - 1)
    said, true = (np.bincount(place, values, minlength=len(edges) - 1) / np.maximum(count, 1) for values in (p, y))
    most = 100.0 * max(float(said.max()), float(true.max())) * 1.1
    calibration.plot([0.0, most], [0.0, most], "--", color="#667", linewidth=1, label="as said")
    calibration.plot(100.0 * said, 100.0 * true, "o-", color="#0b5d8a", label="twentieths of all hours")
    calibration.set_xlabel("said, %")
    calibration.set_ylabel("sepsis near, %")
    calibration.legend()
    before: dict[int, list[float]] = {}
    stays: dict[str, list[Prediction]] = {}
    for one in evaluation.predictions:
        stays.setdefault(one.person, []).append(one)
    without: list[float] = []
    for own in stays.values():
        onset = next((n for n, one in enumerate(own) if one.label > 0.5), None)
        if onset is None:
            without += [one.prediction for one in own]
            continue
        for n, one in enumerate(own):
            if -48 <= n - onset <= 0:
                before.setdefault(n - onset, []).append(one.prediction)
    hours = sorted(before)
    course.plot(
        hours, [100.0 * float(np.median(before[h])) for h in hours], color="#a3341f", label="median, with sepsis"
    )
    course.axhline(100.0 * float(np.median(without)) if without else 0.0, color="#0b5d8a", label="median, without")
    course.set_xlabel("hours to the first hour with sepsis near")
    course.set_ylabel("risk said, %")
    course.legend()
    save(drawing, picture)
