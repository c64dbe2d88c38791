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


def records_in_history(directory: str | Path, alert: str) -> AlertRecords | None:
    """What history holds of an alert; None where it does not know it."""
    decoder = msgspec.json.Decoder(Alert)
    query = "SELECT value FROM history WHERE alert = $alert OR contains(value, $named)"
    rows = query_history(directory, ALERTS, query, {"alert": alert, "named": f'"announced_id":"{alert}"'})
    names = {name for (value,) in rows for name in names_of(decoder.decode(value))}
    if not names:
        return None
    query = 'SELECT value, partition, "offset" FROM history WHERE list_contains($names, alert) ORDER BY "offset"'
    own = query_history(directory, ALERTS, query, {"names": sorted(names)})
    query = 'SELECT value FROM history WHERE list_contains($names, alert) ORDER BY "offset"'
    journal = query_history(directory, JOURNAL, query, {"names": sorted(names)})
    _, partition, last = own[-1]
    before = _origins_in_history(directory, partition, last)
    return alert_records(names, [value for value, _, _ in own], [value for (value,) in journal], before)


def _origins_in_history(directory: str | Path, partition: int, last: int) -> set[Origin]:
    """The origins of a partition's alerts up to an offset. Quotes within a value are escaped, so names stand alone."""
    fields = ", ".join(
        f"""regexp_extract(value, '"{name}":"([^"]*)"', 1)""" for name in ("configuration", "model", "build")
    )
    query = (
        f"SELECT DISTINCT {fields} FROM history"  # noqa: S608 - constants
        """ WHERE partition = $partition AND "offset" <= $last AND contains(value, '"evidence":')"""
    )
    return {Origin(*row) for row in query_history(directory, ALERTS, query, {"partition": partition, "last": last})}
