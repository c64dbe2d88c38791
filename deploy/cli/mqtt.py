"""`biotwin mqtt`: run the MQTT broker with the shipped configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.brokers import remove, take_down

if TYPE_CHECKING:
    from contracts.configuration import Configuration
    from deploy.mqtt.mosquitto import MosquittoBroker

app = typer.Typer(no_args_is_help=True, help="Run the MQTT broker with the shipped configuration.")

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def embedded_broker(configuration: Configuration) -> MosquittoBroker:
    """The broker of this installation: sessions and queues stand under the configuration's `data`."""
    from deploy.errors import UserError
    from deploy.mqtt.embedded import mqtt_broker

    if configuration.mqtt.host not in LOOPBACK:
        raise UserError(f"this broker listens on loopback only; mqtt.host is {configuration.mqtt.host}")
    return mqtt_broker(Path(configuration.data) / "mqtt", port=configuration.mqtt.port)


@app.command()
def up() -> None:
    """Start the broker in the background and wait until it admits clients. Does nothing if it runs already."""
    from deploy.configuration import load_configuration
    from deploy.mqtt.embedded import WARNING

    broker = embedded_broker(load_configuration())
    before = broker.process
    url = broker.start()
    verb = "runs already" if before is not None else "is up"
    typer.echo(f"{broker.name} {verb} at {url}, sessions and log in {broker.folder}")
    if not broker.keeps_sessions:
        typer.echo(WARNING, err=True)


@app.command()
def down() -> None:
    """Stop the broker cleanly; sessions and queues are kept."""
    from deploy.configuration import load_configuration

    take_down(embedded_broker(load_configuration()), "the MQTT broker")


@app.command()
def status() -> None:
    """Say where the broker runs. Exit code 1 if none answers."""
    from deploy.configuration import load_configuration
    from deploy.mqtt.embedded import mqtt_broker
    from deploy.mqtt.probe import mqtt_answers

    configuration = load_configuration()
    broker = mqtt_broker(Path(configuration.data) / "mqtt")
    found = broker.status()
    if found["pid"] is not None:
        typer.echo(f"{broker.name}: pid {found['pid']}, port {found['port']}, {found['folder']}")
    else:
        typer.echo(f"{broker.name}: not started from here ({found['folder']})")
    host, port = configuration.mqtt.host, configuration.mqtt.port
    if not mqtt_answers(host, port):
        typer.echo(f"no MQTT broker answers at {host}:{port}", err=True)
        raise typer.Exit(1)
    typer.echo(f"an MQTT broker answers at {host}:{port}")


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the broker and delete its sessions and queues."""
    from deploy.configuration import load_configuration

    remove(embedded_broker(load_configuration()), "every session and queued message", yes=yes)


@app.command()
def watch() -> None:
    """Serve the broker's own figures as metrics (what it holds, what it dropped) until told to stop."""
    from deploy.mqtt.watch import watch_broker
    from deploy.process import run_process

    raise SystemExit(run_process("mqtt-watch", watch_broker))
