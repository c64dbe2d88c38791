"""`biotwin fhir …`: check FHIR resources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check FHIR resources.")


@app.callback()
def _group() -> None:
    pass


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Files with one resource each.", exists=True, dir_okay=False)],
) -> None:
    """Check resources as FHIR R4 4.0.1 with HAPI's validator, without a network; exit status 1 for one that is none."""
    import orjson

    from deploy.errors import UserError
    from deploy.fhir.validator import FhirValidator

    refused = 0
    with FhirValidator() as validator:
        for file in files:
            try:
                resource = orjson.loads(file.read_bytes())
            except orjson.JSONDecodeError as error:
                raise UserError(f"{file} is no JSON: {error}") from error
            issues = validator.issues(resource)
            wrong = any(issue.refused for issue in issues)
            refused += wrong
            print(f"{file}: {'refused' if wrong else 'valid'}")
            for issue in issues:
                print(f"  {issue}")
    if refused:
        raise typer.Exit(1)
