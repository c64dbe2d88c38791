"""What became of every published reading, counted by a reader that took no part: the figures of the demo's report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson

from contracts import topics
from contracts.quarantine import Quarantined
from loadtest.kafka_log import read_topic
from loadtest.sse import Receipt

FEWEST_ALERTS = 200
"""Below this many alerts a percentile says nothing, and none is given."""

CE_ID = "ce_id"


class Acknowledged(NamedTuple):
    """The simulator's own file: ids that the broker acknowledged, with the time of their first publish call."""

    published_at: dict[str, float]
    readings: int


class Log(NamedTuple):
    """What a separate reader found in Kafka.

    `readings` maps reading id to how often it stands in `telemetry`; `places` (partition, offset) to the reading there;
    `quarantined` counts records by id, `released` holds the ids that were released; `triggers` maps the place of a
    condition to the place in `telemetry` of the record that brought it about and to when it was applied.
    """

    readings: Counter[str]
    places: dict[tuple[int, int], str]
    quarantined: Counter[str]
    quarantined_readings: dict[str, str]
    released: set[str]
    triggers: dict[tuple[int, int], tuple[int, int, float]]


def read_acknowledged(file: Path) -> Acknowledged:
    """Read the simulator's file."""
    published_at: dict[str, float] = {}
    readings = 0
    with file.open("rb") as lines:
        for line in lines:
            entry: dict[str, Any] = orjson.loads(line)
            readings += len(entry["ids"])
            for identity in entry["ids"]:
                published_at.setdefault(identity, entry["published_at"])
    return Acknowledged(published_at, readings)


async def read_log(bootstrap: str) -> Log:
    """Read `telemetry`, `telemetry.quarantine` and `conditions` from their beginnings."""
    log = Log(Counter(), {}, Counter(), {}, set(), {})
    async for record in read_topic(bootstrap, topics.TELEMETRY):
        for name, value in record.headers:
            if name == CE_ID:
                identity = value.decode()
                log.readings[identity] += 1
                log.places[record.partition, record.offset] = identity
    async for record in read_topic(bootstrap, topics.QUARANTINE):
        refused = msgspec.json.decode(record.value, type=Quarantined)
        if refused.released:
            log.released.add(refused.id)
        else:
            log.quarantined[refused.id] += 1
        log.quarantined_readings[refused.id] = refused.reading or refused.id
    async for record in read_topic(bootstrap, topics.CONDITIONS):
        provenance = orjson.loads(record.value).get("provenance", {})
        log.triggers[record.partition, record.offset] = (
            provenance.get("partition", -1),
            provenance.get("offset", -1),
            provenance.get("applied_at", 0.0),
        )
    return log


def lost(acknowledged: Acknowledged, log: Log) -> set[str]:
    """Ids that the broker acknowledged and that stand neither in `telemetry` nor in `telemetry.quarantine`."""
    return acknowledged.published_at.keys() - log.readings.keys() - set(log.quarantined_readings.values())


def account(published: int, counters: Mapping[str, float], log: Log) -> dict[str, int]:
    """`applied`, `late`, `quarantined` and `duplicates` of what was published, and how often MQTT delivered again.

    Applied, late and repeated readings are the twin agent's own counts. A reading that waited and was released counts
    where the twin counted it; of one that stands in quarantine several times all but one are duplicates. What MQTT
    delivered more often than it was published (`redelivered`) is taken off the duplicates: it was published once.
    """
    entries = sum(log.quarantined.values())
    repeats = entries - len(log.quarantined)
    redelivered = sum(log.readings.values()) - len(log.released) + entries - published
    return {
        "applied": int(counters.get("biotwin_readings_applied_total", 0)),
        "late": int(counters.get("biotwin_readings_late_total", 0)),
        "quarantined": len(log.quarantined) - len(log.released),
        "duplicates": int(counters.get("biotwin_readings_duplicate_total", 0)) + repeats - redelivered,
        "redelivered": redelivered,
    }


def latencies_ms(
    acknowledged: Acknowledged, log: Log, receipts: Iterable[Receipt]
) -> tuple[list[float], list[float], Counter[str]]:
    """(publish to applied, publish to alert, what was left out), both in ms, sorted.

    Publish to alert: from the simulator's publish call of the reading that completed the rule to the receipt by the SSE
    client, for the first record of each alert. Left out, and counted: alerts that a tick or a command completed
    (`by_clock`: no reading was published then), those whose reading first waited in quarantine (`released`), and those
    announced only when settled (`settled_first`).
    """
    waited = set(log.quarantined_readings.values())
    applied: list[float] = []
    for partition, offset, applied_at in log.triggers.values():
        reading = log.places.get((partition, offset))
        if reading is not None and reading not in waited and reading in acknowledged.published_at:
            applied.append(1000.0 * (applied_at - acknowledged.published_at[reading]))
    delivered: list[float] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for receipt in receipts:
        alert = receipt.alert
        if alert["id"] in seen or not alert.get("patient"):
            continue
        seen.add(alert["id"])
        if alert["stage"] != "provisional":
            left_out["settled_first"] += 1
            continue
        provenance = alert.get("provenance", {})
        trigger = log.triggers.get((provenance.get("partition", -1), provenance.get("offset", -1)))
        reading = None if trigger is None else log.places.get(trigger[:2])
        if reading is None or reading not in acknowledged.published_at:
            left_out["by_clock"] += 1
        elif reading in waited:
            left_out["released"] += 1
        else:
            delivered.append(1000.0 * (receipt.received_at - acknowledged.published_at[reading]))
    return sorted(applied), sorted(delivered), left_out


def percentiles(values: Sequence[float], fewest: int = 1) -> dict[str, float] | None:
    """p50, p95, p99 and max of sorted values (nearest rank); None for fewer than `fewest`."""
    if len(values) < max(fewest, 1):
        return None

    def rank(share: float) -> float:
        return round(values[min(len(values) - 1, max(0, -(-int(share * 1000) * len(values) // 1000) - 1))], 3)

    return {"p50": rank(0.5), "p95": rank(0.95), "p99": rank(0.99), "max": round(values[-1], 3)}
