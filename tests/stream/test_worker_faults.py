"""A worker that is killed, frozen, joined by another or cut off from Kafka: every record counts exactly once."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from typing import Any

import pytest

from contracts import topics
from stream.liveness import EXIT_FROZEN
from stream.worker import EXIT_FAILED, EXIT_UNCLEAN

pytestmark = pytest.mark.kafka

RECORDS = 8_000
KEYS = 200


def expected(records: int = RECORDS) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    for i in range(records):
        key = b"patient-%04d" % (i % KEYS)
        counts[key] = counts.get(key, 0) + 1
    return counts


async def all_announced(ward: Any, records: int = RECORDS) -> None:
    announced = await ward.announced()
    assert announced == {key: set(range(10, count + 1, 10)) for key, count in expected(records).items()}


async def ends(workers: Any, worker: Any, status: int, timeout_s: float = 60.0) -> None:
    """Wait until the worker ends with this exit status; its log is the message where it does not."""
    deadline = time.monotonic() + timeout_s
    while worker.poll() is None:
        assert time.monotonic() < deadline, f"the worker did not end\n{workers.text_of(worker)}"
        await asyncio.sleep(0.02)
    assert worker.returncode == status, workers.text_of(worker)


async def test_counts_are_exact_after_kill_9_at_random_points(ward: Any, workers: Any) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    producing = asyncio.create_task(ward.produce(RECORDS, KEYS, per_s=800))
    for _ in range(3):
        worker = workers.start("worker.instance=a")
        await asyncio.sleep(chance.uniform(1.5, 4.0))
        worker.kill()
        worker.wait()
    await producing
    worker = workers.start("worker.instance=a")
    await owning(ward, workers, worker)
    assert await ward.until_total(RECORDS) == expected()
    worker.terminate()
    await ends(workers, worker, 0)
    await all_announced(ward)


async def test_a_worker_told_to_end_commits_everything_and_ends_quickly(ward: Any, workers: Any) -> None:
    await ward.produce(5000, KEYS)
    # The beat of its checkpoints is out of reach: only the one at its end can make the counts durable.
    worker = workers.start("worker.checkpoint_min_s=500", "worker.checkpoint_max_s=500")

    async def all_written() -> bool:
        return sum(len(counts) for counts in (await ward.announced()).values()) == 400

    await ward.until(all_written)
    assert await ward.counts() == {}
    worker.send_signal(signal.SIGTERM)
    await ends(workers, worker, 0)
    assert await ward.counts() == expected(5000)
    assert sum(offset or 0 for offset in await ward.committed(topics.TELEMETRY)) == 5000


@pytest.mark.slow
async def test_a_frozen_worker_leaves_when_thawed_and_does_no_harm(ward: Any, workers: Any) -> None:
    producing = asyncio.create_task(ward.produce(RECORDS, KEYS, per_s=1000))
    frozen = workers.start()
    await ward.until_total(1000)
    frozen.send_signal(signal.SIGSTOP)
    workers.start()
    await producing
    counts = await ward.until_total(RECORDS)
    assert counts == expected()
    frozen.send_signal(signal.SIGCONT)
    await ends(workers, frozen, EXIT_FROZEN)
    assert "frozen" in workers.text_of(frozen)
    await ward.produce(200, KEYS, first=RECORDS)
    assert await ward.until_total(RECORDS + 200) == expected(RECORDS + 200)
    await all_announced(ward, RECORDS + 200)


@pytest.mark.slow
async def test_workers_that_come_and_go_share_the_partitions(ward: Any, workers: Any) -> None:
    producing = asyncio.create_task(ward.produce(RECORDS, KEYS, per_s=700))
    first = workers.start()
    await owning(ward, workers, first)
    second = workers.start()
    await owning(ward, workers, second)
    first.terminate()
    await ends(workers, first, 0)
    third = workers.start()
    await owning(ward, workers, third)
    second.kill()
    await producing
    assert await ward.until_total(RECORDS) == expected()
    third.terminate()
    await ends(workers, third, 0)
    await all_announced(ward)


async def owning(ward: Any, workers: Any, worker: Any) -> None:
    """Wait until the worker has recovered partitions of its own."""

    async def recovered() -> bool:
        return '"event": "recovered"' in workers.text_of(worker)

    await ward.until(recovered)


async def test_a_block_that_a_dead_worker_wrote_late_is_repaired(ward: Any, workers: Any) -> None:
    await ward.produce(3000, KEYS)
    worker = workers.start()
    await ward.until_total(3000)
    late = {
        record.key: record.value
        for record in await ward.read(topics.TWIN_CHANGELOG)
        if not record.key.endswith(b"manifest")
    }
    await ward.produce(3000, KEYS, first=3000)
    await ward.until_total(6000)
    worker.terminate()
    await ends(workers, worker, 0)
    for key, value in late.items():
        await ward.write(topics.TWIN_CHANGELOG, key, value, int(key.split(b"/")[0]))
    assert sum((await ward.counts()).values()) == 3000
    workers.start()
    assert await ward.until_total(6000) == expected(6000)


async def test_an_error_in_a_processor_ends_the_worker_and_skips_nothing(ward: Any, workers: Any) -> None:
    await ward.produce(1000, KEYS)
    worker = workers.start()
    await ward.until_total(1000)
    await ward.write(topics.TELEMETRY, b"patient-0000", b"bug")
    await ends(workers, worker, EXIT_FAILED)
    assert "a bug in the processor" in workers.text_of(worker)
    await ward.produce(100, KEYS, first=1000)
    again = workers.start()
    await ends(workers, again, EXIT_FAILED)
    assert sum(offset or 0 for offset in await ward.committed(topics.TELEMETRY)) < 1101


@pytest.mark.parametrize("second", ["CancelledError", "RuntimeError", "KafkaConnectionError"])
async def test_what_goes_wrong_at_the_end_does_not_hide_the_failure(ward: Any, workers: Any, second: str) -> None:
    await ward.write(topics.TELEMETRY, b"patient-0000", b"bug")
    worker = workers.start(f"stop_raises={second}")
    await ends(workers, worker, EXIT_FAILED)
    said = workers.text_of(worker)
    assert "a bug in the processor" in said
    assert f"{second}: stumbled while stopping" in said, "the second error has its traceback in the log"


async def test_a_cancellation_that_nobody_asked_for_ends_the_worker(ward: Any, workers: Any) -> None:
    await ward.write(topics.TELEMETRY, b"patient-0000", b"cancelled")
    worker = workers.start()
    await ends(workers, worker, EXIT_FAILED)
    assert "cancelled by nobody" in workers.text_of(worker)


@pytest.mark.parametrize(
    ("error", "status"),
    [("CancelledError", EXIT_UNCLEAN), ("RuntimeError", EXIT_FAILED), ("KafkaConnectionError", EXIT_UNCLEAN)],
)
async def test_an_end_that_fails_is_no_clean_end(ward: Any, workers: Any, error: str, status: int) -> None:
    worker = workers.start(f"stop_raises={error}")
    await owning(ward, workers, worker)
    worker.terminate()
    await ends(workers, worker, status)
    assert "stumbled while stopping" in workers.text_of(worker)


async def test_ticks_are_written_to_every_partition(ward: Any, workers: Any) -> None:
    workers.start("worker.ticks=true")

    async def ticking() -> bool:
        ticks = [record for record in await ward.read(topics.TELEMETRY) if record.key is None]
        return all(sum(tick.partition == number for tick in ticks) >= 2 for number in range(4))

    await ward.until(ticking)
