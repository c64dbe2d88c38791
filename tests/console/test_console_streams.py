"""The ward in memory and its streams: order, resuming, and what a repeat or a takeover does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import orjson
import pytest

from alerts.console import event_stream, ward
from alerts.console.directory import Entry
from alerts.console.event_stream import Streams, parse_id
from alerts.console.records import decode_twin
from alerts.console.roles import Lens
from alerts.console.trend import MINUTE_POINTS, RECENT_POINTS, Trend
from alerts.console.ward import Ward
from contracts.condition import Alert
from contracts.metrics import ProcessMetrics
from contracts.topics import TWIN
from contracts.twin import Twin
from tests.console.console_harness import Record, alert, score, twin

NOW = 1_763_900_000.0


class Source:
    """A feed that is up."""

    up = True
    loaded = True


class Writer:
    """Applies records as the feed does, with Kafka's offsets."""

    def __init__(self) -> None:
        self.ward = Ward()
        self.offset = 0
        self.written: list[tuple[Alert, int]] = []

    def write(self, *records: Record) -> None:
        for topic, _, value in records:
            if topic == TWIN:
                self.ward.apply_twin(decode_twin(orjson.dumps(value)))
            else:
                self.written.append((msgspec.convert(value, Alert), self.offset))
                self.ward.apply_alert(self.written[-1][0], 0, self.offset)
                self.offset += 1

    def restarted(self) -> Ward:
        """A ward that read the alerts again from the beginning."""
        again = Ward()
        for record, offset in self.written:
            again.apply_alert(record, 0, offset)
        return again


async def events(stream: AsyncGenerator[bytes, None], count: int) -> list[tuple[str, str, Any]]:
    """The first `count` events with an id: (kind, id, data)."""
    found: list[tuple[str, str, Any]] = []
    async with asyncio.timeout(10):
        async for chunk in stream:
            for block in chunk.decode().split("\n\n"):
                lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                if "id" in lines:
                    found.append((lines["event"], lines["id"], orjson.loads(lines["data"])))
            if len(found) >= count:
                break
    await stream.aclose()
    return found


def streams_of(observed: Ward) -> Streams:
    return Streams(observed, Source(), ProcessMetrics())


def rows(observed: Ward) -> list[dict[str, Any]]:
    return [orjson.loads(row) for row in observed.rows()]


def onset(patient: str, priority: str, at: float = NOW, **more: Any) -> Record:
    return alert(patient, f"rule-{priority}", priority, f"{priority} on {patient}", onset_t=at, **more)


def test_the_most_urgent_stand_first() -> None:
    writer = Writer()
    writer.ward.set_directory({f"p-{bed}": Entry(f"p-{bed}", "Name", "W", str(bed)) for bed in (9, 10, 11, 12, 13)})
    writer.write(twin("p-11", NOW, {"heart_rate": 70}, news2=score(1, 6)), twin("p-12", NOW, {}, news2=score(4)))
    writer.write(onset("p-10", "low"), onset("p-13", "high"))
    assert [row["bed"] for row in rows(writer.ward)] == ["13", "10", "11", "12", "9"]


def test_a_repeated_transition_is_no_news() -> None:
    writer = Writer()
    writer.write(onset("p-1", "high"), onset("p-1", "high", stage="settled"))
    number = writer.ward.number
    writer.write(onset("p-1", "high"), onset("p-1", "high", stage="settled"))
    assert writer.ward.number == number
    assert len(writer.ward.log) == 2


def test_a_settled_alert_takes_the_place_of_its_notice() -> None:
    writer = Writer()
    writer.write(onset("p-1", "high", opened_by="live"))
    notice = writer.written[0][0].id
    writer.write(onset("p-1", "high", stage="settled", opened_by="settled", announced_id=notice))
    (active,) = writer.ward.patients["p-1"].alerts.standing()
    assert active.replaces == notice
    assert [alert.stage for alert in active.transitions] == ["provisional", "settled"]


def test_a_live_value_is_shown_and_a_lost_one_falls_back_to_the_settled() -> None:
    _, _, value = twin("p-1", NOW, {"heart_rate": 90, "spo2": 97}, baselines={"heart_rate": (70, 3)})
    assert value is not None
    value["live"] = {"t": NOW + 2, "signals": {"heart_rate": {"value": 95, "t": NOW + 2, "quality": 1, "reading": "r"}}}
    writer = Writer()
    writer.write((TWIN, "p-1", value))
    shown = rows(writer.ward)[0]["signals"]
    assert (shown["heart_rate"]["value"], shown["spo2"]["value"]) == (95, 97)
    assert shown["heart_rate"]["baseline"]["mean"] == 70


def test_what_the_twin_agent_writes_is_understood() -> None:
    _, _, value = twin(
        "p-1", NOW, {"heart_rate": 90}, baselines={"heart_rate": (70, 3)}, news2=score(3, 5, ["spo2"], single=True)
    )
    record = msgspec.convert(value, Twin)
    written = msgspec.structs.replace(record, provenance=msgspec.structs.replace(record.provenance, received_at=None))
    read = decode_twin(msgspec.json.encode(written))
    assert (read.clock(), read.shown_signals()["heart_rate"].value) == (NOW, 90)
    found = read.shown_news2()
    assert found is not None
    assert (found.low, found.high, found.missing, found.single) == (3, 5, ["spo2"], 1)
    writer = Writer()
    writer.ward.apply_twin(read)
    assert rows(writer.ward)[0]["limits"] == {}


async def test_a_stream_goes_on_where_it_stopped() -> None:
    writer = Writer()
    streams = streams_of(writer.ward)
    writer.write(onset("p-1", "high"), twin("p-2", NOW, {"heart_rate": 70}))
    ((kind, last_id, snapshot),) = await events(streams.events(), 1)
    assert kind == "reset"
    assert [row["patient"] for row in snapshot["rows"]] == ["p-1", "p-2"]
    writer.write(onset("p-2", "medium"), onset("p-1", "high", stage="settled"))
    found = await events(streams.events(last_id), 3)
    assert [kind for kind, _, _ in found] == ["alert", "alert", "rows"]
    assert [data["patient"] for kind, _, data in found if kind == "alert"] == ["p-2", "p-1"]
    after = await events(streams.events(found[0][1]), 2)
    assert [(kind, data.get("patient")) for kind, _, data in after] == [("alert", "p-1"), ("rows", None)]


async def test_a_restarted_console_sends_a_reset_and_the_alerts_that_were_missed() -> None:
    writer = Writer()
    writer.write(onset("p-1", "high"))
    ((_, last_id, _),) = await events(streams_of(writer.ward).events(), 1)
    writer.write(onset("p-2", "medium"))
    found = await events(streams_of(writer.restarted()).events(last_id), 2)
    assert [kind for kind, _, _ in found] == ["reset", "alert"]
    assert found[1][2]["patient"] == "p-2"
    assert {row["patient"] for row in found[0][2]["rows"]} == {"p-1", "p-2"}


async def test_an_id_that_is_too_old_or_foreign_leads_to_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ward, "ALERT_LOG", 4)
    writer = Writer()
    writer.ward.log = type(writer.ward.log)(maxlen=4)
    streams = streams_of(writer.ward)
    writer.write(onset("p-0", "low"))
    ((_, last_id, _),) = await events(streams.events(), 1)
    writer.write(*(onset(f"p-{number}", "low") for number in range(1, 8)))
    for unusable in (last_id, "nonsense", "0" * 8 + "-1-9999999999999999999"):
        ((kind, _, snapshot),) = await events(streams.events(unusable), 1)
        assert (kind, len(snapshot["rows"])) == ("reset", 8)


async def test_a_slow_reader_gets_a_reset_and_holds_up_nobody() -> None:
    writer = Writer()
    writer.ward.log = type(writer.ward.log)(maxlen=4)
    streams = streams_of(writer.ward)
    slow = streams.events()
    await anext(slow)
    assert b"event: reset" in await anext(slow)
    for number in range(20):
        writer.write(onset(f"p-{number}", "low"))
        ((kind, _, _),) = await events(streams.events(), 1)
        assert kind == "reset"
    streams.changed()
    assert b"event: reset" in await anext(slow)
    await slow.aclose()


async def test_a_stream_of_one_patient_holds_that_patient_and_the_system() -> None:
    writer = Writer()
    writer.write(onset("p-1", "high"), onset("p-2", "high"), onset("", "high", kind="technical"))
    found = await events(streams_of(writer.ward).events(patient="p-1"), 1)
    assert [row["patient"] for row in found[0][2]["rows"]] == ["", "p-1"]
    only_alerts = await events(streams_of(writer.ward).events(rows=False), 1)
    assert only_alerts[0][2]["rows"] == []


async def test_what_several_share_holds_for_each_only_what_the_role_may_see() -> None:
    writer = Writer()
    streams = streams_of(writer.ward)
    nurse, system, operator = Lens(), Lens(names=False), Lens(names=False, physiology=False)
    lenses = (nurse, system, operator, nurse)
    opened = [streams.events(lens=lens) for lens in lenses]
    cursors = [(await anext(stream), await anext(stream))[1] for stream in opened]
    assert all(b"event: reset" in opening for opening in cursors)
    writer.ward.set_directory({"p-1": Entry("p-1", "Ada", "W", "3", "70-79")})
    writer.write(twin("p-1", NOW, {"heart_rate": 71.5}), onset("p-1", "high"))
    streams.changed()
    waiting = [events(stream, 2 if lens.physiology else 1) for lens, stream in zip(lenses, opened, strict=True)]
    seen = [orjson.dumps(found).decode() for found in await asyncio.gather(*waiting)]
    assert seen[0] == seen[3]
    assert ["Ada" in text for text in seen] == [True, False, False, True]
    assert ["70-79" in text for text in seen] == [True, False, False, True]
    assert ["71.5" in text for text in seen] == [True, True, False, True]
    assert ["rule-high" in text for text in seen] == [True, True, False, True]


async def test_open_streams_are_counted_and_end_when_the_console_stops() -> None:
    metrics = ProcessMetrics()
    streams = Streams(Ward(), Source(), metrics)
    stream = streams.events()
    await anext(stream)
    assert metrics.registry.get_sample_value("biotwin_console_clients") == 1
    streams.close()
    async with asyncio.timeout(3):
        assert [chunk async for chunk in stream if b"event: rows" in chunk] == []
    assert metrics.registry.get_sample_value("biotwin_console_clients") == 0


async def test_a_client_that_comes_while_the_console_loads_waits_and_keeps_nobody_from_loading() -> None:
    class Loading:
        up = True
        loaded = False

    source = Loading()
    streams = Streams(Ward(), source, ProcessMetrics())
    stream = streams.events()
    await anext(stream)
    coming = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    streams.changed()  # a batch of what is loaded
    assert b"event: status" in await coming
    coming = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.1)
    assert not coming.done()
    source.loaded = True
    streams.changed()
    assert b"event: status" in await coming
    assert b"event: reset" in await anext(stream)
    await stream.aclose()


async def test_a_client_that_takes_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "SEND_TIMEOUT_S", 0.05)
    streams = streams_of(Ward())
    never = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await never.wait()

    async def receive() -> Any:
        await never.wait()

    async with asyncio.timeout(5):
        await event_stream.EventStreamResponse(streams.events())({}, receive, send)
    assert not streams._wake


def test_ids_are_read_only_when_they_are_ours() -> None:
    assert parse_id("0a1b2c3d-17-4.0.9") == ("0a1b2c3d", 17, {0: 4, 1: 0, 2: 9})
    assert parse_id("0a1b2c3d-17-") == ("0a1b2c3d", 17, {})
    for foreign in ("", "17", "0a1b2c3d-17", "0a1b2c3d-x-1", "0a1b2c3d-1-1\n", "0A1B2C3D-1-1"):
        assert parse_id(foreign) is None


def test_a_trend_keeps_recent_values_and_older_minutes_and_stays_bounded() -> None:
    trend = Trend()
    for second in range(60_000):
        trend.add(NOW + second, second % 60, 1.0, 0.5)
    trend.add(NOW, 999.0, 1.0, 0.0)
    assert (len(trend.recent), len(trend.minutes)) == (RECENT_POINTS, MINUTE_POINTS)
    points = trend.since(NOW + 60_000 - 3_600)
    assert [point.t for point in points] == sorted(point.t for point in points)
    assert points[0].t - (NOW + 60_000 - 3_600) < 60
    assert (points[0].low, points[0].high) == (0, 59)
    assert points[-1].value == 59_999 % 60
