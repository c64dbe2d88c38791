"""Task `hrv`: intervals of a session beside another program's log of their variability, as the app FatMaxxer keeps it.

The folder holds pairs of files, NAME.rr.csv.gz (column `rr`, ms, one line a beat) and beside it
NAME.rr.csv_python_features.csv.gz (each 5 s: `timestamp` s since the first beat, `rmssd` ms, `alpha1` and `filtered`,
the share in per cent of beats that were left out, of the two minutes from there on). Windows in which neither side left
out a beat are compared.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Measure, Prediction, bootstrapped
from twin_state.models import beats
from twin_state.models import variability as model

TASK = "hrv"
MOST_APART_S = 3.0
"""A window of the log is compared with the one of the model that ends at most so long from its end."""
EQUAL = 1e-9
"""Relative difference up to which streaming and batch are equal: sums are made in another order."""


class Window(NamedTuple):
    """One window of the model: its end (s since the first beat), and measures in the order of the model's columns."""

    t: float
    valid: float
    measures: Array


class Compared(NamedTuple):
    """A window with what the reference log says of it: RMSSD in s, and alpha1."""

    session: str
    window: Window
    rmssd_s: float
    alpha1: float


@njit(cache=True)
def _run(interval_s: Array, t: Array, out: Array, trusted: Array) -> int:
    f = np.zeros(model.WIDTH)
    told = 0
    for n in range(len(interval_s)):
        if model.observe(f, 0, interval_s[n], t[n]):
            out[told, 0], out[told, 1], out[told, 2] = t[n], f[model.VALID], n
            for j in range(model.MEASURES):
                out[told, 3 + j] = f[model.MEASURE + j]
            told += 1
        trusted[n] = f[model.INTERVAL + model.MOST - 1] > 0.0
    return told


def run_model(interval_s: Array, t: Array) -> tuple[list[Window], list[int], Array]:
    """The windows, the beat that ended each, and which beats were trusted (1 or 0). `t` (s, above 0) of each beat."""
    out, trusted = np.zeros((len(interval_s), 3 + model.MEASURES)), np.zeros(len(interval_s))
    rows = out[: _run(interval_s, t, out, trusted)]
    return [Window(float(row[0]), float(row[1]), row[3:]) for row in rows], [int(row[2]) for row in rows], trusted


def in_batch(interval_s: Array, t: Array, trusted: Array, last: int) -> Array:
    """The measures of the window that ends with beat `last`, from all intervals at once; zeros where it abstains."""
    gaps = np.flatnonzero(np.diff(t[: last + 1], prepend=-np.inf) > model.LONGEST_GAP_S)
    begin = max(int(gaps[-1]) if len(gaps) else 0, last - model.MOST + 1)
    kept = np.clip(interval_s[begin : last + 1], beats.SHORTEST_S, beats.LONGEST_S)
    back = np.cumsum(kept[::-1])
    count = int(np.searchsorted(back, model.WINDOW_S, side="right"))
    x, good = kept[len(kept) - count :], trusted[last + 1 - count : last + 1] > 0.0
    found = np.zeros(model.MEASURES)
    found[model.DISTRUSTED_SHARE] = float(np.sum(~good)) / count if count else 1.0
    both = good[1:] & good[:-1]
    few = np.sum(good) < model.LEAST or np.sum(both) < model.LEAST - 1
    if few or found[model.DISTRUSTED_SHARE] > model.MOST_DISTRUSTED:
        return found
    nn, difference = x[good], np.abs(np.diff(x)[both])
    found[model.MEAN_NN], found[model.SDNN] = np.mean(nn), np.std(nn, ddof=1)
    found[model.RMSSD] = np.sqrt(np.mean(difference**2))
    found[model.PNN50] = np.mean(difference > model.NN50_S)
    found[model.SD1] = found[model.RMSSD] / np.sqrt(2.0)
    found[model.SD2] = np.sqrt(max(2.0 * found[model.SDNN] ** 2 - found[model.SD1] ** 2, 0.0))
    found[model.ALPHA1] = alpha1_in_batch(nn)
    return found


def alpha1_in_batch(nn_s: Array) -> float:
    """DFA-alpha1 by least squares in each box; 0 where nothing varies."""
    y = np.cumsum(nn_s - np.mean(nn_s))
    sizes = np.arange(model.SHORTEST_BOX, model.LONGEST_BOX + 1)
    fluctuation = []
    for size in sizes:
        boxes = y[: len(y) // size * size].reshape(-1, size).T
        line = np.vander(np.arange(size, dtype=float), 2)
        residual = boxes - line @ np.linalg.lstsq(line, boxes, rcond=None)[0]
        fluctuation.append(np.sqrt(np.mean(residual**2)))
    if min(fluctuation) <= 0.0:
        return 0.0
    return float(np.polyfit(np.log(sizes), np.log(fluctuation), 1)[0])


def equal_share(interval_s: Array, t: Array, every: int = 1) -> float:
    """Share of the windows, of which every so many-th is looked at, in which streaming and batch are equal."""
    windows, ends, trusted = run_model(interval_s, t)
    chosen = range(0, len(windows), every)
    same = [
        np.allclose(windows[n].measures, in_batch(interval_s, t, trusted, ends[n]), rtol=EQUAL, atol=1e-12)
        for n in chosen
    ]
    return float(np.mean(same)) if same else float("nan")


def _column(path: Path, *names: str) -> list[Array]:
    with gzip.open(path, "rt", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows or any(name not in rows[0] for name in names):
        raise ValueError(f"{path}: columns {', '.join(names)} are wanted")
    return [np.array([float(row[name]) if row[name] else np.nan for row in rows]) for name in names]


def read(data: Path) -> dict[str, tuple[Array, list[Array]]]:
    """Intervals (s) and the log's columns of each session. Raises ValueError for another layout."""
    found: dict[str, tuple[Array, list[Array]]] = {}
    for path in sorted(data.glob("*.rr.csv.gz")):
        log = path.with_name(path.name.removesuffix(".gz") + "_python_features.csv.gz")
        if not log.exists():
            raise ValueError(f"{path}: there is no log {log.name} beside it")
        (rr_ms,) = _column(path, "rr")
        found[path.name.removesuffix(".rr.csv.gz")] = (
            rr_ms[np.isfinite(rr_ms)] / 1000.0,
            _column(log, "timestamp", "rmssd", "alpha1", "filtered"),
        )
    if not found:
        raise ValueError(f"{data}: there is no NAME.rr.csv.gz")
    return found


def compared(name: str, interval_s: Array, log: Sequence[Array]) -> list[Compared]:
    """The clean windows of one session, by the log and by the model."""
    windows = run_model(interval_s, 1.0 + np.cumsum(interval_s))[0]
    ends = np.array([window.t - 1.0 for window in windows])
    found = []
    for begin, rmssd_ms, alpha1, left_out in zip(*log, strict=True):
        n = int(np.argmin(np.abs(ends - (begin + model.WINDOW_S))))
        window = windows[n]
        clean = left_out == 0.0 and window.valid == 2.0 and window.measures[model.DISTRUSTED_SHARE] == 0.0
        if clean and rmssd_ms > 0.0 and abs(ends[n] - begin - model.WINDOW_S) <= MOST_APART_S:
            found.append(Compared(name, window._replace(t=float(ends[n])), rmssd_ms / 1000.0, float(alpha1)))
    return found


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    sessions = read(data)
    clean = {name: compared(name, *session) for name, session in sessions.items()}
    equal = [equal_share(interval_s, 1.0 + np.cumsum(interval_s)) for interval_s, _ in sessions.values()]
    everything = [one for windows in clean.values() for one in windows]
    # One session has no spread over sessions: its windows are drawn, which overlap, so that the interval is narrow.
    units = [[one] for one in everything] if len(sessions) == 1 else list(clean.values())

    def median(error: str) -> Measure:
        def statistic(some: Sequence[Sequence[Compared]]) -> float:
            found = [_error(one, error) for windows in some for one in windows]
            return float(np.median(found)) if found else float("nan")

        return bootstrapped(units, statistic, seed)

    return Evaluation(
        task=TASK,
        people=len(sessions),
        unit="window" if len(sessions) == 1 else "session",
        measures={
            "rmssd_relative_error": median("rmssd"),
            "alpha1_abs_error": median("alpha1"),
            "stream_equals_batch": bootstrapped(equal, lambda some: float(np.mean(some)), seed),
        },
        predictions=[
            Prediction(
                person=one.session,
                t=one.window.t,
                prediction=float(one.window.measures[column]),
                low=float("nan"),
                high=float("nan"),
                label=label,
                measure=measure,
            )
            for one in everything
            for column, label, measure in (
                (model.RMSSD, one.rmssd_s, "rmssd_relative_error"),
                (model.ALPHA1, one.alpha1, "alpha1_abs_error"),
            )
        ],
        notes=(
            f"{len(everything)} windows of two minutes in which neither side left out a beat",
            "stream_equals_batch is the share of all windows in which both forms agree to 1e-9",
        ),
    )


def _error(one: Compared, error: str) -> float:
    if error == "rmssd":
        return abs(float(one.window.measures[model.RMSSD]) / one.rmssd_s - 1.0)
    return abs(float(one.window.measures[model.ALPHA1]) - one.alpha1)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """RMSSD and alpha1 of each clean window, by the log and by the model."""
    drawing, axes = figure(2, height_in=2.6, title="Heart rate variability: the model beside the reference log")
    rows = (("rmssd_relative_error", "RMSSD (ms)", 1000.0), ("alpha1_abs_error", "DFA-alpha1", 1.0))
    for axis, (measure, name, scale) in zip(axes, rows, strict=True):
        own = [one for one in evaluation.predictions if one.measure == measure]
        minutes = [one.t / 60.0 for one in own]
        axis.plot(
            minutes, [scale * one.label for one in own], "o", color="#a3341f", markersize=5, label="reference log"
        )
        axis.plot(minutes, [scale * one.prediction for one in own], ".", color="#0b5d8a", markersize=4, label="model")
        axis.set_ylabel(name)
        axis.legend(loc="upper right")
    axes[-1].set_xlabel("minutes")
    save(drawing, picture)
