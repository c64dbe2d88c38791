"""What the log says of alerts: their lines made anew from it by the processors that the worker drives, and why they may
differ from those that were told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

import msgspec
import orjson

from alerts.rules import RuleSet
from contracts.canonical import canonical_bytes
from contracts.condition import Alert
from contracts.configuration import Configuration
from contracts.topics import ALERTS
from stream.model_sets import model_set
from stream.partition_run import PartitionRun
from stream.processor import SourceRecord
from stream.processors import processors_under
from stream.twin_processor import twin_configuration

BATCH_RECORDS = 2000
"""Any number gives the same lines; this one keeps the kernels busy."""


class Recomputation:
    """One partition's log under one rule set. Only the lines of `alerts` (ids) are kept.

    Patients do not touch one another, so it is enough to take the records of theirs and those of nobody (ticks).
    """

    def __init__(
        self,
        configuration: Configuration,
        rules: RuleSet,
        partition: int,
        alerts: Iterable[str],
        batch_records: int = BATCH_RECORDS,
    ) -> None:
        worker = msgspec.structs.replace(configuration.worker, twin_interval_s=inf)
        made = processors_under(msgspec.structs.replace(configuration, worker=worker), rules)
        self._run = PartitionRun(made, partition)
        self._batch_records = batch_records
        self._written = 0
        self._lines: dict[str, list[tuple[int, bytes]]] = {alert: [] for alert in alerts}

    def take(self, records: Sequence[SourceRecord]) -> None:
        """The next records of the log, in offset order, whole or without other patients'."""
        for start in range(0, len(records), self._batch_records):
            for output in self._run.process(records[start : start + self._batch_records]):
                if output.topic != ALERTS or output.value is None:
                    continue
                record = orjson.loads(output.value)
                self._written += 1
                if record["id"] in self._lines:
                    self._lines[record["id"]].append((self._written, canonical_bytes(record)))

    def lines(self, alerts: Iterable[str]) -> list[bytes]:
        """Canonical lines, in the order in which they were written, of one alert with all ids that it had. Raises
        `KeyError` for an id that was not asked for."""
        return [line for _, line in sorted(numbered for alert in alerts for numbered in self._lines[alert])]


class Origin(NamedTuple):
    """What a line was made with: hashes of the rules and of the model set, and the build."""

    configuration: str
    model: str
    build: str


def origin_of(alert: Alert) -> Origin | None:
    """None for an alert that no condition of the log is behind."""
    evidence = alert.evidence
    return None if evidence is None else Origin(evidence.configuration, evidence.model, alert.provenance.build)


def origin_here(configuration: Configuration, rules: RuleSet, build: str) -> Origin:
    """What a recomputation is made with."""
    twin = twin_configuration(model_set(configuration.worker.model_set), rules)
    return Origin(rules.hash, twin.models_hash, build)


WALL_CLOCK = (
    "BioTwin raised this alarm itself, by the wall clock of the process that noticed it; the log of readings does not "
    "decide it"
)
UNPLACED = "the record does not say which record of the log decided it: it was written by an earlier version"


def end_of_log(alerts: Sequence[Alert]) -> tuple[int, int] | str:
    """Partition and offset of the last record of the log on which an alert's lines rest; else why there is none."""
    if not alerts[0].patient or any(alert.evidence is None for alert in alerts):
        return WALL_CLOCK
    places = [alert.provenance.decided for alert in alerts]
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return UNPLACED
    return known[-1].partition, max(place.offset for place in known)


def forbidding(origins: Iterable[Origin], here: Origin) -> list[str]:
    """Why lines of these origins cannot be made here at all: other rules or another model set."""
    found = sorted(set(origins))
    reasons = [
        f"it was decided by rules of hash {hash_}; those in use here have {here.configuration} (name the file that was "
        "in force with --rules)"
        for hash_ in sorted({origin.configuration for origin in found} - {here.configuration})
    ]
    return reasons + [
        f"it was decided by models of hash {hash_}; this version has {here.model}"
        for hash_ in sorted({origin.model for origin in found} - {here.model})
    ]


def doubts(origins: Iterable[Origin], before: Iterable[Origin], here: Origin, missing: int, source: str) -> list[str]:
    """Why lines may differ although nobody changed them: `before` are the origins of all alerts of the partition up to
    then, `missing` counts records that `source` no longer has of the log."""
    reasons = []
    if missing:
        reasons.append(f"the log is not whole: {source} lacks {missing} of its records up to then")
    builds = sorted({origin.build for origin in origins} - {here.build})
    reasons += [f"it was decided on {build or 'an unnamed build'}; this is {here.build}" for build in builds]
    if {(origin.configuration, origin.model) for origin in before} - {(here.configuration, here.model)}:
        reasons.append("other rules or models were in force earlier in the same log, and may have left their mark")
    if not builds and {origin.build for origin in before} - {here.build}:
        reasons.append("an earlier part of the same log was taken in by another build or processor")
    return reasons
