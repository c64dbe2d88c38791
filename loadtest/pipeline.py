"""The pipeline in memory: the same processors that the worker drives, one for each partition, without Kafka.

`biotwin replay --through core`, the fuzz bench and the tests run on it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from contracts import topics
from contracts.configuration import Configuration
from loadtest.replay_input import Record
from stream.partition_run import PartitionRun
from stream.processor import LoggedRecord, OutputRecord, PartitionProcessor
from stream.processors import Processors, processors

BATCH_RECORDS = 2000


class Pipeline:
    """Telemetry in, everything the worker would write out, by topic.

    The rules are those in force at `at` (s since the epoch), unless `made` has others. `batch_records` may be anything
    from 1 on. `kept` names the topics whose records stay in `output`; without it all do.
    """

    def __init__(
        self,
        configuration: Configuration,
        at: float,
        batch_records: int = BATCH_RECORDS,
        made: Processors | None = None,
        kept: Container[str] | None = None,
    ) -> None:
        partitions = configuration.kafka.partitions
        self._batch_records = batch_records
        self._partitions = partitions
        made = made or processors(configuration, at)
        self._kept = kept
        self._runs = [PartitionRun(made, partition) for partition in range(partitions)]
        self.twins: list[PartitionProcessor] = [run.twin for run in self._runs]
        self._pending: list[list[LoggedRecord]] = [[] for _ in range(partitions)]
        self._telemetry_ends = [0] * partitions
        self.output: dict[str, list[OutputRecord]] = {}

    def run(self, records: Iterable[Record], now: float = 0.0) -> None:
        """Take in records and apply them all. `now` goes into provenance."""
        for record in records:
            if record.topic != topics.TELEMETRY:
                self._keep(OutputRecord(record.topic, record.key, record.value))
                continue
            partition = record.partition
            pending = self._pending[partition]
            pending.append(LoggedRecord(self._telemetry_ends[partition], record.key, record.value, record.headers))
            self._telemetry_ends[partition] += 1
            if len(pending) >= self._batch_records:
                self._apply(partition, now)
        for partition in range(self._partitions):
            self._apply(partition, now)

    def finish(self, now: float = 0.0) -> None:
        """Write what the processors held back."""
        for run in self._runs:
            for output in run.flush(now):
                self._keep(output)

    def counters(self) -> dict[str, int]:
        """The twin processors' totals over all partitions."""
        total: dict[str, int] = {}
        for twin in self.twins:
            for name, count in twin.counters().items():
                total[name] = total.get(name, 0) + count
        return total

    def _apply(self, partition: int, now: float) -> None:
        batch = self._pending[partition]
        if batch:
            self._pending[partition] = []
            for output in self._runs[partition].process(batch, now):
                self._keep(output)

    def _keep(self, output: OutputRecord) -> None:
        if self._kept is None or output.topic in self._kept:
            self.output.setdefault(output.topic, []).append(output)
