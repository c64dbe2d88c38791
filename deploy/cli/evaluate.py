"""`biotwin evaluate` and `biotwin fit`: how accurate the models are, where population parameters come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.errors import UserError

Data = Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of recordings in the task's layout.")]
Seed = Annotated[int, typer.Option(help="Draws the bootstrap, and whatever else is drawn.")]


def evaluate(
    task: Annotated[str, typer.Argument(help="See docs/evaluation.md for the tasks and their layouts.")],
    data: Data,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,
    predictions: Annotated[Path | None, typer.Option(help="One row a prediction: .parquet or .csv.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture (PNG) of the result.")] = None,
    seed: Seed = 1,
) -> None:
    """Measure the models of a task on recordings: predict, then learn."""
    import orjson

    from deploy.compiled_cache import use_compiled_cache

    use_compiled_cache()
    from loadtest.evaluation.predictions import write_predictions
    from loadtest.evaluation.report import report_lines
    from loadtest.evaluation.tasks import draw
    from loadtest.evaluation.tasks import evaluate as run

    try:
        result = run(task, data, seed)
    except (LookupError, ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    if predictions is not None:
        write_predictions(result.predictions, predictions)
    if picture is not None:
        draw(result, picture)
    if json:
        typer.echo(orjson.dumps(result.document(), option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo("\n".join(report_lines(result)))


def fit(
    task: Annotated[str, typer.Argument(help="A task that has population parameters.")],
    data: Data,
    output: Annotated[Path | None, typer.Option(help="Write here in place of standard output (JSON).")] = None,
    seed: Seed = 1,
) -> None:
    """Fit a task's population parameters on development recordings, as they are shipped in contracts/parameters/."""
    import orjson

    from deploy.compiled_cache import use_compiled_cache

    use_compiled_cache()
    from loadtest.evaluation.tasks import fit as run

    try:
        parameters = run(task, data, seed)
    except (LookupError, ValueError, FileNotFoundError) as error:
        raise UserError(str(error)) from error
    text = orjson.dumps(parameters, option=orjson.OPT_INDENT_2) + b"\n"
    if output is None:
        typer.echo(text.decode(), nl=False)
    else:
        output.write_bytes(text)
