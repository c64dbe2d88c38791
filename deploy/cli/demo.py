"""`biotwin demo`: everything on this machine with a simulated ward."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    patients: Annotated[int, typer.Option(min=1, help="Patients on the ward.")] = 20,
    duration: Annotated[
        float | None, typer.Option(min=5.0, help="Stream for so many s, measure and end; else until Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the figures here (JSON); needs --duration.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the console.")] = True,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ward.")] = 1,
    slots: Annotated[int, typer.Option(min=1, max=8, help="Ingest processes that share the load.")] = 1,
    faults: Annotated[str, typer.Option(help="What goes wrong on the way: none, mild or harsh.")] = "mild",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the console; 0 takes 8080, or a free one.")] = 0,
) -> None:
    """Run Kafka, MQTT, ingest, worker, delivery, history and console here and stream a simulated ward through them.

    Nothing is kept and nothing is left running. --kafka and --mqtt use brokers that already run.
    """
    import os
    import signal

    import orjson

    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.process import configure_logging
    from loadtest.demo import DemoPlan, run_demo
    from loadtest.faults import PRESETS

    if report is not None and duration is None:
        raise UserError("--report needs --duration")
    if faults not in PRESETS:
        raise UserError(f"--faults: there are {', '.join(PRESETS)}")
    configure_logging("demo", "WARNING")
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs in the background deaf to SIGINT
        signal.signal(number, signal.default_int_handler)
    plan = DemoPlan(
        patients=patients,
        duration_s=duration,
        seed=seed,
        slots=slots,
        faults=faults,
        browser=browser,
        console_port=port,
    )
    try:
        figures = run_demo(
            load_configuration(),
            plan,
            typer.echo,
            foreign_kafka="BIOTWIN_KAFKA__BOOTSTRAP" in os.environ,
            foreign_mqtt="BIOTWIN_MQTT__HOST" in os.environ,
        )
    except KeyboardInterrupt:
        typer.echo("ended; nothing is left running")
        return
    if not figures:
        return
    text = orjson.dumps(figures, option=orjson.OPT_INDENT_2)
    if report is not None:
        report.write_bytes(text + b"\n")
    typer.echo(text.decode())
