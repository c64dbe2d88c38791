"""`biotwin console`: the ward console and the HTTP interface."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import asyncio

    from alerts.console.application import History
    from alerts.console.feed import Feed

NAME = "console"


def console(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback behind a proxy with TLS.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = None,
) -> None:
    """Serve the ward console and the HTTP interface. Not a medical device."""
    from alerts.console.server import serve_console
    from contracts.metrics import ProcessMetrics
    from deploy.api.routes import further_routes
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.process import configure_logging, run, serve_metrics

    given = {"console.host": host, "console.port": port}
    configuration = load_configuration(overrides={name: value for name, value in given.items() if value is not None})
    configure_logging(NAME)
    feeds: list[Feed] = []

    async def main(stop: asyncio.Event) -> None:
        metrics = ProcessMetrics()
        with serve_metrics(configuration, metrics, NAME, ready=lambda: feeds[0].up and feeds[0].loaded) as endpoint:

            def listening(url: str, feed: Feed) -> None:
                feeds.append(feed)
                endpoint.set_ready(True)
                print(f"BioTwin console at {url} (not a medical device)", flush=True)

            await serve_console(
                configuration,
                metrics,
                stop,
                routes=partial(further_routes, configuration),
                history=history_in(configuration.history.directory),
                listening=listening,
            )

    try:
        run(main)
    except OSError as error:
        where = f"{configuration.console.host}:{configuration.console.port}"
        raise UserError(f"the console cannot listen on {where}: {error}") from error


def history_in(directory: str) -> History:
    """Older values of one signal, from the Parquet files in `directory`; none where there are no files."""

    def history(patient: str, signal: str, since: float, until: float) -> Iterator[tuple[float, float, float, float]]:
        from contracts.signals import default_registry
        from contracts.topics import TELEMETRY
        from stream.history_reader import read_history

        registry = default_registry()
        if signal not in registry or registry[signal].shape not in {"scalar", "code"}:
            return
        table = read_history(directory, TELEMETRY, patient, since, until, [signal])
        for row in table.to_pylist():
            value, quality = row[f"v_{signal}"], row.get(f"q_{signal}")
            if isinstance(value, (int, float)):
                yield row["t"], value, 1.0 if quality is None else quality, row["received_at"]

    return history
