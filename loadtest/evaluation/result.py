"""What an evaluation gives: measures with intervals beside a plain baseline, and the predictions that they rest on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Unit = str
"""What the bootstrap draws, and so what an interval speaks of: `person`, or `session` where there is one person."""

RESAMPLES = 2000
LEVEL = 0.95


class Measure(msgspec.Struct, frozen=True):
    """One measure with its 95 % interval, and what the plain baseline reaches on the same predictions' occasions."""

    value: float
    low: float
    high: float
    baseline: float | None = None
    """None where no plain baseline is meaningful."""


class Prediction(msgspec.Struct, frozen=True):
    """One prediction, made before its label was seen. `low` and `high` bound its 90 % interval."""

    person: str
    t: float
    """Seconds since the beginning of the recording."""
    prediction: float
    low: float
    high: float
    label: float
    measure: str
    """The measure that it counts for."""


class Evaluation(msgspec.Struct, frozen=True):
    """The result of one task."""

    task: str
    people: int
    unit: Unit
    measures: Mapping[str, Measure]
    predictions: Sequence[Prediction]
    notes: Sequence[str] = ()
    """What a reader must know: who was left out and why, how often the model abstained."""

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "task": self.task,
            "people": self.people,
            "unit": self.unit,
            "measures": {name: msgspec.to_builtins(measure) for name, measure in self.measures.items()},
            "notes": list(self.notes),
        }


def bootstrapped(
    units: Sequence[Any],
    statistic: Callable[[Sequence[Any]], float],
    seed: int,
    baseline: Callable[[Sequence[Any]], float] | None = None,
    resamples: int = RESAMPLES,
) -> Measure:
    """A measure over `units` (one entry a person or session) with the percentile interval of a bootstrap over them.

    `statistic` must accept any list of units, with repeats. Draws on which it is NaN (no event drawn) are left out.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13. Raises ValueError without units.
    """
    if not units:
        raise ValueError("nothing to measure: no person or session gave a prediction")
    drawn = np.random.default_rng(seed).integers(0, len(units), size=(resamples, len(units)))
    values: NDArray[np.float64] = np.array([statistic([units[n] for n in draw]) for draw in drawn])
    values = values[~np.isnan(values)]
    edge = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(values, [edge, 100.0 - edge]) if len(values) else (float("nan"), float("nan"))
    return Measure(
        value=float(statistic(units)),
        low=float(low),
        high=float(high),
        baseline=None if baseline is None else float(baseline(units)),
    )
