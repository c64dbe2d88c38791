"""Rows as bytes: blocks of 64 rows for checkpoints, carried over to another layout by the names of their fields.

A block is a JSON header, a newline, and the words of its rows: settled row, identities, arrival state, notices, sources
and buffer. The header has the names of the devices that are silent in these rows, so that they can be told after any
crash. Live rows are not stored: they are the settled row with the buffer folded in. Of the words only those that
are not zero are written, after a bit mask, because most of a row is usually empty.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from twin_state import batch as b
from twin_state.batch import Float, Int
from twin_state.columns import (
    ANNOUNCED,
    ANNOUNCED_COUNT,
    ANNOUNCED_SEEN,
    DIRTY,
    FENCE,
    HEAD,
    NEXT_SOURCE,
    NODE_DEVICE,
    NODE_FREE,
    NODE_KIND,
    NODE_NEXT,
    NODES_LEFT,
    RING,
    RING_AT,
    RING_FREE,
    RINGS_LEFT,
    SOURCE_FREE,
    SOURCES,
    SOURCES_LEFT,
    TAIL,
    UNPUBLISHED,
    VALUES_PER_NODE,
    WINDOW_WORDS,
)
from twin_state.kernel import restore_live
from twin_state.models import devices
from twin_state.schema import ESTIMATES, FLOATS, IDENTITIES, SCHEMA_VERSION, Layout
from twin_state.store import BLOCK_ROWS, Store

Words = npt.NDArray[np.uint64]

NODES_NAME_DEVICES = 2
"""Schema version from which on a buffered reading names its device."""


class BlockVersionError(ValueError):
    """A block has a schema version that this build cannot read."""

    def __init__(self, found: int) -> None:
        super().__init__(f"block has schema version {found}; this build reads up to {SCHEMA_VERSION}")
        self.found = found


def changed_blocks(store: Store) -> list[int]:
    """Numbers of the blocks with a row that changed since the last call; they count as written from now on."""
    dirty = store.columns.row_number[: store.rows, DIRTY]
    numbers = np.unique(np.flatnonzero(dirty) // BLOCK_ROWS)
    dirty[:] = 0
    return [int(number) for number in numbers]


def changed_rows(store: Store) -> int:
    """How many rows changed since the last checkpoint."""
    return int(np.count_nonzero(store.columns.row_number[: store.rows, DIRTY]))


def lowest_fence(store: Store, number: int) -> int:
    """The lowest next offset over a block's rows: from there the log is needed by whoever has only this block."""
    rows = slice(number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, store.rows))
    return int(store.columns.row_number[rows, FENCE].min())


def block_bytes(store: Store, number: int) -> bytes:
    """One block as bytes."""
    first = number * BLOCK_ROWS
    last = min(first + BLOCK_ROWS, store.rows)
    s = store.columns
    rows = slice(first, last)
    sources = [_chain(s.source[:, NEXT_SOURCE], int(row)) for row in s.row_number[rows, SOURCES]]
    nodes = [_chain(s.node_number[:, NODE_NEXT], int(row)) for row in s.row_number[rows, HEAD]]
    header = {
        "schema": SCHEMA_VERSION,
        "keys": [key.decode() for key in store.keys[rows]],
        "signals": store.configuration.layout.signals,
        "channels": store.configuration.layout.channels,
        "rules": store.configuration.layout.rules,
        "places": _places(store.configuration.layout),
        "sources": [len(chain) for chain in sources],
        "nodes": [len(chain) for chain in nodes],
    }
    node_index = np.array([node for chain in nodes for node in chain], np.int64)
    header["devices"] = _silent_devices(store, rows, node_index)
    source_index = np.array([source for chain in sources for source in chain], np.int64)
    rings = np.zeros((len(source_index), RING), np.int64)
    ring_at = s.source[source_index, RING_AT]
    rings[ring_at >= 0] = s.ring[ring_at[ring_at >= 0]]
    # Links are places in this process's arrays: they mean nothing elsewhere.
    row_number = s.row_number[rows].copy()
    row_number[:, [HEAD, TAIL, SOURCES, DIRTY, UNPUBLISHED]] = 0
    announced, announced_t = s.announced[rows].copy(), s.announced_t[rows].copy()
    unused = np.arange(ANNOUNCED) >= s.row_number[rows, ANNOUNCED_COUNT, np.newaxis]
    announced[unused], announced_t[unused] = 0, 0.0
    announced[:, :, ANNOUNCED_SEEN] = 0
    node_number = s.node_number[node_index]
    node_number[:, NODE_NEXT] = 0
    source_number = s.source[source_index]
    source_number[:, NEXT_SOURCE] = 0
    source_number[:, RING_AT] = np.minimum(ring_at, 0)
    words = np.concatenate(
        [
            _words(s.settled[rows]),
            _words(s.settled_identities[rows]),
            _words(s.estimates[rows]),
            _words(s.row_time[rows]),
            _words(row_number),
            _words(announced),
            _words(announced_t),
            _words(source_number),
            s.source_window[source_index].reshape(-1),
            _words(rings),
            _words(s.node_time[node_index]),
            _words(node_number),
            _words(s.node_signal[node_index]),
            _words(s.node_value[node_index]),
        ]
    )
    filled = words != 0
    packed: bytes = np.packbits(filled).tobytes() + words[filled].tobytes()
    header["words"] = len(words)
    stored: bytes = json.dumps(header, separators=(",", ":")).encode() + b"\n" + packed
    return stored


def load_block(store: Store, number: int, payload: bytes) -> None:
    """Take in a block, in place of what the store holds of it. Raises `BlockVersionError`."""
    head, _, packed = payload.partition(b"\n")
    header: dict[str, Any] = json.loads(head)
    if header["schema"] > SCHEMA_VERSION:
        raise BlockVersionError(header["schema"])
    total = header["words"]
    mask = np.unpackbits(np.frombuffer(packed, np.uint8, (total + 7) // 8), count=total).astype(bool)
    words = np.zeros(total, np.uint64)
    words[mask] = np.frombuffer(packed, np.uint64, offset=(total + 7) // 8)
    reader = _Reader(words)
    count = len(header["keys"])
    old = {(model, field): tuple(place) for model, field, *place in header["places"]}
    widths = [
        sum(place[3] for place in old.values() if place[0] == vector) for vector in (FLOATS, IDENTITIES, ESTIMATES)
    ]

    settled = reader.floats(count, widths[FLOATS])
    settled_identities = reader.integers(count, widths[IDENTITIES])
    estimates = reader.floats(count, widths[ESTIMATES])
    row_time = reader.floats(count, 4)
    row_number = reader.integers(count, 8)
    announced = reader.integers(count, ANNOUNCED * 4).reshape(count, ANNOUNCED, 4)
    announced_t = reader.floats(count, ANNOUNCED)
    source_count, node_count = sum(header["sources"]), sum(header["nodes"])
    source = reader.integers(source_count, 8)
    window = reader.take(source_count * 2 * WINDOW_WORDS).reshape(source_count, 2, WINDOW_WORDS)
    rings = reader.integers(source_count, RING)
    node_time = reader.floats(node_count, 2)
    node_number = reader.integers(node_count, 10 if header["schema"] >= NODES_NAME_DEVICES else 9)
    if header["schema"] < NODES_NAME_DEVICES:
        node_number = np.hstack([node_number, np.zeros((node_count, 1), np.int64)])
    node_signal = reader.integers(node_count, VALUES_PER_NODE)
    node_value = reader.floats(node_count, 2 * VALUES_PER_NODE)

    store.device_names.update(header.get("devices", []))
    first = number * BLOCK_ROWS
    for n, key in enumerate(header["keys"]):
        store.place(first + n, key.encode())
    _reserve(store, node_count, source_count)
    s = store.columns
    for n in range(count):
        _free_row(store, first + n)
    rows = slice(first, first + count)
    layout = store.configuration.layout
    s.settled[rows] = _carry(settled, old, header, layout, FLOATS)
    s.settled_identities[rows] = _carry(settled_identities, old, header, layout, IDENTITIES)
    s.estimates[rows] = _carry(estimates, old, header, layout, ESTIMATES)
    s.row_time[rows] = row_time
    s.row_number[rows] = row_number
    s.announced[rows] = announced
    s.announced_t[rows] = announced_t
    if tuple(header["rules"]) != layout.rules:
        _renumber_rules(store, rows, header["rules"])
    s.row_number[rows, DIRTY] = 0
    s.row_number[rows, UNPUBLISHED] = 1
    at_source = at_node = 0
    for n in range(count):
        row = first + n
        s.row_number[row, [HEAD, TAIL, SOURCES]] = -1
        for entry in range(at_source + header["sources"][n] - 1, at_source - 1, -1):
            _add_source(store, row, source[entry], window[entry], rings[entry])
        at_source += header["sources"][n]
        for entry in range(at_node, at_node + header["nodes"][n]):
            _add_node(store, row, node_time[entry], node_number[entry], node_signal[entry], node_value[entry])
        at_node += header["nodes"][n]
        restore_live(store.configuration.constants, store.columns, store.room, row)


class _Reader:
    """Takes arrays off a vector of words, one after another."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._at = 0

    def take(self, count: int) -> Words:
        self._at += count
        return self._words[self._at - count : self._at]

    def floats(self, rows: int, columns: int) -> Float:
        return self.take(rows * columns).view(np.float64).reshape(rows, columns)

    def integers(self, rows: int, columns: int) -> Int:
        return self.take(rows * columns).view(np.int64).reshape(rows, columns)


def _words(array: Float | Int) -> Words:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint64)


def _chain(links: Int, first: int) -> list[int]:
    found = []
    while first >= 0:
        found.append(first)
        first = int(links[first])
    return found


def _silent_devices(store: Store, rows: slice, node_index: Int) -> list[tuple[int, str]]:
    """Identity and name of each device that is silent in these rows, or that a last will in their buffers makes so."""
    s = store.columns
    found: set[int] = set()
    if ("devices", "offline") in store.configuration.layout.places:
        found.update(
            s.settled_identities[rows, store.configuration.layout.place("devices", "offline")].ravel().tolist()
        )
    wills = (s.node_number[node_index, NODE_KIND] == b.DEVICE) & (s.node_value[node_index, 0] == devices.OFFLINE)
    found.update(s.node_number[node_index[wills], NODE_DEVICE].tolist())
    names = store.device_names
    return sorted((identity, names[identity]) for identity in found if identity in names)


def _places(layout: Layout) -> list[list[Any]]:
    return [[model, field, *place] for (model, field), place in layout.places.items()]


def _carry(rows: Any, old: dict[Any, Any], header: dict[str, Any], layout: Layout, vector: int) -> Any:
    """Rows in this build's layout: a field that is new starts empty, one that is gone is dropped; per signal, channel
    and rule the columns follow their names."""
    names = {"signal": "signals", "channel": "channels", "rule": "rules"}
    carried = np.zeros((len(rows), layout.widths[vector]), rows.dtype)
    for key, (place, at, per, size) in layout.places.items():
        if place != vector or key not in old or old[key][0] != vector:
            continue
        _, old_at, old_per, old_size = old[key]
        if per != old_per:
            continue
        if per == "row":
            kept = min(size, old_size)
            carried[:, at : at + kept] = rows[:, old_at : old_at + kept]
            continue
        places = {name: n for n, name in enumerate(header[names[per]])}
        for n, name in enumerate(getattr(layout, names[per])):
            if name in places:
                carried[:, at + n] = rows[:, old_at + places[name]]
    return carried


def _renumber_rules(store: Store, rows: slice, old_rules: list[str]) -> None:
    """Notices name rules by number: give them the numbers of this build, and drop those of rules that are gone."""
    numbers = {name: n for n, name in enumerate(store.configuration.layout.rules)}
    s = store.columns
    for row in range(rows.start, rows.stop):
        kept = 0
        for n in range(s.row_number[row, ANNOUNCED_COUNT]):
            number = numbers.get(old_rules[s.announced[row, n, 0]])
            if number is None:
                continue
            s.announced[row, kept] = s.announced[row, n]
            s.announced[row, kept, 0] = number
            s.announced_t[row, kept] = s.announced_t[row, n]
            kept += 1
        s.row_number[row, ANNOUNCED_COUNT] = kept


def _reserve(store: Store, nodes: int, sources: int) -> None:
    while store.columns.free[NODES_LEFT] < nodes:
        store.grow_nodes(nodes)
    while store.columns.free[SOURCES_LEFT] < sources or store.columns.free[RINGS_LEFT] < sources:
        store.grow_sources(sources)


def _free_row(store: Store, row: int) -> None:
    """Give back what a row holds, before it is replaced."""
    s = store.columns
    for node in _chain(s.node_number[:, NODE_NEXT], int(s.row_number[row, HEAD])):
        s.node_number[node, NODE_NEXT] = s.free[NODE_FREE]
        s.free[NODE_FREE] = node
        s.free[NODES_LEFT] += 1
    for entry in _chain(s.source[:, NEXT_SOURCE], int(s.row_number[row, SOURCES])):
        ring = s.source[entry, RING_AT]
        if ring >= 0:
            s.ring[ring, 0] = s.free[RING_FREE]
            s.free[RING_FREE] = ring
            s.free[RINGS_LEFT] += 1
        s.source[entry, NEXT_SOURCE] = s.free[SOURCE_FREE]
        s.free[SOURCE_FREE] = entry
        s.free[SOURCES_LEFT] += 1


def _add_source(store: Store, row: int, source: Int, window: Words, ring_values: Int) -> None:
    s = store.columns
    entry = s.free[SOURCE_FREE]
    s.free[SOURCE_FREE] = s.source[entry, NEXT_SOURCE]
    s.free[SOURCES_LEFT] -= 1
    s.source[entry] = source
    s.source_window[entry] = window
    if source[RING_AT] >= 0:
        ring = s.free[RING_FREE]
        s.free[RING_FREE] = s.ring[ring, 0]
        s.free[RINGS_LEFT] -= 1
        s.ring[ring] = ring_values
        s.source[entry, RING_AT] = ring
    s.source[entry, NEXT_SOURCE] = s.row_number[row, SOURCES]
    s.row_number[row, SOURCES] = entry


def _add_node(store: Store, row: int, time: Float, number: Int, signal: Int, value: Float) -> None:
    s = store.columns
    node = s.free[NODE_FREE]
    s.free[NODE_FREE] = s.node_number[node, NODE_NEXT]
    s.free[NODES_LEFT] -= 1
    s.node_time[node] = time
    s.node_number[node] = number
    s.node_signal[node] = signal
    s.node_value[node] = value
    s.node_number[node, NODE_NEXT] = -1
    tail = s.row_number[row, TAIL]
    if tail < 0:
        s.row_number[row, HEAD] = node
    else:
        s.node_number[tail, NODE_NEXT] = node
    s.row_number[row, TAIL] = node
