"""One partition in memory: its twin agent's processor, and behind it its alert agent's. Pure.

`biotwin explain` recomputes alerts on it, and the pipeline of `biotwin replay` has one for each partition.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.topics import CONDITIONS
from stream.processor import LoggedRecord, OutputRecord, PartitionProcessor, SourceRecord
from stream.processors import Processors


class PartitionRun:
    """Telemetry of one partition in, everything a worker would write out."""

    def __init__(self, made: Processors, partition: int) -> None:
        self.twin: PartitionProcessor = made.twin(partition)
        self.alerts: PartitionProcessor = made.alerts(partition)
        self._conditions = 0

    def process(self, records: Sequence[SourceRecord], now: float = 0.0) -> list[OutputRecord]:
        """What follows from the next records of the log, in offset order: what the twin agent writes, then what the
        alert agent makes of it. `now` goes into provenance."""
        return self._passed_on(self.twin.process(records, now), now)

    def flush(self, now: float = 0.0) -> list[OutputRecord]:
        """What the processors held back."""
        return self._passed_on(self.twin.flush(now), now) + self.alerts.flush(now)

    def _passed_on(self, outputs: list[OutputRecord], now: float) -> list[OutputRecord]:
        conditions = [output for output in outputs if output.topic == CONDITIONS]
        if not conditions:
            return outputs
        first = self._conditions
        self._conditions += len(conditions)
        logged = [LoggedRecord(first + n, output.key, output.value) for n, output in enumerate(conditions)]
        return outputs + self.alerts.process(logged, now)
