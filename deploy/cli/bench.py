"""`biotwin bench`: figures and proofs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Measure throughput and alarms; kill parts; throw rubbish at it.")

Report = Annotated[Path | None, typer.Option(help="Write the result here too (JSON).")]


def _show(result: dict[str, Any], report: Path | None) -> None:
    import orjson

    text = orjson.dumps(result, option=orjson.OPT_INDENT_2)
    if report is not None:
        report.write_bytes(text + b"\n")
    typer.echo(text.decode())


@app.command()
def kills(
    kills: Annotated[int, typer.Option(min=0, help="kill -9, a third each of ingest, worker and Kafka.")] = 60,
    stalls: Annotated[int, typer.Option(min=0, help="SIGSTOP of a worker past its session, with a second one.")] = 5,
    readings: Annotated[int, typer.Option(min=100, help="Readings that flow meanwhile.")] = 30_000,
    seed: Annotated[int, typer.Option(help="Draws the stream and the times of the kills.")] = 1,
    report: Report = None,
) -> None:
    """Kill ingest, worker and Kafka while readings flow; compare alerts and twins with those of an undisturbed run."""
    from deploy.configuration import load_configuration
    from deploy.process import configure_logging
    from loadtest.kill import run_kills
    from loadtest.kill_plan import KillPlan

    configure_logging("bench", "WARNING")
    plan = KillPlan(kills=kills, stalls=stalls, readings=readings, seed=seed)
    result = run_kills(load_configuration(), plan, lambda text: typer.echo(text, err=True))
    _show(result, report)
    if not result["passed"]:
        raise typer.Exit(1)


@app.command()
def alerts(
    subscribers: Annotated[int, typer.Option(min=1, help="SSE subscribers of the console.")] = 500,
    mqtt: Annotated[int, typer.Option(min=1, help="MQTT subscribers.")] = 50,
    stalled: Annotated[int, typer.Option(min=0, help="Of each, so many stop reading.")] = 1,
    alerts: Annotated[int, typer.Option(min=1, help="Alerts to measure.")] = 200,
    rate: Annotated[float, typer.Option(help="Alerts a second, in the mean.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Draws the times of the alerts.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,  # noqa: ARG001 - the result is JSON either way
    report: Report = None,
) -> None:
    """Alerts to many subscribers, one of each kind stalled: how soon the others have them."""
    from deploy.configuration import load_configuration
    from deploy.process import configure_logging
    from loadtest.fan_out import FanOutPlan, run_fan_out

    configure_logging("bench", "WARNING")
    plan = FanOutPlan(subscribers=subscribers, mqtt=mqtt, stalled=stalled, alerts=alerts, rate_per_s=rate, seed=seed)
    result = run_fan_out(load_configuration(), plan, lambda text: typer.echo(text, err=True))
    _show(result, report)
    if not result["complete"]:
        raise typer.Exit(1)


@app.command()
def alert_kills(
    kills: Annotated[
        int, typer.Option(min=0, help="kill -9 of worker, delivery, escalator, console and each receiver in turn.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Draws the feed and the times of the kills.")] = 1,
    patients: Annotated[int, typer.Option(min=1)] = 24,
    duration: Annotated[float, typer.Option(min=300.0, help="Event time of the feed, s.")] = 900.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,  # noqa: ARG001 - the result is JSON either way
    report: Report = None,
) -> None:
    """Kill whoever makes, delivers and receives alerts; compare journal and notifications with an undisturbed run's."""
    from deploy.configuration import load_configuration
    from deploy.process import configure_logging
    from loadtest.alert_kill import run_alert_kills
    from loadtest.alert_kill_feed import AlertKillPlan

    configure_logging("bench", "WARNING")
    plan = AlertKillPlan(kills=kills, seed=seed, patients=patients, duration_s=duration)
    result = run_alert_kills(load_configuration(), plan, lambda text: typer.echo(text, err=True))
    _show(result, report)
    if not result["passed"]:
        raise typer.Exit(1)


@app.command()
def fuzz(
    payloads: Annotated[int, typer.Option(min=1, help="Payloads.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same payloads.")] = 1,
    report: Report = None,
) -> None:
    """Throw hostile payloads at ingest and twins: each must be applied or stand in quarantine with a reason."""
    from deploy.configuration import load_configuration
    from loadtest.fuzz import fuzz_core

    result = fuzz_core(load_configuration(), payloads, seed)._asdict()
    _show(result, report)
    if result["unexplained"]:
        raise typer.Exit(1)


@app.command()
def twin(
    workload: Annotated[Literal["w1"], typer.Option(help="docs/benchmarks.md describes it.")] = "w1",
    models: Annotated[
        Literal["workload", "all"],
        typer.Option(help="Those of the workload, or the clinical twin with every model on."),
    ] = "workload",
    records: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    patients: Annotated[int, typer.Option(min=1)] = 10_000,
    repeats: Annotated[int, typer.Option(min=1, help="Drain and worker take turns; medians are given.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,  # noqa: ARG001 - the result is JSON either way
    report: Report = None,
) -> None:
    """One worker process on the embedded Kafka, its state fault-tolerant, beside a plain drain of the same topic."""
    import asyncio

    from loadtest import models_bench, w1_bench

    def say(text: str) -> None:
        typer.echo(text, err=True)

    if models == "all":
        _show({"models": models, **asyncio.run(models_bench.run(records, patients, say))}, report)
        return
    result = asyncio.run(w1_bench.run(records, patients, repeats, say))
    _show({"workload": workload, **result}, report)
    if not result["alerts_equal"]:
        raise typer.Exit(1)


@app.command()
def alarms(
    seeds: Annotated[
        Literal["tuning", "reporting"], typer.Option(help="Improve rules on the first, publish figures of the second.")
    ] = "tuning",
    seed: Annotated[
        list[int] | None, typer.Option(help="Wards of these seeds instead; may be given several times.")
    ] = None,
    patients: Annotated[int, typer.Option(min=1)] = 200,
    days: Annotated[float, typer.Option(min=0.25, help="Days of each ward.")] = 7.0,
    rules: Annotated[Path | None, typer.Option(help="A rule file (TOML); else the rules in use here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,
    report: Report = None,
) -> None:
    """Run the alert rules over a synthetic ward whose events are known, beside plain NEWS thresholds."""
    import msgspec
    import orjson

    from alerts.rules import RuleError
    from deploy.configuration import load_configuration
    from deploy.errors import UserError
    from loadtest.alarm_bench import SEEDS, run_bench
    from loadtest.alarm_report import report_lines
    from loadtest.ward_events import START_T
    from stream.model_sets import model_set
    from stream.processors import alert_rules

    configuration = load_configuration()
    if rules is not None:
        worker = msgspec.structs.replace(configuration.worker, rules=str(rules))
        configuration = msgspec.structs.replace(configuration, worker=worker)
    try:
        in_force = alert_rules(configuration, model_set("clinical"), START_T)
    except OSError as error:
        raise UserError(f"{configuration.worker.rules}: {error.strerror}") from error
    except RuleError as error:
        raise UserError(str(error)) from error
    result = run_bench(in_force, seed or SEEDS[seeds], patients, days, lambda text: typer.echo(text, err=True))
    if report is not None:
        report.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
    typer.echo(orjson.dumps(result, option=orjson.OPT_INDENT_2) if json else "\n".join(report_lines(result)))


@app.command()
def explain(
    alerts: Annotated[int, typer.Option(min=1, help="Alerts to recompute, drawn at random.")] = 1000,
    seed: Annotated[int, typer.Option(help="Draws the ward and the alerts.")] = 1,
    patients: Annotated[int, typer.Option(min=1)] = 100,
    days: Annotated[float, typer.Option(min=0.25, help="Days of the ward.")] = 3.0,
    crashes: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the stretches of two hours with a kill of the worker.")
    ] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON object and nothing else on standard output.")] = False,  # noqa: ARG001 - the result is JSON either way
    report: Report = None,
) -> None:
    """Recompute random alerts of a synthetic ward from its history: do their lines come again, byte for byte?"""
    from deploy.configuration import load_configuration
    from deploy.rule_files import present_rules
    from loadtest.explain_bench import run_explain_bench
    from loadtest.ward_events import START_T

    configuration = load_configuration()
    rules = present_rules(configuration, START_T)
    result = run_explain_bench(
        configuration, rules, alerts, seed, patients, days, crashes, lambda text: typer.echo(text, err=True)
    )
    _show(result, report)
    if result["match"] < result["alerts"]:
        raise typer.Exit(1)
