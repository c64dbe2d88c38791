"""`biotwin metrics`: what Prometheus needs, and the document of all metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Find the metrics of all processes; configure Prometheus.")


@app.command("list")
def list_processes() -> None:
    """Where each running process serves its metrics."""
    from deploy.configuration import load_configuration
    from deploy.process import running_processes

    for process in running_processes(load_configuration()):
        typer.echo(f"{process.name:24} pid {process.pid:<8} {process.url}/metrics")


@app.command()
def prometheus(
    out: Annotated[Path | None, typer.Option(help="Folder to write to; else `prometheus` under the data.")] = None,
) -> None:
    """Write a Prometheus configuration that scrapes every process, with alarms about the pipeline."""
    from deploy.configuration import load_configuration
    from deploy.prometheus.generate import write_prometheus

    configuration = load_configuration()
    target = write_prometheus(configuration, out or Path(configuration.data) / "prometheus")
    typer.echo(f"prometheus --config.file={target} --web.listen-address=127.0.0.1:9090")


@app.command()
def document() -> None:
    """Print docs/metrics.md."""
    from deploy.prometheus.document import metrics_document

    typer.echo(metrics_document(), nl=False)
