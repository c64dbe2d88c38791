"""Task `af-short`: one rhythm for a recording of half a minute, as in the PhysioNet/CinC challenge of 2017.

The folder holds `rr_wqrs.npz` with arrays `rr_ms` (all intervals), `offset` (where each recording's begin, and their
end), `rec` (names) and `label` (N normal, A fibrillation, O other, ~ noise). Recordings of N and A are told apart;
those of O and ~ are left out. The features are those of the live model; the network is one for short recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from contracts.parameters import shipped_parameters
from loadtest.evaluation.atrial_fibrillation import PLAIN_RMSSD
from loadtest.evaluation.network import Array, fit_network
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.models import atrial_fibrillation as model

TASK = "af-short"
DECAY = 1e-3
FOLDS = 5


class Recording(NamedTuple):
    """One recording: intervals (s), and whether it is of fibrillation."""

    name: str
    interval_s: Array
    fibrillation: bool


class Told(NamedTuple):
    """What is true, the log odds that were given (NaN where the model abstained), and the plain rule's word."""

    recording: Recording
    odds: float
    plain: bool


@njit(cache=True)
def _run(interval_s: Array, p: Array, odds: Array, x: Array) -> int:
    f = np.zeros(model.WIDTH)
    t, told = 1.0, 0
    for n in range(len(interval_s)):
        t += interval_s[n]
        model.observe(f, 0, p, interval_s[n], t)
        z = model.evidence(f, 0, p)
        if f[model.COUNT] >= model.LEAST:
            odds[told] = z
            for j in range(model.FEATURES):
                x[told, j] = f[model.FEATURE + j]
            told += 1
    return told


def run_model(interval_s: Array, parameters: Array) -> tuple[Array, Array]:
    """Log odds and features (beats, FEATURES) for each beat that ends a window."""
    odds, x = np.empty(len(interval_s)), np.empty((len(interval_s), model.FEATURES))
    told = _run(interval_s, parameters, odds, x)
    return odds[:told], x[:told]


def judged(recording: Recording, parameters: Array) -> Told:
    """The mean over all whole windows, or the longest window where there is none."""
    odds, x = run_model(recording.interval_s, parameters)
    if not len(odds):
        return Told(recording, float("nan"), plain=False)
    whole = odds[model.WINDOW - model.LEAST :] if len(odds) > model.WINDOW - model.LEAST else odds[-1:]
    return Told(recording, float(np.mean(whole)), bool(np.exp(x[-1, 2]) - 0.003 > PLAIN_RMSSD))


def read(data: Path) -> list[Recording]:
    """The recordings of N and A. Raises ValueError for another layout."""
    path = data / "rr_wqrs.npz"
    if not path.exists():
        raise ValueError(f"{data}: there is no rr_wqrs.npz")
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"rr_ms", "offset", "rec", "label"} - set(arrays.files)
        if missing:
            raise ValueError(f"{path}: no array {', '.join(sorted(missing))}")
        rr_ms, offset, names, labels = (arrays[name] for name in ("rr_ms", "offset", "rec", "label"))
    if len(offset) != len(labels) + 1 or len(names) != len(labels):
        raise ValueError(f"{path}: offset must have one entry more than label, and rec as many")
    return [
        Recording(str(names[n]), rr_ms[offset[n] : offset[n + 1]].astype(np.float64) / 1000.0, labels[n] == "A")
        for n in range(len(labels))
        if labels[n] in {"N", "A"}
    ]


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("atrial_fibrillation_short").flat)
    return measured([judged(one, parameters) for one in read(data)], seed)


def measured(told: Sequence[Told], seed: int) -> Evaluation:
    """F1 of fibrillation against normal rhythm. A recording on which the model abstained counts as called normal."""

    def f1(said: Sequence[tuple[bool, bool]]) -> float:
        hits = sum(one and true for one, true in said)
        return 2.0 * hits / (sum(one for one, _ in said) + sum(true for _, true in said))

    said = [(one.odds > 0.0, one.recording.fibrillation) for one in told]
    plain = [(one.plain, one.recording.fibrillation) for one in told]
    numbers = list(range(len(told)))
    abstained = sum(np.isnan(one.odds) for one in told)
    return Evaluation(
        task=TASK,
        people=len(told),
        unit="person",
        measures={
            "f1": bootstrapped(
                numbers,
                lambda units: f1([said[n] for n in units]),
                seed,
                lambda units: f1([plain[n] for n in units]),
            )
        },
        predictions=[
            Prediction(
                person=one.recording.name,
                t=float(one.recording.interval_s.sum()),
                prediction=float(1.0 / (1.0 + np.exp(-one.odds))),
                low=float("nan"),
                high=float("nan"),
                label=float(one.recording.fibrillation),
                measure="f1",
            )
            for one in told
        ],
        notes=(f"{abstained} recordings have too few beats to be judged, and count as called normal",),
    )


def fitted(recordings: Sequence[Recording], seed: int) -> list[float]:
    """Parameters from the last window of each recording."""
    found = [(run_model(one.interval_s, np.ones(model.PARAMETERS))[1], one.fibrillation) for one in recordings]
    x = np.array([windows[-1] for windows, _ in found if len(windows)])
    y = np.array([float(true) for windows, true in found if len(windows)])
    return fit_network(x, y, np.ones(len(y)), model.HIDDEN, DECAY, seed).flat()


def fit(data: Path, seed: int) -> dict[str, Any]:
    """See `loadtest.evaluation.tasks.fit`."""
    recordings = read(data)
    return {
        "model": "atrial_fibrillation_short",
        "version": 1,
        "fitted_on": f"PhysioNet/CinC challenge 2017, {len(recordings)} development recordings of N and A",
        "values": {"network": fitted(recordings, seed)},
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each recording judged by parameters that were fitted on other folds of recordings alone."""
    recordings = read(data)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(recordings))
    told: list[Told] = []
    for part in range(FOLDS):
        parameters = np.array(fitted([one for n, one in enumerate(recordings) if fold[n] != part], seed))
        told += [judged(one, parameters) for n, one in enumerate(recordings) if fold[n] == part]
    return measured(told, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """How many recordings of each rhythm were given which probability of fibrillation."""
    drawing, (axis,) = figure(1, height_in=3.5, title="Probability of atrial fibrillation in short recordings")
    edges = np.linspace(0.0, 1.0, 26)
    for label, name, colour in ((0.0, "normal rhythm", "#0b5d8a"), (1.0, "atrial fibrillation", "#a3341f")):
        values = [one.prediction for one in evaluation.predictions if one.label == label]
        axis.hist(values, edges, histtype="step", linewidth=2, color=colour, label=f"{name} ({len(values)})")
    axis.axvline(0.5, color="#667", linestyle="--", linewidth=1)
    axis.set_yscale("log")
    axis.set_xlabel("probability given")
    axis.set_ylabel("recordings")
    axis.legend()
    save(drawing, picture)
