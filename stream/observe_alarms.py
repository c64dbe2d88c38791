"""What the worker tells Prometheus about the quality of its alarms.

The alert agent is the one process that sees each alarm once: a partition has one owner. Every figure but the share is a
sum over partitions, so those of several workers add up. Nothing here names a patient.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from alerts.quality.live import alarms_now, worst_tenth_now
from alerts.signal_table import ANSWERS, FEEDBACK
from contracts.metrics import ProcessMetrics
from stream.alert_processor import AlertProcessor
from stream.processor import PartitionProcessor
from stream.twin_processor import TwinProcessor

GAUGES_EVERY_S = 10.0
DAY_S = 86_400.0


class AlarmObserver:
    """Keeps the metrics of alarm quality of one worker."""

    def __init__(self, metrics: ProcessMetrics) -> None:
        self._metrics = metrics
        self._counted_at = time.monotonic()

    def transition(self, record: dict[str, Any]) -> None:
        """One record of `alerts.journal` was written."""
        priority, rule, event = record["priority"], record["rule"], record["event"]
        if event == "condition_onset":
            self._metrics.counter("biotwin_alarms_total").labels(priority, rule).inc()
        elif event in ANSWERS and record.get("answered_t") == record["t"] and "announced_t" in record:
            delay_s = record["t"] - record["announced_t"]
            self._metrics.histogram("biotwin_alarm_answered_seconds").labels(priority).observe(delay_s)
        elif event in FEEDBACK:
            verdict = "useful" if event == "marked_useful" else "not_useful"
            self._metrics.counter("biotwin_alarm_feedback_total").labels(priority, rule, verdict).inc()

    def standing(self, processors: Sequence[PartitionProcessor]) -> None:
        """Gauges over the partitions that this worker owns; looks at them every `GAUGES_EVERY_S` only."""
        clock = time.monotonic()
        since_s = clock - self._counted_at
        if since_s < GAUGES_EVERY_S:
            return
        self._counted_at = clock
        metrics = self._metrics
        monitored = sum(processor.monitored() for processor in processors if isinstance(processor, TwinProcessor))
        metrics.gauge("biotwin_monitored_patients").set(monitored)
        metrics.counter("biotwin_monitored_patient_days_total").inc(monitored * since_s / DAY_S)
        now = alarms_now(
            pair for processor in processors if isinstance(processor, AlertProcessor) for pair in processor.signals()
        )
        for name, counts in (
            ("biotwin_alarms_chattering", now.chattering),
            ("biotwin_alarms_stale", now.stale),
        ):
            gauge = metrics.gauge(name)
            gauge.clear()  # what is over is no series of value 0 for ever
            for (priority, rule), count in counts.items():
                gauge.labels(priority, rule).set(count)
        metrics.gauge("biotwin_alarms_last_ten_minutes").set(now.last_ten_minutes)
        metrics.gauge("biotwin_alarms_worst_tenth_share").set(worst_tenth_now(now, monitored))
