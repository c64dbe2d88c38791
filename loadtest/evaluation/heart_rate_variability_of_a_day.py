"""Task `hrv-day`: a day of intervals, night and gaps included, as in PhysioNet's MMASH.

The folder holds `rr.npz` with arrays `ibi_ms_NAME` and `t_s_NAME` (first differences of each beat's time, s). There is
no other program's log to compare with: what is measured is that streaming equals batch, and how much of the day is
judged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loadtest.evaluation.heart_rate_variability import equal_share, run_model
from loadtest.evaluation.network import Array
from loadtest.evaluation.pictures import figure, save
from loadtest.evaluation.result import Evaluation, Prediction, bootstrapped
from twin_state.models import variability as model

TASK = "hrv-day"
EVERY = 10
"""Of the windows every so many-th is compared with its batch form, and stands among the predictions."""


def read(data: Path) -> dict[str, tuple[Array, Array]]:
    """Intervals (s) and times (s, above 0) of each person's beats. Raises ValueError for another layout."""
    path = data / "rr.npz"
    if not path.exists():
        raise ValueError(f"{data}: there is no rr.npz")
    found: dict[str, tuple[Array, Array]] = {}
    with np.load(path) as arrays:
        for name in sorted(key.removeprefix("ibi_ms_") for key in arrays if key.startswith("ibi_ms_")):
            if f"t_s_{name}" not in arrays:
                raise ValueError(f"{path}: person {name} has no array t_s_{name}")
            interval_s = arrays[f"ibi_ms_{name}"].astype(np.float64) / 1000.0
            # Times are whole seconds: several beats share one, and the model wants each after the one before.
            second = np.cumsum(arrays[f"t_s_{name}"].astype(np.int64)).astype(np.float64)
            found[name] = interval_s, 1.0 + spread(second, interval_s)
    if not found:
        raise ValueError(f"{path}: there is no array ibi_ms_NAME")
    return found


def spread(second: Array, interval_s: Array) -> Array:
    """Times that rise by the intervals, within two seconds of those given; where they part, a gap begins."""
    t = np.empty(len(second))
    now = -np.inf
    for n in range(len(second)):
        now = now + interval_s[n] if abs(now + interval_s[n] - second[n]) <= 2.0 else max(second[n], now + 1e-3)
        t[n] = now
    return t


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    people = read(data)
    equal = [equal_share(interval_s, t, EVERY) for interval_s, t in people.values()]
    windows = {name: run_model(interval_s, t)[0] for name, (interval_s, t) in people.items()}
    judged = [float(np.mean([window.valid > 0.0 for window in some])) for some in windows.values()]
    return Evaluation(
        task=TASK,
        people=len(people),
        unit="person",
        measures={
            "stream_equals_batch": bootstrapped(equal, lambda some: float(np.mean(some)), seed),
            "judged_share": bootstrapped(judged, lambda some: float(np.mean(some)), seed),
        },
        predictions=[
            Prediction(
                person=name,
                t=window.t,
                prediction=float(window.measures[model.RMSSD]),
                low=float("nan"),
                high=float("nan"),
                label=float("nan"),
                measure="judged_share",
            )
            for name, some in windows.items()
            for window in some[::EVERY]
            if window.valid > 0.0
        ],
        notes=(
            f"every {EVERY}th window is compared with its batch form",
            "judged_share: windows of two minutes with at most 5 % distrusted intervals",
        ),
    )


def draw(evaluation: Evaluation, picture: Path) -> None:
    """RMSSD over the day, a line a person; blank where the model abstains."""
    names = sorted({one.person for one in evaluation.predictions})
    drawing, axes = figure(len(names), height_in=0.8, title="RMSSD (ms) over a day; blank where it abstains")
    for axis, name in zip(axes, names, strict=True):
        own = [one for one in evaluation.predictions if one.person == name]
        hours = [one.t / 3600.0 for one in own]
        axis.plot(hours, [1000.0 * one.prediction for one in own], ".", color="#0b5d8a", markersize=2)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.set_ylim(0.0, 150.0)
    axes[-1].set_xlabel("hours")
    save(drawing, picture)
