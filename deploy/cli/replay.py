"""`biotwin replay`: recorded payloads through the pipeline, reproducibly."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Through(StrEnum):
    """Which way the records go."""

    CORE = "core"
    KAFKA = "kafka"


def replay(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines: topic, payload, received_at (or command).")],
    out: Annotated[Path, typer.Option(help="Folder for conditions, alerts, twins and quarantine (JSON Lines).")],
    through: Annotated[
        Through, typer.Option(help="core: in memory. kafka: a real Kafka and a real worker.")
    ] = Through.CORE,
    rules: Annotated[str, typer.Option(help="Alert rules (TOML) in place of those configured.")] = "",
) -> None:
    """Run recorded payloads and commands through the pipeline. The same files give the same bytes, either way.

    Time comes from the lines' `received_at` alone. With --through kafka a Kafka is started for the replay and removed
    afterwards, unless --kafka names one, which must hold no telemetry.
    """
    import os

    from alerts.rules import RuleError
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from loadtest.replay import replay_through_core, replay_through_kafka

    overrides = {"worker.rules": str(Path(rules).absolute())} if rules else {}
    configuration = load_configuration(overrides=overrides)
    try:
        if through is Through.CORE:
            counts = replay_through_core(configuration, files, out)
        else:
            foreign = "BIOTWIN_KAFKA__BOOTSTRAP" in os.environ
            counts = replay_through_kafka(configuration, files, out, foreign=foreign)
    except (RuleError, OSError) as error:
        raise UserError(str(error)) from error
    for name, lines in counts.items():
        typer.echo(f"{out / name}: {lines}")
