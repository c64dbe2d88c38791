"""A small recorded history, reported on and reviewed: from Parquet files, through the commands a person gives."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from alerts.quality.alarms import Alarm
from alerts.quality.review import GROUPS, fates, kept, labelled
from alerts.quality.sweep import differences, rules_between
from alerts.quality.truth import TrueEvent, found
from alerts.rules import RuleSet, parse_rules
from contracts.configuration import Configuration
from contracts.topics import ALERTS, JOURNAL, TELEMETRY
from deploy.cli import app
from loadtest.pipeline import Pipeline
from loadtest.replay_input import Intake, Line, Record
from stream.history_files import segment_path, write_segment
from stream.history_rows import table
from tests.alerts.test_alarm_quality import alarm

START = 1_767_225_600.0
"""2026-01-01."""

RULES = """
[[rule]]
id = "spo2-low"
kind = "physiological"
priority = "high"
channel = "spo2"
comparison = "at_most"
threshold = 87.0
hysteresis = 1.0
onset_delay_s = {delay}
clear_delay_s = 5.0
message = "SpO2 {{value}} %"
source = "test"
author = "test"

[[notice]]
id = "past-event"
kind = "advisory"
priority = "none"
message = "past"
source = "test"
author = "test"

[[notice]]
id = "ticks-stopped"
kind = "technical"
priority = "medium"
message = "ticks"
source = "test"
author = "test"
"""


def rules_of(delay: float, **changes: float) -> RuleSet:
    text = RULES.format(delay=delay)
    for name, value in changes.items():
        text = text.replace(f"{name} = ", f"{name} = {value} # ", 1)
    return parse_rules(text.encode(), START)


def command(at: float, **fields: Any) -> Line:
    body = {"id": f"c-{at}-{fields.get('alert', '')}", "t": at, "author": "nurse-1", **fields}
    return Line(at, "", None, orjson.dumps(body))


def lines(acts: Sequence[Line] = ()) -> list[Line]:
    """One patient for half an hour: an artefact of 15 s after 5 min, a desaturation of 3 min after 15 min."""
    made = [
        command(START, kind="bind", device="chest-1", patient="p1"),
        command(START + 0.1, kind="admit", patient="p1", age_years=60),
        *acts,
    ]
    for second in range(1800):
        t = START + 1.0 + second
        low = 300 <= second < 315 or 900 <= second < 1080
        reading = {"session": "s", "seq": second, "t": t, "v": {"spo2": 80 if low else 96}}
        made.append(Line(t + 0.2, "biotwin/v1/site/chest-1/monitor", orjson.dumps(reading), b""))
    return sorted(made, key=lambda line: line.received_at)


class Row(msgspec.Struct):
    """A record as the history sink reads it from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = int(START * 1000)
    headers: tuple[tuple[str, bytes], ...] = ()


def record_history(folder: Path, configuration: Configuration, rules: Path) -> None:
    """Run the lines through the pipeline, first to learn the alarms' ids, then with what a nurse does about them, and
    write telemetry and journal as the sink does."""
    worker = msgspec.structs.replace(configuration.worker, rules=str(rules))
    configuration = msgspec.structs.replace(configuration, worker=worker)

    def run(acts: Sequence[Line]) -> tuple[list[Record], list[Any]]:
        logged = list(Intake(configuration).records(lines(acts)))
        pipeline = Pipeline(configuration, START)
        pipeline.run(logged)
        return logged, [orjson.loads(output.value or b"") for output in pipeline.output[JOURNAL]]

    _, told = run([])
    onsets = [one for one in told if one["event"] == "condition_onset"]
    assert len(onsets) == 2
    false, true = ({"alert": one["id"], "patient": "p1"} for one in onsets)
    acts = [
        command(onsets[0]["t"] + 20.0, kind="feedback", useful=False, **false),
        command(onsets[1]["t"] + 20.0, kind="acknowledge", **true),
        command(onsets[1]["t"] + 60.0, kind="feedback", useful=True, **true),
    ]
    logged, journal = run(acts)
    rows: dict[tuple[str, int], list[Row]] = {}
    for record in (one for one in logged if one.topic == TELEMETRY):
        place = rows.setdefault((TELEMETRY, record.partition), [])
        place.append(Row(TELEMETRY, record.partition, len(place), record.key, record.value, headers=record.headers))
    for one in journal:
        place = rows.setdefault((JOURNAL, 0), [])
        place.append(Row(JOURNAL, 0, len(place), one["patient"].encode(), orjson.dumps(one)))
    for (topic, partition), found_rows in rows.items():
        write_segment(segment_path(folder, topic, partition, 0), table(topic, found_rows), len(found_rows) - 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a history, the rules that it was recorded under, and stricter ones."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "present.toml").write_text(RULES.format(delay=5.0))
    (folder / "new.toml").write_text(RULES.format(delay=25.0))
    history = folder / "history"
    history.mkdir()
    record_history(history, Configuration(), folder / "present.toml")
    return folder


def biotwin(folder: Path, *words: str) -> Result:
    environment = {
        "BIOTWIN_HISTORY__DIRECTORY": str(folder / "history"),
        "BIOTWIN_CONSOLE__DIRECTORY": str(folder / "directory.sqlite"),
        "BIOTWIN_WORKER__RULES": str(folder / "present.toml"),
    }
    return CliRunner().invoke(app, ["alerts", *words], env=environment)


SPAN = ("--from", str(START), "--to", str(START + 3600.0))


def test_the_report_has_rates_feedback_and_delays(site: Path) -> None:
    result = biotwin(site, "report", *SPAN, "--json")
    assert result.exit_code == 0, result.output
    figures = orjson.loads(result.stdout)
    assert figures["patients"] == 1
    assert figures["patient_days"] == pytest.approx(2700 / 86400, rel=0.01), "half an hour and the silence allowed"
    high = figures["by_priority"]["high"]
    assert (high["alarms"], high["useful"], high["not_useful"], high["ppv"]) == (2, 1, 1, 0.5)
    assert high["acknowledge_median_s"] == pytest.approx(20.0, abs=1.0)
    assert figures["by_rule"]["spo2-low"] == high
    text = biotwin(site, "report", *SPAN).stdout
    assert "spo2-low" in text
    assert "1 patients, 0.03 patient-days" in text


def test_longer_delays_lose_the_false_alarm_and_keep_the_true_one_later(site: Path) -> None:
    page = site / "review.html"
    result = biotwin(site, "review", *SPAN, "--rules", str(site / "new.toml"), "--json", "--html", str(page))
    assert result.exit_code == 0, result.output
    review = orjson.loads(result.stdout)
    assert (review["recorded"], review["reproduced"]) == (2, 2)
    assert [(one["rule"], one["field"]) for one in review["differences"]] == [("spo2-low", "onset_delay_s")]
    assert [point["factor"] for point in review["curve"]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [point["interruptive"] for point in review["curve"]] == [2, 2, 2, 1, 1]
    now, new = review["curve"][0], review["curve"][-1]
    assert (now["groups"]["useful"]["same"], now["groups"]["not_useful"]["same"], now["ppv"]) == (1, 1, 0.5)
    assert (new["groups"]["not_useful"]["lost"], new["ppv"]) == (1, 1.0)
    useful = new["groups"]["useful"]
    assert (useful["alarms"], useful["later"], useful["lost"]) == (1, 1, 0)
    assert useful["delay_s"] == pytest.approx([20.0, 20.0, 20.0], abs=1.0)
    assert review["losses"] == [], "what people found not useful is no loss"
    html = page.read_text()
    assert "<svg" in html
    assert html.count("<circle") == 5 * 4


def test_the_curve_is_shown_with_both_sides_and_with_the_truth_where_it_is_known(site: Path) -> None:
    labels = site / "labels.jsonl"
    event = {"patient": "p1", "kind": "respiratory_failure", "start_t": START + 890, "end_t": START + 1090}
    harmless = {"patient": "p1", "kind": "artefact", "start_t": START + 300, "end_t": START + 315}
    labels.write_bytes(b"\n".join(orjson.dumps(one) for one in (event, harmless)))
    words = ("review", *SPAN, "--rules", str(site / "new.toml"), "--factors", "0.5", "--labels", str(labels))
    text = biotwin(site, *words, "--jobs", "2").stdout
    for said in (
        "onset_delay_s 5.0 -> 25.0",
        "kept   =",
        "alarms ###",
        "100 % of those found useful",
        "not by this rule",
    ):
        assert said in text
    figures = orjson.loads(biotwin(site, *words, "--json").stdout)
    assert [point["sensitivity"] for point in figures["curve"]] == [1.0, 1.0, 1.0]


def test_the_same_rules_change_nothing(site: Path) -> None:
    text = biotwin(site, "review", *SPAN, "--rules", str(site / "present.toml"), "--factors", "0,1").stdout
    assert "Nothing that decides differs." in text


def test_errors_say_what_is_wrong_in_the_words_of_rules_check(site: Path) -> None:
    bad = site / "bad.toml"
    bad.write_text(RULES.format(delay=-1.0))
    checked = CliRunner().invoke(app, ["rules", "check", str(bad)])
    reviewed = biotwin(site, "review", *SPAN, "--rules", str(bad))
    assert str(checked.exception) == str(reviewed.exception)
    assert "onset_delay_s" in str(reviewed.exception)
    empty = biotwin(site, "review", "--from", "2025-01-01", "--to", "2025-01-02", "--rules", str(site / "new.toml"))
    assert "there are no readings from 2025-01-01" in str(empty.exception)
    for words, said in (
        (("report", "--from", "2026-01-02", "--to", "2026-01-01"), "lies not after"),
        (("review", *SPAN, "--rules", str(site / "none.toml")), "No such file"),
        (("review", *SPAN, "--rules", str(site / "new.toml"), "--factors", "a"), "--factors"),
    ):
        assert said in str(biotwin(site, *words).exception)


def test_alerts_without_their_journal_are_no_quiet_ward(site: Path, tmp_path: Path) -> None:
    history = tmp_path / "history"
    shutil.copytree(site / "history", history)
    for path in history.glob(f"{JOURNAL}-*"):
        path.unlink()
    value = orjson.dumps({"id": "a", "rule": "spo2-low", "priority": "high", "state": "active", "t": START + 900.0})
    rows = table(ALERTS, [Row(ALERTS, 0, 0, b"p1", value)])
    write_segment(segment_path(history, ALERTS, 0, 0), rows, 0)
    assert "no journal" in str(biotwin(tmp_path, "report", *SPAN).exception)


# --- The pure parts -------------------------------------------------------------------------------------------------


def test_rules_between_two_sets_go_in_proportion_and_switch_at_the_end() -> None:
    present, new = rules_of(5.0), rules_of(25.0, threshold=83.0)
    half = rules_between(present, new, 0.5)["spo2-low"]
    assert (half.onset_delay_s, half.threshold) == (15.0, 85.0)  # type: ignore[attr-defined]
    beyond = rules_between(new, present, 2.0)["spo2-low"]
    assert (beyond.onset_delay_s, beyond.threshold) == (0.0, 91.0)  # type: ignore[attr-defined]
    assert rules_between(present, new, 0.0).hash == present.hash
    assert rules_between(present, new, 1.0).hash == new.hash
    assert [one.field for one in differences(present, new)] == ["onset_delay_s", "threshold"]
    without = RuleSet((), present.notices)
    assert len(rules_between(present, without, 0.9).rules) == 1
    assert len(rules_between(present, without, 1.0).rules) == 0
    assert [(one.field, one.present, one.new) for one in differences(present, without)] == [("rule", True, False)]


def test_an_alarm_comes_late_is_covered_by_another_rule_or_is_lost() -> None:
    present = [alarm(100.0, rule="a", lasts_s=60.0), alarm(500.0, rule="a", lasts_s=60.0), alarm(900.0, lasts_s=9.0)]
    other = [
        alarm(130.0, rule="a", lasts_s=30.0),
        alarm(540.0, rule="b", lasts_s=5.0),
        alarm(905.0, rule="c", priority="medium"),
    ]
    assert [(one.outcome, one.delay_s) for one in fates(present, other)] == [
        ("later", 30.0),
        ("covered", 40.0),
        ("lost", None),
    ]
    assert kept(fates(present, other)).delay_s == (35.0, 39.0, 40.0)


def test_what_people_did_is_carried_over_by_id_or_by_time() -> None:
    recorded = [alarm(100.0, lasts_s=50.0, nurse=True), alarm(500.0, lasts_s=50.0, nurse=False), alarm(9000.0)]
    replayed = [alarm(100.0, lasts_s=50.0), alarm(510.0, lasts_s=40.0), alarm(800.0, lasts_s=5.0)]
    marked, reproduced = labelled(replayed, recorded)
    assert [one.useful for one in marked] == [True, False, None]
    assert reproduced == 2


def test_an_alarm_finds_one_event_at_most() -> None:
    events = [TrueEvent("p1", 0.0, 100.0, 1000.0), TrueEvent("p1", 1500.0, 1600.0, 2000.0)]
    assert found(events, [alarm(120.0, lasts_s=10.0)]) == [True, False]
    assert found(events, [alarm(90.0, lasts_s=5.0)]) == [False, False]
    assert found(events, [alarm(90.0, lasts_s=50.0), alarm(1700.0, priority="low")]) == [True, False]


alarms = st.lists(
    st.builds(
        alarm,
        st.floats(0.0, 1e5),
        st.sampled_from(["p1", "p2"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["high", "medium"]),
        st.floats(0.0, 1e4),
    ),
    max_size=20,
)


@given(alarms, alarms)
def test_every_alarm_has_one_fate_and_none_changes_under_the_same_rules(one: list[Alarm], other: list[Alarm]) -> None:
    become = kept(fates(one, other))
    assert become.same + become.later + become.covered + become.lost == become.alarms == len(one)
    assert all(fate.outcome == "same" for fate in fates(one, one))
    assert kept(fates(one, [])).lost == len(one)
    assert set(GROUPS) >= {"useful", "high"}
