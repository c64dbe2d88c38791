"""`biotwin explain`: why an alert was told, and whether the log gives it again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Spoken(StrEnum):
    """Languages of an explanation."""

    EN = "en"
    JA = "ja"


class From(StrEnum):
    """Where an alert and the log are read."""

    KAFKA = "kafka"
    HISTORY = "history"


EXIT_CODES = {"match": 0, "mismatch": 1, "unjudged": 2}


def explain(
    alert: Annotated[str, typer.Argument(help="The alert's id, as the console and the alert's record show it.")],
    language: Annotated[Spoken, typer.Option(help="en: English, ja: Japanese.")] = Spoken.EN,
    from_: Annotated[
        From, typer.Option("--from", help="kafka: what Kafka still has. history: the Parquet files.")
    ] = From.KAFKA,
    rules: Annotated[
        Path | None, typer.Option(help="The rule file (TOML) in force when it was told; else the one in use here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Explain an alert, recompute it from the log and say whether the recomputed lines are the recorded ones, byte for
    byte.

    Exit code 0: they match. 1: they do not. 2: that cannot be judged, and a reason is given.
    """
    import asyncio
    import time

    import msgspec
    import orjson

    from alerts.explanation import explanation, explanation_lines, verdict_lines
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from deploy.explaining import explain_alert

    try:
        found = asyncio.run(explain_alert(load_configuration(), alert, from_.value, rules, time.time()))
    except UserError as error:
        # Exit code 1 says that records and log disagree, which nobody has found out here.
        typer.echo(f"biotwin: {error}", err=True)
        raise typer.Exit(EXIT_CODES["unjudged"]) from error
    told, comparison = found.records, found.comparison
    rule = found.rules.get(told.alerts[-1].rule)
    if as_json:
        body = explanation(told.alerts, told.signals, rule, language.value)
        body |= {"names": told.names, "recomputed_from": from_.value, "comparison": msgspec.to_builtins(comparison)}
        typer.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode())
    else:
        lines = explanation_lines(told.alerts, told.signals, rule, language.value)
        typer.echo("\n".join([*lines, "", *verdict_lines(comparison, from_.value, language.value)]))
    raise typer.Exit(EXIT_CODES[comparison.outcome])
