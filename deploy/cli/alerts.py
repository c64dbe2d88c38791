"""`biotwin alerts`: what stands, what a person does about the signal of an alert and thinks of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deploy.cli.alarm_quality import report, review
from deploy.cli.sending import At, Author, CommandId, parse_time, send_command, shown_time

app = typer.Typer(no_args_is_help=True, help="Show alerts, act on their signals, and judge how good they are.")
app.command()(report)
app.command()(review)

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


Known = Annotated[str, typer.Option("--patient", help="The patient's pseudonym; without it, it is looked up.")]


@app.command()
def useful(
    alert: Alert, patient: Known = "", reason: Reason = "", at: At = "", author: Author = "", command_id: CommandId = ""
) -> None:
    """Say that an alert was worth the interruption. Of what you say of one alert, the last counts."""
    _judge(alert, patient, useful=True, reason=reason, at=at, author=author, command_id=command_id)


@app.command("not-useful")
def not_useful(
    alert: Alert, patient: Known = "", reason: Reason = "", at: At = "", author: Author = "", command_id: CommandId = ""
) -> None:
    """Say that an alert was not worth the interruption. Of what you say of one alert, the last counts."""
    _judge(alert, patient, useful=False, reason=reason, at=at, author=author, command_id=command_id)


def _judge(alert: str, patient: str, *, useful: bool, reason: str, at: str, author: str, command_id: str) -> None:
    import asyncio

    from deploy.api.alerts import patient_of
    from deploy.configuration import load_configuration

    patient = patient or asyncio.run(patient_of(load_configuration().kafka, alert))
    send_command(
        "feedback",
        at=at,
        author=author,
        command_id=command_id,
        patient=patient,
        alert=alert,
        useful=useful,
        reason=reason,
    )


class Urgency(StrEnum):
    """Priorities of IEC 60601-1-8."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NONE = "none"


@app.command("list")
def list_(
    priority: Annotated[list[Urgency] | None, typer.Option(help="Only alerts of this priority; repeatable.")] = None,
    ward: Annotated[str, typer.Option(help="Only alerts of this ward, by this site's directory.")] = "",
    patient: Annotated[str, typer.Option(help="Only alerts of this patient (pseudonym).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the alerts that stand, the most urgent first. Patients are shown by their pseudonyms."""
    import asyncio

    import orjson

    from alerts.console.alert_book import shown
    from alerts.console.directory import Directory
    from deploy.api.alerts import read_books, standing
    from deploy.configuration import load_configuration

    configuration = load_configuration()
    wards = Directory(configuration.console.directory).wards() if ward else {}
    found = [
        one
        for one in standing(asyncio.run(read_books(configuration.kafka)))
        if (not priority or one.life.newest.priority in priority)
        and (not patient or one.patient == patient)
        and (not ward or wards.get(one.patient) == ward)
    ]
    if as_json:
        for one in found:
            body = {"patient": one.patient, **shown(one.book, one.life, complete=False)}
            typer.echo(orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode())
        return
    for one in found:
        signal = shown(one.book, one.life, complete=False)["signal"]
        held = "" if signal is None else " by ".join(filter(None, (signal["state"], signal["holder"])))
        typer.echo(
            f"{one.life.newest.id}  {one.life.newest.priority:<6}  {shown_time(one.life.newest.onset_t)}  "
            f"{one.patient:<16}  {held:<28}  {one.life.newest.message}"
        )
    if not found:
        typer.echo("no alert stands")


@app.command()
def show(alert: Alert) -> None:
    """Show one alert, all its transitions and those of its signal, as JSON."""
    import asyncio

    import orjson

    from alerts.console.alert_book import shown
    from deploy.api.alerts import find, read_books
    from deploy.configuration import load_configuration

    found = find(asyncio.run(read_books(load_configuration().kafka)), alert)
    body = {"patient": found.patient, **shown(found.book, found.life, complete=True)}
    typer.echo(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode())
