"""`biotwin account`: who may sign in to the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.sending import login_name, shown_time

if TYPE_CHECKING:
    from alerts.console.accounts import Accounts

app = typer.Typer(no_args_is_help=True, help="Say who may sign in to the console.")

Name = Annotated[str, typer.Argument(help="Account, as a staff id: no blanks, no person's own name.")]


class RoleName(StrEnum):
    """What a person may be in the console."""

    CLINICIAN = "clinician"
    CHARGE_NURSE = "charge_nurse"
    OPERATOR = "operator"
    AUDITOR = "auditor"


@app.command()
def add(name: Name, role: Annotated[RoleName, typer.Option(help="What the account may see and do.")]) -> None:
    """Add an account. The password is asked for, or read as one line from standard input."""
    with _accounts("add", name) as accounts:
        accounts.add(name, role.value, _password())
    typer.echo(f"{name} may sign in as {role.value}")


@app.command("list")
def list_accounts() -> None:
    """List the accounts."""
    from alerts.console.accounts import Accounts
    from deploy.configuration import load_configuration

    for account in Accounts(load_configuration().console.accounts).all():
        state = "disabled" if account.disabled else ""
        typer.echo(f"{account.name:24} {account.role:14} {shown_time(account.changed_at)}  {state}".rstrip())


@app.command()
def disable(name: Name) -> None:
    """Let an account in no more and end its sessions."""
    with _accounts("disable", name) as accounts:
        accounts.disable(name)
    typer.echo(f"{name} may not sign in any more")


@app.command()
def password(name: Name) -> None:
    """Set an account's password, let it in again if it was disabled, and end its sessions."""
    with _accounts("password", name) as accounts:
        accounts.set_password(name, _password())
    typer.echo(f"{name} has a new password")


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@contextmanager
def _accounts(act: str, name: str) -> Iterator[Accounts]:
    """The accounts, after the change stands in the audit journal. Raises `UserError`."""
    import sqlite3

    from alerts.console.accounts import AccountError, Accounts
    from alerts.console.audit import AuditJournal
    from deploy.configuration import load_configuration
    from deploy.errors import UserError

    console = load_configuration().console
    accounts = Accounts(console.accounts)
    try:
        known = accounts.knows(name)
        if known == (act == "add"):
            raise AccountError(f"there is {'an' if known else 'no'} account of that name")
        AuditJournal(console.audit).append(
            account=login_name(),
            role="",
            via="command",
            what="account",
            target=f"{act} {name}",
            outcome="allowed",
        )
        yield accounts
    except AccountError as error:
        raise UserError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"accounts or audit journal cannot be written: {error}") from error
