"""What the worker tells Prometheus about its agents. Nothing here decides anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
from aiokafka import ConsumerRecord

from contracts import topics
from contracts.metrics import ProcessMetrics
from contracts.quarantine import Reason
from stream.observe_alarms import AlarmObserver
from stream.processor import OutputRecord

if TYPE_CHECKING:
    from stream.agents import PartitionState

SAMPLED_RECORDS = 20
"""How many records of a fetch go into the latency histograms; of a smaller fetch, all."""

PASSED_ON = frozenset({"tick", "command"})
"""Kinds of record in `conditions` that are no conditions."""

PROCESSOR_COUNTERS = {
    "applied": "biotwin_readings_applied_total",
    "late": "biotwin_readings_late_total",
    "duplicates": "biotwin_readings_duplicate_total",
    "provisional_withdrawn": "biotwin_provisional_withdrawn_total",
}
"""Counters of a processor that the twin agent publishes, by metric."""


class Observer:
    """Keeps the metrics of one worker."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._alarms = AlarmObserver(metrics)
        self._recovery_left: dict[tuple[str, int], int] = {}

    def batch(
        self,
        agent: str,
        state: PartitionState,
        records: Sequence[ConsumerRecord],
        outputs: Sequence[OutputRecord],
    ) -> None:
        """One fetch was applied and its outputs handed over."""
        metrics = self._metrics
        metrics.counter("biotwin_records_total").labels(agent).inc(len(records))
        metrics.histogram("biotwin_batch_records").labels(agent).observe(len(records))
        now = time.time()
        latency = {
            "twin": "biotwin_ingest_to_applied_seconds",
            "alerts": "biotwin_applied_to_alert_seconds",
        }.get(agent)
        if latency is not None:
            histogram = metrics.histogram(latency)
            # Ticks on their way to the alert agent are no conditions.
            timed = [record for record in records if record.key is not None] if agent == "alerts" else records
            for record in timed[:: max(len(timed) // SAMPLED_RECORDS, 1)]:
                histogram.observe(max(now - record.timestamp / 1000.0, 0.0))
        for output in outputs:
            self._output(output)
        self._count(agent, state)

    def _output(self, output: OutputRecord) -> None:
        if output.value is None or output.topic not in (topics.CONDITIONS, topics.ALERTS, topics.JOURNAL):
            return
        record = orjson.loads(output.value)
        if output.topic == topics.JOURNAL:
            self._metrics.counter("biotwin_alert_signals_total").labels(record["priority"], record["event"]).inc()
            self._alarms.transition(record)
        elif output.topic == topics.ALERTS:
            self._metrics.counter("biotwin_alerts_total").labels(
                record.get("priority", ""), record.get("transition", "")
            ).inc()
        elif record.get("kind") not in PASSED_ON:
            self._metrics.counter("biotwin_conditions_total").labels(
                record.get("state", ""), record.get("stage", "")
            ).inc()

    def _count(self, agent: str, state: PartitionState) -> None:
        """Publish by how much the processor's own counters have grown."""
        counters = state.processor.counters()
        for name, value in counters.items():
            grown = value - state.counted.get(name, 0)
            if grown <= 0:
                continue
            state.counted[name] = value
            if name == "quarantined":
                self._metrics.counter("biotwin_quarantined_total").labels(
                    str(Reason.BAD_COMMAND if agent == "router" else Reason.BAD_RECORD)
                ).inc(grown)
            elif name == "fence_skips":
                self._metrics.counter("biotwin_fence_skips_total").labels(agent).inc(grown)
            elif name in PROCESSOR_COUNTERS and agent == "twin":
                self._metrics.counter(PROCESSOR_COUNTERS[name]).inc(grown)

    def standing(self, states: Sequence[PartitionState], lags: Sequence[int]) -> None:
        """Gauges over everything this worker owns; called about once a second."""
        metrics = self._metrics
        now, clock = time.time(), time.monotonic()
        agents = {state.stage.name for state in states}
        for agent in agents:
            own = [(state, lag) for state, lag in zip(states, lags, strict=True) if state.stage.name == agent]
            metrics.gauge("biotwin_lag_records").labels(agent).set(sum(lag for _, lag in own))
            behind = [now - state.newest_s for state, lag in own if lag > 0 and state.newest_s > 0]
            metrics.gauge("biotwin_lag_seconds").labels(agent).set(max(behind, default=0.0))
            metrics.gauge("biotwin_checkpoint_age_seconds").labels(agent).set(
                max(clock - state.checkpointed_at for state, _ in own)
            )
        rows = [state.processor.counters().get("rows", 0) for state in states if state.stage.name == "twin"]
        metrics.gauge("biotwin_patients").set(sum(rows))
        self._alarms.standing([state.processor for state in states])

    def checkpoint(self, agent: str, written_bytes: int) -> None:
        self._metrics.counter("biotwin_checkpoints_total").labels(agent).inc()
        self._metrics.counter("biotwin_checkpoint_bytes_total").labels(agent).inc(written_bytes)

    def commit_refused(self) -> None:
        self._metrics.counter("biotwin_commits_refused_total").inc()

    def released(self, readings: int) -> None:
        self._metrics.counter("biotwin_quarantine_released_total").inc(readings)

    def recovery(self, agent: str, partition: int, left: int) -> None:
        self._recovery_left[agent, partition] = left
        total = sum(left for (owner, _), left in self._recovery_left.items() if owner == agent)
        self._metrics.gauge("biotwin_recovery_blocks_left").labels(agent).set(total)

    def ready(self, ready: bool) -> None:
        self._metrics.gauge("biotwin_ready").set(1.0 if ready else 0.0)

    def ticks_stopped(self, partition: int, stopped: bool) -> None:
        self._metrics.gauge("biotwin_ticks_stopped").labels(str(partition)).set(1.0 if stopped else 0.0)

    def kafka_up(self, up: bool) -> None:
        self._metrics.gauge("biotwin_kafka_up").set(1.0 if up else 0.0)
