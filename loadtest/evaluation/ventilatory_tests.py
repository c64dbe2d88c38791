"""Incremental tests with the power at both ventilatory thresholds: what tasks `threshold` and `threshold-light` share.

The folder holds `test_measure.csv.gz` with `ID`, `time` (s), `RR` (ms), `power` (W), and `subject-info.csv` with `ID`,
`P_vt1` and `P_vt2` (W). The heart rate at a threshold is that of the stages, each its median over the second half,
interpolated at the power of the threshold. Oxygen uptake is not used.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Measure, Prediction, bootstrapped
from twin_state.models import variability
from twin_state.models import ventilatory_threshold as model

HALF_WIDTH = 1.645
"""Standard deviations on each side of a 90 % interval."""
MEDIAN_BEATS = 60
RIDGE, LEAST_PEOPLE, NOTHING_BPM = 2.0, 5, 1e6
"""Of the fit: how many people the prior of no relation counts for; the least that evidence is fitted on; the noise of
evidence that says nothing."""
BEGIN_S = 1000.0
NAMES = ("vt1", "vt2")


class Incremental(NamedTuple):
    """One person's test: end of each interval (s; load begins at about 0), interval (ms), power (W); thresholds (W)."""

    person: str
    t: Array
    rr_ms: Array
    power_w: Array
    threshold_w: tuple[float, float]

    @property
    def heart_rate_bpm(self) -> tuple[float, float]:
        """At the two thresholds."""
        stages = np.unique(self.power_w[self.power_w > 0.0])
        rates = []
        for stage in stages:
            own = 60_000.0 / self.rr_ms[self.power_w == stage]
            rates.append(float(np.median(own[-max(20, len(own) // 2) :])))
        first, second = (float(np.interp(power, stages, rates)) for power in self.threshold_w)
        return first, second


class Shown(NamedTuple):
    """What a test showed: the state after it."""

    test: Incremental
    state: Array


def read(data: Path) -> list[Incremental]:
    """The tests. Raises ValueError for another layout."""
    measures, people = data / "test_measure.csv.gz", data / "subject-info.csv"
    if not measures.exists() or not people.exists():
        raise ValueError(f"{data}: test_measure.csv.gz and subject-info.csv are wanted")
    with people.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    missing = {"ID", "P_vt1", "P_vt2"} - set(rows[0] if rows else ())
    if missing:
        raise ValueError(f"{people}: no column {', '.join(sorted(missing))}")
    known = {row["ID"]: (float(row["P_vt1"]), float(row["P_vt2"])) for row in rows}
    beats: dict[str, list[tuple[float, float, float]]] = {}
    with gzip.open(measures, "rt", newline="") as lines:
        table = csv.DictReader(lines)
        missing = {"ID", "time", "RR", "power"} - set(table.fieldnames or ())
        if missing:
            raise ValueError(f"{measures}: no column {', '.join(sorted(missing))}")
        for row in table:
            if row["RR"] and row["power"]:
                beats.setdefault(row["ID"], []).append((float(row["time"]), float(row["RR"]), float(row["power"])))
    found = []
    for person, own in beats.items():
        if person in known:
            columns = np.array(own)
            found.append(Incremental(person, columns[:, 0], columns[:, 1], columns[:, 2], known[person]))
    if not found:
        raise ValueError(f"{data}: no test has its thresholds")
    return found


def shown(test: Incremental, below_bpm: float = float("inf")) -> Shown:
    """Run the live models over a test, until the heart rate has reached `below_bpm`."""
    v, f = np.zeros(variability.WIDTH), np.zeros(model.WIDTH)
    t = BEGIN_S
    for n, rr_ms in enumerate(test.rr_ms.tolist()):
        t += rr_ms / 1000.0
        if not variability.observe(v, 0, rr_ms / 1000.0, t):
            continue
        heart_rate = 60_000.0 / float(np.median(test.rr_ms[max(n - MEDIAN_BEATS, 0) : n + 1]))
        watts = float(test.power_w[n])
        if watts > 0.0 and heart_rate >= below_bpm:
            break
        rmssd = 1000.0 * float(variability.measure(v, 0, variability.RMSSD, t))
        alpha1 = float(variability.measure(v, 0, variability.ALPHA1, t))
        model.observe(f, 0, heart_rate, rmssd, alpha1, watts, t)
    return Shown(test, f)


def told(one: Shown, parameters: Array, which: int) -> tuple[float, float]:
    """Mean and sd (bpm) of a threshold."""
    out = np.zeros(2)
    model.threshold(one.state, 0, parameters, which, float(one.state[model.T]), out)
    return float(out[0]), float(out[1])


def fitted(some: Sequence[Shown]) -> dict[str, list[float]]:
    """Prior and evidence from tests: how what is seen follows the threshold, x = c + d threshold, with a noise that is
    what it is off by on one left out; turned around, threshold = (x - c) / d. Evidence that does not rise with the
    threshold among these people says nothing."""
    truth = np.array([one.test.heart_rate_bpm for one in some])
    prior = (value for which in (0, 1) for value in (truth[:, which].mean(), truth[:, which].std(ddof=1)))
    values: dict[str, list[float]] = {"prior": [round(float(value), 4) for value in prior]}
    for k, name in enumerate(("floor", "alpha1_first", "alpha1_second")):
        y = truth[:, model.OF_THRESHOLD[k]]
        x = np.array([model.evidence(one.state, 0, k) for one in some])
        x, y = x[~np.isnan(x)], y[~np.isnan(x)]
        values[name] = [0.0, 1.0, NOTHING_BPM]
        if len(x) < LEAST_PEOPLE:
            continue
        c, d = _ridge(y, x)
        if d <= 0.0:
            continue
        errors = []
        for n in range(len(x)):
            c_n, d_n = _ridge(np.delete(y, n), np.delete(x, n))
            errors.append(c_n + d_n * y[n] - x[n])
        noise = float(np.sqrt(np.mean(np.square(errors))))
        values[name] = [round(float(value), 5) for value in (-c / d, 1.0 / d, noise / d)]
    return values


def _ridge(x: Array, y: Array) -> tuple[float, float]:
    """Intercept and slope of `y` over `x`, drawn to no relation."""
    scale = float(x.std()) + 1e-9
    z = (x - x.mean()) / scale
    slope = float(z @ (y - y.mean())) / (float(z @ z) + RIDGE) / scale
    return float(y.mean()) - slope * float(x.mean()), slope


def flat(values: dict[str, list[float]]) -> Array:
    """As kernels take it."""
    return np.array([value for part in values.values() for value in part])


class Told(NamedTuple):
    """One threshold of one person: mean and sd, truth, and the plain constant (bpm)."""

    person: str
    which: int
    mean: float
    sd: float
    truth: float
    constant: float


def measured(task: str, everything: Sequence[Told], measures: dict[str, int], seed: int, note: str) -> Evaluation:
    """Mean absolute errors over people, beside that of a constant for everyone."""

    def error(some: Sequence[Told]) -> float:
        return float(np.mean([abs(one.mean - one.truth) for one in some]))

    def plain(some: Sequence[Told]) -> float:
        return float(np.mean([abs(one.constant - one.truth) for one in some]))

    found: dict[str, Measure] = {}
    for name, which in measures.items():
        found[name] = bootstrapped([one for one in everything if one.which == which], error, seed, plain)
    inside = sum(abs(one.mean - one.truth) <= HALF_WIDTH * one.sd for one in everything)
    names = {which: name for name, which in measures.items()}
    return Evaluation(
        task=task,
        people=len({one.person for one in everything}),
        unit="person",
        measures=found,
        predictions=[
            Prediction(
                person=one.person,
                t=0.0,
                prediction=one.mean,
                low=one.mean - HALF_WIDTH * one.sd,
                high=one.mean + HALF_WIDTH * one.sd,
                label=one.truth,
                measure=names[one.which],
            )
            for one in everything
        ],
        notes=(
            note,
            f"{inside} of {len(everything)} lay in their 90 % intervals",
            "the plain baseline is the shipped mean of people for everyone",
        ),
    )


def draw_thresholds(evaluation: Evaluation, picture: Path, title: str) -> None:
    """Each person's threshold: said with its interval, and as it was."""
    names = list(evaluation.measures)
    drawing, axes = figure(len(names), height_in=3.2, title=title)
    for axis, name in zip(axes, names, strict=True):
        own = sorted((one for one in evaluation.predictions if one.measure == name), key=lambda one: one.label)
        places = np.arange(len(own))
        means = np.array([one.prediction for one in own])
        spread = np.array([[one.prediction - one.low for one in own], [one.high - one.prediction for one in own]])
        axis.errorbar(places, means, spread, fmt="o", color="#0b5d8a", capsize=4, label="said, 90 % interval")
        axis.plot(places, [one.label for one in own], "x", color="#a3341f", markersize=9, label="by gas exchange")
        axis.set_xticks(places, [one.person for one in own])
        axis.set_ylabel(f"{name.split('_')[0].upper()}, bpm")
        axis.legend()
    axes[-1].set_xlabel("person")
    save(drawing, picture)


def fit_document(data: Path) -> dict[str, Any]:
    """The parameters as they are shipped."""
    some = [shown(test) for test in read(data)]
    return {
        "model": "ventilatory_threshold",
        "version": 1,
        "fitted_on": f"PhysioNet ACTES, {len(some)} development tests of adolescent athletes on a bicycle",
        "values": fitted(some),
    }
