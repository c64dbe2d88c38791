"""Task `threshold`: the heart rate at both ventilatory thresholds from the intervals and loads of a whole test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation import ventilatory_tests as tests
from loadtest.evaluation.network import Array
from loadtest.evaluation.result import Evaluation

TASK = "threshold"
MEASURES = {"vt1_mae_bpm": 0, "vt2_mae_bpm": 1}
NOTE = "a whole test of each person; oxygen uptake is not used"


def _told(one: tests.Shown, parameters: Array) -> list[tests.Told]:
    truth = one.test.heart_rate_bpm
    return [
        tests.Told(
            one.test.person, which, *tests.told(one, parameters, which), truth[which], float(parameters[2 * which])
        )
        for which in (0, 1)
    ]


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("ventilatory_threshold").flat)
    everything = [told for test in tests.read(data) for told in _told(tests.shown(test), parameters)]
    return tests.measured(TASK, everything, MEASURES, seed, NOTE)


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person judged with parameters of all others alone."""
    some = [tests.shown(test) for test in tests.read(data)]
    everything = []
    for one in some:
        parameters = tests.flat(tests.fitted([other for other in some if other is not one]))
        everything += _told(one, parameters)
    return tests.measured(TASK, everything, MEASURES, seed, NOTE)


def fit(data: Path, seed: int) -> dict[str, Any]:  # noqa: ARG001 - nothing is drawn
    """See `loadtest.evaluation.tasks.fit`."""
    return tests.fit_document(data)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """See `ventilatory_tests.draw_thresholds`."""
    tests.draw_thresholds(evaluation, picture, "Ventilatory thresholds from heart rate, its variability and load")
