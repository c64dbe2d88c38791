"""`biotwin rules`: what is watched, what each rule means, and whether a site's own rule file can be used."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from alerts.rules import RuleSet
    from alerts.rules.vector_cases import Case, Outcome

app = typer.Typer(no_args_is_help=True, help="Show, check, explain and test the alert rules.")

AtOption = Annotated[
    str, typer.Option("--at", help="Show what is in force on this day (YYYY-MM-DD, UTC) instead of today.")
]


@app.command("check")
def check(file: Annotated[Path, typer.Argument(help="A rule file (TOML).")], at: AtOption = "") -> None:
    """Say whether FILE can be used; if not, which rule and which field is wrong. Exit code 1 for an unusable file."""
    rules = _load(file, at)
    print(f"{file}: {len(rules.rules)} rules and {len(rules.notices)} notices in force, hash {rules.hash}")


@app.command("test")
def run_vectors_of(
    file: Annotated[Path | None, typer.Argument(help="A rule file (TOML); else the rules in use here.")] = None,
) -> None:
    """Run each rule's test vectors: those in folder vectors/ beside FILE, else those shipped. Exit code 1 where a case
    gives something else, or a rule has none."""
    from alerts.rules.vector_cases import run_vectors

    chosen = file or _configured()
    rules = _load(chosen, "")
    failed = passed = 0
    for rule in rules.rules:
        cases = _vectors(rule.id, chosen)
        if not cases:
            print(f"{rule.id}: has no test vectors")
            failed += 1
        for outcome in run_vectors(rule, cases):
            if outcome.passed:
                passed += 1
                continue
            failed += 1
            print(f"{rule.id}: {outcome.case.name}: {_wanted(outcome)}")
    print(f"{passed} cases passed, {failed} failed, {len(rules.rules)} rules, hash {rules.hash}")
    if failed:
        raise typer.Exit(1)


@app.command("explain")
def explain(
    rule_id: Annotated[str, typer.Argument(help="Id of a rule, as `biotwin rules list` shows it.")],
    file: Annotated[Path | None, typer.Argument(help="A rule file (TOML); else the rules in use here.")] = None,
    at: AtOption = "",
) -> None:
    """Say in plain words what a rule watches, when it comes up and clears, what keeps it quiet, and who says so."""
    from alerts.rules import Rule
    from alerts.rules.vector_cases import run_vectors
    from deploy.errors import UserError
    from deploy.rule_explanation import explanation

    chosen = file or _configured()
    rules = _load(chosen, at)
    rule = rules.get(rule_id)
    if rule is None:
        raise UserError(f'no rule "{rule_id}" is in force; `biotwin rules list` shows all')
    print(explanation(rule, rules))
    if isinstance(rule, Rule):
        print("\nTest vectors:")
        for outcome in run_vectors(rule, _vectors(rule_id, chosen)):
            mark = "ok" if outcome.passed else f"FAILED: {_wanted(outcome)}"
            print(f"  {outcome.case.name}: {mark}")


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


def _vectors(rule_id: str, file: Path | None) -> tuple[Case, ...]:
    """A rule's cases: from `vectors/` beside its file where there is such a folder, else the shipped ones."""
    from alerts.rules import RuleError
    from alerts.rules.vector_cases import default_vectors, parse_vectors
    from deploy.errors import UserError

    folder = None if file is None else file.parent / "vectors"
    try:
        if folder is None or not folder.is_dir():
            return default_vectors(rule_id)
        own = folder / f"{rule_id}.toml"
        return parse_vectors(own.read_bytes(), str(own)) if own.is_file() else ()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    except RuleError as error:
        raise UserError(str(error)) from error


def _wanted(outcome: Outcome) -> str:
    case = outcome.case
    return (
        f"wants onsets {list(case.onsets)} and clears {list(case.clears)}, "
        f"got {list(outcome.onsets)} and {list(outcome.clears)}"
    )


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
