"""`biotwin kafka`: run the embedded Kafka, create the topics."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.brokers import remove, take_down

if TYPE_CHECKING:
    from contracts.configuration import Configuration
    from deploy.kafka.broker import Broker

app = typer.Typer(no_args_is_help=True, help="Run the embedded Kafka; create the topics.")

LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}


def embedded_broker(configuration: Configuration, heap_mb: int = 0) -> Broker:
    """The broker of this installation: its data stand under the configuration's `data`, its port is `bootstrap`'s."""
    from deploy.errors import UserError
    from deploy.kafka.broker import HEAP_MB, Broker

    host, _, port = configuration.kafka.bootstrap.rpartition(":")
    if host not in LOOPBACK or not port.isdigit():
        raise UserError(
            f"the embedded Kafka listens on loopback only; kafka.bootstrap is {configuration.kafka.bootstrap}: "
            "not one address of this machine"
        )
    return Broker(Path(configuration.data) / "kafka", port=int(port), heap_mb=heap_mb or HEAP_MB)


@app.command()
def up(heap_mb: Annotated[int, typer.Option(help="Java heap in MiB.", min=256)] = 512) -> None:
    """Start Kafka in the background and wait until it serves. Does nothing if it runs already."""
    from deploy.configuration import load_configuration

    broker = embedded_broker(load_configuration(), heap_mb)
    before = broker.process
    bootstrap = broker.start()
    verb = "runs already" if before is not None else "is up"
    typer.echo(f"Kafka {verb} at {bootstrap}, data and log in {broker.folder}")


@app.command()
def down() -> None:
    """Stop Kafka cleanly; its data are kept."""
    from deploy.configuration import load_configuration

    take_down(embedded_broker(load_configuration()), "Kafka")


@app.command()
def status() -> None:
    """Say where Kafka runs and what it holds. Exit code 1 if none answers."""
    from rich.console import Console
    from rich.table import Table

    from deploy.configuration import load_configuration
    from deploy.kafka.broker import Broker
    from deploy.kafka.probe import any_broker_answers
    from deploy.kafka.topics import describe_topics, topic_bytes

    configuration = load_configuration()
    broker = Broker(Path(configuration.data) / "kafka")
    found = broker.status()
    if found["pid"] is not None:
        typer.echo(f"embedded Kafka: pid {found['pid']}, port {found['port']}, {found['folder']}")
    else:
        typer.echo(f"embedded Kafka: does not run ({found['folder']})")
    bootstrap = configuration.kafka.bootstrap
    if not any_broker_answers(bootstrap):
        typer.echo(f"no Kafka answers at {bootstrap}", err=True)
        raise typer.Exit(1)
    own = found["pid"] is not None and bootstrap.endswith(f":{found['port']}")
    table = Table("topic", "partitions", "kept", "size", title=f"Kafka at {bootstrap}")
    for topic in asyncio.run(describe_topics(bootstrap)):
        size = f"{topic_bytes(broker.folder / 'data', topic.name) / 1e6:.1f} MB" if own else ""
        table.add_row(topic.name, str(topic.partitions), kept(topic.settings), size)
    Console().print(table)


def kept(settings: dict[str, str]) -> str:
    """How a topic is kept, in words."""
    if settings.get("cleanup.policy") == "compact":
        return "latest of each key"
    retention_ms = int(settings.get("retention.ms", "-1"))
    return "without limit" if retention_ms < 0 else f"{retention_ms / 86_400_000:g} days"


@app.command()
def init() -> None:
    """Create the topics that are missing; say how those that exist differ from the configuration."""
    from deploy.configuration import load_configuration
    from deploy.kafka.topics import create_topics

    configuration = load_configuration()
    created, differences = asyncio.run(create_topics(configuration.kafka.bootstrap, configuration))
    typer.echo(f"created: {', '.join(created)}" if created else "all topics exist")
    for topic, setting, found, wanted in differences:
        typer.echo(f"{topic}: {setting} is {found or 'unset'}, the configuration asks for {wanted}", err=True)
    if any(difference.setting == "partitions" for difference in differences):
        typer.echo(
            "partitions cannot be changed under data that exist: `biotwin kafka reset`, or the old count", err=True
        )
    if differences:
        raise typer.Exit(1)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop the embedded Kafka and delete everything it holds."""
    from deploy.configuration import load_configuration

    remove(embedded_broker(load_configuration()), "every reading, command and alert", yes=yes)
