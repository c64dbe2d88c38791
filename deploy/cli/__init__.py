"""The `biotwin` command.

Commands are named in `COMMANDS` and loaded when they run, so that `biotwin --help` stays quick and works whatever is
missing. A command's module stands beside this one and offers either a `typer.Typer` group or a plain function.

The global options may stand before or after the command's name. They are handed on through the environment, so that
processes started by a command see the same configuration; commands read it with
`deploy.configuration.load_configuration()`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from deploy.errors import UserError

Command = Any
"""Typer's commands; it keeps their types private."""


class LazyCommand(NamedTuple):
    """Where a command lives ("module:attribute") and its line in `biotwin --help`."""

    target: str
    help: str


COMMANDS: dict[str, LazyCommand] = {
    "demo": LazyCommand("deploy.cli.demo:demo", "Run everything on this machine with a simulated ward."),
    "doctor": LazyCommand("deploy.cli.doctor:doctor", "Say what is missing and how to get it; test an MQTT broker."),
    "config": LazyCommand("deploy.cli.config:app", "Show the effective configuration."),
    "kafka": LazyCommand("deploy.cli.kafka:app", "Run the embedded Kafka; create the topics."),
    "mqtt": LazyCommand("deploy.cli.mqtt:app", "Run the MQTT broker with the shipped configuration."),
    "metrics": LazyCommand("deploy.cli.metrics:app", "Find the metrics of all processes; configure Prometheus."),
    "ingest": LazyCommand("deploy.cli.ingest:ingest", "Take readings from MQTT into Kafka."),
    "worker": LazyCommand("deploy.cli.worker:worker", "Keep the twins and raise alerts."),
    "console": LazyCommand("deploy.cli.console:console", "Serve the ward console and the HTTP interface."),
    "account": LazyCommand("deploy.cli.account:app", "Say who may sign in to the console."),
    "audit": LazyCommand("deploy.cli.audit:app", "Read and verify the audit journal."),
    "deliver": LazyCommand("deploy.cli.deliver:deliver", "Deliver alerts over MQTT and to subscriptions."),
    "history": LazyCommand("deploy.cli.history:history", "Write history as Parquet files."),
    "patient": LazyCommand("deploy.cli.patient:app", "Admit, discharge, set limits."),
    "device": LazyCommand("deploy.cli.device:app", "Bind devices to patients."),
    "alerts": LazyCommand("deploy.cli.alerts:app", "Show alerts, act on them, judge how good they are."),
    "explain": LazyCommand("deploy.cli.explain:explain", "Explain one alert and recompute it from the log."),
    "oncall": LazyCommand("deploy.cli.oncall:app", "Say who is on call; take, hand over or release a role."),
    "quarantine": LazyCommand("deploy.cli.quarantine:app", "List, show and replay what was refused."),
    "fhir": LazyCommand("deploy.cli.fhir:app", "Check FHIR resources."),
    "rules": LazyCommand("deploy.cli.rules:app", "Show, check, explain and test the alert rules."),
    "simulate": LazyCommand("deploy.cli.simulate:simulate", "Publish a simulated ward over MQTT."),
    "replay": LazyCommand("deploy.cli.replay:replay", "Run recorded payloads through the pipeline, reproducibly."),
    "evaluate": LazyCommand("deploy.cli.evaluate:evaluate", "Measure the models on recordings: predict, then learn."),
    "fit": LazyCommand("deploy.cli.evaluate:fit", "Fit a model's population parameters on recordings."),
    "bench": LazyCommand("deploy.cli.bench:app", "Measure throughput."),
}

HOISTED = ("--config", "--set", "--kafka", "--mqtt")
"""Global options that are also taken after the command's name, unless the command has one of that name itself."""


def load_command(name: str) -> Command:
    """The command of that name; raises `UserError` where its module is missing."""
    module_name, _, attribute = COMMANDS[name].target.partition(":")
    try:
        target = getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise UserError(f"`biotwin {name}` is not in this installation ({error})") from error
    if isinstance(target, typer.Typer):
        command: Command = typer.main.get_command(target)
    else:
        single = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
        single.command(name)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


def _options_of(command: Command) -> Iterator[str]:
    for parameter in command.params:
        yield from parameter.opts
    if isinstance(command, TyperGroup):
        for inner in command.commands.values():
            yield from _options_of(inner)


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they run, not when they are listed."""

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Command | None:
        """A stand-in with the help line; `resolve_command` loads the command itself."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        if args and args[0] in COMMANDS:
            return args[0], load_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, hoist(args))


def hoist(args: list[str]) -> list[str]:
    """`args` with the global options moved before the command's name; what follows `--` stays where it is."""
    position = next((i for i, word in enumerate(args) if word in COMMANDS), None)
    if position is None or not any(word.partition("=")[0] in HOISTED for word in args[position + 1 :]):
        return args
    own = set(_options_of(load_command(args[position])))
    front, rest = args[:position], [args[position]]
    words = iter(args[position + 1 :])
    for word in words:
        option, equals, _ = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif option in HOISTED and option not in own:
            front += [word] if equals else [word, *[value for value in [next(words, None)] if value is not None]]
        else:
            rest.append(word)
    return front + rest


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="A real-time digital twin of a patient. Not a medical device.",
)


@app.callback()
def _globals(
    config: Annotated[str, typer.Option(help="Configuration file; else BIOTWIN_CONFIG, else ./biotwin.toml.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, as in --set kafka.partitions=8; repeatable.")
    ] = None,
    kafka: Annotated[str, typer.Option(help="Use this Kafka: host:port[,host:port].")] = "",
    mqtt: Annotated[str, typer.Option(help="Use this MQTT broker: mqtt[s]://[user:password@]host[:port].")] = "",
) -> None:
    from deploy.compiled_cache import use_compiled_cache
    from deploy.configuration import environment_of_flags

    os.environ.update(environment_of_flags(config=config, settings=set_ or (), kafka=kafka, mqtt=mqtt))
    use_compiled_cache()


def main() -> None:
    """Entry point of the `biotwin` command. What a user can put right ends in one line and exit code 1."""
    try:
        app(prog_name="biotwin")
    except UserError as error:
        print(f"biotwin: {error}", file=sys.stderr)
        sys.exit(1)
