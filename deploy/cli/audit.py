"""`biotwin audit`: who looked at what and did what."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.cli.sending import shown_time

app = typer.Typer(no_args_is_help=True, help="Read and verify the audit journal.")


@app.command("list")
def list_records(
    count: Annotated[int, typer.Option(min=1, help="The newest so many records.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a record.")] = False,
) -> None:
    """List the newest records, oldest first."""
    import msgspec

    from alerts.console.audit import AuditJournal
    from deploy.configuration import load_configuration

    for record in reversed(AuditJournal(load_configuration().console.audit).newest(count)):
        if as_json:
            typer.echo(msgspec.json.encode(record).decode())
            continue
        about = " ".join(filter(None, [record.patient, record.alert, record.command]))
        names = " with names" if record.names else ""
        who = f"{record.account or 'unknown':20} {record.role:13}"
        typer.echo(
            f"{shown_time(record.t)}  {who} {record.outcome:8} {record.what} {record.target}{names}  {about}".rstrip()
        )


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="Hash noted before, which must be in the chain.")] = "",
) -> None:
    """Check that every record follows on the one before it; print the newest record's hash. Exit code 1 else."""
    from alerts.console.audit import AuditJournal
    from deploy.configuration import load_configuration
    from deploy.errors import UserError

    verdict = AuditJournal(load_configuration().console.audit).verify(head)
    if verdict.fault:
        raise UserError(f"the audit journal does not hold: {verdict.fault}, after {verdict.records} records")
    typer.echo(f"{verdict.records} records, the chain holds; {verdict.torn} lines cut short by a crash")
    typer.echo(f"head {verdict.head}")
