"""What `biotwin kafka` and `biotwin mqtt` do alike with the broker that each leaves running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from deploy.background import BackgroundServer


def take_down(broker: BackgroundServer, name: str) -> None:
    """Stop it cleanly and say so. Exit code 1 if it had to be killed."""
    if broker.process is None:
        typer.echo(f"{name} does not run")
        return
    if broker.stop():
        typer.echo(f"{name} is down")
    else:
        typer.echo(f"{name} did not stop in time and was killed; see {broker.log_file}", err=True)
        raise typer.Exit(1)


def remove(broker: BackgroundServer, what: str, *, yes: bool) -> None:
    """Stop it and delete its folder, after asking unless `yes`; `what` says what would be lost."""
    if not broker.folder.exists():
        typer.echo(f"nothing to delete: {broker.folder} does not exist")
        return
    if not yes:
        typer.confirm(f"Delete {what} in {broker.folder}?", abort=True)
    broker.reset()
    typer.echo(f"{broker.folder} is gone")
