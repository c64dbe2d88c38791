"""Task `threshold-light`: the second threshold from light work alone, while the heart rate is below the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.parameters import shipped_parameters
from loadtest.evaluation import ventilatory_tests as tests
from loadtest.evaluation.network import Array
from loadtest.evaluation.result import Evaluation

TASK = "threshold-light"
MEASURES = {"vt2_light_mae_bpm": 1}
NOTE = "of each test only what lay below the heart rate of the first threshold"


def _told(one: tests.Shown, parameters: Array) -> tests.Told:
    light = tests.shown(one.test, one.test.heart_rate_bpm[0])
    mean, sd = tests.told(light, parameters, 1)
    return tests.Told(one.test.person, 1, mean, sd, one.test.heart_rate_bpm[1], float(parameters[2]))


def evaluate(data: Path, seed: int) -> Evaluation:
    """See `loadtest.evaluation.tasks.evaluate`."""
    parameters = np.array(shipped_parameters("ventilatory_threshold").flat)
    everything = [_told(tests.shown(test), parameters) for test in tests.read(data)]
    return tests.measured(TASK, everything, MEASURES, seed, NOTE)


def cross_validated(data: Path, seed: int) -> Evaluation:
    """Each person judged with parameters of all others alone."""
    some = [tests.shown(test) for test in tests.read(data)]
    everything = [_told(one, tests.flat(tests.fitted([other for other in some if other is not one]))) for one in some]
    return tests.measured(TASK, everything, MEASURES, seed, NOTE)


def draw(evaluation: Evaluation, picture: Path) -> None:
    """See `ventilatory_tests.draw_thresholds`."""
    tests.draw_thresholds(evaluation, picture, "Second ventilatory threshold from light work")
