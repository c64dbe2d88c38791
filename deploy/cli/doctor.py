"""`biotwin doctor`: what is missing and how to get it; whether an MQTT broker keeps what it acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

WORDS = {"good": "[green]good[/]", "note": "[yellow]note[/]", "missing": "[red]MISSING[/]"}

ADVICE = """\
What it loses, no ingest can bring back. Mosquitto needs in its configuration: max_queued_messages 0, max_queued_bytes
with an alarm, max_inflight_messages above the ingest's receive-maximum, persistence true (`biotwin mqtt up` ships one).
Brokers without shared subscriptions serve one ingest."""


def doctor(
    mqtt: Annotated[
        str, typer.Option(help="Examine this broker instead: mqtt[s]://[user:password@]host[:port]. Takes a minute.")
    ] = "",
    messages: Annotated[int, typer.Option(help="Messages for the test with an absent member.", min=10)] = 6000,
) -> None:
    """Check this machine and the configuration, or with --mqtt an MQTT broker. Exit code 1 if something fails."""
    raise typer.Exit(_examine(mqtt, messages) if mqtt else _check())


def _check() -> int:
    from rich.table import Table

    from deploy.checks import check_machine
    from deploy.configuration import load_configuration

    table = Table("what", "", "found", "how to go on", title="biotwin doctor")
    failed = False
    for check in check_machine(load_configuration()):
        failed |= check.state == "missing"
        table.add_row(check.what, WORDS[check.state], check.found, check.remedy)
    _print(table)
    return 1 if failed else 0


def _examine(url: str, messages: int) -> int:
    from rich.table import Table

    from contracts.configuration import Mqtt
    from deploy.configuration import load_configuration, mqtt_settings
    from deploy.mqtt.examine import examine

    settings = mqtt_settings(url)
    mqtt = Mqtt(
        host=settings["host"],
        port=int(settings["port"]),
        username=settings.get("username", ""),
        password=settings.get("password", ""),
        tls=settings["tls"] == "true",
        ca_file=load_configuration().mqtt.ca_file,
    )
    findings = examine(mqtt, messages, on_step=lambda step: typer.echo(f"{step} …", err=True))
    table = Table("what", "", "found", title=f"MQTT broker {mqtt.host}:{mqtt.port}")
    for finding in findings:
        word = WORDS["good"] if finding.good else ("[red]FAILS[/]" if finding.needed else WORDS["note"])
        table.add_row(finding.what, word, finding.detail)
    _print(table)
    if all(finding.good or not finding.needed for finding in findings):
        return 0
    typer.echo(ADVICE)
    return 1


def _print(table: Table) -> None:
    """Print a table; wide where the output is not a terminal, so that its lines can be searched."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)
