"""`biotwin bench explain`: alerts of a synthetic ward as history has them, beside what its log gives once more."""

from __future__ import annotations

import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alerts.comparison import Comparison, Outcome, compare
from alerts.rules import RuleSet
from contracts.configuration import Configuration
from contracts.signals import Registry
from contracts.topics import ALERTS, JOURNAL, TELEMETRY
from deploy.errors import UserError
from loadtest.labelled_ward import LabelledWard
from loadtest.replay_input import partition_of
from loadtest.ward_batches import Arrivals, WardRecords, closing_tick, join, ticks
from loadtest.ward_events import START_T
from loadtest.ward_log import WardLogWriter
from stream.alert_records import AlertRecords, records_in_history
from stream.build import build_name
from stream.history_files import segment_path, write_segment
from stream.history_reader import missing_from_log, query_history, read_log_of
from stream.history_rows import table
from stream.model_sets import model_set
from stream.partition_run import PartitionRun
from stream.processor import LoggedRecord
from stream.processors import Processors, processors_under
from stream.recompute import Recomputation, doubts, end_of_log, forbidding, origin_here, origin_of

PARTITIONS = 4
LARGEST_BATCH = 4000
RECOMPUTED_BATCH = 777
"""Records at a time: in the recomputation other cuts than in the ward's own run, where they are drawn."""

ROWS_AT_ONCE = 20_000
OUTCOMES: tuple[Outcome, ...] = ("match", "mismatch", "unjudged")


class _Row(msgspec.Struct):
    """A record as the history sink reads it from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...] = ()


class _Recorder:
    """One partition as a worker and the history sink have it. `crashes` is the share of the calls of `take` within
    which the worker is killed once and starts again from its checkpoint, made when the call began."""

    def __init__(
        self, made: Processors, partition: int, folder: Path, rng: np.random.Generator, crashes: float
    ) -> None:
        self._make_twin = made.twin
        self._run = PartitionRun(made, partition)
        self._partition = partition
        self._folder = folder
        self._rng = rng
        self._crashes = crashes
        self._blocks: dict[int, bytes] = {}
        self._logged = 0
        self._told: dict[str, list[_Row]] = {ALERTS: [], JOURNAL: []}
        self.crashed = 0

    def take(self, values: Sequence[tuple[bytes | None, bytes]], now: float) -> None:
        """Apply what was logged, write it and keep what follows from it."""
        records = [LoggedRecord(self._logged + n, key, value) for n, (key, value) in enumerate(values)]
        if self._crashes:
            self._blocks |= {block.number: block.payload for block in self._run.twin.changed_blocks()}
        if self._rng.random() < self._crashes:
            self._apply(records[: int(self._rng.integers(len(records)))], now)
            self._restart()
        self._apply(records, now)
        rows = [_Row(TELEMETRY, self._partition, one.offset, one.key, one.value, int(now * 1000)) for one in records]
        self._logged += len(rows)
        self._write(rows)

    def finish(self) -> None:
        """Write what followed."""
        for rows in self._told.values():
            self._write(rows)

    def _apply(self, records: Sequence[LoggedRecord], now: float) -> None:
        begin = 0
        while begin < len(records):
            end = begin + int(self._rng.integers(1, LARGEST_BATCH))
            for output in self._run.process(records[begin:end], now):
                rows = self._told.get(output.topic)
                if rows is not None:
                    place = (output.topic, self._partition, len(rows))
                    rows.append(_Row(*place, output.key, output.value, int(now * 1000)))
            begin = end

    def _restart(self) -> None:
        """What the twin agent said is said again after a crash. The alert agent's state follows from what it is told,
        so it does not matter whether it was killed too."""
        self._run.twin = self._make_twin(self._partition)
        for number, payload in sorted(self._blocks.items()):
            self._run.twin.load_block(number, payload)
        self.crashed += 1

    def _write(self, rows: Sequence[_Row]) -> None:
        if rows:
            first = rows[0]
            path = segment_path(self._folder, first.topic, first.partition, first.offset)
            write_segment(path, table(first.topic, rows), rows[-1].offset)


def run_explain_bench(
    configuration: Configuration,
    rules: RuleSet,
    alerts: int,
    seed: int,
    patients: int,
    days: float,
    crashes: float = 0.0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Record a ward of a seed, draw `alerts` of its alerts and recompute them. Raises `UserError` for fewer alerts.

    `crashes` is in how many of the stretches of two hours, as a share, each partition's worker is killed once.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="biotwin-explain-") as name:
        folder = Path(name)
        made = processors_under(configuration, rules)
        rng = np.random.default_rng(seed)
        recorders = [_Recorder(made, partition, folder, rng, crashes) for partition in range(PARTITIONS)]
        registry = model_set(configuration.worker.model_set).registry
        records = _record(recorders, LabelledWard(patients, days, seed), registry, seed, say)
        recorded_s = time.monotonic() - began
        known, found = _drawn(folder, alerts, seed)
        found_s = time.monotonic() - began - recorded_s
        compared = _recomputed(configuration, rules, found, folder, say)
    by_rule: dict[str, Counter[str]] = defaultdict(Counter)
    for one, comparison in zip(found, compared, strict=True):
        by_rule[one.alerts[0].rule][comparison.outcome] += 1
    counts = Counter(comparison.outcome for comparison in compared)
    return {
        "alerts": len(found),
        "seed": seed,
        "patients": patients,
        "days": days,
        "records": records,
        "ward_alerts": known,
        "crashes": sum(recorder.crashed for recorder in recorders),
        "rules": rules.hash,
        "build": build_name(),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "lines": sum(comparison.recorded for comparison in compared),
        "extra_notices": sum(comparison.extra_notices for comparison in compared),
        "by_rule": {rule: {o: count[o] for o in OUTCOMES} for rule, count in sorted(by_rule.items())},
        "different": [
            {"alert": one.names, "rule": one.alerts[0].rule, **msgspec.to_builtins(comparison)}
            for one, comparison in zip(found, compared, strict=True)
            if comparison.outcome != "match"
        ][:10],
        "seconds": {
            "record": round(recorded_s, 1),
            "find": round(found_s, 1),
            "recompute": round(time.monotonic() - began - recorded_s - found_s, 1),
        },
        "max_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000.0, 1),
    }


def _record(
    recorders: Sequence[_Recorder], ward: LabelledWard, registry: Registry, seed: int, say: Callable[[str], None]
) -> int:
    """Run a ward through the worker's processors, two hours at a time, and write history. Returns how many records the
    log has."""
    sent, arrivals, log = (
        WardRecords(ward, registry, seed),
        Arrivals(ward.patients),
        WardLogWriter(ward, registry, seed),
    )
    count = 0
    for chunk in ward.chunks():
        begin_t, end_t = float(chunk.t[0]), float(chunk.t[-1]) + ward.period_s
        arrived = [arrivals.until(join([sent.of_chunk(chunk), ticks(begin_t, end_t)]), end_t)]
        if end_t >= ward.end_t:
            arrived.append(arrivals.until(closing_tick(ward.end_t + 3600.0), float("inf")))
        values: list[list[tuple[bytes | None, bytes]]] = [[] for _ in recorders]
        for records in arrived:
            for key, value in log.values(records):
                for partition in range(PARTITIONS) if key is None else (partition_of(key, PARTITIONS),):
                    values[partition].append((key, value))
        for recorder, own in zip(recorders, values, strict=True):
            recorder.take(own, end_t)
            count += len(own)
        say(f"recorded {(end_t - START_T) / 3600.0:.0f} h")
    for recorder in recorders:
        recorder.finish()
    return count


def _drawn(folder: Path, alerts: int, seed: int) -> tuple[int, list[AlertRecords]]:
    """How many alerts history has, and some of them at random, each with all its records. Raises `UserError` where
    there are fewer."""
    rows = query_history(folder, ALERTS, "SELECT DISTINCT alert FROM history", {})
    known = sorted(records_in_history(folder, [name for (name,) in rows]), key=lambda one: one.names)
    if len(known) < alerts:
        raise UserError(f"the ward has {len(known)} alerts, not {alerts}; ask for more --patients or --days")
    order = np.random.default_rng(seed).permutation(len(known))[:alerts]
    return len(known), [known[place] for place in order.tolist()]


def _recomputed(
    configuration: Configuration,
    rules: RuleSet,
    found: Sequence[AlertRecords],
    folder: Path,
    say: Callable[[str], None],
) -> list[Comparison]:
    """Each alert beside what the log gives, with one recomputation for each partition."""
    here = origin_here(configuration, rules, build_name())
    ends = [end_of_log(one.alerts) for one in found]
    compared: dict[int, Comparison] = {
        n: Comparison("unjudged", len(found[n].lines), 0, reasons=[end])
        for n, end in enumerate(ends)
        if isinstance(end, str)
    }
    for partition in range(PARTITIONS):
        own = {n: end[1] for n, end in enumerate(ends) if not isinstance(end, str) and end[0] == partition}
        if not own:
            continue
        last = max(own.values())
        names = {name for n in own for name in found[n].names}
        run = Recomputation(configuration, rules, partition, names, RECOMPUTED_BATCH)
        rows: list[LoggedRecord] = []
        for row in read_log_of(folder, partition, sorted({found[n].alerts[0].patient for n in own}), last):
            rows.append(row)
            if len(rows) == ROWS_AT_ONCE:
                run.take(rows)
                rows = []
        run.take(rows)
        missing = missing_from_log(folder, partition, last)
        for n in own:
            one = found[n]
            origins = [origin for origin in map(origin_of, one.alerts) if origin is not None]
            reasons = forbidding(origins, here) + doubts(origins, one.before, here, missing, "history")
            compared[n] = compare(one.lines, run.lines(one.names), reasons)
        say(f"recomputed partition {partition}: {len(own)} alerts")
    return [compared[n] for n in range(len(found))]
