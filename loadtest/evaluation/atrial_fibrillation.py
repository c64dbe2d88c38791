"""Task `af`: long recordings of intervals with the rhythm of each beat, as in PhysioNet's MIT-BIH AFDB.

The folder holds one or more `.npz` with arrays `rr_NAME` (ms) and `lab_NAME` (0 other, 1 atrial fibrillation, 2 atrial
flutter, 3 junctional), one pair a record. A beat is positive where its rhythm is fibrillation. Its label is the model's
own, which comes some 70 beats later and never from beyond that; the onset is told from the probability of the moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from contracts.parameters import shipped_parameters
from loadtest.evaluation.network import Array, fit_network
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Measure, Prediction, bootstrapped
from twin_state.models import atrial_fibrillation as model

TASK = "af"
FIBRILLATION = 1
PLAIN_RMSSD = 0.1
"""Plain baseline: RMSSD over mean of 64 intervals above it, centred (Dash et al., Ann. Biomed. Eng. 37(9), 2009)."""
LEAST_EPISODE = 60
"""Beats of an episode whose onset counts: a shorter one is over before anyone could act."""
EVERY = 7
"""Of overlapping windows every so many-th is an example when parameters are fitted."""
HIDDEN, DECAY = 6, 1e-4
OFFSET = 0.4
"""Added to the fitted log odds: a missed beat of fibrillation weighs one and a half times a false one."""
UNRELIABLE = ("04936",)
"""Records whose reference annotation is known to be wrong in parts; not learned from. They are measured like any."""
TOLD_EVERY = 50
"""Of the beats every so many-th stands among the predictions."""


class Record(NamedTuple):
    """One record: what is true and what was said of each beat (NaN where nothing was), and the live probability."""

    name: str
    interval_s: Array
    fibrillation: NDArray[np.bool_]
    label: Array
    now: Array
    plain: NDArray[np.bool_]

    @property
    def known(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.label)


@njit(cache=True)
def _run(interval_s: Array, p: Array, label: Array, now: Array, x: Array) -> None:
    f = np.zeros(model.WIDTH)
    t = 1.0
    for n in range(len(interval_s)):
        t += interval_s[n]
        late = model.observe(f, 0, p, interval_s[n], t)
        if n >= model.KEPT - 1:
            label[n - model.KEPT + 1] = late
        now[n] = model.probability(f, 0, t)
        if f[model.COUNT] >= model.LEAST:
            for j in range(model.FEATURES):
                x[n, j] = f[model.FEATURE + j]


def run_model(interval_s: Array, parameters: Array) -> tuple[Array, Array, Array]:
    """Label and live probability of each beat, and the features (beats, FEATURES) of the window that it ends."""
    label, now = np.full(len(interval_s), np.nan), np.full(len(interval_s), np.nan)
    x = np.full((len(interval_s), model.FEATURES), np.nan)
    _run(interval_s, parameters, label, now, x)
    return label, now, x


def read(data: Path) -> dict[str, tuple[Array, NDArray[np.bool_]]]:
    """Intervals (s) and whether the beat is in fibrillation, by record. Raises ValueError for another layout."""
    found: dict[str, tuple[Array, NDArray[np.bool_]]] = {}
    for path in sorted(data.glob("*.npz")):
        with np.load(path) as arrays:
            for name in sorted(key[3:] for key in arrays if key.startswith("rr_")):
                if f"lab_{name}" not in arrays or len(arrays[f"lab_{name}"]) != len(arrays[f"rr_{name}"]):
                    raise ValueError(f"{path}: record {name} has no rhythm for each interval")
                rr_s = arrays[f"rr_{name}"].astype(np.float64) / 1000.0
                found[name] = rr_s, arrays[f"lab_{name}"] == FIBRILLATION
    if not found:
        raise ValueError(f"{data}: there is no .npz with arrays rr_NAME and lab_NAME")
    return found


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("atrial_fibrillation").flat)
    return measured([judged(name, *record, parameters) for name, record in read(data).items()], seed)


def judged(name: str, interval_s: Array, fibrillation: NDArray[np.bool_], parameters: Array) -> Record:
    """Run the model over one record."""
    label, now, x = run_model(interval_s, parameters)
    plain = np.zeros(len(interval_s), bool)
    plain[: -model.HALF] = np.exp(x[model.HALF :, 2]) - 0.003 > PLAIN_RMSSD
    return Record(name, interval_s, fibrillation, label, now, plain)


def measured(records: Sequence[Record], seed: int) -> Evaluation:
    """The measures over records that were run."""
    sums = [_counts(record, record.label[record.known] > 0.5) for record in records]
    plain = [_counts(record, record.plain[record.known]) for record in records]
    delays = [_onset_delays(record) for record in records]
    burdens = [abs(_burden(record, record.label > 0.5) - _burden(record, record.fibrillation)) for record in records]
    plain_burdens = [abs(_burden(record, record.plain) - _burden(record, record.fibrillation)) for record in records]
    numbers = list(range(len(records)))

    def over(values: Sequence[Any], statistic: Any, other: Sequence[Any] | None = None) -> Measure:
        baseline = None if other is None else lambda units: statistic([other[n] for n in units])
        return bootstrapped(numbers, lambda units: statistic([values[n] for n in units]), seed, baseline)

    told = [
        Prediction(
            person=record.name,
            t=float(np.sum(record.interval_s[:n])),
            prediction=float(record.label[n]),
            low=float("nan"),
            high=float("nan"),
            label=float(record.fibrillation[n]),
            measure="sensitivity" if record.fibrillation[n] else "specificity",
        )
        for record in records
        for n in np.flatnonzero(record.known)[::TOLD_EVERY]
    ]
    unlabelled = sum(int(np.count_nonzero(~record.known)) for record in records)
    return Evaluation(
        task=TASK,
        people=len(records),
        unit="person",
        measures={
            "sensitivity": over(sums, lambda some: _share(some, 0, 1), plain),
            "specificity": over(sums, lambda some: _share(some, 2, 3), plain),
            "onset_delay_beats": over(delays, lambda some: float(np.median(np.concatenate(some)))),
            "burden_error": over(burdens, lambda some: float(np.mean(some)), plain_burdens),
        },
        predictions=told,
        notes=(
            f"{unlabelled} beats, the first and last of each record and those about gaps, have no label",
            f"onset: {sum(map(len, delays))} episodes of {LEAST_EPISODE} beats or more; a missed one counts its length",
            "burden_error is the mean over records of the absolute difference, as a share of the time",
            f"every {TOLD_EVERY}th beat is among the predictions",
        ),
    )


def _counts(record: Record, said: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """True positives, positives, true negatives, negatives."""
    true = record.fibrillation[record.known]
    return int(np.sum(said & true)), int(np.sum(true)), int(np.sum(~said & ~true)), int(np.sum(~true))


def _share(counts: Sequence[tuple[int, int, int, int]], part: int, whole: int) -> float:
    of = sum(one[whole] for one in counts)
    return sum(one[part] for one in counts) / of if of else float("nan")


def _burden(record: Record, said: NDArray[np.bool_]) -> float:
    weight = record.interval_s[record.known]
    return float(np.sum(weight * said[record.known]) / np.sum(weight))


def _onset_delays(record: Record) -> Array:
    """Beats from each onset to the first at which the probability of the moment says so; the whole length where none
    does. An episode that begins while the probability is still high from the one before is told at once."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], record.fibrillation, [False]]).astype(int)))
    delays = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < LEAST_EPISODE or begin < model.WINDOW:
            continue
        told = np.flatnonzero(record.now[begin:end] > 0.5)
        delays.append(float(told[0] if len(told) else end - begin))
    return np.array(delays)


def examples(interval_s: Array, fibrillation: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Features of whole windows, and the rhythm of the beat at their middle (1 fibrillation, 0 not)."""
    _, _, x = run_model(interval_s, np.ones(model.PARAMETERS))
    chosen = np.arange(model.WINDOW, len(x), EVERY)
    chosen = chosen[np.isfinite(x[chosen]).all(axis=1)]
    return x[chosen], fibrillation[chosen - model.HALF].astype(np.float64)


def padded(network: list[float], hidden: int) -> list[float]:
    """A network of fewer hidden units as the kernel takes it: the others do nothing."""
    flat = np.array(network)
    inputs = model.FEATURES
    whole = np.zeros(model.PARAMETERS)
    whole[: model.W1] = flat[: model.W1]
    w1 = np.zeros((inputs, model.HIDDEN))
    w1[:, :hidden] = flat[model.W1 : model.W1 + inputs * hidden].reshape(inputs, hidden)
    whole[model.W1 : model.B1] = w1.ravel()
    rest = flat[model.W1 + inputs * hidden :]
    whole[model.B1 : model.B1 + hidden] = rest[:hidden]
    whole[model.W2 : model.W2 + hidden] = rest[hidden : 2 * hidden]
    whole[model.B2] = rest[-1]
    return [float(value) for value in whole]


def fitted(records: dict[str, tuple[Array, NDArray[np.bool_]]], seed: int) -> list[float]:
    """Parameters from the records that are reliable; each counts alike, however long it is."""
    found = [examples(*record) for name, record in records.items() if name not in UNRELIABLE]
    x = np.concatenate([one for one, _ in found])
    y = np.concatenate([one for _, one in found])
    weight = np.concatenate([np.full(len(one), 1.0 / len(one)) for _, one in found])
    network = padded(fit_network(x, y, weight, HIDDEN, DECAY, seed).flat(), HIDDEN)
    network[model.B2] += OFFSET
    return network


def fit(data: Path, seed: int) -> dict[str, Any]:
    """See `loadtest.evaluation.tasks.fit`."""
    records = read(data)
    used = [name for name in records if name not in UNRELIABLE]
    return {
        "model": "atrial_fibrillation",
        "version": 1,
        "fitted_on": f"MIT-BIH Atrial Fibrillation Database, {len(used)} development records: {', '.join(used)}",
        "values": {"network": fitted(records, seed)},
    }


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each record judged by parameters that were fitted on the others alone."""
    records = read(data)
    judgements = []
    for name, record in records.items():
        others = {other: one for other, one in records.items() if other != name}
        judgements.append(judged(name, *record, np.array(fitted(others, seed))))
    return measured(judgements, seed)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """A strip a record: which beats were in fibrillation by the reference, and by the model."""
    names = sorted({one.person for one in evaluation.predictions})
    drawing, axes = figure(len(names), height_in=0.55, title="Atrial fibrillation: reference above, model below")
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        hours = np.array([one.t for one in own]) / 3600.0
        for level, values in ((1.0, [one.label for one in own]), (0.0, [one.prediction > 0.5 for one in own])):
            on = np.array(values, bool)
            axis.fill_between(hours, level, level + 0.8, where=on, step="post", color="#a3341f", linewidth=0)
            axis.fill_between(hours, level, level + 0.8, where=~on, step="post", color="#dfe8ef", linewidth=0)
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.set_ylim(-0.1, 1.9)
    axes[-1].set_xlabel("hours")
    save(drawing, picture)
