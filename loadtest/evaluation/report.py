"""An evaluation as a few lines of text."""

from __future__ import annotations

from loadtest.evaluation.result import Evaluation


def report_lines(evaluation: Evaluation) -> list[str]:
    """A heading, a line a measure with its interval and the plain baseline, then the notes."""
    lines = [f"{evaluation.task}: {evaluation.people} people, intervals bootstrapped over each {evaluation.unit}"]
    for name, measure in evaluation.measures.items():
        baseline = "" if measure.baseline is None else f"  plain baseline {measure.baseline:.3f}"
        lines.append(f"  {name:<24} {measure.value:8.3f}  (95 % {measure.low:.3f} to {measure.high:.3f}){baseline}")
    return [*lines, *(f"  {note}" for note in evaluation.notes)]
