"""`biotwin explain`: an alert in words, and whether the log gives its lines again, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from typer.testing import CliRunner, Result

from contracts.condition import to_builtins
from contracts.configuration import Configuration, Kafka, Worker
from contracts.topics import ALERTS, JOURNAL, TELEMETRY
from deploy.cli import app
from deploy.cli.bench import app as bench
from deploy.kafka.scratch import ScratchKafka
from deploy.kafka.topics import create_topics, delete_topics, describe_topics
from loadtest.kafka_log import keyed_values
from loadtest.pipeline import Pipeline
from loadtest.processes import Child, environment_of
from loadtest.replay import all_applied, produce
from loadtest.replay_input import Intake, Line, Record
from stream.history_files import segment_path, write_segment
from stream.history_rows import table
from stream.ticks import TickWatch
from tests.alerts.test_alarm_review import RULES, START, Row, command

MINUTES = 12


def lines(acts: Sequence[Line] = ()) -> list[Line]:
    """Two patients, a reading a second. SpO2 of p1 is low for 3 min after 5 min, that of p2 from 8 min on."""
    made = [*acts]
    for n, patient in enumerate(("p1", "p2"), start=1):
        made.append(command(START + 0.01 * n, kind="bind", device=f"chest-{n}", patient=patient))
        made.append(command(START + 0.1 * n, kind="admit", patient=patient, age_years=60))
        for second in range(60 * MINUTES):
            t = START + 1.0 + second
            low = 300 <= second < 480 if n == 1 else second >= 480
            reading = {"session": "s", "seq": second, "t": t, "v": {"spo2": 80 + n if low else 96}}
            made.append(Line(t + 0.2, f"biotwin/v1/site/chest-{n}/monitor", orjson.dumps(reading), b""))
    return sorted(made, key=lambda line: line.received_at)


class Site(NamedTuple):
    """What a ward left behind: the log, what the pipeline in memory made of it, and the ids of both alerts."""

    configuration: Configuration
    log: list[Record]
    told: dict[str, list[Any]]
    ended: str
    standing: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    rules = tmp_path_factory.mktemp("rules") / "present.toml"
    rules.write_text(RULES.format(delay=5.0))
    configuration = Configuration(kafka=Kafka(partitions=1), worker=Worker(rules=str(rules)))

    def run(acts: Sequence[Line]) -> tuple[list[Record], dict[str, list[Any]]]:
        log = [one for one in Intake(configuration).records(lines(acts)) if one.topic == TELEMETRY]
        pipeline = Pipeline(configuration, START)
        pipeline.run(log, now=START + 1.0)
        return log, {topic: [orjson.loads(one.value or b"") for one in told] for topic, told in pipeline.output.items()}

    _, told = run([])
    first = {one["patient"]: one for one in reversed(told[ALERTS])}
    act = {"kind": "acknowledge", "patient": "p1", "alert": first["p1"]["id"], "reason": "seen at the bedside"}
    log, told = run([command(first["p1"]["t"] + 20.0, **act)])
    return Site(configuration, log, told, first["p1"]["id"], first["p2"]["id"])


def history_of(folder: Path, site: Site, alerts: Sequence[Any], first: int = 0) -> Path:
    """Parquet files as the sink writes them, the log from offset `first` on."""
    rows = {
        TELEMETRY: [Row(TELEMETRY, 0, n, one.key, one.value) for n, one in enumerate(site.log)][first:],
        ALERTS: [Row(ALERTS, 0, n, one["patient"].encode(), orjson.dumps(one)) for n, one in enumerate(alerts)],
        JOURNAL: [
            Row(JOURNAL, 0, n, one["patient"].encode(), orjson.dumps(one)) for n, one in enumerate(site.told[JOURNAL])
        ],
    }
    folder.mkdir()
    for topic, own in rows.items():
        write_segment(segment_path(folder, topic, 0, own[0].offset), table(topic, own), own[-1].offset)
    return folder


def biotwin_explain(site: Site, *words: str, bootstrap: str = "", history: Path | None = None) -> Result:
    environment = {"BIOTWIN_WORKER__RULES": site.configuration.worker.rules, "BIOTWIN_KAFKA__PARTITIONS": "1"}
    if history is not None:
        environment["BIOTWIN_HISTORY__DIRECTORY"] = str(history)
        words = (*words, "--from", "history")
    if bootstrap:
        environment["BIOTWIN_KAFKA__BOOTSTRAP"] = bootstrap
    return CliRunner().invoke(app, ["explain", *words], env=environment)


def changed(alerts: Sequence[Any], alert: str, change: Callable[[Any], None]) -> list[Any]:
    """The alerts, the first settled record of one of them changed."""
    copies: list[Any] = orjson.loads(orjson.dumps(alerts))
    change(next(one for one in copies if one["id"] == alert and one["stage"] == "settled"))
    return copies


def test_an_alert_is_told_in_words_and_matches_what_history_gives_again(site: Site, tmp_path: Path) -> None:
    history = history_of(tmp_path / "history", site, site.told[ALERTS])
    done = biotwin_explain(site, site.ended, history=history)
    assert done.exit_code == 0, done.output
    for wanted in (
        f"Alert {site.ended}: spo2-low, physiological, high priority, over",
        "SpO2 81 %",
        "SpO2 81 %; the limit is 87 %, the rule's",
        "s old, quality 1.00",
        "Source: test. Author: test",
        "decided by record telemetry-0@",
        "acknowledged by nurse-1: seen at the bedside",
        "MATCH: recomputed from history, all",
    ):
        assert wanted in done.stdout
    assert biotwin_explain(site, site.standing, history=history).exit_code == 0


def test_the_same_in_japanese_and_as_json(site: Site, tmp_path: Path) -> None:
    history = history_of(tmp_path / "history", site, site.told[ALERTS])
    done = biotwin_explain(site, site.ended, "--language", "ja", history=history)
    for wanted in ("高優先度", "解消", "基準値 87 %", "確認（nurse-1）：seen at the bedside", "一致："):
        assert wanted in done.stdout
    found = orjson.loads(biotwin_explain(site, site.ended, "--json", history=history).stdout)
    assert found["comparison"]["outcome"] == "match"
    (spo2,) = found["evidence"]["inputs"]
    assert (spo2["signal"], spo2["value"], spo2["quality"]) == ("spo2", 81.0, 1.0)
    assert 0.0 <= spo2["age_s"] <= 5.0
    assert found["over_t"] - found["onset_t"] == pytest.approx(found["lasted_s"])
    assert [act["event"] for act in found["done"]][:2] == ["condition_onset", "acknowledge"]


def test_a_changed_line_is_a_mismatch_named_by_its_field(site: Site, tmp_path: Path) -> None:
    def lower(alert: Any) -> None:
        alert["evidence"]["inputs"][0]["value"] = 79.0

    history = history_of(tmp_path / "history", site, changed(site.told[ALERTS], site.ended, lower))
    done = biotwin_explain(site, site.ended, history=history)
    assert done.exit_code == 1
    assert "evidence.inputs[0].value is 79.0 in the record and 81.0 by the log" in done.stdout
    assert biotwin_explain(site, site.standing, history=history).exit_code == 0


def test_a_log_that_lost_its_beginning_is_not_judged(site: Site, tmp_path: Path) -> None:
    cut = next(n for n, one in enumerate(site.log) if b'"t":%d' % (START + 305.0) in one.value)
    history = history_of(tmp_path / "history", site, site.told[ALERTS], first=cut)
    done = biotwin_explain(site, site.ended, history=history)
    assert done.exit_code == 2
    assert f"lacks {cut} of its records up to then" in done.stdout


def test_other_rules_another_build_and_alarms_of_the_wall_clock_are_not_judged(site: Site, tmp_path: Path) -> None:
    history = history_of(tmp_path / "history", site, site.told[ALERTS])
    other = tmp_path / "other.toml"
    other.write_text(RULES.format(delay=6.0))
    done = biotwin_explain(site, site.ended, "--rules", str(other), history=history)
    assert done.exit_code == 2
    assert "decided by rules of hash" in done.stdout

    def elsewhere(alert: Any) -> None:
        alert["provenance"]["build"] = "biotwin-0.0.1 other"
        alert["evidence"]["value"] = 3.0

    foreign = history_of(tmp_path / "foreign", site, changed(site.told[ALERTS], site.ended, elsewhere))
    done = biotwin_explain(site, site.ended, history=foreign)
    assert done.exit_code == 2
    assert "it was decided on biotwin-0.0.1 other; this is" in done.stdout

    mixed = changed(site.told[ALERTS], site.ended, lambda alert: alert.update(source="somebody"))
    for one in mixed:
        if one["id"] == site.standing:
            one["evidence"]["configuration"] = "0123456789abcdef"
    done = biotwin_explain(site, site.ended, history=history_of(tmp_path / "mixed", site, mixed))
    assert done.exit_code == 2
    assert "other rules or models were in force earlier in the same log" in done.stdout

    stopped = TickWatch(0)
    stopped.seen_at = 0.0
    alarm = stopped.judge(100.0, START, caught_up=True)
    assert alarm is not None
    clock = history_of(tmp_path / "clock", site, [*site.told[ALERTS], to_builtins(alarm)])
    done = biotwin_explain(site, alarm.id, history=clock)
    assert done.exit_code == 2
    assert "the log of readings does not decide it" in done.stdout


def test_an_alert_that_nobody_knows_is_an_error(site: Site, tmp_path: Path) -> None:
    history = history_of(tmp_path / "history", site, site.told[ALERTS])
    done = biotwin_explain(site, "0123456789abcdef", history=history)
    assert done.exit_code == 2
    assert "there is no alert 0123456789abcdef in history" in done.stderr
    assert done.stdout == ""

    broken = history_of(
        tmp_path / "broken", site, changed(site.told[ALERTS], site.ended, lambda alert: alert.pop("rule"))
    )
    done = biotwin_explain(site, site.ended, history=broken)
    assert done.exit_code == 2
    assert "is none of BioTwin's: Object missing required field `rule`" in done.stderr


@pytest.mark.kafka
def test_what_a_real_worker_raised_matches_from_kafka_until_the_log_is_cut(
    site: Site, kafka: ScratchKafka, tmp_path: Path
) -> None:
    bootstrap = kafka.bootstrap
    asyncio.run(kafka.wipe())
    made = asyncio.run(kafka.create(partitions=1))
    configuration = msgspec.structs.replace(made, worker=site.configuration.worker, data=str(tmp_path))
    asyncio.run(produce(bootstrap, site.log))
    environment = environment_of(configuration, worker__ticks="false")
    worker = Child("worker", ["worker"], configuration, environment, tmp_path / "worker.log")
    try:
        asyncio.run(all_applied([worker]))
    finally:
        assert worker.end() == 0
    for alert in (site.ended, site.standing):
        done = biotwin_explain(site, alert, bootstrap=bootstrap)
        assert done.exit_code == 0, done.output
        assert "MATCH: recomputed from kafka" in done.stdout
    assert "acknowledged by nurse-1" in biotwin_explain(site, site.ended, bootstrap=bootstrap).stdout

    told = [orjson.loads(value or b"") for _, value in asyncio.run(keyed_values(bootstrap, ALERTS))]

    def later(alert: Any) -> None:
        alert["onset_t"] += 1.0

    asyncio.run(replaced(configuration, ALERTS, changed(told, site.ended, later)))
    done = biotwin_explain(site, site.ended, bootstrap=bootstrap)
    assert done.exit_code == 1
    assert "first difference: settled onset 1: onset_t is" in done.stdout

    cut = next(n for n, one in enumerate(site.log) if b'"t":%d' % (START + 305.0) in one.value)
    asyncio.run(cut_off(bootstrap, cut))
    done = biotwin_explain(site, site.ended, bootstrap=bootstrap)
    assert done.exit_code == 2
    assert f"lacks {cut} of its records up to then" in done.stdout
    done = biotwin_explain(site, "0123456789abcdef", bootstrap=bootstrap)
    assert done.exit_code == 2
    assert "there is no alert 0123456789abcdef in topic alerts" in done.stderr
    asyncio.run(kafka.wipe())


async def replaced(configuration: Configuration, topic: str, bodies: Sequence[Any]) -> None:
    """A topic with other records in the place of its own."""
    bootstrap = configuration.kafka.bootstrap
    await delete_topics(bootstrap, [topic])
    async with asyncio.timeout(30.0):
        while topic in {state.name for state in await describe_topics(bootstrap)}:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.05)
    await create_topics(bootstrap, configuration)
    await produce(bootstrap, [Record(topic, 0, one["patient"].encode(), orjson.dumps(one)) for one in bodies])


async def cut_off(bootstrap: str, before: int) -> None:
    """Delete the beginning of the log, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(TELEMETRY, 0): RecordsToDelete(before)})
    finally:
        await admin.close()


def test_the_bench_recomputes_random_alerts_of_a_ward_whose_worker_was_killed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["--alerts", "2", "--seed", "5", "--patients", "2", "--days", "0.25", "--crashes", "1", "--json"]
    done = CliRunner().invoke(bench, ["explain", *words, "--report", str(report)])
    assert done.exit_code == 0, done.output
    result = orjson.loads(done.stdout)
    assert result == orjson.loads(report.read_bytes())
    assert (result["match"], result["mismatch"], result["unjudged"]) == (2, 0, 0)
    assert sum(counts["match"] for counts in result["by_rule"].values()) == 2
    assert result["crashes"] == 12
