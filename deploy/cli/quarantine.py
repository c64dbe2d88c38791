"""`biotwin quarantine`: what was refused or waits, and taking it in after all."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from deploy.cli.sending import parse_time, shown_time

app = typer.Typer(no_args_is_help=True, help="List, show and replay what was refused.")

Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only this reason; repeatable.")]
Device = Annotated[str, typer.Option(help="Only this device.")]
Since = Annotated[str, typer.Option(metavar="TIME", help="Only what arrived at or after.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="Only what arrived before.")]


@app.command("list")
def list_(
    reason: Reasons = None,
    device: Device = "",
    since: Since = "",
    until: Until = "",
    everything: Annotated[bool, typer.Option("--all", help="Also what was released.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many, the newest.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the raw bytes.")] = False,
) -> None:
    """Show what waits, the newest last."""
    from collections import Counter

    import msgspec

    from deploy.api.quarantine import Filter, read_quarantine
    from deploy.configuration import load_configuration

    wanted = Filter.of(reason or (), device, parse_time(since, "--since"), parse_time(until, "--until"))
    found = asyncio.run(read_quarantine(load_configuration().kafka, wanted))
    shown = [each.record for each in found if everything or not each.record.released]
    for record in shown[-limit:]:
        if as_json:
            typer.echo(msgspec.json.encode(record))
        else:
            mark = " (released)" if record.released else ""
            typer.echo(
                f"{record.id}  {shown_time(record.received_at)}  {record.reason.value:18} {record.device:24} "
                f"{record.detail}{mark}"
            )
    if not as_json:
        counts = Counter(record.reason.value for record in shown)
        summary = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        typer.echo(f"{len(shown)} records{': ' if summary else ''}{summary}")


@app.command()
def show(identity: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")]) -> None:
    """Show one record with the bytes as they came."""
    from deploy.api.quarantine import Filter, read_quarantine
    from deploy.configuration import load_configuration
    from deploy.errors import UserError

    found = asyncio.run(read_quarantine(load_configuration().kafka, Filter(ids=frozenset({identity}))))
    if not found:
        raise UserError(f"there is no record {identity} in quarantine")
    record = found[-1].record
    typer.echo(f"id           {record.id}{'  (released)' if record.released else ''}")
    typer.echo(f"reason       {record.reason.value}: {record.detail}")
    typer.echo(f"topic        {json.dumps(record.topic)}")
    typer.echo(f"device       {record.device}  stream {record.stream}  reading {record.reading}")
    typer.echo(f"measured at  {shown_time(record.t) if record.t is not None and 0 <= record.t < 4e9 else record.t}")
    typer.echo(f"received at  {shown_time(record.received_at)}")
    # Escaped: what a stranger sent must not steer the terminal.
    typer.echo(f"payload      {ascii(record.payload())[2:-1]}")


@app.command()
def replay(
    identities: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these records.")] = None,
    reason: Reasons = None,
    device: Device = "",
    since: Since = "",
    until: Until = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen and write nothing.")] = False,
) -> None:
    """Judge what waits once more, with today's bindings and signal registry, and take in what now passes.

    What passes goes into `telemetry` with the time at which it first arrived, and counts as released.
    """
    from deploy.api.quarantine import Filter, replay_quarantine
    from deploy.configuration import load_configuration

    wanted = Filter.of(
        reason or (), device, parse_time(since, "--since"), parse_time(until, "--until"), identities or ()
    )
    result = asyncio.run(replay_quarantine(load_configuration(), wanted, dry_run=dry_run))
    verb = "would be released" if dry_run else "released"
    typer.echo(f"{result.released} records {verb} ({result.readings} readings), {result.refused} still refused")
    for name, count in result.reasons.most_common():
        typer.echo(f"  {count} {name}")
