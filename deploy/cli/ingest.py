"""`biotwin ingest`."""

from __future__ import annotations

from typing import Annotated

import typer


def ingest(
    slot: Annotated[
        int | None, typer.Option(min=0, help="Which slot this process holds; each holds one MQTT session.")
    ] = None,
    end_session: Annotated[
        bool, typer.Option("--end-session", help="Drain the slot, end its MQTT session for good, and stop.")
    ] = False,
) -> None:
    """Take readings from MQTT into Kafka until told to stop.

    Several processes with different slots share the load; ingest.slots says how many, and the first is slot 0. What
    comes for a slot while nobody holds it waits at the MQTT broker; give a slot up only with --end-session.
    """
    import asyncio

    import aiomqtt

    from contracts.metrics import ProcessMetrics
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.process import configure_logging, run, serve_metrics
    from ingest.service import IngestService

    configuration = load_configuration(overrides={} if slot is None else {"ingest.slot": slot})
    if configuration.ingest.slot >= configuration.ingest.slots and not end_session:
        raise UserError(
            f"slot {configuration.ingest.slot} of {configuration.ingest.slots}: set ingest.slots to the number of "
            "ingest processes, the same for all of them (--set ingest.slots=2)"
        )
    name = f"ingest-{configuration.ingest.slot}"
    configure_logging(name)
    metrics = ProcessMetrics()

    async def main(stop: asyncio.Event) -> None:
        with serve_metrics(configuration, metrics, name) as endpoint:
            service = IngestService(configuration, metrics)
            if not end_session:
                await service.run(stop, on_ready=lambda: endpoint.set_ready(True))
                return
            try:
                await service.end_slot()
            except aiomqtt.MqttError as error:
                raise UserError(f"the session of slot {configuration.ingest.slot} was not ended: {error}") from error

    run(main)
