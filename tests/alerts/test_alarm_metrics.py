"""Alarm quality as Prometheus sees it: from the alert agent, the same after a restart, and with alarms of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from alerts.alert_signal import PatientSignals, Signal
from alerts.quality.live import alarms_now, worst_tenth_now
from contracts.command import Feedback
from contracts.configuration import Configuration
from contracts.metrics import ProcessMetrics
from contracts.reading import Tick
from contracts.topics import JOURNAL
from loadtest.pipeline import Pipeline
from loadtest.replay_input import Intake, Line
from stream import observe_alarms
from stream.alert_processor import AlertProcessor
from stream.observe_alarms import AlarmObserver
from stream.twin_processor import TwinProcessor
from tests.alerts.test_alarm_review import START, command, lines
from tests.alerts.test_alert_journal import Value, acknowledge, logged, processor
from tests.alerts.test_alert_processor import condition

REPOSITORY = Path(__file__).resolve().parents[2]
NEVER_ENDS = Tick(200.0 + 90_000.0)


def feedback(alert: str, useful: bool, command: str) -> Feedback:
    return Feedback(id=command, t=5.0, author="nurse-1", patient="p1", alert=alert, useful=useful)


def counted(values: list[Value]) -> tuple[ProcessMetrics, AlertProcessor]:
    metrics, alerts = ProcessMetrics(), processor()
    observer = AlarmObserver(metrics)
    for output in alerts.process(logged(values), now=1.0):
        if output.topic == JOURNAL:
            observer.transition(orjson.loads(output.value or b""))
    return metrics, alerts


def test_alarms_answers_and_feedback_are_counted_without_naming_anybody() -> None:
    metrics, _ = counted(
        [
            Tick(200.0),
            condition(),
            acknowledge(),
            Tick(600.0),  # a reminder is due meanwhile
            acknowledge(command_id="c2"),
            feedback("p1-a", useful=False, command="c3"),
        ]
    )
    value = metrics.registry.get_sample_value
    labels = {"priority": "high", "rule": condition().rule}
    assert value("biotwin_alarms_total", labels) == 1.0
    assert value("biotwin_alarm_feedback_total", labels | {"verdict": "not_useful"}) == 1.0
    assert value("biotwin_alarm_answered_seconds_count", {"priority": "high"}) == 1.0, "the first answer alone"
    assert value("biotwin_alarm_answered_seconds_sum", {"priority": "high"}) == 0.5
    names = {text for family in metrics.registry.collect() for one in family.samples for text in one.labels.values()}
    assert not any("p1" in name or "nurse" in name for name in names)


def test_gauges_stand_on_checkpointed_state_so_that_a_restart_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe_alarms, "GAUGES_EVERY_S", 0.0)
    _, alerts = counted([Tick(200.0), condition(), NEVER_ENDS])
    restarted = AlertProcessor(Configuration(), 3, processor()._rules)
    for block in alerts.changed_blocks():
        restarted.load_block(block.number, block.payload)
    restarted.process(logged([NEVER_ENDS], first=3), now=1.0)

    def gauges(one: AlertProcessor) -> dict[str, Any]:
        metrics = ProcessMetrics()
        AlarmObserver(metrics).standing([one])
        return {
            sample.name + str(sample.labels): sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    found = gauges(alerts)
    assert found == gauges(restarted)
    labels = {"priority": "high", "rule": condition().rule}
    assert found[f"biotwin_alarms_stale{labels}"] == 1.0
    assert found["biotwin_alarms_last_ten_minutes{}"] == 0.0


def signal(announced_t: float, rule: str = "spo2", **changes: Any) -> Signal:
    made = Signal(rule, "physiological", "high", latching=False, state="on", announced_t=announced_t)
    return msgspec.structs.replace(made, **changes)


def test_chattering_counts_patients_and_floods_count_alarms() -> None:
    chatty = PatientSignals(
        standing={"c": signal(1000.0)},
        ended={"a": signal(500.0, state="inactive"), "b": signal(800.0, state="inactive")},
    )
    calm = PatientSignals(ended={"d": signal(900.0, priority="low", state="inactive")})
    now = alarms_now([(chatty, 1050.0), (calm, 1050.0)])
    assert dict(now.chattering) == {("high", "spo2"): 1}
    assert now.last_ten_minutes == 3
    assert now.per_patient == [3]
    assert worst_tenth_now(now, monitored=30) == 1.0
    later = alarms_now([(chatty, 1500.0), (calm, 1500.0)])
    assert not later.chattering
    assert later.last_ten_minutes == 1


def test_what_is_latched_is_over_and_not_stale() -> None:
    standing = {"a": signal(0.0, state="latched"), "b": signal(0.0, state="acknowledged"), "c": signal(90_000.0)}
    assert dict(alarms_now([(PatientSignals(standing=standing), 100_000.0)]).stale) == {("high", "spo2"): 1}
    assert worst_tenth_now(alarms_now([]), 0) == 0.0


def test_a_patient_is_monitored_until_a_quarter_of_an_hour_after_the_last_reading() -> None:
    intake, pipeline = Intake(Configuration()), Pipeline(Configuration(), START)

    def monitored(more: list[Line]) -> int:
        pipeline.run(record for line in more for record in intake.take(line))
        return sum(twin.monitored() for twin in pipeline.twins if isinstance(twin, TwinProcessor))

    assert monitored([]) == 0
    assert monitored(lines()[:60]) == 1
    assert monitored([command(START + 900.0, kind="news2", patient="p9", spo2_scale=1)]) == 1
    assert monitored([command(START + 1000.0, kind="news2", patient="p9", spo2_scale=1)]) == 0


FLOOD = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: biotwin_alarms_last_ten_minutes{{process="worker-0"}}
        values: 3x10 6x10
      - series: biotwin_alarms_last_ten_minutes{{process="worker-1"}}
        values: 5x20
      - series: biotwin_alarms_chattering{{process="worker-0", priority="high", rule="spo2"}}
        values: 1x20 _x40
    alert_rule_test:
      - {{eval_time: 9m, alertname: BiotwinAlarmFlood, exp_alerts: []}}
      - eval_time: 15m
        alertname: BiotwinAlarmFlood
        exp_alerts:
          - exp_labels: {{severity: warning}}
            exp_annotations:
              summary: "11 alarms of high or medium priority in 10 minutes: more than one person can answer"
      - {{eval_time: 50m, alertname: BiotwinAlarmsChatter, exp_alerts: []}}
"""


@pytest.mark.prometheus
def test_a_flood_over_several_workers_raises_an_alarm(tmp_path: Path) -> None:
    file = tmp_path / "flood.yml"
    file.write_text(FLOOD.format(rules=REPOSITORY / "deploy" / "prometheus" / "rules.yml"))
    promtool = shutil.which("promtool") or "promtool"
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
