"""Commands and waiting readings on the real Kafka: a reading that came before its device was bound is not lost."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from contracts import topics
from contracts.command import Bind, Discharge
from contracts.configuration import Ingest
from contracts.quarantine import Quarantined
from contracts.signals import default_registry
from ingest.bindings import BindingTable
from ingest.core import IngestCore

pytestmark = pytest.mark.kafka


def unbound(device: str, seq: int, t: float) -> Quarantined:
    """What ingest writes for a reading of a device that nobody has bound."""
    core = IngestCore(default_registry(), Ingest(), "site", BindingTable())
    payload = orjson.dumps({"session": "s", "seq": seq, "t": t, "v": {"heart_rate": 70}})
    (quarantined,) = core.take(f"biotwin/v1/site/{device}/monitor", payload, t + 0.5).quarantined
    return quarantined


async def hold(ward: Any, reading: Quarantined) -> None:
    await ward.write(topics.QUARANTINE, reading.device.encode(), msgspec.json.encode(reading))


async def readings(ward: Any) -> dict[tuple[str, int], tuple[bytes, float]]:
    """Readings in telemetry: (device, seq) -> (patient, time of arrival)."""
    found = {}
    for record in await ward.read(topics.TELEMETRY):
        body = orjson.loads(record.value)
        if body["kind"] == "reading":
            assert dict(record.headers)["ce_type"] == b"biotwin.reading.v1"
            found[body["device"], body["seq"]] = (record.key, body["received_at"])
    return found


async def released_marks(ward: Any) -> list[Quarantined]:
    """The quarantine records that say that a reading was released."""
    records = [msgspec.json.decode(record.value, type=Quarantined) for record in await ward.read(topics.QUARANTINE)]
    return [record for record in records if record.released]


async def test_binding_a_device_releases_what_waited_for_it(ward: Any, workers: Any) -> None:
    early = 1_700_000_000.0
    for seq in range(5):
        await hold(ward, unbound("d1", seq, early + seq))
    await hold(ward, unbound("d2", 0, early))
    workers.start("worker.instance=a")
    bind = Bind(id="c1", t=early + 2, author="nurse", device="d1", patient="p1")
    await ward.write(topics.COMMANDS, b"d1", msgspec.json.encode(bind))

    async def marked() -> bool:
        return len(await released_marks(ward)) == 3

    # The mark is written only once the reading is delivered, so whoever sees the marks sees the readings.
    await ward.until(marked)
    assert {mark.t for mark in await released_marks(ward)} == {early + 2, early + 3, early + 4}
    assert await readings(ward) == {("d1", seq): (b"p1", early + seq + 0.5) for seq in (2, 3, 4)}
    # A binding is known to the worker that comes next, and what is quarantined later goes at once.
    workers.start("worker.instance=b")
    await hold(ward, unbound("d1", 9, early + 9))

    async def also_released() -> bool:
        return ("d1", 9) in await readings(ward)

    await ward.until(also_released)
    assert len(await readings(ward)) == 4


async def test_commands_survive_kill_9_of_the_router(ward: Any, workers: Any) -> None:
    worker = workers.start("worker.instance=a")
    for number in range(40):
        bind = Bind(id=f"b{number}", t=10.0, author="nurse", device=f"d{number}", patient=f"p{number}")
        await ward.write(topics.COMMANDS, bind.device.encode(), msgspec.json.encode(bind))
        leave = Discharge(id=f"x{number}", t=20.0, author="nurse", patient=f"p{number}")
        await ward.write(topics.COMMANDS, leave.patient.encode(), msgspec.json.encode(leave))
        if number == 20:
            worker.kill()
            worker.wait()
            worker = workers.start("worker.instance=a")

    async def routed() -> bool:
        bindings = {record.key for record in await ward.read(topics.BINDINGS, partitions=1)}
        logged = {orjson.loads(record.value)["command"]["id"] for record in await ward.read(topics.TELEMETRY)}
        return len(bindings) == 40 and len(logged) == 40

    await ward.until(routed)
    records = await ward.read(topics.BINDINGS, partitions=1)
    newest = {record.key: orjson.loads(record.value) for record in records}
    assert all(len(value["intervals"]) == 1 for value in newest.values())
