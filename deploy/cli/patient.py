"""`biotwin patient`: observation, limits and sessions of a patient."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.sending import At, Author, CommandId, parse_time, send_command

app = typer.Typer(no_args_is_help=True, help="Admit, discharge, set limits.")

Patient = Annotated[str, typer.Argument(help="The patient's pseudonym; never a name or a record number.")]
Reason = Annotated[str, typer.Option(help="Why; without anything that names a person.")]


class Phase(StrEnum):
    """Of an exercise session."""

    START = "start"
    END = "end"


@app.command()
def admit(
    patient: Patient,
    name: Annotated[str, typer.Option(help="Display name; stays in this site's directory.")] = "",
    ward: Annotated[str, typer.Option(help="Ward; stays in this site's directory.")] = "",
    bed: Annotated[str, typer.Option(help="Bed; stays in this site's directory.")] = "",
    age: Annotated[
        int | None, typer.Option(min=0, max=130, help="Age in years; decides whether NEWS2 applies.")
    ] = None,
    age_band: Annotated[str, typer.Option(help='Age band for the directory, as "60-69"; default from --age.')] = "",
    pregnant: Annotated[bool, typer.Option("--pregnant", help="NEWS2 does not apply.")] = False,
    spinal_injury: Annotated[bool, typer.Option("--spinal-injury", help="NEWS2 does not apply.")] = False,
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Take a patient under observation.

    Name, ward, bed and age band are written into this site's directory, which the console reads; they never leave it.
    """
    import sqlite3

    from alerts.console.directory import Directory, Entry
    from deploy.api.commands import CommandError
    from deploy.configuration import load_configuration
    from deploy.errors import UserError

    band = age_band or ("" if age is None else f"{age // 10 * 10}-{age // 10 * 10 + 9}")
    send_command(
        "admit",
        at=at,
        author=author,
        command_id=command_id,
        patient=patient,
        age_years=age,
        pregnant=pregnant,
        spinal_injury=spinal_injury,
    )
    if not (name or ward or bed or band):
        return
    try:
        Directory(load_configuration().console.directory).put(
            Entry(pseudonym=patient, display_name=name, ward=ward, bed=bed, age_band=band)
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    except sqlite3.Error as error:
        raise UserError(f"the patient is admitted, but the directory cannot be written: {error}") from error


@app.command()
def discharge(patient: Patient, at: At = "", author: Author = "", command_id: CommandId = "") -> None:
    """End the observation: nothing is judged silent any more and open conditions clear."""
    send_command("discharge", at=at, author=author, command_id=command_id, patient=patient)


@app.command()
def limits(
    patient: Patient,
    heart_rate_low: Annotated[float | None, typer.Option(help="1/min")] = None,
    heart_rate_high: Annotated[float | None, typer.Option(help="1/min")] = None,
    heart_rate_maximum: Annotated[float | None, typer.Option(help="1/min, never to be passed in exercise")] = None,
    zone_low: Annotated[float | None, typer.Option(help="Lower end of the target zone, 1/min")] = None,
    zone_high: Annotated[float | None, typer.Option(help="Upper end of the target zone, 1/min")] = None,
    spo2_floor: Annotated[float | None, typer.Option(help="%")] = None,
    systolic_low: Annotated[float | None, typer.Option(help="mm[Hg]")] = None,
    systolic_high: Annotated[float | None, typer.Option(help="mm[Hg]")] = None,
    diastolic_high: Annotated[float | None, typer.Option(help="mm[Hg]")] = None,
    reason: Reason = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="When these limits end; required with any limit.")] = "",
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Set the patient's own limits, for a reason and until a time, replacing all that were set before.

    Without any limit, the rules' own apply again.
    """
    send_command(
        "limits",
        at=at,
        author=author,
        command_id=command_id,
        patient=patient,
        heart_rate_low=heart_rate_low,
        heart_rate_high=heart_rate_high,
        heart_rate_maximum=heart_rate_maximum,
        zone_low=zone_low,
        zone_high=zone_high,
        spo2_floor=spo2_floor,
        systolic_low=systolic_low,
        systolic_high=systolic_high,
        diastolic_high=diastolic_high,
        reason=reason,
        expires_at=parse_time(expires, "--expires"),
    )


@app.command()
def news2(
    patient: Patient,
    scale: Annotated[int, typer.Option(min=1, max=2, help="SpO2 scale; 2 only by a clinician's explicit order.")],
    reason: Reason = "",
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Set which SpO2 scale NEWS2 uses."""
    send_command("news2", at=at, author=author, command_id=command_id, patient=patient, spo2_scale=scale, reason=reason)


@app.command()
def session(
    patient: Patient,
    phase: Annotated[Phase, typer.Argument(help="start or end")],
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Start or end an exercise session: during one NEWS2 is suspended and the session's limits apply."""
    send_command("session", at=at, author=author, command_id=command_id, patient=patient, phase=phase.value)
