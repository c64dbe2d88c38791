"""Reading the quarantine, and judging once more what stands in it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Self

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.configuration import Configuration, Kafka
from contracts.quarantine import Quarantined, Reason
from contracts.signals import default_registry
from contracts.topics import BINDINGS, QUARANTINE, TELEMETRY
from deploy.api.reading import records_of
from deploy.errors import UserError
from ingest.bindings import BindingTable
from ingest.core import IngestCore, Outcome

MAX_REQUEST_BYTES = 8 * 1024 * 1024


class Filter(NamedTuple):
    """Which records are meant; empty fields admit all. Times are arrival times in s since the epoch."""

    reasons: frozenset[Reason] = frozenset()
    device: str = ""
    since: float | None = None
    until: float | None = None
    ids: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        reasons: Iterable[str],
        device: str = "",
        since: float | None = None,
        until: float | None = None,
        ids: Iterable[str] = (),
    ) -> Self:
        """A filter from words; raises `UserError` for a reason that does not exist."""
        try:
            known = frozenset(Reason(name) for name in reasons)
        except ValueError as error:
            raise UserError(f"{error}; reasons are {', '.join(Reason)}") from error
        return cls(known, device, since, until, frozenset(ids))

    def admits(self, record: Quarantined) -> bool:
        return (
            (not self.reasons or record.reason in self.reasons)
            and self.device in ("", record.device)
            and (self.since is None or record.received_at >= self.since)
            and (self.until is None or record.received_at < self.until)
            and (not self.ids or record.id in self.ids)
        )


class Held(NamedTuple):
    """A quarantine record as it stands now, and the partition it stands in."""

    record: Quarantined
    partition: int


class Replayed(NamedTuple):
    """What a replay did: records released, readings written, records still refused and why."""

    released: int
    readings: int
    refused: int
    reasons: Counter[str]


async def read_quarantine(kafka: Kafka, wanted: Filter) -> list[Held]:
    """Every wanted record once, in order of arrival, `released` if a later record of its id says so."""
    found: dict[str, Held] = {}
    async for message in records_of(kafka, QUARANTINE):
        try:
            record = msgspec.json.decode(message.value or b"", type=Quarantined)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if not wanted.admits(record):
            continue
        known = found.get(record.id)
        if record.released and known is not None and not record.raw:
            record = msgspec.structs.replace(known.record, released=True)
        found[record.id] = Held(record, message.partition)
    return sorted(found.values(), key=lambda held: held.record.received_at)


async def replay_quarantine(configuration: Configuration, wanted: Filter, *, dry_run: bool = False) -> Replayed:
    """Judge what waits once more and take in what passes: `telemetry` first, then the record that says so.

    A crash in between writes a reading twice; the twin drops the repeat. Raises `UserError`.
    """
    core = await _present_core(configuration)
    waiting = [held for held in await read_quarantine(configuration.kafka, wanted) if not held.record.released]
    passed: list[tuple[Held, Outcome]] = []
    reasons: Counter[str] = Counter()
    for held in waiting:
        outcome = judge_again(core, held.record, time.time())
        same = [again for again in outcome.quarantined if again.id == held.record.id]
        if same or not outcome.accepted:
            reasons[same[0].reason.value if same else held.record.reason.value] += 1
        else:
            passed.append((held, outcome))
    if passed and not dry_run:
        await _write(configuration.kafka, passed)
    readings = sum(len(outcome.accepted) for _, outcome in passed)
    return Replayed(len(passed), readings, len(waiting) - len(passed), reasons)


def judge_again(core: IngestCore, record: Quarantined, now: float) -> Outcome:
    """Judge a record's bytes as of their first arrival; one that came from the future, as of `now`."""
    received_at = max(record.received_at, now) if record.reason is Reason.FUTURE_TIME else record.received_at
    return core.take(record.topic, record.payload(), received_at)


async def _present_core(configuration: Configuration) -> IngestCore:
    table = BindingTable()
    async for message in records_of(configuration.kafka, BINDINGS):
        table.load(message.key or b"", message.value)
    return IngestCore(default_registry(), configuration.ingest, configuration.site, table)


async def _write(kafka: Kafka, passed: Iterable[tuple[Held, Outcome]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all", max_request_size=MAX_REQUEST_BYTES)
    try:
        await producer.start()
        for held, outcome in passed:
            deliveries = [
                await producer.send(TELEMETRY, accepted.value, accepted.key, headers=list(accepted.headers))
                for accepted in outcome.accepted
            ]
            deliveries += [
                await producer.send(QUARANTINE, msgspec.json.encode(refused), refused.device.encode() or None)
                for refused in outcome.quarantined
            ]
            await asyncio.gather(*deliveries)
            mark = msgspec.structs.replace(held.record, released=True, raw="")
            key = held.record.device.encode() or None
            await producer.send_and_wait(QUARANTINE, msgspec.json.encode(mark), key, partition=held.partition)
    except (KafkaError, OSError) as error:
        raise UserError(f"Kafka at {kafka.bootstrap} did not take what was to be released: {error}") from error
    finally:
        await producer.stop()
