"""A review of rules as lines for people, as JSON, and as one page of HTML with the curve as SVG.

The curve has two sides: alarms a patient-day against what is kept of the alarms that matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import islice

import msgspec
import orjson

from alerts.quality.review import GROUPS, Point
from loadtest.review import Review

NAMES = {
    "useful": "found useful",
    "acknowledged": "acknowledged",
    "high": "high priority",
    "not_useful": "found not useful",
    "interruptive": "interruptive",
}
COLOURS = {
    "useful": "#0b7a3b",
    "acknowledged": "#1f5fbf",
    "high": "#b3261e",
    "not_useful": "#8a8a8a",
    "interruptive": "#6a4fa3",
}
MOST_LOSSES = 20
PLOT_WIDTH = 50
WIDTH, HEIGHT, MARGIN = 640, 360, 56


def kept_share(point: Point, group: str) -> float | None:
    """The share of a group's alarms that still come, late or under another rule too; None where it has none."""
    kept = point.groups[group]
    return None if not kept.alarms else 1.0 - kept.lost / kept.alarms


def review_json(found: Review) -> bytes:
    """All figures as one JSON object with sorted keys."""
    return orjson.dumps(msgspec.to_builtins(found), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def review_lines(found: Review) -> Iterator[str]:
    """What differs, the curve as a table and as a plot, what becomes of the alarms that matter, and what is lost."""
    yield from _about(found)
    yield ""
    yield (
        f"{'factor':>6} {'interruptive':>13} {'a patient-day':>14} {'(95 %)':<18}"
        + "".join(f"{NAMES[group]:>18}" for group in GROUPS[:4])
        + f"{'PPV':>7}{'sensitivity':>13}"
    )
    for one in found.curve:
        rate = f"{one.interruptive:>13} {_number(one.interruptive_per_patient_day):>14} "
        shares = "".join(f"{_kept(one, group):>18}" for group in GROUPS[:4])
        yield (
            f"{one.factor:>6g} {rate}{_interval(one.interruptive_per_patient_day_95):<18}{shares}"
            f"{_number(one.ppv):>7}{_number(one.sensitivity):>13}"
        )
    yield "0: present rules, 1: new rules. Under each group: alarms that still come, of how many."
    yield ""
    yield from _plot(found.curve)
    yield ""
    yield f"{'under the new rules':<20} {'alarms':>8} {'same':>8} {'later':>8} {'covered':>8} {'lost':>8}   delay, s"
    new = _new_rules(found)
    for group in GROUPS:
        kept = new.groups[group]
        delay = "" if kept.delay_s is None else "median {:.0f}, 90 % {:.0f}, most {:.0f}".format(*kept.delay_s)
        counts = f"{kept.alarms:>8} {kept.same:>8} {kept.later:>8} {kept.covered:>8} {kept.lost:>8}"
        yield f"{NAMES[group]:<20} {counts}   {delay}"
    yield f"{'new interruptive':<20} {new.new_alarms:>8}"
    yield "covered: not by this rule, but by another of at least its priority while it lasted"
    yield ""
    yield f"lost under the new rules, of those useful, acknowledged or high: {len(found.losses)}"
    for loss in found.losses[:MOST_LOSSES]:
        lasted = "still stood" if loss.lasted_s is None else f"lasted {loss.lasted_s:.0f} s"
        yield f"  {_time(loss.announced_t)}  {loss.priority:<6} {loss.rule:<30} {lasted}  {loss.patient}  {loss.id}"
    if len(found.losses) > MOST_LOSSES:
        yield f"  ... and {len(found.losses) - MOST_LOSSES} more; --json has them all"


def _about(found: Review) -> Iterator[str]:
    yield f"Rules on history from {_time(found.since)} to {_time(found.until)} (UTC)"
    yield f"{found.patients} patients, {found.patient_days:.2f} patient-days monitored"
    yield f"{found.reproduced} of {found.recorded} recorded alarms come again under the present rules"
    if found.reproduced < found.recorded:
        yield "  the others came under former rules or from readings that history lacks; nothing is said about them"
    yield "What differs:" if found.differences else "Nothing that decides differs."
    for one in found.differences:
        if one.field == "rule":
            yield f"  {one.rule}: {'no longer there' if one.present else 'new'}"
        else:
            yield f"  {one.rule}: {one.field} {one.present} -> {one.new}"


def _new_rules(found: Review) -> Point:
    return next(point for point in found.curve if point.factor == 1.0)


def _plot(curve: Sequence[Point]) -> Iterator[str]:
    """Bars: interruptive alarms a patient-day, and what is kept of the alarms found useful (or of high priority)."""
    group = next((name for name in GROUPS[:3] if curve[0].groups[name].alarms), None)
    highest = max((point.interruptive_per_patient_day or 0.0) for point in curve) or 1.0
    for point in curve:
        rate = point.interruptive_per_patient_day or 0.0
        yield f"{point.factor:>6g} alarms {'#' * round(PLOT_WIDTH * rate / highest)} {rate:.3g} a patient-day"
        share = None if group is None else kept_share(point, group)
        if group is not None and share is not None:
            yield f"{'':>6} kept   {'=' * round(PLOT_WIDTH * share)} {100 * share:.0f} % of those {NAMES[group]}"


def review_html(found: Review) -> str:
    """The review as a page that needs nothing else."""
    about = "".join(f"<p>{escape(line)}</p>" for line in islice(_about(found), 3))
    text = escape("\n".join(review_lines(found)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Alarm review</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}"
        "pre{overflow-x:auto;background:#f4f4f4;padding:1rem}</style></head>"
        f"<body><h1>What other settings would have given</h1>{about}<h2>The trade-off</h2>{_svg(found.curve)}"
        f"<h2>In figures</h2><pre>{text}</pre></body></html>\n"
    )


def _svg(curve: Sequence[Point]) -> str:
    """Kept share of each group (up) against interruptive alarms a patient-day (across)."""
    highest = max((point.interruptive_per_patient_day or 0.0) for point in curve) * 1.1 or 1.0

    def place(rate: float, share: float) -> tuple[float, float]:
        across = MARGIN + (WIDTH - 2 * MARGIN) * rate / highest
        return across, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share

    opening = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="Share of alarms kept against '
        'interruptive alarms a patient-day" style="max-width:100%;height:auto;font:12px system-ui,sans-serif">'
    )
    parts = [
        opening,
        f'<path d="M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="#444"/>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 14}" text-anchor="middle">interruptive alarms a patient-day</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">kept</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        _, y = place(0.0, share)
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>')
    for rate in (0.0, highest / 2, highest):
        x, _ = place(rate, 0.0)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{rate:.2g}</text>')
    thickness = {"useful": 8, "acknowledged": 5, "high": 3, "not_useful": 2}  # so that lines on each other are seen
    shown = [name for name in GROUPS[:4] if curve[0].groups[name].alarms]
    for row, name in enumerate(shown):
        dots = [
            (point, *place(point.interruptive_per_patient_day or 0.0, kept_share(point, name) or 0.0))
            for point in curve
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in dots)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="{thickness[name]}"/>'
        )
        for point, x, y in dots:
            title = escape(f"{NAMES[name]}, factor {point.factor:g}: {_kept(point, name)} kept")
            dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[name]}">'
            parts.append(f"{dot}<title>{title}</title></circle>")
        y = MARGIN - 36 + 14 * (row % 2)
        x = MARGIN + 180 * (row // 2)
        parts.append(f'<text x="{x}" y="{y}" fill="{COLOURS[name]}">● {NAMES[name]}</text>')
    return "".join([*parts, "</svg>"])


def _kept(point: Point, group: str) -> str:
    kept = point.groups[group]
    return "-" if not kept.alarms else f"{kept.alarms - kept.lost}/{kept.alarms}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _interval(limits: tuple[float, float] | None) -> str:
    return "" if limits is None else f"({limits[0]:.3g} to {limits[1]:.3g})"


def _time(t: float) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M")
