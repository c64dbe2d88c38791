"""Task `freeze`: acceleration of people with Parkinson's disease who walk, and when they froze.

The folder holds an `.npz` with, for each run NAME (`S01R02`: person, run), `NAME_acc9_mg_diff` (samples, 9: first
differences of ankle, thigh and trunk, three axes each, mg, 64 Hz) and `NAME_label` (0 not part of it, 1 no freeze, 2
freeze). The second axis of each sensor is the vertical one. Packets of a quarter of a second are taken in and judged.
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
from loadtest.evaluation.scores import balanced_accuracy
from twin_state.models import freezing_of_gait as model

TASK = "freeze"
HZ = 64.0
PACKET = 16
VERTICAL = (1, 4, 7)
PERSON_LETTERS = 3
PLAIN_WINDOW_S, PLAIN_INDEX, PLAIN_POWER = 4.0, 2.0, 1e-3
"""Of the plain baseline, as Bachlin et al. 2010: freeze index of the ankle above 2 where the power is above a floor."""


class Walk(NamedTuple):
    """One run: vertical acceleration (samples, 3) in g, and the label of each sample."""

    person: str
    name: str
    acceleration_g: Array
    label: Array


class Told(NamedTuple):
    """At the end of each packet: score, probability (NaN: abstained), label, and the plain answer."""

    walk: Walk
    score: Array
    probability: Array
    label: Array
    plain: Array


def read(data: Path) -> list[Walk]:
    """The runs. Raises ValueError for another layout."""
    found = []
    for path in sorted(data.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for key in sorted(name for name in arrays.files if name.endswith("_acc9_mg_diff")):
                name = key.removesuffix("_acc9_mg_diff")
                if f"{name}_label" not in arrays.files:
                    raise ValueError(f"{path}: no array {name}_label")
                acceleration = np.cumsum(arrays[key].astype(np.int64), axis=0)
                if acceleration.ndim != 2 or acceleration.shape[1] != 9:
                    raise ValueError(f"{path}: {key} has not nine columns")
                vertical = acceleration[:, VERTICAL].astype(np.float64) / 1000.0
                label = arrays[f"{name}_label"].astype(np.float64)
                found.append(Walk(name[:PERSON_LETTERS], name, vertical, label))
    if not found:
        raise ValueError(f"{data}: there is no .npz with arrays NAME_acc9_mg_diff")
    return found


def run_model(walk: Walk, parameters: Array) -> Told:
    """The live model over the run, packet by packet."""
    f = np.zeros(model.WIDTH)
    packets = len(walk.label) // PACKET
    score, probability = np.zeros(packets), np.zeros(packets)
    for n in range(packets):
        samples = walk.acceleration_g[n * PACKET : (n + 1) * PACKET]
        t = 1.0 + n * PACKET / HZ
        model.take(f, 0, samples, t, HZ)
        score[n] = f[model.SCORE]
        probability[n] = model.probability(f, 0, parameters, t + (PACKET - 1) / HZ)
    label = walk.label[PACKET - 1 :: PACKET][:packets]
    return Told(walk, score, probability, label, _plain(walk)[:packets])


def _plain(walk: Walk) -> Array:
    """1 where the fixed freeze index of the ankle says freeze, by the spectrum of the last four seconds."""
    window = int(PLAIN_WINDOW_S * HZ)
    hz = np.fft.rfftfreq(window, 1.0 / HZ)
    step, tremble = (hz >= 0.5) & (hz < 3.0), (hz >= 3.0) & (hz < 8.0)
    said = []
    for end in range(PACKET, len(walk.label) + 1, PACKET):
        if end < window:
            said.append(0.0)
            continue
        x = walk.acceleration_g[end - window : end, 0]
        power = np.abs(np.fft.rfft(x - x.mean())) ** 2 / window**2
        low, high = float(power[step].sum()), float(power[tremble].sum())
        said.append(float(high > PLAIN_INDEX * low and low + high > PLAIN_POWER))
    return np.array(said)


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("freezing_of_gait").flat)
    return measured([run_model(walk, parameters) for walk in read(data)], seed)


def _spoken(some: Sequence[Sequence[Told]], what: str, freeze: bool) -> Array:
    parts = [
        getattr(one, what)[(one.label == (2.0 if freeze else 1.0)) & ~np.isnan(one.probability)]
        for told in some
        for one in told
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _delays(one: Told) -> list[float]:
    """From the first packet of each freeze to the first that says so (s); infinite where none does."""
    freeze = (one.label == 2.0).astype(int)
    found = []
    for begin in np.flatnonzero(np.diff(freeze, prepend=0) == 1):
        end = begin
        while end < len(freeze) and freeze[end]:
            end += 1
        said = np.flatnonzero(one.probability[begin:end] > 0.5)
        found.append(float(said[0] * PACKET / HZ) if len(said) else float("inf"))
    return found


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """By packet over all people; delays over all freezes."""
    people = sorted({one.walk.person for one in told})
    units: list[list[Told]]
    if len(people) == 1:
        units = [[one] for one in told]
    else:
        units = [[one for one in told if one.walk.person == person] for person in people]

    def sensitivity(some: Sequence[Sequence[Told]]) -> float:
        said = _spoken(some, "probability", freeze=True)
        return float(np.mean(said > 0.5)) if len(said) else float("nan")

    def specificity(some: Sequence[Sequence[Told]]) -> float:
        said = _spoken(some, "probability", freeze=False)
        return float(np.mean(said <= 0.5)) if len(said) else float("nan")

    def plain(freeze: bool) -> Any:
        def statistic(some: Sequence[Sequence[Told]]) -> float:
            said = _spoken(some, "plain", freeze)
            return float(np.mean(said > 0.5) if freeze else np.mean(said <= 0.5)) if len(said) else float("nan")

        return statistic

    def delay(some: Sequence[Sequence[Told]]) -> float:
        found = [value for own in some for one in own for value in _delays(one)]
        return float(np.median(found)) if found else float("nan")

    missed = sum(np.isinf(value) for one in told for value in _delays(one))
    freezes = sum(len(_delays(one)) for one in told)
    return Evaluation(
        task=TASK,
        people=len(people),
        unit="session" if len(people) == 1 else "person",
        measures={
            "sensitivity": bootstrapped(units, sensitivity, seed, plain(True)),
            "specificity": bootstrapped(units, specificity, seed, plain(False)),
            "delay_s": bootstrapped(units, delay, seed),
        },
        predictions=[
            Prediction(
                person=one.walk.person,
                t=(n + 1) * PACKET / HZ,
                prediction=float(one.probability[n]),
                low=float("nan"),
                high=float("nan"),
                label=float(one.label[n] == 2.0),
                measure="sensitivity",
            )
            for one in told
            for n in np.flatnonzero((one.label > 0.0) & ~np.isnan(one.probability)).tolist()
        ],
        notes=(
            f"{len(told)} runs with {freezes} freezes, of which {missed} were not seen at all; a packet each 0.25 s",
            "the plain baseline is the freeze index of the ankle above 2 over the last four seconds",
        ),
    )


def fitted(walks: Sequence[Walk]) -> dict[str, list[float]]:
    """The threshold at which sensitivity and specificity are greatest together, each person counting alike; a slope
    that makes a probability of the score's distance from it."""
    told = [run_model(walk, np.ones(model.PARAMETERS)) for walk in walks]
    people = sorted({one.walk.person for one in told})
    scores, labels = [], []
    for person in people:
        own = [one for one in told if one.walk.person == person]
        chosen = [(one.label > 0.0) & ~np.isnan(one.probability) for one in own]
        scores.append(np.concatenate([one.score[known] for one, known in zip(own, chosen, strict=True)]))
        labels.append(np.concatenate([one.label[known] == 2.0 for one, known in zip(own, chosen, strict=True)]))
    grid = np.round(np.arange(-0.5, 2.0, 0.02), 2)

    def worth(threshold: float) -> float:
        own = [
            balanced_accuracy(y.astype(np.float64), (s > threshold).astype(np.float64))
            for s, y in zip(scores, labels, strict=True)
        ]
        return float(np.nanmean(own)) if not np.isnan(own).all() else 0.0

    best = max(grid.tolist(), key=worth)
    return {"threshold": [best], "slope": [3.0]}


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    walks = read(data)
    people = len({walk.person for walk in walks})
    return {
        "model": "freezing_of_gait",
        "version": 1,
        "fitted_on": f"Daphnet, {len(walks)} development runs of {people} people with Parkinson's disease",
        "values": fitted(walks),
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person judged by a threshold that was fitted on the others alone."""
    walks = read(data)
    told = []
    for person in sorted({walk.person for walk in walks}):
        values = fitted([walk for walk in walks if walk.person != person])
        flat = np.array([value for part in values.values() for value in part])
        told += [run_model(walk, flat) for walk in walks if walk.person == person]
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Each person's probability over the walk; freezes are shaded."""
    names = sorted({one.person for one in evaluation.predictions})
    drawing, axes = figure(len(names), height_in=2.4, title="Probability of freezing (blue); shaded: the person froze")
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        minutes = np.arange(len(own)) * PACKET / HZ / 60.0
        axis.fill_between(minutes, 0.0, [one.label for one in own], color="#f3d2c8", step="mid", linewidth=0)
        axis.plot(minutes, [one.prediction for one in own], color="#0b5d8a", linewidth=0.8)
        axis.set_ylim(0.0, 1.0)
        axis.set_ylabel(name)
    axes[-1].set_xlabel("minutes of walking, runs after each other")
    save(drawing, picture)
