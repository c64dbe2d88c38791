"""Where the console's data come from: a Kafka that goes away and comes back, and history older than memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.console.access import Access
from alerts.console.accounts import Accounts
from alerts.console.application import create_console
from alerts.console.audit import AuditJournal
from alerts.console.event_stream import Streams
from alerts.console.records import decode_twin
from alerts.console.ward import Ward
from contracts.configuration import Configuration, Kafka
from contracts.metrics import ProcessMetrics
from contracts.topics import TELEMETRY
from deploy.cli.console import history_in
from deploy.kafka.broker import Broker
from deploy.kafka.topics import create_topics
from stream.history_rows import schema
from tests.console.console_harness import Console, running_console, signed_in_client, twin, write
from tests.waiting import until


class Source:
    """A feed that is up."""

    up = True
    loaded = True


async def ward_of(client: httpx.AsyncClient, console: Console) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(console.url + "/api/ward")).json()
    return found


@pytest.mark.kafka
async def test_a_kafka_that_goes_away_is_told_and_recovered_from(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "kafka")
    broker.start()
    try:
        await create_topics(broker.bootstrap, Configuration(kafka=Kafka(bootstrap=broker.bootstrap)))
        async with running_console(tmp_path, broker.bootstrap) as console, signed_in_client() as client:

            async def shows(kafka: bool, patients: int) -> bool:
                found = await ward_of(client, console)
                return found["kafka"] is kafka and len(found["rows"]) == patients

            await write(broker.bootstrap, [twin("p-1", time.time(), {"heart_rate": 70})])
            await until(lambda: shows(True, 1))
            broker.stop()
            await until(lambda: shows(False, 1))
            broker.start()
            await write(broker.bootstrap, [twin("p-2", time.time(), {"heart_rate": 70})])
            await until(lambda: shows(True, 2))
            log = await console.logged("kafka_unreachable")
            assert log.count('"kafka_unreachable"') < 5
    finally:
        broker.stop()


def telemetry_file(folder: Path, patient: str, begin: float, count: int) -> None:
    """A sealed file of heart rates, one a second from `begin` on, each of them twice."""
    columns = schema(TELEMETRY)
    rows = [
        dict.fromkeys(columns.names)
        | {"partition": 0, "offset": 2 * i + copy, "id": f"r{i}", "key": patient, "kind": "reading", "t": begin + i}
        | {"received_at": begin + i + 1.5, "v_heart_rate": 60.0 + i, "q_heart_rate": 0.5, "value": "{}"}
        for i in range(count)
        for copy in (0, 1)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=columns), folder / f"{TELEMETRY}-0-0.parquet")


async def trend(ward: Ward, history: Any, query: str, now: float, folder: Path) -> httpx.Response:
    access = Access(
        Accounts(folder / "accounts.sqlite"),
        AuditJournal(folder / "audit.jsonl"),
        tokens={"secret": "ehr"},
        clock=time.monotonic,
    )
    application = create_console(
        ward, Source(), Streams(ward, Source(), ProcessMetrics()), access=access, history=history, clock=lambda: now
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://127.0.0.1") as client:
        return await client.get(f"/api/patients/p-1/trend?{query}", headers={"Authorization": "Bearer secret"})


async def test_a_trend_goes_on_into_history_without_repeats(tmp_path: Path) -> None:
    now = 1_763_900_000.0
    telemetry_file(tmp_path, "p-1", now - 100, 60)
    ward = Ward()
    for second in range(50, 0, -1):
        ward.apply_twin(decode_twin(orjson.dumps(twin("p-1", now - second, {"heart_rate": 200})[2])))
    answer = await trend(ward, history_in(str(tmp_path)), "signal=heart_rate&minutes=5", now, tmp_path)
    points = answer.json()["points"]
    assert [point[0] for point in points] == [now - 100 + i for i in range(100)]
    assert points[0] == [now - 100, 60.0, 60.0, 60.0, 0.5, now - 98.5]
    assert {point[1] for point in points[50:]} == {200.0}
    for query, status in (("signal=heart_rate&minutes=0", 400), ("signal=x&minutes=nan", 400), ("signal=x", 200)):
        assert (await trend(ward, history_in(str(tmp_path)), query, now, tmp_path)).status_code == status


async def test_a_long_trend_is_thinned_and_keeps_its_extremes(tmp_path: Path) -> None:
    now = 1_763_900_000.0

    def history(
        _patient: str, _signal: str, since: float, until_t: float
    ) -> Iterator[tuple[float, float, float, float]]:
        t = since
        while t < until_t:
            yield t, 200.0 if 4000 <= t - since < 4001 else 70.0, 1.0, t + 1
            t += 1

    ward = Ward()
    ward.apply_twin(decode_twin(orjson.dumps(twin("p-1", now, {"heart_rate": 71})[2])))
    points = (await trend(ward, history, "signal=heart_rate&minutes=240", now, tmp_path)).json()["points"]
    assert 300 < len(points) <= 602
    assert max(point[3] for point in points) == 200.0
    assert min(point[2] for point in points) == 70.0
