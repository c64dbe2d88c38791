"""Every metric name, declared once. `docs/metrics.md`, the dashboards' check and the processes all read this table.

Base units (seconds, bytes). No label ever holds a patient, a device or anything else that names a person.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MetricKind = Literal["counter", "gauge", "histogram"]

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ANSWER_BUCKETS_S = (5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0)
SIZE_BUCKETS = (1.0, 10.0, 100.0, 1_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0)


class Metric(NamedTuple):
    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = LATENCY_BUCKETS_S


METRICS: tuple[Metric, ...] = (
    Metric("biotwin_ingest_readings_total", "counter", (), "Readings acknowledged by Kafka."),
    Metric("biotwin_ingest_payloads_total", "counter", ("format",), "MQTT payloads taken in, by format."),
    Metric("biotwin_quarantined_total", "counter", ("reason",), "Payloads or readings sent to quarantine, by reason."),
    Metric(
        "biotwin_quarantine_released_total",
        "counter",
        (),
        "Quarantined readings released because their device was bound.",
    ),
    Metric("biotwin_sequence_gaps_total", "counter", (), "Sequence numbers that never came, over all devices."),
    Metric("biotwin_clock_skew_seconds", "histogram", (), "Estimated device clock skew, absolute value."),
    Metric("biotwin_mqtt_connected", "gauge", (), "1 while the MQTT session is up."),
    Metric("biotwin_mqtt_unacknowledged", "gauge", (), "PUBLISH packets held until Kafka acknowledges."),
    Metric("biotwin_mqtt_broker_stored_bytes", "gauge", (), "Bytes of messages that the MQTT broker holds."),
    Metric("biotwin_mqtt_broker_dropped", "gauge", (), "Messages that the MQTT broker has dropped since it started."),
    Metric("biotwin_mqtt_broker_full_bytes", "gauge", (), "Bytes from which on the MQTT broker drops messages."),
    Metric("biotwin_kafka_up", "gauge", (), "1 while the last exchange with Kafka succeeded."),
    Metric("biotwin_readings_applied_total", "counter", (), "Readings folded into a twin."),
    Metric("biotwin_readings_late_total", "counter", (), "Readings older than the lateness bound."),
    Metric("biotwin_readings_duplicate_total", "counter", (), "Repeats dropped in the twin."),
    Metric("biotwin_fence_skips_total", "counter", ("agent",), "Records skipped because the state already holds them."),
    Metric("biotwin_records_total", "counter", ("agent",), "Kafka records processed."),
    Metric("biotwin_lag_records", "gauge", ("agent",), "Records between the end of the log and what was applied."),
    Metric("biotwin_lag_seconds", "gauge", ("agent",), "Age of the newest applied record."),
    Metric("biotwin_batch_records", "histogram", ("agent",), "Records in one fetch batch.", SIZE_BUCKETS),
    Metric("biotwin_checkpoint_age_seconds", "gauge", ("agent",), "Time since the last finished checkpoint."),
    Metric("biotwin_checkpoint_bytes_total", "counter", ("agent",), "Bytes written by checkpoints."),
    Metric("biotwin_checkpoints_total", "counter", ("agent",), "Finished checkpoints."),
    Metric("biotwin_commits_refused_total", "counter", (), "Commits refused because a write was not delivered."),
    Metric("biotwin_recovery_blocks_left", "gauge", ("agent",), "Blocks still to read before the agent is ready."),
    Metric("biotwin_patients", "gauge", (), "Rows held by this worker."),
    Metric("biotwin_conditions_total", "counter", ("state", "stage"), "Condition records written."),
    Metric("biotwin_alerts_total", "counter", ("priority", "transition"), "Alert records written."),
    Metric("biotwin_alert_signals_total", "counter", ("priority", "event"), "Transitions of alerts' signals written."),
    Metric("biotwin_alarms_total", "counter", ("priority", "rule"), "Alarms: alerts announced that did not stand."),
    Metric(
        "biotwin_alarm_answered_seconds",
        "histogram",
        ("priority",),
        "Announced to first acknowledged, or put off, by a person.",
        ANSWER_BUCKETS_S,
    ),
    Metric(
        "biotwin_alarm_feedback_total",
        "counter",
        ("priority", "rule", "verdict"),
        "Opinions that people gave of alarms: useful, not_useful.",
    ),
    Metric(
        "biotwin_alarms_chattering",
        "gauge",
        ("priority", "rule"),
        "Patients whose alarms of a rule came three times within ten minutes.",
    ),
    Metric("biotwin_alarms_stale", "gauge", ("priority", "rule"), "Alerts that have stood for longer than 24 h."),
    Metric("biotwin_alarms_last_ten_minutes", "gauge", (), "Alarms of high and medium priority in the last 10 min."),
    Metric(
        "biotwin_alarms_worst_tenth_share",
        "gauge",
        (),
        "Share of the last day's alarms of high and medium priority that the tenth of patients with the most has.",
    ),
    Metric("biotwin_monitored_patients", "gauge", (), "Patients of whom a reading arrived in the last 15 min."),
    Metric("biotwin_monitored_patient_days_total", "counter", (), "Days for which patients were monitored."),
    Metric("biotwin_provisional_withdrawn_total", "counter", (), "Provisional alerts that settling withdrew."),
    Metric("biotwin_publish_to_ingest_seconds", "histogram", (), "Measured time to arrival at ingest."),
    Metric("biotwin_ingest_to_applied_seconds", "histogram", (), "Arrival at ingest to folded into the twin."),
    Metric("biotwin_applied_to_alert_seconds", "histogram", (), "Condition written to alert written."),
    Metric("biotwin_alert_to_delivered_seconds", "histogram", ("channel",), "Alert written to handed to the channel."),
    Metric("biotwin_alerts_delivered_total", "counter", ("channel",), "Alert records handed to a channel."),
    Metric(
        "biotwin_notifications_queued_total",
        "counter",
        ("channel", "subscription"),
        "Alert records that a subscription asked for.",
    ),
    Metric(
        "biotwin_notification_retries_total",
        "counter",
        ("channel", "subscription"),
        "Attempts after which a notification waits for another.",
    ),
    Metric(
        "biotwin_notifications_failed_total",
        "counter",
        ("channel", "subscription", "state"),
        "Notifications that a receiver declined, that failed behind it, or that expired.",
    ),
    Metric(
        "biotwin_oldest_undelivered_seconds",
        "gauge",
        ("channel", "subscription"),
        "Age of the oldest notification that is neither delivered nor given up, 0 where there is none.",
    ),
    Metric("biotwin_answers_total", "counter", ("channel", "state"), "Answers to notifications, by what they say."),
    Metric("biotwin_escalations_total", "counter", ("chain", "step"), "Calls of escalations written."),
    Metric("biotwin_escalations_waiting", "gauge", (), "Alerts that were escalated and are answered by nobody."),
    Metric("biotwin_escalations_exhausted", "gauge", (), "Of these, those whose chain is at its end."),
    Metric("biotwin_escalation_ready", "gauge", (), "1 while whoever escalates has read everything there is."),
    Metric("biotwin_lost", "gauge", ("kind", "name"), "1 while a watched console or a subscriber is not there."),
    Metric("biotwin_console_clients", "gauge", (), "Open SSE streams."),
    Metric("biotwin_history_rows_total", "counter", ("topic",), "Rows sealed in Parquet."),
    Metric("biotwin_ticks_stopped", "gauge", ("partition",), "1 while a partition's ticks stand still."),
    Metric("biotwin_ready", "gauge", (), "1 once recovered and assigned."),
    Metric("biotwin_resident_memory_bytes", "gauge", (), "Resident set size of this process."),
)


class ProcessMetrics:
    """The metrics of one process in a registry of its own.

    `counter`, `gauge` and `histogram` raise `KeyError` for a name that is not declared above.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def counter(self, name: str) -> Counter:
        if name not in self._counters:
            metric = _declared(name, "counter")
            self._counters[name] = Counter(name, metric.meaning, metric.labels, registry=self.registry)
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            metric = _declared(name, "gauge")
            self._gauges[name] = Gauge(name, metric.meaning, metric.labels, registry=self.registry)
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        if name not in self._histograms:
            metric = _declared(name, "histogram")
            self._histograms[name] = Histogram(
                name, metric.meaning, metric.labels, buckets=metric.buckets, registry=self.registry
            )
        return self._histograms[name]


_BY_NAME = {metric.name: metric for metric in METRICS}


def _declared(name: str, kind: MetricKind) -> Metric:
    metric = _BY_NAME[name]
    if metric.kind != kind:
        raise KeyError(f"{name} is declared as a {metric.kind}, not a {kind}")
    return metric
