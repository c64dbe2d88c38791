"""The result of `biotwin bench alarms` as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadtest.alarm_bench import GOALS, PLAIN_RATE, PLAIN_SENSITIVITY

MEANINGS: dict[str, str] = {
    "interruptive_per_patient_day": "interruptive alarms a patient-day",
    "sensitivity": "sensitivity to adverse events",
    "ppv": "positive predictive value",
    "added_delay_s_high": "added delay of high priority, s (median)",
    "news_alarms_per_patient_day": "NEWS thresholds, lasting: alarms a patient-day",
    "plain_threshold_per_patient_day": "NEWS thresholds, plain: alarms a patient-day",
}
MOST_RULES = 10


def report_lines(result: dict[str, Any]) -> Iterator[str]:
    """The figures with their 95 % intervals and goals, then alarms by rule and sensitivity by kind of event."""
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    yield f"{result['patients']} patients, {result['days']:g} days, seeds {seeds}; rules {result['rules']}"
    yield ""
    for name, meaning in MEANINGS.items():
        figures = f"{_number(result[name]):>9}  {_interval(result['interval_95'][name]):<20}"
        yield f"{meaning:<50} {figures} {_goal(result, name)}".rstrip()
    yield f"{'90th percentile of that delay, s':<50} {_number(result['added_delay_s_high_p90']):>9}"
    yield f"{'sensitivity by chance, at this rate of alarms':<50} {_number(result['sensitivity_by_chance']):>9}"
    yield f"{'share of the tenth of patients with most alarms':<50} {_number(result['worst_tenth_share']):>9}"
    yield f"{'technical alarms of medium priority a patient-day':<50} {_number(result['technical_per_patient_day']):>9}"
    for name, thresholds in result["thresholds"].items():
        yield (
            f"{f'NEWS thresholds, {name}: sensitivity, PPV':<50} {_number(thresholds['sensitivity']):>9}  "
            f"{_number(thresholds['ppv'])}; by chance {_number(thresholds['sensitivity_by_chance'])}"
        )
    yield ""
    expected = f"{_span(PLAIN_RATE)} a patient-day, sensitivity {_span(PLAIN_SENSITIVITY)}"
    yield f"valid benchmark: {'yes' if result['valid'] else 'NO'} (plain thresholds {expected})"
    yield ""
    yield f"{'rule':<36} {'a patient-day':>14} {'hits':>7} {'false':>8}"
    for rule, counts in list(result["by_rule"].items())[:MOST_RULES]:
        yield f"{rule:<36} {counts['per_patient_day']:>14.3f} {counts['hits']:>7} {counts['false']:>8}"
    yield ""
    yield f"{'sensitivity by event':<46} {'seen':>6} {'rules':>7} {'plain':>7} {'lasting':>8}"
    for name, found in result["by_event"].items():
        shares = f"{found['product']:>7.2f} {found['plain']:>7.2f} {found['lasting']:>8.2f}"
        yield f"{name:<46} {found['seen']:>6} {shares}"


def _goal(result: dict[str, Any], name: str) -> str:
    if name not in GOALS:
        return ""
    how, limit = GOALS[name]
    met = {True: "met", False: "missed", None: "unknown"}[result["goals_met"][name]]
    return f"goal {'<=' if how == 'at_most' else '>='} {limit:g}: {met}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _interval(limits: list[float | None] | None) -> str:
    return "" if limits is None else f"({_number(limits[0])} to {_number(limits[1])})"


def _span(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} to {limits[1]:g}"
