"""Task `stress`: a wristband through three stressors and rests, and whether each moment was stress.

The folder holds `e4_signals.npz` with, for each person S01, S02 …, `S01_hr_x10` (1 Hz), `S01_eda_uS_x1000_4hz`,
`S01_temp_x100_1hz`, `S01_acc_std_x10_1hz` (1/64 g), each with its `…_t0` (Unix seconds, `S01_hr_t0` and so on), and a
`.csv.gz` with `Participant`, `Time(sec)` and `Label` (1 stress) by the second. Each second is taken in, and every tenth
is judged; a person's labels of a period are learned when it is over.

All people went through the same stressors in the same order, so that a clock tells stress from rest (`clock_alone`).
Recordings are therefore also begun elsewhere, with what came before put at the end: to fit, to choose how much to
shrink, and to measure what is left (`auc_begun_midway`).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from contracts.parameters import shipped_parameters
from loadtest.evaluation.additive import Additive, fit_additive
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from loadtest.evaluation.scores import auroc, balanced_accuracy, calibration_error
from twin_state.compiled import compiled
from twin_state.models import stress as model
from twin_state.models.additive import log_odds

TASK = "stress"
EVERY = 10
"""Of the seconds every so many-th is judged."""
QUANTILES = (0.5,)
DECAYS = (3e-2, 1e-2, 3e-3, 1e-3)
FOLDS = 5
BEGUN = (0.0, 0.25, 0.5, 0.75)
"""Shares of a recording at which it is begun, to fit; the last of `measured` is begun at half."""
SIGNALS = (("hr", "hr_x10", 10.0, 1), ("eda", "eda_uS_x1000_4hz", 1000.0, 4), ("temp", "temp_x100_1hz", 100.0, 1))
MOVED = ("acc", "acc_std_x10_1hz", 10.0 * model.G_UNIT, 1)


class Wearing(NamedTuple):
    """One person by the second: time (s), heart rate, conductance, temperature and movement (seconds, 4), label."""

    person: str
    t: Array
    signals: Array
    label: Array


class Told(NamedTuple):
    """Of each judged second: which, the probability (NaN: abstained), the plain baseline's score."""

    wearing: Wearing
    second: NDArray[np.int64]
    probability: Array
    plain: Array


class Examples(NamedTuple):
    """One person's features (seconds, FEATURES) and labels, of all the places to begin."""

    x: Array
    y: Array


def read(data: Path) -> list[Wearing]:
    """The people who have both signals and labels. Raises ValueError for another layout."""
    path = data / "e4_signals.npz"
    tables = sorted(data.glob("*.csv.gz"))
    if not path.exists() or not tables:
        raise ValueError(f"{data}: e4_signals.npz and a .csv.gz of labels are wanted")
    labels: dict[int, dict[int, float]] = {}
    for table in tables:
        with gzip.open(table, "rt", newline="") as lines:
            rows = csv.DictReader(lines)
            missing = {"Participant", "Time(sec)", "Label"} - set(rows.fieldnames or ())
            if missing:
                raise ValueError(f"{table}: no column {', '.join(sorted(missing))}")
            for row in rows:
                own = labels.setdefault(int(row["Participant"]), {})
                own[int(float(row["Time(sec)"]))] = float(row["Label"])
    found = []
    with np.load(path, allow_pickle=False) as arrays:
        for number, own in sorted(labels.items()):
            person = f"S{number:02d}"
            if f"{person}_hr_t0" not in arrays.files:
                continue
            t = np.array(sorted(own), np.float64)
            missing = {f"{person}_{name}" for _, name, _, _ in (*SIGNALS, MOVED)} - set(arrays.files)
            if missing:
                raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
            columns = [
                _at(t, float(arrays[f"{person}_{begun}_t0"]), arrays[f"{person}_{name}"] / units, rate)
                for begun, name, units, rate in (*SIGNALS, MOVED)
            ]
            label = np.array([own[int(second)] for second in t])
            found.append(Wearing(person, t, np.stack(columns, axis=1), label))
    if not found:
        raise ValueError(f"{data}: no person has both signals and labels")
    return found


def _at(t: Array, begun: float, values: Array, rate: int) -> Array:
    """Means by the second, NaN outside the recording."""
    whole = len(values) // rate
    seconds = values[: whole * rate].reshape(whole, rate).mean(axis=1)
    place = np.floor(t - begun).astype(int)
    known = (place >= 0) & (place < whole)
    found = np.full(len(t), np.nan)
    found[known] = seconds[place[known]]
    return found


def begun_at(wearing: Wearing, share: float) -> Wearing:
    """The recording begun at a share of it, what came before put at the end; times are those of the original."""
    place = np.roll(np.arange(len(wearing.t)), -int(share * len(wearing.t)))
    return wearing._replace(signals=wearing.signals[place], label=wearing.label[place])


@compiled
def _run(f: Array, p: Array, t: Array, signals: Array, begun: int, end: int, out: Array, x: Array) -> None:
    """Seconds from `begun` to `end`: probabilities into `out`, features into `x`."""
    for n in range(begun, end):
        model.observe(f, 0, signals[n, 0], signals[n, 1], signals[n, 2], signals[n, 3], t[n])
        out[n] = model.probability(f, 0, p, t[n])
        for j in range(model.FEATURES):
            x[n, j] = f[model.FEATURE + j]


def run_model(wearing: Wearing, parameters: Array) -> tuple[Array, Array]:
    """Probabilities (seconds,) and features (seconds, FEATURES). The label of a period is learned at its end: its mean
    error counts as one label."""
    f = np.zeros(model.WIDTH)
    out = np.full(len(wearing.t), np.nan)
    x = np.zeros((len(wearing.t), model.FEATURES))
    edges = [0, *(np.flatnonzero(np.diff(wearing.label)) + 1).tolist(), len(wearing.t)]
    for begun, end in pairwise(edges):
        _run(f, parameters, wearing.t, wearing.signals, begun, end, out, x)
        spoken = out[begun:end][~np.isnan(out[begun:end])]
        if len(spoken):
            model.learn(f, 0, float(spoken.mean()), float(wearing.label[begun]))
    return out, x


def judged(wearing: Wearing, parameters: Array) -> Told:
    """The model beside the plain baseline: heart rate of the last minute over that of all time before."""
    out, _ = run_model(wearing, parameters)
    heart_rate = wearing.signals[:, 0]
    known = ~np.isnan(heart_rate)
    total, count = np.cumsum(np.where(known, heart_rate, 0.0)), np.cumsum(known)
    before = np.maximum(np.arange(len(out)) - 60, 0)
    minute = (total - total[before]) / np.maximum(count - count[before], 1)
    plain = minute - total / np.maximum(count, 1)
    second = np.arange(0, len(out), EVERY, dtype=np.int64)
    return Told(wearing, second, out[second], plain[second])


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("stress").flat)
    people = read(data)
    told = [judged(one, parameters) for one in people]
    midway = [judged(begun_at(one, 0.5), parameters) for one in people]
    own = [float(parameters[model.PERSON_VARIANCE])] * len(people)
    return measured(told, midway, own, float(parameters[model.THRESHOLD]), seed)


def measured(
    told: Sequence[Told], midway: Sequence[Told], variances: Sequence[float], threshold: float, seed: int
) -> Evaluation:
    """Over the judged seconds of all people at which the model spoke; `midway` are the recordings begun at half, and
    `variances` those of log odds between people."""

    def spoken(some: Sequence[Told], plain: bool = False) -> tuple[Array, Array]:
        labels = np.concatenate([one.wearing.label[one.second][~np.isnan(one.probability)] for one in some])
        said = np.concatenate([(one.plain if plain else one.probability)[~np.isnan(one.probability)] for one in some])
        return labels, said

    def area(some: Sequence[Told]) -> float:
        return auroc(*spoken(some))

    def accuracy(some: Sequence[Told]) -> float:
        labels, said = spoken(some)
        return balanced_accuracy(labels, (said > threshold).astype(np.float64))

    def error(some: Sequence[Told]) -> float:
        return calibration_error(*spoken(some))

    def plain_area(some: Sequence[Told]) -> float:
        return auroc(*spoken(some, plain=True))

    def plain_accuracy(some: Sequence[Told]) -> float:
        labels, said = spoken(some, plain=True)
        return balanced_accuracy(labels, (said > 0.0).astype(np.float64))

    def interval(said: float, variance: float) -> tuple[float, float]:
        odds, half = np.log(said / (1.0 - said)), 1.645 * np.sqrt(variance)
        return tuple(float(1.0 / (1.0 + np.exp(-at))) for at in (odds - half, odds + half))  # type: ignore[return-value]

    silent = float(np.mean(np.concatenate([np.isnan(one.probability) for one in told])))
    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={
            "auc": bootstrapped(told, area, seed, plain_area, 500),
            "balanced_accuracy": bootstrapped(told, accuracy, seed, plain_accuracy, 500),
            "ece": bootstrapped(told, error, seed, resamples=500),
            "auc_begun_midway": bootstrapped(midway, area, seed, plain_area, 500),
        },
        predictions=[
            Prediction(
                person=one.wearing.person,
                t=float(one.wearing.t[n] - one.wearing.t[0]),
                prediction=float(said),
                low=interval(float(said), variance)[0],
                high=interval(float(said), variance)[1],
                label=float(one.wearing.label[n]),
                measure="auc",
            )
            for one, variance in zip(told, variances, strict=True)
            for n, said in zip(one.second, one.probability, strict=True)
            if not np.isnan(said)
        ],
        notes=(
            f"every {EVERY}th second is judged; the model abstained on {100.0 * silent:.1f} % of them",
            f"the answer is yes above {threshold:.2f}",
            "all people had the stressors in the same order: auc_begun_midway is of recordings begun at half",
            "the plain baseline is the heart rate of the last minute over that of all time before",
        ),
    )


def examples(one: Wearing) -> Examples:
    """Of every tenth second at which the model speaks."""
    rows, labels = [], []
    for share in BEGUN:
        begun = begun_at(one, share)
        out, x = run_model(begun._replace(label=np.zeros(len(one.t))), np.ones(model.PARAMETERS))
        chosen = np.flatnonzero(~np.isnan(out))[::EVERY]
        rows.append(x[chosen])
        labels.append(begun.label[chosen])
    return Examples(np.concatenate(rows), np.concatenate(labels))


def _log_odds(found: Additive, x: Array) -> Array:
    row, flat = np.zeros(2 * model.FEATURES), found.flat()
    said = np.empty(len(x))
    for n in range(len(x)):
        row[: model.FEATURES] = x[n]
        said[n] = log_odds(row, 0, flat, model.FEATURES, len(QUANTILES), model.FEATURES)
    return said


def _loss(labels: Array, odds: Array) -> float:
    return float(np.mean(np.logaddexp(0.0, odds) - labels * odds))


def _fit(some: Sequence[Examples], decay: float) -> Additive:
    return fit_additive(
        np.concatenate([one.x for one in some]), np.concatenate([one.y for one in some]), QUANTILES, decay
    )


def fitted(people: Sequence[Examples]) -> dict[str, list[float]]:
    """The additive model. Folds over people say how much to shrink, how much too bold the log odds are for people not
    fitted on (Platt, 1999; put into the weights), and how far people lie from each other."""
    best: tuple[float, float, Array, list[Array]] = (np.inf, DECAYS[0], np.array([0.0, 1.0]), [])
    y = [one.y for one in people]
    for decay in DECAYS:
        odds = [np.empty(0)] * len(people)
        for fold in range(min(FOLDS, len(people))):
            others = [one for n, one in enumerate(people) if n % FOLDS != fold] or list(people)
            found = _fit(others, decay)
            for n in range(fold, len(people), FOLDS):
                odds[n] = _log_odds(found, people[n].x)
        labels, said = np.concatenate(y), np.concatenate(odds)
        platt = minimize(lambda a, y=labels, o=said: _loss(y, a[0] + a[1] * o), [0.0, 1.0]).x
        loss = _loss(labels, platt[0] + platt[1] * said)
        if loss < best[0]:
            best = (loss, decay, platt, [platt[0] + platt[1] * one for one in odds])
    _, decay, platt, odds = best
    found = _fit(people, decay)
    found = found._replace(weights=platt[1] * found.weights, bias=float(platt[0] + platt[1] * found.bias))
    own = [
        minimize_scalar(lambda a, y=labels, o=said: _loss(y, a + o), bounds=(-3.0, 3.0), method="bounded").x
        for labels, said in zip(y, odds, strict=True)
    ]
    share = float(np.mean(np.concatenate(y)))
    return {**found.values(), "threshold": [round(share, 4)], "person_variance": [round(float(np.var(own)), 4)]}


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    people = read(data)
    return {
        "model": "stress",
        "version": 2,
        "fitted_on": f"Stress-Predict, {len(people)} development people: Stroop, interview, hyperventilation",
        "values": fitted([examples(one) for one in people]),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person judged by parameters that were fitted, and chosen, on all others alone."""
    people = read(data)
    of = [examples(one) for one in people]
    told, midway, variances, thresholds = [], [], [], []
    for n, one in enumerate(people):
        values = fitted([other for m, other in enumerate(of) if m != n])
        flat = np.array([value for part in values.values() for value in part])
        told.append(judged(one, flat))
        midway.append(judged(begun_at(one, 0.5), flat))
        variances.append(float(flat[model.PERSON_VARIANCE]))
        thresholds.append(float(flat[model.THRESHOLD]))
    return measured(told, midway, variances, float(np.mean(thresholds)), seed)


def clock_alone(data: Path) -> float:
    """Area of a model of nothing but seconds since the beginning, fitted on all others: what the order gives away."""
    people = read(data)
    labels, said = [], []
    for one in people:
        others = [other for other in people if other.person != one.person]
        t = np.concatenate([np.arange(0.0, len(other.t), EVERY) for other in others])
        y = np.concatenate([other.label[::EVERY] for other in others])
        found = fit_additive(t[:, None], y, tuple(n / 10 for n in range(1, 10)), 1e-4)
        z = (np.arange(0.0, len(one.t), EVERY) - found.centre[0]) / found.scale[0]
        bends = np.maximum(z[:, None] - found.knots[0], 0.0)
        said.append(z * found.weights[0, 0] + bends @ found.weights[0, 1:])
        labels.append(one.label[::EVERY])
    return auroc(np.concatenate(labels), np.concatenate(said))


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Each person's probability over the session; stress as it was is shaded."""
    names = sorted({one.person for one in evaluation.predictions})[:12]
    title = "Probability of stress (blue); shaded: a stressor went on"
    drawing, axes = figure(len(names), height_in=1.1, title=title)
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        minutes = [one.t / 60.0 for one in own]
        axis.fill_between(minutes, 0.0, [one.label for one in own], color="#f3d2c8", step="mid", linewidth=0)
        axis.plot(minutes, [one.prediction for one in own], color="#0b5d8a")
        axis.set_ylim(0.0, 1.0)
        axis.set_ylabel(name)
    axes[-1].set_xlabel("minutes")
    save(drawing, picture)
