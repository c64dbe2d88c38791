"""`biotwin deliver`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

NAME = "deliver"


def deliver() -> None:
    """Publish alerts over MQTT: biotwin/v1/{site}/alerts/{priority}/{patient}, QoS 1, until told to stop."""
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
                deliverer = Deliverer(configuration, metrics, stop, on_ready=endpoint.set_ready)
            except OSError as error:
                raise UserError(f"mqtt.ca_file {configuration.mqtt.ca_file}: {error.strerror or error}") from error
            await deliverer.run()

    run(main)
