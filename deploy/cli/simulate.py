"""`biotwin simulate`: virtual devices that publish over real MQTT."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Events(StrEnum):
    """How often something happens to a patient."""

    LIFELIKE = "lifelike"
    BRISK = "brisk"
    CALM = "calm"


def simulate(
    patients: Annotated[int, typer.Option(min=1, help="Patients on the ward.")] = 20,
    duration: Annotated[float, typer.Option(min=1.0, help="Length of the stream in s.")] = 60.0,
    speed: Annotated[float, typer.Option(min=0.01, help="Times real time; above 1 the stream lies in the past.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ward.")] = 1,
    faults: Annotated[
        str, typer.Option(help="none, mild, harsh, or settings such as loss=0.01,duplicates=0.02,skew_s=0.5.")
    ] = "none",
    events: Annotated[Events, typer.Option(help="How often something happens.")] = Events.LIFELIKE,
    pressure_period: Annotated[float, typer.Option(min=5.0, help="Between two cuff pressures, in s.")] = 900.0,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="One chest strap plays the recording inside heartpy's package.")
    ] = False,
    file: Annotated[Path | None, typer.Option(help="Write what the broker acknowledged here (JSON Lines).")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Write what truly happens here (JSON Lines); it is never published.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Publish nothing; write the stream as input for `biotwin replay`.")
    ] = None,
    commands: Annotated[
        bool, typer.Option("--commands/--no-commands", help="Also admit the patients and bind the devices (Kafka).")
    ] = True,
    plan_file: Annotated[Path | None, typer.Option("--plan", hidden=True)] = None,
    report: Annotated[Path | None, typer.Option(help="Write the counts here (JSON).")] = None,
) -> None:
    """Publish a simulated ward over MQTT: chest straps, monitors, wrist bands, bicycles, apps. QoS 1, in real time."""
    import asyncio
    import time

    import msgspec

    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.process import configure_logging, run
    from loadtest.faults import parse_faults
    from loadtest.recording import RecordingMissingError
    from loadtest.simulate import EVENT_PLANS, RECORDED_START_T, live_start, publish, write_labels
    from loadtest.simulate import record as write_record
    from loadtest.simulation import SimulationPlan

    configuration = load_configuration()
    configure_logging("simulate")
    try:
        chosen = parse_faults(faults)
    except ValueError as error:
        raise UserError(f"--faults: {error}") from error
    begin_at = time.time() + 2.0 + (0.01 * patients if commands else 0.0)
    start_t = RECORDED_START_T if record is not None else live_start(duration, speed, begin_at)
    plan = SimulationPlan(
        patients=patients,
        duration_s=duration,
        seed=seed,
        start_t=start_t,
        site=configuration.site,
        events=EVENT_PLANS[events.value],
        faults=chosen,
        pressure_period_s=pressure_period,
        recorded=recorded,
    )
    if plan_file is not None:
        plan = msgspec.json.decode(plan_file.read_bytes(), type=SimulationPlan)
        begin_at = plan.start_t
    try:
        if record is not None:
            typer.echo(f"{record}: {write_record(plan, record, labels)} lines")
            return

        write_labels(plan, labels)

        async def main(stop: asyncio.Event) -> None:
            counts = await publish(
                configuration,
                plan,
                begin_at,
                speed,
                stop,
                file=file,
                commands=commands,
            )
            if report is not None:
                report.write_bytes(msgspec.json.encode(counts))

        run(main)
    except RecordingMissingError as error:
        raise UserError(str(error)) from error
