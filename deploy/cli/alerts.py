"""`biotwin alerts`: what a person does about the signal of an alert."""

from __future__ import annotations

from typing import Annotated

import typer

from deploy.cli.sending import At, Author, CommandId, parse_time, send_command

app = typer.Typer(no_args_is_help=True, help="Acknowledge, pause, put off or resume the signal of an alert.")

Patient = Annotated[str, typer.Argument(help="The patient's pseudonym.")]
Alert = Annotated[str, typer.Argument(help="The alert's id, as the console and the alert's record show it.")]
Reason = Annotated[str, typer.Option(help="Why; without anything that names a person.")]


@app.command()
def acknowledge(
    patient: Patient, alert: Alert, reason: Reason = "", at: At = "", author: Author = "", command_id: CommandId = ""
) -> None:
    """Take note of an alert and see to it: its signal stops until a reminder is due."""
    send_command(
        "acknowledge", at=at, author=author, command_id=command_id, patient=patient, alert=alert, reason=reason
    )


@app.command()
def pause(
    patient: Patient,
    alert: Annotated[str, typer.Argument(help="The alert's id; without it, every alert the patient has now.")] = "",
    seconds: Annotated[float, typer.Option(help="How long, at most 120 s.")] = 120.0,
    reason: Reason = "",
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Pause the audible signal. Escalation goes on: nobody has answered yet."""
    send_command(
        "audio_pause",
        at=at,
        author=author,
        command_id=command_id,
        patient=patient,
        alert=alert,
        duration_s=seconds,
        reason=reason,
    )


@app.command()
def off(
    patient: Patient,
    alert: Alert,
    until: Annotated[str, typer.Option(metavar="TIME", help="When it ends, at most 24 h (high priority: 1 h) away.")],
    reason: Annotated[str, typer.Option(help="Why; without anything that names a person.")],
    at: At = "",
    author: Author = "",
    command_id: CommandId = "",
) -> None:
    """Put an alert off: no signal of it until a time, for a stated reason."""
    send_command(
        "alarm_off",
        at=at,
        author=author,
        command_id=command_id,
        patient=patient,
        alert=alert,
        expires_at=parse_time(until, "--until"),
        reason=reason,
    )


@app.command()
def resume(
    patient: Patient, alert: Alert, reason: Reason = "", at: At = "", author: Author = "", command_id: CommandId = ""
) -> None:
    """End an acknowledgement, a pause or off: the alert is heard again."""
    send_command(
        "alarm_resume", at=at, author=author, command_id=command_id, patient=patient, alert=alert, reason=reason
    )
