"""`biotwin config`: what this process would run with."""

from __future__ import annotations

import sys

import typer

app = typer.Typer(no_args_is_help=True, help="Show the effective configuration.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def show() -> None:
    """Print the effective configuration as JSON, secrets masked."""
    import orjson

    from deploy.configuration import load_configuration, shown

    sys.stdout.buffer.write(orjson.dumps(shown(load_configuration()), option=orjson.OPT_INDENT_2) + b"\n")
