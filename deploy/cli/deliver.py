"""`biotwin deliver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

NAME = "deliver"


def deliver() -> None:
    """Deliver alerts over MQTT and to every subscription of the configuration, until told to stop."""
    from alerts.console.directory import Directory, WardBook
    from alerts.delivery.deliver import Deliverer
    from contracts.metrics import ProcessMetrics
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.process import configure_logging, run, serve_metrics

    configuration = load_configuration()
    configure_logging(NAME)

    async def main(stop: asyncio.Event) -> None:
        metrics = ProcessMetrics()
        with serve_metrics(configuration, metrics, NAME) as endpoint:
            try:
                deliverer = Deliverer(
                    configuration,
                    metrics,
                    stop,
                    ward_of=WardBook(Directory(configuration.console.directory)).ward_of,
                    on_ready=endpoint.set_ready,
                )
            except OSError as error:
                raise UserError(f"{error.filename}: {error.strerror}") from error
            except ValueError as error:
                raise UserError(str(error)) from error
            await deliverer.run()

    run(main)
