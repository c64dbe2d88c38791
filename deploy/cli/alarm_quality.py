"""`biotwin alerts report | review`: how good the alarms are, and what other settings would have given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from deploy.cli.sending import parse_time

if TYPE_CHECKING:
    from contracts.configuration import Configuration

From = Annotated[str, typer.Option("--from", metavar="TIME", help="Start: ISO 8601 or seconds since 1970; local time.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="End, not included; default now.")]
Json = Annotated[bool, typer.Option("--json", help="All figures as JSON.")]


class Span(NamedTuple):
    """A span of time, [since, until), s since the epoch."""

    since: float
    until: float


def span_of(from_: str, to: str) -> Span:
    """The span that the options name. Raises `UserError`."""
    import time

    from deploy.errors import UserError

    since, until = parse_time(from_, "--from"), parse_time(to, "--to")
    if since is None:
        raise UserError("--from: say from when on, as in --from 2026-01-31")
    until = time.time() if until is None else until
    if until <= since:
        raise UserError("--to: lies not after --from")
    return Span(since, until)


def days_of(configuration: Configuration, span: Span) -> dict[str, float]:
    """Days monitored by patient. Raises `UserError` where history has no reading in the span, or no journal."""
    from datetime import UTC, datetime

    from deploy.errors import UserError
    from stream.alarm_history import lacks_journal, monitored_days

    days = monitored_days(configuration.history.directory, *span)
    if not days:
        first, last = (datetime.fromtimestamp(t, UTC).isoformat(timespec="minutes") for t in span)
        raise UserError(
            f"there are no readings from {first} to {last} in {configuration.history.directory}; "
            "`biotwin history` writes them, history.directory says where"
        )
    if lacks_journal(configuration.history.directory, *span):
        raise UserError(
            "history has alerts in this time span and no journal of their signals: `biotwin history` writes it since "
            "this version, from what Kafka still has of alerts.journal"
        )
    return days


def report(from_: From, to: To = "", as_json: Json = False) -> None:
    """Report how good the alarms of a time span were: rates, PPV, time to answer, chattering, floods, stale ones.

    Read from history (Parquet). Rates are per patient-day monitored, with 95 % intervals.
    """
    from alerts.console.directory import Directory
    from alerts.quality.figures import quality
    from deploy.alarm_report import report_json, report_lines
    from deploy.configuration import load_configuration
    from stream.alarm_history import alarms_in

    configuration = load_configuration()
    span = span_of(from_, to)
    days = days_of(configuration, span)
    wards = Directory(configuration.console.directory).wards()
    alarms = alarms_in(configuration.history.directory, span.since)
    found = quality(alarms, days, span.since, span.until, lambda patient: wards.get(patient, ""))
    if as_json:
        typer.echo(report_json(found).decode())
        return
    for line in report_lines(found):
        typer.echo(line)


def review(
    from_: From,
    rules: Annotated[Path, typer.Option(help="The rule file (TOML) to try.")],
    to: To = "",
    factors: Annotated[
        str, typer.Option(help="Points of the curve: 0 is the present rules, 1 the new ones.")
    ] = "0,0.25,0.5,0.75,1",
    labels: Annotated[
        Path | None, typer.Option(help="What truly happened (JSON Lines, as `biotwin simulate --labels` writes it).")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Replays at a time; each takes a core.")] = 1,
    html: Annotated[
        Path | None, typer.Option(help="Write the review as a page, with the curve, into this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay history under the present rules and under others: how many alarms there would be, and what would be lost.

    Never the rate alone: each point of the curve says which alarms that were useful, acknowledged or of high priority
    would no longer come, or come later, and which that were not useful would go.
    """
    import sys
    import time

    from deploy.configuration import load_configuration
    from deploy.review_page import review_html, review_json, review_lines
    from deploy.rule_files import present_rules, read_rules
    from loadtest.review import read_events, run_review

    configuration = load_configuration()
    new = read_rules(rules, time.time())
    span = span_of(from_, to)
    days_of(configuration, span)
    found = run_review(
        configuration,
        present_rules(configuration, time.time()),
        new,
        *span,
        _factors(factors),
        read_events(labels) if labels else (),
        lambda text: print(text, file=sys.stderr),
        jobs,
    )
    if html is not None:
        html.write_text(review_html(found), encoding="utf-8")
    if as_json:
        typer.echo(review_json(found).decode())
        return
    for line in review_lines(found):
        typer.echo(line)
    if html is not None:
        typer.echo(f"\n{html} written")


def _factors(text: str) -> list[float]:
    from math import isfinite

    from deploy.errors import UserError

    try:
        factors = [float(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(f"--factors: {text!r} is not a list of numbers such as 0,0.5,1") from error
    if not all(isfinite(factor) and 0.0 <= factor <= 10.0 for factor in factors):
        raise UserError("--factors: each lies in 0 to 10")
    return factors
