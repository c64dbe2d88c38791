"""The figures of alarm quality as lines for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import orjson

from alerts.quality.figures import Figures, Quality

MOST_RULES = 15
HEADINGS = ("alarms", "a patient-day", "(95 %)", "useful", "not", "PPV", "(95 %)", "answered", "median", "90 %")
WIDTHS = (8, 14, 17, 8, 6, 8, 18, 10, 9, 9)


def report_lines(found: Quality) -> Iterator[str]:
    """The report: totals, by priority, by rule, and what is wrong with the alarms."""
    yield f"Alarms from {_time(found.since)} to {_time(found.until)} (UTC)"
    yield f"{found.patients} patients, {found.patient_days:.2f} patient-days monitored"
    yield ""
    yield f"{'':<30}" + "".join(f"{name:>{width}}" for name, width in zip(HEADINGS, WIDTHS, strict=True))
    yield _line("all", found.every)
    yield _line("interruptive (high, medium)", found.interruptive)
    for priority, figures in found.by_priority.items():
        if figures.alarms:
            yield _line(f"  {priority}", figures)
    yield ""
    most = sorted(found.by_rule.items(), key=lambda item: (-item[1].alarms, item[0]))
    for rule, figures in most[:MOST_RULES]:
        yield _line(rule, figures)
    if len(most) > MOST_RULES:
        yield f"... and {len(most) - MOST_RULES} more rules; --json has them all"
    yield ""
    yield from _faults(found)


def report_json(found: Quality) -> bytes:
    """All figures as one JSON object with sorted keys."""
    return orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _faults(found: Quality) -> Iterator[str]:
    every = found.every
    total = max(every.alarms, 1)
    for name, count in (
        ("short-lived: over within 19 s", every.short_lived),
        ("chattering: 3 of a rule and patient in 10 min", every.chattering),
        ("escalated: nobody answered in time", every.escalated),
        ("taken back when the readings had settled", every.withdrawn),
    ):
        yield f"{name:<50} {count:>7}  {100 * count / total:.0f} %"
    yield f"{'stale: stood longer than 24 h':<50} {every.stale:>7}"
    share = "-" if found.worst_tenth_share is None else f"{100 * found.worst_tenth_share:.0f} %"
    yield f"{'interruptive alarms of the worst tenth of patients':<50} {share:>7}"
    for flood in found.floods:
        place = f" in {flood.place}" if flood.place else ""
        yield (
            f"{f'floods{place}: more than 10 alarms in 10 min':<50} {flood.floods:>7}  "
            f"{flood.seconds / 60:.0f} min, at most {flood.most_in_ten_minutes} in 10 min"
        )


def _line(name: str, one: Figures) -> str:
    cells = (
        str(one.alarms),
        _number(one.per_patient_day),
        _span(one.per_patient_day_95),
        str(one.useful),
        str(one.not_useful),
        _number(one.ppv),
        _span(one.ppv_95),
        str(one.acknowledged),
        _seconds(one.acknowledge_median_s),
        _seconds(one.acknowledge_p90_s),
    )
    return f"{name:<30}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _span(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else f"({limits[0]:.3g} to {limits[1]:.3g})"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"


def _time(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")
