"""History on the disk: what is visible through the reader is what Kafka has, once, whatever ends the sink."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from contracts import topics
from stream.history_files import SegmentMissingError, merge_backwards, segment_path, segments, write_segment
from stream.history_reader import read_history, read_log
from stream.history_rows import table


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def reading(offset: int, patient: str = "p1", **v: Any) -> Record:
    body = {
        "kind": "reading",
        "device": "d1",
        "stream": "monitor",
        "session": "s",
        "seq": offset,
        "t": 1000.0 + offset,
        "received_at": 1000.5 + offset,
        "v": v or {"heart_rate": 60 + offset % 40},
        "q": {"heart_rate": 0.9},
    }
    headers = (("ce_id", f"{patient}-{offset:08x}".encode()),)
    return Record(topics.TELEMETRY, 0, offset, 2_000_000, patient.encode(), orjson.dumps(body), headers)


def write(directory: Path, records: list[Record], first: int) -> None:
    path = segment_path(directory, topics.TELEMETRY, 0, first)
    write_segment(path, table(topics.TELEMETRY, records), records[-1].offset)


def test_a_reading_comes_back_with_its_signals_quality_and_times(tmp_path: Path) -> None:
    write(tmp_path, [reading(0, heart_rate=71, spo2=96.5), reading(1, consciousness="A")], 0)
    found = read_history(tmp_path, topics.TELEMETRY, "p1").to_pylist()
    assert [line["v_heart_rate"] for line in found] == [71.0, None]
    assert found[0]["v_spo2"] == 96.5
    assert found[0]["q_heart_rate"] == pytest.approx(0.9)
    assert (found[0]["t"], found[0]["received_at"], found[0]["logged_at"]) == (1000.0, 1000.5, 2000.0)
    assert found[0]["device"] == "d1"
    assert orjson.loads(found[1]["value"])["v"] == {"consciousness": "A"}


def test_filters_by_patient_time_and_signal(tmp_path: Path) -> None:
    write(tmp_path, [reading(0), reading(1, "p2"), reading(2, spo2=90), reading(3)], 0)
    found = read_history(tmp_path, topics.TELEMETRY, "p1", since=1001.0, until=1003.0)
    assert found["offset"].to_pylist() == [2]
    found = read_history(tmp_path, topics.TELEMETRY, signals=["heart_rate"])
    assert found["offset"].to_pylist() == [0, 1, 3]
    assert "v_spo2" not in found.column_names
    with pytest.raises(ValueError, match="not in the signal registry"):
        read_history(tmp_path, topics.TELEMETRY, signals=["heart_rat"])


def test_no_files_is_an_empty_table_with_the_same_columns(tmp_path: Path) -> None:
    empty = read_history(tmp_path, topics.ALERTS)
    assert len(empty) == 0
    assert "priority" in empty.column_names


def test_a_file_is_never_replaced_by_one_that_holds_less(tmp_path: Path) -> None:
    write(tmp_path, [reading(i) for i in range(10)], 0)
    write(tmp_path, [reading(i) for i in range(4)], 0)
    assert len(read_history(tmp_path, topics.TELEMETRY)) == 10


def test_a_reader_sees_whole_files_while_they_are_replaced(tmp_path: Path) -> None:
    versions = [table(topics.TELEMETRY, [reading(i) for i in range(rows)]) for rows in range(200, 4000, 200)]
    write(tmp_path, [reading(i) for i in range(100)], 0)
    read: list[int] = []

    def read_on() -> None:
        while not replaced.is_set():
            read.append(len(read_history(tmp_path, topics.TELEMETRY)))

    replaced = threading.Event()
    with ThreadPoolExecutor(1) as reader:
        reading_on = reader.submit(read_on)
        for version in versions:
            write_segment(segment_path(tmp_path, topics.TELEMETRY, 0, 0), version, len(version) - 1)
        replaced.set()
        reading_on.result()
    assert read == sorted(read)
    assert set(read) <= {100, *map(len, versions)}


def test_a_file_grows_by_the_rows_beyond_it_and_keeps_a_patients_rows_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.history_files.ROW_GROUP_BYTES", 2000)
    untimed = reading(30)._replace(value=b"{}")
    nameless = reading(31)._replace(key=None)
    records = [*(reading(i, f"p{i * 7 % 5}") for i in range(30)), untimed, nameless, reading(32), reading(33, "p3")]
    path = segment_path(tmp_path, topics.TELEMETRY, 0, 0)
    for start, end in ((0, 20), (20, 21), (15, 34)):
        write_segment(path, table(topics.TELEMETRY, records[start:end]), end - 1)
    assert pq.ParquetFile(path).num_row_groups > 1
    assert pq.read_table(path).equals(table(topics.TELEMETRY, records))


def test_a_file_of_a_version_with_fewer_columns_grows_and_keeps_its_rows(tmp_path: Path) -> None:
    path = segment_path(tmp_path, topics.TELEMETRY, 0, 0)
    older = table(topics.TELEMETRY, [reading(i) for i in range(3)]).drop_columns(["v_spo2", "q_spo2"])
    write_segment(path, older, 2)
    write_segment(path, table(topics.TELEMETRY, [reading(3, spo2=97)]), 3, written=2)
    found = read_history(tmp_path, topics.TELEMETRY).to_pylist()
    assert [line["v_spo2"] for line in found] == [None, None, None, 97.0]
    assert [line["v_heart_rate"] for line in found] == [60.0, 61.0, 62.0, None]


def test_a_file_that_lost_what_was_written_is_not_grown_past_the_hole(tmp_path: Path) -> None:
    write(tmp_path, [reading(i) for i in range(5)], 0)
    path = segment_path(tmp_path, topics.TELEMETRY, 0, 0)
    more = table(topics.TELEMETRY, [reading(8)])
    with pytest.raises(SegmentMissingError, match="ends at offset 4"):
        write_segment(path, more, 8, written=7)
    path.unlink()
    with pytest.raises(SegmentMissingError):
        write_segment(path, more, 8, written=7)
    assert not list(tmp_path.glob("*.parquet"))


def test_repeats_within_and_across_files_are_dropped(tmp_path: Path) -> None:
    again = reading(3)._replace(offset=9)
    write(tmp_path, [*(reading(i) for i in range(5)), again], 0)
    write(tmp_path, [reading(i) for i in range(4, 12)], 4)
    found = read_history(tmp_path, topics.TELEMETRY)
    assert found["seq"].to_pylist() == list(range(12))


def test_quiet_files_are_merged_and_nothing_is_lost(tmp_path: Path) -> None:
    for first in range(0, 320, 5):
        write(tmp_path, [reading(i) for i in range(first, first + 5)], first)
        merge_backwards(tmp_path, topics.TELEMETRY, 0, 100)
    left = segments(tmp_path, topics.TELEMETRY, 0)
    assert len(left) <= 10
    assert all(segment.rows <= 100 for segment in left)
    assert read_history(tmp_path, topics.TELEMETRY)["seq"].to_pylist() == list(range(320))


def test_what_a_crash_within_a_merge_left_is_cleaned_up(tmp_path: Path) -> None:
    write(tmp_path, [reading(i) for i in range(10)], 0)
    write(tmp_path, [reading(i) for i in range(5, 10)], 5)
    merge_backwards(tmp_path, topics.TELEMETRY, 0, 100)
    assert [segment.first for segment in segments(tmp_path, topics.TELEMETRY, 0)] == [0]


def test_a_repeated_alert_is_one_row_although_its_provenance_differs(tmp_path: Path) -> None:
    def alert(offset: int, applied_at: float) -> Record:
        body = {
            "id": "a1",
            "rule": "news2-high",
            "priority": "high",
            "t": 5.0,
            "provenance": {"applied_at": applied_at},
        }
        return Record(topics.ALERTS, 0, offset, 1, b"p1", orjson.dumps(body))

    path = segment_path(tmp_path, topics.ALERTS, 0, 0)
    write_segment(path, table(topics.ALERTS, [alert(0, 1.0), alert(1, 2.0)]), 1)
    (found,) = read_history(tmp_path, topics.ALERTS).to_pylist()
    assert (found["alert"], found["rule"], found["priority"]) == ("a1", "news2-high", "high")


@given(value=st.binary(max_size=60) | st.none(), key=st.binary(max_size=8) | st.none())
def test_any_bytes_become_a_row(value: bytes | None, key: bytes | None) -> None:
    built = table(topics.TELEMETRY, [Record(topics.TELEMETRY, 1, 7, 0, key, value)])
    assert built["offset"].to_pylist() == [7]


class Sink:
    """`biotwin history` as a process, on a Kafka and a folder of its own."""

    def __init__(self, bootstrap: str, folder: Path, seal_after_s: float) -> None:
        self.folder = folder
        self.history = folder / "history"
        settings = {
            "kafka.bootstrap": bootstrap,
            "kafka.session_timeout_s": "6",
            "kafka.heartbeat_s": "1",
            "history.directory": str(self.history),
            "history.seal_after_s": str(seal_after_s),
            "data": str(folder),
        }
        self._command = [sys.executable, "-m", "deploy.cli"]
        for name, value in settings.items():
            self._command += ["--set", f"{name}={value}"]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "sink.log").open("ab") as log:
            process = subprocess.Popen([*self._command, "history"], stdout=log, stderr=log, env=dict(os.environ))
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def sink(ward: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sink]:
    running = Sink(ward.bootstrap, tmp_path, getattr(request, "param", 1.2))
    yield running
    running.close()


async def produce_readings(bootstrap: str, count: int, per_s: float) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    for i in range(count):
        record = reading(i, f"p{i % 50}")
        await producer.send(topics.TELEMETRY, record.value, key=record.key, headers=list(record.headers))
        if i % 50 == 0:
            await asyncio.sleep(50 / per_s)
    await producer.stop()


@pytest.mark.kafka
@pytest.mark.slow
async def test_kill_9_at_any_time_loses_and_repeats_nothing(ward: Any, sink: Sink) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    producing = asyncio.create_task(produce_readings(ward.bootstrap, 8000, 1000))
    seen = 0
    for _ in range(3):
        process = sink.start()
        await asyncio.sleep(chance.uniform(2.0, 4.0))
        process.kill()
        process.wait()
        visible = len(read_history(sink.history, topics.TELEMETRY))
        assert visible >= seen, "what was visible has gone"
        seen = visible
    await producing
    process = sink.start()

    async def complete() -> bool:
        return len(read_history(sink.history, topics.TELEMETRY)) >= 8000

    await ward.until(complete)
    process.terminate()
    assert await asyncio.to_thread(process.wait, 60) == 0
    found = read_history(sink.history, topics.TELEMETRY)
    assert len(found) == 8000
    assert pc.count_distinct(found["seq"]).as_py() == 8000
    assert sum(offset or 0 for offset in await ward.committed(topics.TELEMETRY, group="biotwin-history")) == 8000
    assert not list(sink.history.glob(".*.tmp"))


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("sink", [30.0], indirect=True)
async def test_rows_deleted_before_their_commit_are_read_from_kafka_again(ward: Any, sink: Sink) -> None:
    async def visible(count: int) -> bool:
        return len(read_history(sink.history, topics.TELEMETRY)) >= count

    await produce_readings(ward.bootstrap, 300, 1000)
    sink.start()
    await ward.until(lambda: visible(300))
    for path in sink.history.glob("*.parquet"):
        path.unlink()
    await produce_readings(ward.bootstrap, 400, 1000)
    await ward.until(lambda: visible(400))
    found = read_history(sink.history, topics.TELEMETRY)
    assert found["seq"].to_pylist() == list(range(400))


def test_the_log_is_read_again_in_its_order_with_the_commands_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.history_reader.LOG_OFFSETS_AT_ONCE", 3)

    def command(offset: int) -> Record:
        body = {"kind": "command", "received_at": 1000.5 + offset, "command": {"kind": "admit", "t": 1.0, "id": "c"}}
        return Record(topics.TELEMETRY, 0, offset, 2_000_000, b"p2", orjson.dumps(body))

    tick = Record(topics.TELEMETRY, 0, 8, 2_000_000, None, b'{"kind":"tick","t":1008.2}')
    log = [command(0), *(reading(offset, f"p{offset % 3}") for offset in range(1, 8)), tick, reading(9)]
    write(tmp_path, log, 0)
    write(tmp_path, log[5:8], 5)  # a merge that was killed before it removed the merged file
    found = list(read_log(tmp_path, since=1004.0, until=1009.0))
    assert [row.value for row in found] == [log[offset].value for offset in (0, 4, 5, 6, 7, 8)]
    assert [row.key for row in found] == [b"p2", b"p1", b"p2", b"p0", b"p1", None]
    assert list(read_log(tmp_path / "nothing", 0.0, 1.0)) == []
