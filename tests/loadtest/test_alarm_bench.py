"""The benchmark of alarms: the way around JSON changes nothing, disturbances cause no alarm, scoring is as defined."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from alerts.rules import RuleSet, default_rules, default_rules_toml, parse_rules
from contracts.canonical import canonical_bytes
from contracts.condition import Alert, AlertState, Condition, Provenance, to_builtins
from contracts.configuration import Configuration, Worker
from contracts.topics import CONDITIONS
from deploy.cli.bench import app
from deploy.errors import UserError
from loadtest.alarm_bench import GOALS, _delays, reference_rules, run_bench
from loadtest.alarm_report import report_lines
from loadtest.alarm_run import Alarm, AlarmLog, AlarmRun
from loadtest.alarm_scoring import Span, Tally, intervals, rates, score, worst_tenth_share
from loadtest.labelled_ward import LabelledWard, Spots
from loadtest.threshold_alarms import MinuteValues
from loadtest.ward_batches import (
    Arrivals,
    Records,
    WardRecords,
    closing_tick,
    join,
    ticks,
)
from loadtest.ward_events import START_T, Event
from loadtest.ward_log import WardLogWriter
from stream.evidence import condition_bytes
from stream.model_sets import model_set
from stream.processor import LoggedRecord
from stream.processors import processors
from tests.twin_state.conftest import ENGINE_RULES
from twin_state import batch as b
from twin_state import blocks
from twin_state.store import BLOCK_ROWS, Store

PATIENTS = 6
HOURS = 6.0
SEED = 5
CLINICAL = model_set("clinical")


@cache
def rules() -> RuleSet:
    return default_rules(START_T)


def many_alarms() -> RuleSet:
    """Rules on values as they come: many conditions within hours."""
    return parse_rules(ENGINE_RULES.read_bytes(), START_T)


@cache
def ward() -> LabelledWard:
    return LabelledWard(PATIENTS, HOURS / 24.0, SEED)


@cache
def records() -> Records:
    """Everything the ward sends, with ticks, in no order."""
    made = WardRecords(ward(), CLINICAL.registry, SEED)
    sent = [made.of_chunk(chunk) for chunk in ward().chunks()]
    return join([*sent, ticks(START_T, ward().end_t), closing_tick(ward().end_t + 60.0)])


def arrived(sent: Records) -> Records:
    return Arrivals(PATIENTS).until(sent, float("inf"))


def logged(sent: Records) -> Iterator[LoggedRecord]:
    """The same records as they would stand in the log, as JSON."""
    log = WardLogWriter(ward(), CLINICAL.registry, SEED)
    return (LoggedRecord(n, key, value) for n, (key, value) in enumerate(log.values(sent)))


def said(sent: Records) -> list[tuple[Condition, list[Alert]]]:
    run = AlarmRun(CLINICAL, many_alarms(), PATIENTS)
    return run.take(Arrivals(PATIENTS).batch(sent, run.rows))


def settled(what: list[tuple[Condition, list[Alert]]]) -> list[bytes]:
    """The settled alerts about patients in canonical form; silence is judged from arrival, and is left out."""
    return sorted(
        canonical_bytes(to_builtins(alert))
        for _, alerts in what
        for alert in alerts
        if alert.stage == "settled" and alert.transition != "withdrawn" and alert.kind == "physiological"
    )


def without_opening(value: bytes) -> bytes:
    """A condition without the place of its opening reading, which is known only where both lie in one batch."""
    condition = orjson.loads(value)
    condition["provenance"].pop("opened", None)
    return orjson.dumps(condition)


def test_columns_and_json_give_the_same_conditions_byte_for_byte() -> None:
    sent = arrived(records())
    twin = processors(Configuration(worker=Worker(rules=str(ENGINE_RULES))), START_T).twin(0)
    outputs = twin.process(list(logged(sent)), 0.0)
    by_json = [without_opening(output.value or b"") for output in outputs if output.topic == CONDITIONS and output.key]
    by_columns = [without_opening(condition_bytes(condition)) for condition, _ in said(sent)]
    assert twin.counters()["quarantined"] == 0
    assert len(by_columns) > 20
    assert by_columns == by_json


def test_repeats_disorder_cuts_and_a_restart_change_no_settled_alert() -> None:
    undisturbed = said(arrived(records()))
    rng = np.random.default_rng(1)
    sent = records()
    readings = sent.kind == b.READING
    # Every reading comes up to 4.5 s late, within the bound, and every tenth a second time, up to 60 s later.
    late = np.maximum(sent.received_at, sent.t) + np.where(readings, rng.uniform(0.0, 2.5, len(sent.t)), 0.0)
    repeated = np.flatnonzero(readings & (rng.random(len(sent.t)) < 0.1))
    again = sent.take(repeated)
    again = again._replace(received_at=late[repeated] + rng.uniform(0.1, 60.0, len(repeated)))
    disturbed = arrived(join([sent._replace(received_at=late), again]))
    run = AlarmRun(CLINICAL, many_alarms(), PATIENTS)
    arrivals = Arrivals(PATIENTS)
    heard: list[tuple[Condition, list[Alert]]] = []
    edges = [0, *sorted(rng.integers(1, len(disturbed.t), 40).tolist()), len(disturbed.t)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        heard += run.take(arrivals.batch(disturbed.take(np.arange(begin, end)), run.rows))
        if number % 10 == 5:
            run.store = restored(run.store)
    assert len(repeated) > 500
    assert run.store.counters()["late"] == 0
    assert settled(heard) == settled(undisturbed)
    assert len(settled(undisturbed)) > 20


@pytest.mark.parametrize("in_force", [rules, many_alarms])
def test_repeats_gaps_restarts_and_late_data_alone_raise_no_alarm_in_patients_who_are_well(
    in_force: Callable[[], RuleSet],
) -> None:
    rng = np.random.default_rng(2)
    sent = records()
    normal = {"heart_rate": 75.0, "respiratory_rate": 15.0, "spo2": 97.0, "body_temperature": 36.8}
    normal |= {"systolic_pressure": 125.0, "diastolic_pressure": 75.0, "consciousness": 0.0, "supplemental_oxygen": 0.0}
    value = sent.value.copy()
    for name, usual in normal.items():
        value[(sent.signal == CLINICAL.registry.index[name]) & (sent.kind == b.READING)[:, None]] = usual
    readings = sent.kind == b.READING
    # Ten minutes of every forty are missing; a tenth of the rest comes up to ten minutes late, a tenth twice.
    kept = ~readings | ((sent.t + 400.0 * sent.patient) % 2400.0 >= 600.0)
    late = readings & (rng.random(len(sent.t)) < 0.1)
    received_at = sent.received_at + np.where(late, rng.uniform(0.0, 600.0, len(sent.t)), 0.0)
    sent = sent._replace(value=value, received_at=received_at).take(kept)
    again = sent.take((sent.kind == b.READING) & (rng.random(len(sent.t)) < 0.1))
    disturbed = arrived(
        join([sent, again._replace(received_at=again.received_at + rng.uniform(0.1, 900.0, len(again.t)))])
    )
    run = AlarmRun(CLINICAL, in_force(), PATIENTS)
    arrivals = Arrivals(PATIENTS)
    for part in np.array_split(np.arange(len(disturbed.t)), 30):
        run.take(arrivals.batch(disturbed.take(part), run.rows))
        run.store = restored(run.store)
    assert [alarm for alarm in run.log.alarms if alarm.kind == "physiological"] == []


def restored(store: Store) -> Store:
    """As after a crash: from its blocks."""
    fresh = Store(store.configuration)
    for number in range((store.rows + BLOCK_ROWS - 1) // BLOCK_ROWS):
        blocks.load_block(fresh, number, blocks.block_bytes(store, number))
    return fresh


NEVER = float("inf")


def event(onset_t: float = 1000.0, patient: int = 0, **other: Any) -> Event:
    plain = {"begin_t": onset_t - 300.0, "end_t": onset_t + 7200.0, "size": 1.0, "rise_s": 600.0, "plateau_s": 6000.0}
    return Event(patient, "sepsis", "sudden", **{"onset_t": onset_t, "fall_s": 600.0, **plain, **other})


@pytest.mark.parametrize(
    ("told_t", "until_t", "hit", "false"),
    [
        (1000.0, 1100.0, True, False),  # at the onset
        (2800.0, 2900.0, True, False),  # 30 min after it
        (2801.0, 2900.0, False, False),  # too late to match, but it belongs
        (800.0, 1000.0, True, False),  # in the rise, standing at the onset
        (800.0, 999.0, False, False),  # in the rise, over before the onset
        (600.0, NEVER, False, True),  # stood before the event began
        (8201.0, NEVER, False, True),  # after its end
    ],
)
def test_when_an_alarm_matches(told_t: float, until_t: float, hit: bool, false: bool) -> None:
    found = score([event()], np.array([True]), [Span(0, told_t, until_t)])
    assert (bool(found.hits[0]), bool(found.false[0])) == (hit, false)
    assert found.hit_by.tolist() == [0 if hit else -1]


def test_an_event_is_matched_once_and_by_its_own_patients_alarms_alone() -> None:
    alarms = [Span(0, 1200.0, NEVER), Span(0, 1100.0, NEVER), Span(1, 1100.0, NEVER)]
    found = score([event()], np.array([True]), alarms)
    assert found.hit_by.tolist() == [1]
    assert found.hits.tolist() == [False, True, False]
    assert found.false.tolist() == [False, False, True]


def test_an_alarm_in_an_event_that_no_sensor_saw_is_neither_hit_nor_false() -> None:
    found = score([event()], np.array([False]), [Span(0, 1100.0, NEVER)])
    assert (found.hits.tolist(), found.false.tolist()) == ([False], [False])


def test_rates_and_their_intervals_come_from_the_counts_of_patients() -> None:
    counts = Tally(
        alarms=np.array([8.0, 1.0, 1.0, 0.0]),
        monitored_days=np.full(4, 5.0),
        hits=np.array([2.0, 1.0, 0.0, 0.0]),
        false=np.array([4.0, 0.0, 1.0, 0.0]),
        events=np.array([2.0, 1.0, 1.0, 0.0]),
    )
    assert rates(counts) == {"per_patient_day": 0.5, "sensitivity": 0.75, "ppv": 3.0 / 8.0}
    low, high = intervals(counts)["per_patient_day"]
    assert 0.0 <= low < 0.5 < high <= 1.6
    assert intervals(counts) == intervals(counts)
    assert worst_tenth_share(counts) == 0.8
    alike = Tally(*(np.full(4, column.mean()) for column in counts))
    assert intervals(alike)["sensitivity"] == pytest.approx((0.75, 0.75))


def told(patient: int, told_t: float, until_t: float = NEVER, rule: str = "spo2-below-85") -> Alarm:
    return Alarm(patient, rule, "physiological", "high", START_T + told_t, START_T + told_t, START_T + until_t)


@pytest.mark.parametrize(
    ("alarms", "seconds"),
    [
        ([told(0, 1325.0), told(0, 1900.0)], [25.0]),  # the first one counts
        ([told(0, 1290.0)], [0.0]),  # stood when the threshold was passed
        ([told(0, 1200.0, 1250.0), told(0, 1340.0)], [40.0]),  # one that was over before it does not
        ([told(0, 9000.0)], []),  # after the event
        ([told(1, 1325.0)], []),  # another patient's
        ([told(0, 1325.0, rule="news2-emergency")], []),  # another rule's
    ],
)
def test_added_delay_runs_from_the_true_passing_of_the_threshold(alarms: list[Alarm], seconds: list[float]) -> None:
    minutes = minute_values([96.0] * 120)
    found = _delays([event(START_T + 1000.0)], minutes, alarms, [told(0, 1300.0), told(0, 1800.0)])
    assert found.seconds.tolist() == pytest.approx(seconds)
    assert found.passed == 1


def minute_values(spo2: list[float], quality: float = 0.95) -> MinuteValues:
    """One patient's SpO2, a value a minute, all else normal."""
    values = np.repeat(np.array(spo2), 6)[:, None]
    chunk = next(LabelledWard(1, 1.0, 1).chunks())
    none = Spots(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2)))
    found = MinuteValues()
    found.add(
        chunk._replace(
            t=np.linspace(START_T, START_T + 10.0 * (len(values) - 1), len(values)),
            spo2=values,
            heart_rate=np.full(values.shape, 70.0),
            respiratory_rate=np.full(values.shape, 15.0),
            oximeter_quality=np.full(values.shape, quality),
            patch_quality=np.ones(values.shape),
            cuff=none,
        )
    )
    return found


def test_plain_thresholds_count_crossings() -> None:
    nan = float("nan")
    values = minute_values([96, 91, 91, 96, 91.4, 91.5, 90, nan, nan, 90, 96])
    assert [(one.t - START_T) / 60.0 for one in values.plain()] == [2, 5, 7]
    assert [(one.until_t - START_T) / 60.0 for one in values.plain()] == [4, 6, 11]


def test_lasting_thresholds_ask_for_more_minutes_the_milder_it_is() -> None:
    assert len(minute_values([96, 90, 90, 90, 90, 96]).lasting()) == 0
    assert [(one.t - START_T) / 60.0 for one in minute_values([96, 90, 90, 90, 90, 90, 90, 96]).lasting()] == [6]
    assert [(one.t - START_T) / 60.0 for one in minute_values([96, 90, 83, 83, 90, 96]).lasting()] == [4]
    nan = float("nan")
    assert len(minute_values([96, 90, 90, 90, nan, 90, 90, 90, 96]).lasting()) == 0


def test_lasting_thresholds_leave_out_what_the_device_marks_as_poor() -> None:
    assert len(minute_values([96, 70, 70, 70, 96], quality=0.25).lasting()) == 0
    assert len(minute_values([96, 70, 70, 70, 96], quality=0.25).plain()) == 1


def alert(state: AlertState, t: float, identity: str = "a", announced_id: str = "") -> Alert:
    return Alert(
        id=identity,
        patient="ward-0001",
        rule="spo2-below-85",
        kind="physiological",
        priority="high",
        state=state,
        transition="onset",
        stage="settled",
        t=t,
        onset_t=t,
        sequence=1,
        message="",
        source="",
        provenance=Provenance(announced_id=announced_id),
    )


def test_an_alert_that_stands_is_one_alarm_and_one_that_comes_back_is_another() -> None:
    log = AlarmLog()
    log.add(0, alert("active", 10.0), 10.5)
    log.add(0, alert("active", 10.0, "b", announced_id="a"), 16.0)  # settled by an earlier reading
    log.add(0, alert("cleared", 60.0, "b"), 66.0)
    log.add(0, alert("active", 90.0, "b"), 90.5)
    log.add(0, alert("withdrawn", 90.0, "b"), 96.0)
    assert [(one.told_t, one.until_t, one.withdrawn) for one in log.alarms] == [(10.5, 60.0, False), (90.5, 90.0, True)]


def test_the_reference_has_the_high_priority_rules_without_delay() -> None:
    reference = reference_rules(rules())
    assert {rule.id for rule in reference.rules} == {
        rule.id for rule in rules().rules if rule.priority == "high" and rule.kind == "physiological"
    }
    assert all(rule.onset_delay_s == rule.hysteresis == 0.0 for rule in reference.rules)


def test_the_result_has_every_figure_and_can_be_told_to_people() -> None:
    progress: list[str] = []
    result = run_bench(rules(), [SEED, SEED + 1], 8, 0.5, progress.append)
    assert orjson.loads(orjson.dumps(result)) == result
    assert set(GOALS) <= set(result)
    assert len(progress) == 2
    assert result["monitored_patient_days"] <= 8.0
    assert result["interruptive_per_patient_day"] == pytest.approx(
        sum(counts["per_patient_day"] for counts in result["by_rule"].values()), abs=0.01
    )
    lines = list(report_lines(result))
    assert any("goal >= 0.95" in line for line in lines)
    assert run_bench(rules(), [SEED, SEED + 1], 8, 0.5, progress.append) == result


def test_the_command_runs_a_ward_of_a_seed_under_a_rule_file(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(default_rules_toml().replace(b"threshold = 84.9", b"threshold = 83.9"))
    report = tmp_path / "report.json"
    options = [
        "alarms",
        "--patients",
        "2",
        "--days",
        "0.25",
        "--seed",
        "9",
        "--rules",
        str(own),
        "--report",
        str(report),
    ]
    done = CliRunner().invoke(app, [*options, "--json"])
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    assert result == orjson.loads(report.read_bytes())
    assert (result["seeds"], result["patients"], result["days"]) == ([9], 2, 0.25)
    assert result["rules"] == parse_rules(own.read_bytes(), START_T).hash


def test_the_command_says_which_rule_file_cannot_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[[rule]]\nid = 3\n")
    done = CliRunner().invoke(app, ["alarms", "--rules", str(broken)])
    assert isinstance(done.exception, UserError)
    assert "broken.toml" in str(done.exception)
