"""One alert recomputed from Kafka or from history, for `biotwin explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from alerts.comparison import Comparison, compare
from alerts.rules import RuleSet
from contracts.condition import Alert
from contracts.configuration import Configuration, Kafka
from contracts.topics import ALERTS, JOURNAL, TELEMETRY
from deploy.api.reading import partition_of, records_of
from deploy.errors import UserError
from deploy.rule_files import present_rules, read_rules
from stream.alert_records import AlertRecords, alert_records, names_of, records_in_history
from stream.build import build_name
from stream.history_reader import missing_from_log, read_log_of
from stream.processor import SourceRecord
from stream.recompute import Origin, Recomputation, doubts, end_of_log, forbidding, origin_here, origin_of

Source = Literal["kafka", "history"]

NOT_WHOLE: dict[Source, str] = {
    "kafka": "it deletes what is older than the topic's retention; history may have it: --from history",
    "history": "it begins when its sink first ran, and is some minutes behind Kafka",
}
"""Why a log may lack records."""

ROWS_AT_ONCE = 20_000


class Explained(NamedTuple):
    """An alert's records, the rules by which it was recomputed and what the comparison came to."""

    records: AlertRecords
    rules: RuleSet
    comparison: Comparison


async def explain_alert(
    configuration: Configuration, alert: str, source: Source, rules: Path | None, now: float
) -> Explained:
    """Find an alert by its id and recompute it. `rules` is a rule file in place of the one in use at `now` (s since
    the epoch). Raises `UserError`."""
    kafka, directory = configuration.kafka, configuration.history.directory
    place = f"topic {ALERTS} of Kafka at {kafka.bootstrap}" if source == "kafka" else f"history in {directory}"
    try:
        if source == "kafka":
            found = await _records_in_kafka(kafka, alert)
        else:
            found = next(iter(records_in_history(directory, [alert])), None)
    except msgspec.DecodeError as error:
        raise UserError(f"a record in {place} is none of BioTwin's: {error}") from error
    if found is None:
        raise UserError(f"there is no alert {alert} in {place}")
    in_force = _rules_of(configuration, found, rules, now)
    comparison = await _recomputed(configuration, found, source, in_force)
    return Explained(found, in_force, comparison)


def _rules_of(configuration: Configuration, found: AlertRecords, rules: Path | None, now: float) -> RuleSet:
    """The rules by which the alert was decided, if they are at hand: those in force now, or when it was decided."""
    then = found.alerts[-1].provenance.received_at
    choices = [
        present_rules(configuration, at) if rules is None else read_rules(rules, at) for at in (now, then) if at > 0.0
    ]
    wanted = {origin.configuration for origin in _origins(found)}
    return next((choice for choice in choices if {choice.hash} == wanted), choices[0])


def _origins(found: AlertRecords) -> list[Origin]:
    return [origin for origin in map(origin_of, found.alerts) if origin is not None]


async def _recomputed(configuration: Configuration, found: AlertRecords, source: Source, rules: RuleSet) -> Comparison:
    end = end_of_log(found.alerts)
    if isinstance(end, str):
        return Comparison("unjudged", len(found.lines), 0, reasons=[end])
    here = origin_here(configuration, rules, build_name())
    reasons = forbidding(_origins(found), here)
    if reasons:
        return Comparison("unjudged", len(found.lines), 0, reasons=reasons)
    partition, last = end
    patient = found.alerts[0].patient
    run = Recomputation(configuration, rules, partition, found.names)
    log = TELEMETRY
    if source == "kafka":
        read = 0
        log = configuration.worker.telemetry_topic
        async for records in partition_of(configuration.kafka, log, partition, last):
            read += len(records)
            run.take([record for record in records if record.key in {None, patient.encode()}])
        missing = last + 1 - read
    else:
        directory = configuration.history.directory
        missing = missing_from_log(directory, partition, last)
        rows: list[SourceRecord] = []
        for row in read_log_of(directory, partition, [patient], last):
            rows.append(row)
            if len(rows) == ROWS_AT_ONCE:
                run.take(rows)
                rows = []
        run.take(rows)
    shown = f"partition {partition} of {log} in {source} ({NOT_WHOLE[source]})"
    return compare(found.lines, run.lines(found.names), doubts(_origins(found), found.before, here, missing, shown))


async def _records_in_kafka(kafka: Kafka, alert: str) -> AlertRecords | None:
    """Everything that Kafka holds of an alert; None where it does not know it. Topics are read twice: an alert's other
    id may be learned from its last record."""
    wanted, names, partition, last = alert.encode(), set[str](), -1, -1
    async for record in records_of(kafka, ALERTS):
        if wanted in (record.value or b""):
            own = names_of(msgspec.json.decode(record.value, type=Alert))
            if alert in own:
                names |= own
                partition = record.partition
    if not names:
        return None
    ids = [name.encode() for name in names]
    told: list[bytes] = []
    before: set[Origin] = set()
    seen: list[tuple[int, Origin]] = []
    async for record in records_of(kafka, ALERTS):
        if record.partition != partition or not record.value:
            continue
        one = msgspec.json.decode(record.value, type=Alert)
        if one.id in names:
            told.append(record.value)
            last = record.offset
        origin = origin_of(one)
        if origin is not None and origin not in before:
            before.add(origin)
            seen.append((record.offset, origin))
    journal = [
        record.value
        async for record in records_of(kafka, JOURNAL)
        if record.partition == partition and any(name in (record.value or b"") for name in ids)
    ]
    return alert_records(names, told, journal, {origin for offset, origin in seen if offset <= last})
