"""From a reading to the report, everything real: worker, history sink and commands on a Kafka."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from contracts.topics import JOURNAL
from deploy.api.reading import read_topic
from loadtest.processes import Child, environment_of
from loadtest.replay import produce
from loadtest.replay_input import Intake, Line
from tests.twin_state.conftest import ENGINE_RULES
from tests.waiting import until


def lines(start: float, seconds: int) -> list[Line]:
    """A patient whose SpO2 is 80 % for the second half of the time."""

    def order(at: float, **fields: Any) -> Line:
        return Line(at, "", None, orjson.dumps({"id": fields["kind"], "t": at, "author": "test", **fields}))

    found = [
        order(start, kind="bind", device="chest-1", patient="p1"),
        order(start + 0.1, kind="admit", patient="p1", age_years=60),
    ]
    for second in range(seconds):
        t = start + 1.0 + second
        v = {"spo2": 80 if second > seconds // 2 else 96}
        reading = orjson.dumps({"session": "s", "seq": second, "t": t, "v": v})
        found.append(Line(t + 0.2, "biotwin/v1/site/chest-1/monitor", reading, b""))
    return found


@pytest.mark.kafka
@pytest.mark.slow
async def test_what_people_do_and_think_about_an_alert_stands_in_the_report(kafka: Any, tmp_path: Path) -> None:
    await kafka.wipe()
    made = await kafka.create(partitions=2)
    configuration = msgspec.structs.replace(made, data=str(tmp_path / "var"))
    start = float(int(time.time()) - 400)
    intake = Intake(configuration)
    await produce(kafka.bootstrap, [record for line in lines(start, 300) for record in intake.take(line)])
    environment = environment_of(
        configuration, worker__ticks="false", worker__rules=str(ENGINE_RULES), history__seal_after_s="1.2"
    ) | {
        "BIOTWIN_HISTORY__DIRECTORY": str(tmp_path / "history"),
        "BIOTWIN_CONSOLE__DIRECTORY": str(tmp_path / "directory.sqlite"),
    }

    def biotwin(*words: str) -> str:
        command = [sys.executable, "-m", "deploy.cli", "alerts", *words]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def journal() -> list[dict[str, Any]]:
        return [orjson.loads(record.value) for record in await read_topic(configuration.kafka, JOURNAL)]

    async def has(event: str) -> bool:
        return any(one["event"] == event for one in await journal())

    children = [
        Child(name, [name], configuration, environment, tmp_path / f"{name}.log") for name in ("worker", "history")
    ]
    try:
        await until(lambda: has("condition_onset"), "an alert")
        (line, *_) = (
            orjson.loads(text)
            for text in (await asyncio.to_thread(biotwin, "list", "--priority", "high", "--json")).splitlines()
        )
        alert = line["id"]
        assert (line["patient"], line["signal"]["state"]) == ("p1", "on")
        await asyncio.to_thread(biotwin, "acknowledge", "p1", alert, "--author", "nurse-1")
        await asyncio.to_thread(biotwin, "not-useful", alert, "--author", "nurse-1")
        await asyncio.to_thread(biotwin, "useful", alert, "--author", "nurse-1", "--reason", "second look")
        await until(lambda: has("marked_useful"), "feedback")
        shown = orjson.loads(await asyncio.to_thread(biotwin, "show", alert))
        assert [one["event"] for one in shown["signals"]][-3:] == ["acknowledge", "marked_not_useful", "marked_useful"]
        report: dict[str, Any] = {}

        async def complete() -> bool:
            report.update(orjson.loads(await asyncio.to_thread(biotwin, "report", "--from", str(start), "--json")))
            return bool(report["every"]["useful"])

        await until(lambda: asyncio.to_thread(lambda: any((tmp_path / "history").glob("telemetry-*"))), "history")
        await until(complete, "the report")
    finally:
        for child in children:
            assert await asyncio.to_thread(child.end) == 0
    onsets = [one for one in await journal() if one["event"] == "condition_onset"]
    assert report["every"]["alarms"] == len(onsets)
    high = report["by_rule"][line["rule"]]
    assert (high["useful"], high["not_useful"], high["acknowledged"], high["ppv"]) == (1, 0, 1, 1.0)
    assert report["patient_days"] == pytest.approx(400.0 / 86_400, rel=0.2)
    assert report["patients"] == 1
