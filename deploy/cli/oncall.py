"""`biotwin oncall`: who is on call, and since when."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from deploy.cli.sending import At, Author, CommandId, parse_time, send_command, shown_time

app = typer.Typer(no_args_is_help=True, help="Say who is on call; take, hand over or release a role.")

Role = Annotated[str, typer.Argument(help="The role, as ward-nurse-3-west.")]
Until = Annotated[str, typer.Option(metavar="TIME", help="When it ends by itself; else with the next shift.")]


@app.command()
def take(role: Role, until: Until = "", at: At = "", author: Author = "", command_id: CommandId = "") -> None:
    """Be on call as this role, from now on. The author's account is called."""
    send_command(
        "take_role", at=at, author=author, command_id=command_id, role=role, until=parse_time(until, "--until")
    )


@app.command("hand-over")
def hand_over(
    role: Role,
    to: Annotated[str, typer.Argument(help="Account of whoever is on call from now on; never a name.")],
    until: Until = "",
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Hand the role over: another account is called from now on, or from --at on."""
    end = parse_time(until, "--until")
    send_command("hand_over_role", at=at, author=author, command_id=command_id, role=role, to=to, until=end)


@app.command()
def release(role: Role, at: At = "", author: Author = "", command_id: CommandId = "") -> None:
    """Leave the role to nobody: escalation passes it over."""
    send_command("release_role", at=at, author=author, command_id=command_id, role=role)


@app.command("list")
def list_(
    role: Annotated[str, typer.Argument(help="Only this role.")] = "",
    at: At = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show who is on call now, or at a time; with a role, all its shifts."""
    from alerts.on_call import OnCallTable, ends_at
    from contracts.topics import ON_CALL
    from deploy.api.reading import read_topic
    from deploy.configuration import load_configuration

    configuration = load_configuration()
    table = OnCallTable()
    for record in asyncio.run(read_topic(configuration.kafka, ON_CALL)):
        table.load(record.key or b"", record.value)
    t = parse_time(at)
    now = time.time() if t is None else t
    rows: list[dict[str, Any]] = []
    for each in table.roles():
        shown = each.shifts if role else [shift for shift in [table.shift_at(each.role, now)] if shift is not None]
        rows += [
            {
                "role": each.role,
                "holder": shift.holder,
                "since": shift.since,
                "until": ends_at(each, shift),
                "author": shift.author,
            }
            for shift in shown
            if role in ("", each.role)
        ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        end = shown_time(row["until"]) or "until further notice"
        holder = row["holder"] or "nobody"
        typer.echo(f"{row['role']:30} {holder:24} {shown_time(row['since'])}  {end}  (by {row['author']})")
    if not rows:
        typer.echo("nobody is on call; take a role with `biotwin oncall take ROLE`")
