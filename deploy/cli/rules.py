"""`biotwin rules`: what is watched, and whether a site's own rule file can be used."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from alerts.rules import RuleSet

app = typer.Typer(no_args_is_help=True, help="Show and check the alert rules.")

AtOption = Annotated[
    str, typer.Option("--at", help="Show what is in force on this day (YYYY-MM-DD, UTC) instead of today.")
]


@app.command("check")
def check(file: Annotated[Path, typer.Argument(help="A rule file (TOML).")], at: AtOption = "") -> None:
    """Say whether FILE can be used; if not, which rule and which field is wrong. Exit code 1 for an unusable file."""
    rules = _load(file, at)
    print(f"{file}: {len(rules.rules)} rules and {len(rules.notices)} notices in force, hash {rules.hash}")


@app.command("list")
def list_(
    file: Annotated[Path | None, typer.Argument(help="A rule file (TOML); else the rules in use here.")] = None,
    at: AtOption = "",
    sources: Annotated[bool, typer.Option("--sources", help="Show each rule's source too.")] = False,
) -> None:
    """List the rules in force, the most urgent first."""
    from rich.console import Console
    from rich.table import Table

    from alerts.rules import Rule
    from contracts.condition import PRIORITIES
    from deploy.alert_documents import comparison_text

    rules = _load(file or _configured(), at)
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)  # whole lines for grep
    table = Table(box=None, pad_edge=False)
    for heading in (
        "rule",
        "priority",
        "kind",
        "watches",
        "when",
        "delay",
        "clears after",
        *(("source",) if sources else ()),
    ):
        table.add_column(heading, overflow="fold")
    for entry in sorted(rules, key=lambda entry: (-PRIORITIES.index(entry.priority), entry.id)):
        if isinstance(entry, Rule):
            watched = comparison_text(entry)
            row = [watched, entry.when, f"{entry.onset_delay_s:g} s", f"{entry.clear_delay_s:g} s"]
        else:
            row = ["raised by BioTwin itself", "", "", ""]
        table.add_row(entry.id, entry.priority, entry.kind, *row, *((entry.source,) if sources else ()))
    console.print(table)
    print(f"\n{len(rules)} rules, hash {rules.hash}")


def _configured() -> Path | None:
    from deploy.configuration import load_configuration

    named = load_configuration().worker.rules
    return Path(named) if named else None


def _load(file: Path | None, at: str) -> RuleSet:
    from deploy.errors import UserError
    from deploy.rule_files import read_rules

    try:
        moment = datetime.combine(date.fromisoformat(at), datetime.min.time(), UTC).timestamp() if at else time.time()
    except ValueError as error:
        raise UserError(f"--at {at}: takes a day as YYYY-MM-DD") from error
    return read_rules(file, moment)
