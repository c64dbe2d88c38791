"""All that topics or history hold of one alert, to explain it and to hold a recomputation against it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson

from contracts.alert_signal import SignalTransition
from contracts.canonical import canonical_bytes
from contracts.condition import Alert
from contracts.topics import ALERTS, JOURNAL
from stream.history_reader import query_history
from stream.recompute import Origin


class AlertRecords(NamedTuple):
    """One alert. `names` are its ids: its own, and that of the notice whose place it took. `alerts` and `lines` (their
    canonical form) are in the order in which they were written, repeats left out; `signals` by their numbers.
    `before` has the origins of all alerts of the partition up to its last."""

    names: tuple[str, ...]
    alerts: list[Alert]
    lines: list[bytes]
    signals: list[SignalTransition]
    before: set[Origin]


def names_of(alert: Alert) -> set[str]:
    """The ids that one transition connects."""
    return {alert.id, alert.provenance.announced_id} - {""}


def alert_records(
    names: Collection[str], told: Iterable[bytes | str], journal: Iterable[bytes | str], before: set[Origin]
) -> AlertRecords:
    """The records of one alert from values of `alerts` and `alerts.journal`, in the order in which they were written.

    The canonical form is made of the values as they stand, so that a field nobody knows shows too.
    """
    found = {canonical_bytes(orjson.loads(value)): value for value in told}
    signals = [msgspec.json.decode(value, type=SignalTransition) for value in journal]
    known = {(one.id, one.sequence): one for one in signals if one.id in names}
    by_number = sorted(known.values(), key=lambda one: (one.sequence, one.t))
    alerts = [msgspec.json.decode(value, type=Alert) for value in found.values()]
    return AlertRecords(tuple(sorted(names)), alerts, list(found), by_number, before)


def records_in_history(directory: str | Path, alerts: Collection[str]) -> list[AlertRecords]:
    """What history holds of alerts, each of them once, in no order; those that it does not know are left out."""
    decoder = msgspec.json.Decoder(Alert)
    replaced = f"list_contains($alerts, {_field('announced_id')})"
    query = f"SELECT value FROM history WHERE list_contains($alerts, alert) OR {replaced}"  # noqa: S608 - constants
    rows = query_history(directory, ALERTS, query, {"alerts": list(alerts)})
    group_of: dict[str, set[str]] = {}
    for (value,) in rows:
        names = names_of(decoder.decode(value))
        joined = names.union(*(group_of.get(name, set()) for name in names))
        group_of |= dict.fromkeys(joined, joined)
    if not group_of:
        return []
    wanted = {"names": list(group_of)}
    query = 'SELECT alert, value, partition, "offset" FROM history WHERE list_contains($names, alert) ORDER BY "offset"'
    told: dict[str, list[tuple[str, int, int]]] = {}
    for alert, *row in query_history(directory, ALERTS, query, wanted):
        told.setdefault(min(group_of[alert]), []).append((row[0], row[1], row[2]))
    query = 'SELECT alert, value FROM history WHERE list_contains($names, alert) ORDER BY "offset"'
    journal: dict[str, list[str]] = {}
    for alert, value in query_history(directory, JOURNAL, query, wanted):
        journal.setdefault(min(group_of[alert]), []).append(value)
    origins = _origins_in_history(directory)
    found = []
    for first, own in told.items():
        _, partition, last = own[-1]
        before = {origin for at, begin, origin in origins if at == partition and begin <= last}
        values = [value for value, _, _ in own]
        found.append(alert_records(group_of[first], values, journal.get(first, []), before))
    return found


def _origins_in_history(directory: str | Path) -> list[tuple[int, int, Origin]]:
    """The origins of all alerts: partition, the offset of the first alert of that origin, and it."""
    fields = ", ".join(_field(name) for name in ("configuration", "model", "build"))
    query = (
        f'SELECT partition, min("offset"), {fields} FROM history'  # noqa: S608 - constants
        """ WHERE contains(value, '"evidence":') GROUP BY ALL"""
    )
    return [(row[0], row[1], Origin(*row[2:])) for row in query_history(directory, ALERTS, query, {})]


def _field(name: str) -> str:
    """SQL for a field's text. Quotes within a value are escaped, so a name in quotes stands for itself."""
    return f"""regexp_extract(value, '"{name}":"([^"]*)"', 1)"""
