"""Task `hr-treadmill`: runs on a treadmill by a known protocol; the second half's heart rate from the first half.

The folder holds one or more `.npz` with arrays `NAME_bpm_x10`: heart rate (tenths of bpm) of windows of 8 s, each 2 s
after the one before. The protocol follows from the name: 30 s of rest, then a minute each of a, b, a, b km/h, then
rest; a, b = 8, 15 where NAME has TYPE01, and 6, 12 where it has TYPE02. Each run is one person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.compiled import compiled
from twin_state.models import heart_rate_on_foot as model

TASK = "hr-treadmill"
SPEEDS_KM_PER_H = {"TYPE01": (8.0, 15.0), "TYPE02": (6.0, 12.0)}
REST_S, STAGE_S = 30.0, 60.0
FIRST_S, EVERY_S = 4.0, 2.0
"""Middle of the first window, and from one to the next (s)."""
SUFFIX = "_bpm_x10"
HALF_WIDTH = 1.645
"""Standard deviations on each side of a 90 % interval."""
PRIOR_REST_SD_BPM, PRIOR_GAIN_SHARE = 20.0, 0.2
"""How much people differ: sd of b (bpm), and of k as a share of its mean. Too few runs to learn it from."""


class Run(NamedTuple):
    """Middle of each window (s), speed then (m/s) and heart rate (bpm)."""

    person: str
    t: Array
    speed_mps: Array
    heart_rate_bpm: Array

    @property
    def half(self) -> int:
        """How many windows the first half has."""
        return len(self.t) // 2


class Told(NamedTuple):
    """Mean (bpm) and variance of the second half."""

    run: Run
    mean: Array
    variance: Array


def read(data: Path) -> list[Run]:
    """The runs by name. Raises ValueError for another layout."""
    found = []
    for path in sorted(data.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            names = sorted(name for name in arrays.files if name.endswith(SUFFIX))
            for name in names:
                kind = next((kind for kind in SPEEDS_KM_PER_H if kind in name), None)
                if kind is None:
                    raise ValueError(f"{path}: {name} says neither TYPE01 nor TYPE02")
                heart_rate = arrays[name].astype(np.float64) / 10.0
                t: Array = np.asarray(FIRST_S + EVERY_S * np.arange(len(heart_rate)), np.float64)
                found.append(Run(name.removesuffix(SUFFIX), t, _speed_mps(t, SPEEDS_KM_PER_H[kind]), heart_rate))
    if not found:
        raise ValueError(f"{data}: there is no .npz with arrays NAME{SUFFIX}")
    return found


def _speed_mps(t: Array, speeds_km_per_h: tuple[float, float]) -> Array:
    stage = np.floor((t - REST_S) / STAGE_S).astype(int)
    moving = (stage >= 0) & (stage < 4)
    km_per_h = np.where(moving, np.where(stage % 2 == 0, *speeds_km_per_h), 0.0)
    return np.asarray(km_per_h / 3.6, np.float64)


@compiled
def _run(
    f: Array, p: Array, t: Array, speed_mps: Array, heart_rate_bpm: Array, known: int, two: Array, out: Array
) -> None:
    """Heart rates of the first `known` windows are learned; mean and variance of all into `out` (2, windows)."""
    for n in range(len(t)):
        model.observe_speed(f, 0, p, speed_mps[n], 0.0, t[n])
        model.heart_rate(f, 0, t[n], two)
        out[0, n] = two[0]
        out[1, n] = two[1]
        if n < known:
            model.observe_heart_rate(f, 0, heart_rate_bpm[n], t[n])


def foretold(run: Run, parameters: Array) -> Told:
    """The second half from the first."""
    out = np.zeros((2, len(run.t)))
    _run(np.zeros(model.WIDTH), parameters, run.t, run.speed_mps, run.heart_rate_bpm, run.half, np.zeros(2), out)
    return Told(run, out[0, run.half :], out[1, run.half :])


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("heart_rate_on_foot").flat)
    return measured([foretold(run, parameters) for run in read(data)], seed)


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """Mean over runs of each run's mean error; the plain baseline holds the last heart rate of the first half."""

    def error(some: Sequence[Told]) -> float:
        return float(np.mean([np.mean(np.abs(one.mean - one.run.heart_rate_bpm[one.run.half :])) for one in some]))

    def held(some: Sequence[Told]) -> float:
        found = [one.run.heart_rate_bpm for one in some]
        return float(np.mean([np.mean(np.abs(y[len(y) // 2 :] - y[len(y) // 2 - 1])) for y in found]))

    def covered(one: Told) -> float:
        inside = np.abs(one.mean - one.run.heart_rate_bpm[one.run.half :]) <= HALF_WIDTH * np.sqrt(one.variance)
        return float(np.mean(inside))

    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={"second_half_mae_bpm": bootstrapped(told, error, seed, held)},
        predictions=[
            Prediction(
                person=one.run.person,
                t=float(one.run.t[one.run.half + n]),
                prediction=float(one.mean[n]),
                low=float(one.mean[n] - HALF_WIDTH * np.sqrt(one.variance[n])),
                high=float(one.mean[n] + HALF_WIDTH * np.sqrt(one.variance[n])),
                label=float(one.run.heart_rate_bpm[one.run.half + n]),
                measure="second_half_mae_bpm",
            )
            for one in told
            for n in range(len(one.mean))
        ],
        notes=(
            f"{np.mean([covered(one) for one in told]):.2f} of the second halves lay in their 90 % intervals",
            "the plain baseline holds the last heart rate of the first half",
        ),
    )


def fitted(runs: Sequence[Run]) -> dict[str, list[float]]:
    """The prior of people in general: least squares within each run on the response of the middle member."""
    products = squares = 0.0
    for run in runs:
        response = _response(run)
        x, y = response - response.mean(), run.heart_rate_bpm - run.heart_rate_bpm.mean()
        products += float(np.mean(x * y))
        squares += float(np.mean(x * x))
    gain = products / squares
    level = float(np.mean([np.mean(run.heart_rate_bpm - gain * _response(run)) for run in runs]))
    return {
        "rest_bpm": [round(level, 3)],
        "rest_sd_bpm": [PRIOR_REST_SD_BPM],
        "gain_bpm": [round(gain, 3)],
        "gain_sd_bpm": [round(PRIOR_GAIN_SHARE * gain, 3)],
    }


def _response(run: Run) -> Array:
    f, p = np.zeros(model.WIDTH), np.ones(model.PARAMETERS)
    found = np.zeros(len(run.t))
    middle = model.MEMBER + model.KEPT * (model.MEMBERS // 2) + model.RESPONSE
    for n in range(len(run.t)):
        model.observe_speed(f, 0, p, run.speed_mps[n], 0.0, run.t[n])
        found[n] = f[middle]
    return found


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    runs = read(data)
    return {
        "model": "heart_rate_on_foot",
        "version": 1,
        "fitted_on": f"IEEE Signal Processing Cup 2015, {len(runs)} development runs on a treadmill, a person each",
        "values": fitted(runs),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each run foretold with the prior of the other runs alone."""
    runs = read(data)
    told = []
    for run in runs:
        values = fitted([other for other in runs if other.person != run.person])
        told.append(foretold(run, np.array([value for part in values.values() for value in part])))
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Each person's second half: foretold with its interval, and measured."""
    names = sorted({one.person for one in evaluation.predictions})
    title = "Heart rate of the second half of a run, foretold from the first and the speeds to come"
    drawing, axes = figure(len(names), height_in=2.0, title=title)
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        t = [one.t for one in own]
        axis.fill_between(t, [one.low for one in own], [one.high for one in own], color="#cfe0ec", linewidth=0)
        axis.plot(t, [one.prediction for one in own], color="#0b5d8a", label="foretold, 90 % interval")
        axis.plot(t, [one.label for one in own], color="#1c1c1c", linewidth=1.0, label="measured")
        axis.set_title(name, fontsize=9, loc="left")
        axis.set_ylabel("bpm")
    axes[0].legend(ncols=2, fontsize=8)
    axes[-1].set_xlabel("seconds since the beginning of the run")
    save(drawing, picture)
