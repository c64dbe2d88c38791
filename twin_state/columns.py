"""The columns of a store: one named tuple of arrays that the kernels walk.

R rows (patients), N nodes of the buffer of readings not yet settled, D sources (device, stream), H rings of hashed
sequence numbers, A announced provisional notices a row. Lists are linked by index; -1 ends one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from twin_state.batch import Float, Int

VALUES_PER_NODE = 8
"""Values a node holds; a reading with more takes several nodes in a row."""

ANNOUNCED = 8
"""Provisional notices a row keeps in mind until they settle; a ninth waits for the settled row, at most its bound."""

WINDOW_WORDS = 4
WINDOW = 64 * WINDOW_WORDS
"""Sequence numbers below the newest that are told apart as repeats (design: 256)."""

RING = 64
"""Hashed sequence numbers kept a source."""

# Integer columns of a source.
SOURCE_ID, SESSION, NEWEST, PREVIOUS_SESSION, PREVIOUS_NEWEST, RING_AT, RING_COUNT, NEXT_SOURCE = range(8)
NO_SESSION = 0

Mark = npt.NDArray[np.uint64]


CLOCK, WATERMARK, LAST_RECEIVED, SILENT_SINCE = range(4)
"""Columns of `row_time` (s): the newest measured time, how far the row is settled (exclusive), the arrival time of the
newest reading, -inf at first; and since when the patient is silent, 0 while not."""

FENCE, LAST_READING, DIRTY, UNPUBLISHED, HEAD, TAIL, SOURCES, ANNOUNCED_COUNT = range(8)
"""Columns of `row_number`: the next offset to apply, the reading that arrived last (while the patient is silent: last
before that), whether the row changed since the last checkpoint and the last twin record, the ends of its buffer, its
first source, its notices."""

ANNOUNCED_RULE, ANNOUNCED_OPENED_BY, ANNOUNCED_AS, ANNOUNCED_SEEN = range(4)
"""Columns of `announced`."""

NODE_T, NODE_RECEIVED = range(2)
"""Columns of `node_time` (s)."""

(
    KEY_SOURCE,
    KEY_SESSION,
    KEY_SEQUENCE,
    KEY_READING,
    NODE_KIND,
    NODE_PART,
    NODE_LAST,
    NODE_COUNT,
    NODE_NEXT,
    NODE_DEVICE,
) = range(10)
"""Columns of `node_number`."""

NODE_FREE, NODES_LEFT, SOURCE_FREE, SOURCES_LEFT, RING_FREE, RINGS_LEFT = range(6)
"""Places in `free`: the first free entry of each list and how many there are."""


class Columns(NamedTuple):
    """Shapes: `settled` and `live` (R, floats), their identities (R, identities), `estimates` (R, estimates),
    `row_time` (R, 4), `row_number` (R, 8), `announced` (R, A, 4), `announced_t` (R, A), `node_time` (N, 2),
    `node_number` (N, 10), `node_signal` (N, 8), `node_value` (N, 16: values, then qualities), `source` (D, 8),
    `source_window` (D, 2, 4), `ring` (H, 64)."""

    settled: Float
    settled_identities: Int
    live: Float
    live_identities: Int
    estimates: Float
    row_time: Float
    row_number: Int
    announced: Int
    announced_t: Float
    node_time: Float
    node_number: Int
    node_signal: Int
    node_value: Float
    source: Int
    source_window: Mark
    ring: Int
    free: Int
    counters: Int


def empty_columns(
    rows: int, nodes: int, sources: int, rings: int, floats: int, identities: int, estimates: int
) -> Columns:
    """Columns with room for these numbers, nothing in them."""
    row_time = np.full((rows, 4), -np.inf)
    row_time[:, SILENT_SINCE] = 0.0
    row_number = np.zeros((rows, 8), np.int64)
    row_number[:, [HEAD, TAIL, SOURCES]] = -1
    node_number = np.zeros((nodes, 10), np.int64)
    node_number[:, NODE_NEXT] = _free_list(nodes)
    source = np.zeros((sources, 8), np.int64)
    source[:, NEXT_SOURCE] = _free_list(sources)
    source[:, RING_AT] = -1
    ring = np.zeros((rings, RING), np.int64)
    ring[:, 0] = _free_list(rings)
    return Columns(
        settled=np.zeros((rows, floats)),
        settled_identities=np.zeros((rows, identities), np.int64),
        live=np.zeros((rows, floats)),
        live_identities=np.zeros((rows, identities), np.int64),
        estimates=np.zeros((rows, estimates)),
        row_time=row_time,
        row_number=row_number,
        announced=np.zeros((rows, ANNOUNCED, 4), np.int64),
        announced_t=np.zeros((rows, ANNOUNCED)),
        node_time=np.zeros((nodes, 2)),
        node_number=node_number,
        node_signal=np.zeros((nodes, VALUES_PER_NODE), np.int64),
        node_value=np.zeros((nodes, 2 * VALUES_PER_NODE)),
        source=source,
        source_window=np.zeros((sources, 2, WINDOW_WORDS), np.uint64),
        ring=ring,
        free=np.array([0 if nodes else -1, nodes, 0 if sources else -1, sources, 0 if rings else -1, rings], np.int64),
        counters=np.zeros(16, np.int64),
    )


def _free_list(count: int) -> Int:
    """Each entry points at the next."""
    links = np.arange(1, count + 1, dtype=np.int64)
    if count:
        links[-1] = -1
    return links
