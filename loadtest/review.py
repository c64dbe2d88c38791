"""`biotwin alerts review`: history through the pipeline again, under the present rules and under others.

Telemetry, commands and ticks come from history's Parquet files in the order of the log; the processors are those of the
worker. The day before the time span is replayed too, so that baselines and standing alarms are there when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from alerts.quality.alarms import Alarm, alarms_of
from alerts.quality.review import Loss, Point, labelled, losses, point
from alerts.quality.sweep import Difference, differences, rules_between
from alerts.quality.truth import TrueEvent
from alerts.rules import RuleSet
from contracts.alert_signal import SignalTransition
from contracts.configuration import Configuration
from contracts.reading import Tick
from contracts.topics import JOURNAL, TELEMETRY
from deploy.errors import UserError
from loadtest.pipeline import Pipeline
from loadtest.replay_input import Record
from stream.alarm_history import alarms_in, monitored_days
from stream.history_reader import query_history, read_log
from stream.processors import processors_under

WARM_UP_S = 86_400.0
"""How much is replayed before the time span."""

HARMLESS = frozenset({"exercise", "artefact", "dropout", "outage"})
"""Kinds of labelled event that no alarm is wanted for."""


class Review(msgspec.Struct, frozen=True):
    """A review of the span [since, until). `recorded` is how many alarms the journal has, `reproduced` how many of them
    the present rules give again from history; `losses` are those of the new rules (factor 1)."""

    since: float
    until: float
    patients: int
    patient_days: float
    present_rules: str
    new_rules: str
    differences: list[Difference]
    recorded: int
    reproduced: int
    curve: list[Point]
    losses: list[Loss]


def run_review(
    configuration: Configuration,
    present: RuleSet,
    new: RuleSet,
    since: float,
    until: float,
    factors: Sequence[float],
    events: Sequence[TrueEvent] = (),
    say: Callable[[str], None] = lambda _: None,
    jobs: int = 1,
) -> Review:
    """Replay history once for each of `factors` (0: present, 1: new), `jobs` of them at a time. Raises `UserError`
    where it has no reading in the span. `say` is told of progress."""
    directory = configuration.history.directory
    days = monitored_days(directory, since, until)
    if not days:
        raise UserError(f"there are no readings in this time span in {directory}")
    recorded = [alarm for alarm in alarms_in(directory, since) if since <= alarm.announced_t < until]
    at = sorted({0.0, 1.0, *factors})
    given = _replay_all(configuration, [rules_between(present, new, factor) for factor in at], since, until, jobs)
    inside = [alarm for alarm in given[present.hash] if since <= alarm.announced_t < until]
    marked, reproduced = labelled(inside, recorded)
    asked = [event for event in events if since <= event.onset_t < until]
    curve: list[Point] = []
    lost: list[Loss] = []
    for factor in at:
        rules = rules_between(present, new, factor)
        other = given[rules.hash]
        curve.append(point(factor, rules.hash, marked, other, days, since, until, asked))
        if factor == 1.0:
            lost = losses(marked, other, since, until)
        say(f"factor {factor:g}: {curve[-1].interruptive} interruptive alarms")
    return Review(
        since=since,
        until=until,
        patients=len(days),
        patient_days=sum(days.values()),
        present_rules=present.hash,
        new_rules=new.hash,
        differences=differences(present, new),
        recorded=len(recorded),
        reproduced=reproduced,
        curve=curve,
        losses=lost,
    )


def _replay_all(
    configuration: Configuration, rule_sets: Sequence[RuleSet], since: float, until: float, jobs: int
) -> dict[str, list[Alarm]]:
    """The alarms of each rule set, by its hash; sets that are the same are replayed once."""
    of_hash = {rules.hash: rules for rules in rule_sets}
    if jobs == 1:
        return {name: replay(configuration, rules, since, until) for name, rules in of_hash.items()}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running = {name: pool.submit(replay, configuration, rules, since, until) for name, rules in of_hash.items()}
        return {name: found.result() for name, found in running.items()}


def replay(configuration: Configuration, rules: RuleSet, since: float, until: float) -> list[Alarm]:
    """The alarms that the rules give on history's log up to `until`."""
    directory = configuration.history.directory
    rows = query_history(directory, TELEMETRY, "SELECT max(partition) + 1 FROM history", {})
    partitions = max(configuration.kafka.partitions, *(count or 0 for (count,) in rows))
    kafka = msgspec.structs.replace(configuration.kafka, partitions=partitions)
    configuration = msgspec.structs.replace(configuration, kafka=kafka)
    pipeline = Pipeline(configuration, since, made=processors_under(configuration, rules), kept={JOURNAL})
    pipeline.run(_records(directory, since - WARM_UP_S, until, partitions))
    decoder = msgspec.json.Decoder(SignalTransition)
    return alarms_of(decoder.decode(output.value or b"") for output in pipeline.output.get(JOURNAL, []))


def _records(directory: str | Path, since: float, until: float, partitions: int) -> Iterator[Record]:
    for row in read_log(directory, since, until):
        yield Record(TELEMETRY, row.partition, row.key, row.value)
    closing = msgspec.json.encode(Tick(until, closing=True))
    for partition in range(partitions):
        yield Record(TELEMETRY, partition, None, closing)


class _Label(msgspec.Struct):
    """One line of a file of labels. `begin_t` defaults to `start_t`, `onset_t` to that."""

    patient: str
    kind: str
    end_t: float
    start_t: float | None = None
    begin_t: float | None = None
    onset_t: float | None = None
    adverse: bool = True


def read_events(file: Path) -> list[TrueEvent]:
    """The adverse events of a file of labels, as `biotwin simulate --labels` writes it. Raises `UserError`."""
    events: list[TrueEvent] = []
    try:
        for number, line in enumerate(file.read_bytes().splitlines(), start=1):
            label = msgspec.json.decode(line, type=_Label)
            begin_t = label.begin_t if label.begin_t is not None else label.start_t
            onset_t = label.onset_t if label.onset_t is not None else begin_t
            if onset_t is None or begin_t is None:
                raise UserError(f"{file}, line {number}: start_t or onset_t is wanted")
            if label.adverse and label.kind not in HARMLESS:
                events.append(TrueEvent(label.patient, begin_t, onset_t, label.end_t))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise UserError(f"{file}: {error}") from error
    return events
