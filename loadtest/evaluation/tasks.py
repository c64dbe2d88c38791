"""The tasks of `biotwin evaluate` and `biotwin fit`, by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from loadtest.evaluation.result import Evaluation

TASKS: dict[str, str] = {
    "hr-load": "heart_rate_under_load",
    "hr-treadmill": "heart_rate_on_treadmill",
    "threshold": "threshold",
    "threshold-light": "threshold_from_light_work",
    "hrv": "heart_rate_variability",
    "hrv-day": "heart_rate_variability_of_a_day",
    "infection": "infection",
    "stress": "stress",
    "mood": "mood",
    "deterioration": "deterioration",
    "af": "atrial_fibrillation",
    "af-short": "atrial_fibrillation_in_short_recordings",
    "fitness": "fitness",
    "freeze": "freezing_of_gait",
}
"""Task -> module of this package. A module has `evaluate`, `draw`, and `fit` where it has population parameters."""


def _function(task: str, name: str) -> Callable[..., Any]:
    if task not in TASKS:
        raise LookupError(f"no task {task}; there are: {', '.join(sorted(TASKS))}")
    path = f"loadtest.evaluation.{TASKS[task]}"
    if find_spec(path) is None:
        raise LookupError(f"task {task} cannot be evaluated yet")
    function = getattr(import_module(path), name, None)
    if function is None:
        raise LookupError(f"task {task} has nothing to {name}")
    return cast("Callable[..., Any]", function)


def evaluate(task: str, data: Path, seed: int) -> Evaluation:
    """Run `task` on the folder `data`. Raises LookupError for an unknown task, ValueError for a folder of another
    layout (it names the file)."""
    return cast("Evaluation", _function(task, "evaluate")(data, seed))


def draw(evaluation: Evaluation, picture: Path) -> None:
    """Write the picture (PNG) of an evaluation."""
    _function(evaluation.task, "draw")(evaluation, picture)


def fit(task: str, data: Path, seed: int) -> dict[str, Any]:
    """The population parameters of `task` from development recordings, as they are shipped in `contracts/parameters/`.
    Raises LookupError where the task has none."""
    return cast("dict[str, Any]", _function(task, "fit")(data, seed))
