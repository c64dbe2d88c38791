"""What the commands that people give have in common: author, times, sending."""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

At = Annotated[
    str,
    typer.Option(
        "--at", metavar="TIME", help="When it takes effect: ISO 8601 or seconds since 1970; local time; default now."
    ),
]
Author = Annotated[str, typer.Option(envvar="BIOTWIN_AUTHOR", help="Who decides this; default the login name.")]
CommandId = Annotated[
    str, typer.Option("--id", help="Id of the command: sending it again with the same id changes nothing.")
]


def parse_time(text: str, name: str = "--at") -> float | None:
    """Seconds since the epoch from ISO 8601 (without an offset: local time) or a number; None for "".

    Raises `UserError`.
    """
    from deploy.errors import UserError

    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise UserError(f"{name}: {text!r} is neither ISO 8601 (2026-01-31T14:05) nor seconds since 1970") from error


def shown_time(t: float | None) -> str:
    """A time for a person: local, to the second."""
    return "" if t is None else datetime.fromtimestamp(t, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def login_name() -> str:
    """Who runs this, for a command without --author."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def send_command(kind: str, *, at: str, author: str, command_id: str, **fields: Any) -> None:
    """Check a command, send it, and say so."""
    from deploy.api.commands import build, send
    from deploy.configuration import load_configuration

    times = {"t": parse_time(at), "id": command_id or None}
    command = build(kind, {**times, **fields}, author=author or login_name(), now=time.time())
    asyncio.run(send(load_configuration().kafka, [command]))
    typer.echo(f"{kind} sent (id {command.id}, from {shown_time(command.t)})")
