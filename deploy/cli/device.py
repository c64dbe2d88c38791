"""`biotwin device`: which patient a device measures."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from deploy.cli.sending import At, Author, CommandId, parse_time, send_command, shown_time

app = typer.Typer(no_args_is_help=True, help="Bind devices to patients.")

Device = Annotated[str, typer.Argument(help="The device's name in its MQTT topic.")]


@app.command()
def bind(
    device: Device,
    patient: Annotated[str, typer.Argument(help="The patient's pseudonym.")],
    at: At = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="When the binding ends by itself.")] = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """From now on what the device measures belongs to the patient; a binding it had ends.

    Readings that waited in quarantine because the device was unbound at their time are released.
    """
    end = parse_time(until, "--until")
    send_command("bind", at=at, author=author, command_id=command_id, device=device, patient=patient, until=end)


@app.command()
def unbind(device: Device, at: At = "", author: Author = "", command_id: CommandId = "") -> None:
    """End the device's binding."""
    send_command("unbind", at=at, author=author, command_id=command_id, device=device)


@app.command("list")
def list_(
    device: Annotated[str, typer.Argument(help="Only this device.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Show each device's bindings."""
    import msgspec

    from contracts.topics import BINDINGS
    from deploy.api.reading import read_topic
    from deploy.configuration import load_configuration
    from ingest.bindings import BindingTable

    table = BindingTable()
    for record in asyncio.run(read_topic(load_configuration().kafka, BINDINGS)):
        table.load(record.key or b"", record.value)
    devices = [each for each in table.devices() if device in ("", each.device)]
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(devices), indent=2))
        return
    for each in devices:
        for interval in each.intervals:
            end = shown_time(interval.until) or "until further notice"
            typer.echo(f"{each.device:30} {interval.patient:24} {shown_time(interval.from_)}  {end}")
    if not devices:
        typer.echo("no device is bound; bind one with `biotwin device bind DEVICE PATIENT`")
