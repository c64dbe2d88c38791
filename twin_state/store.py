"""The rows of one partition."""

from __future__ import annotations

from typing import Any

import numpy as np

from twin_state.batch import COUNTERS, Int, Transitions, empty_transitions
from twin_state.columns import (
    NEXT_SOURCE,
    NODE_FREE,
    NODE_NEXT,
    RING_FREE,
    RINGS_LEFT,
    SOURCE_FREE,
    SOURCES_LEFT,
    Columns,
    empty_columns,
)
from twin_state.configuration import TwinConfiguration

BLOCK_ROWS = 64
"""Rows in a block of a checkpoint (design: a changelog record per patient costs more than the work)."""

TRANSITION_ROOM = 256


class Store:
    """Rows in the order in which their patients first appeared in the log, which is the same in every process.

    `keys[row]` is the patient's Kafka key, b"" where a row is empty. `device_names` has the name behind the identity of
    each device whose last will was read. Not safe for concurrent use.
    """

    def __init__(self, configuration: TwinConfiguration, rows: int = BLOCK_ROWS) -> None:
        self.configuration = configuration
        layout = configuration.layout
        self.columns: Columns = empty_columns(rows, 8 * rows, 2 * rows, 8, *layout.widths)
        self.keys: list[bytes] = []
        self.index: dict[bytes, int] = {}
        self.device_names: dict[int, str] = {}
        k = configuration.constants
        self.room: Transitions = empty_transitions(TRANSITION_ROOM + 4 * k.rules, layout.floats, layout.identities)

    @property
    def rows(self) -> int:
        """Rows in use, empty ones among them counted."""
        return len(self.keys)

    def row_of(self, key: bytes) -> int:
        """The patient's row, made if it is new."""
        row = self.index.get(key)
        if row is None:
            row = self._new_row(len(self.keys))
            self.keys[row] = key
            self.index[key] = row
        return row

    def row_indices(self, keys: list[bytes]) -> Int:
        """`row_of` over a column of keys."""
        index = self.index
        try:
            return np.array([index[key] for key in keys], np.int64)
        except KeyError:
            return np.array([self.row_of(key) for key in keys], np.int64)

    def place(self, row: int, key: bytes) -> None:
        """Give a patient a certain row, as a loaded block says."""
        while len(self.keys) <= row:
            self._new_row(len(self.keys))
        self.keys[row] = key
        self.index[key] = row

    def _new_row(self, row: int) -> int:
        if row >= self.columns.row_time.shape[0]:
            self._grow_rows()
        self.keys.append(b"")
        return row

    def counters(self) -> dict[str, int]:
        """Totals since creation."""
        return {name: int(self.columns.counters[n]) for n, name in enumerate(COUNTERS)}

    def _grow_rows(self) -> None:
        old = self.columns
        rows = old.row_time.shape[0]
        layout = self.configuration.layout
        extra = empty_columns(rows, 0, 0, 0, *layout.widths)
        per_row = Columns._fields[: Columns._fields.index("node_time")]
        self._replace({name: np.concatenate([getattr(old, name), getattr(extra, name)]) for name in per_row})

    def grow_nodes(self, at_least: int) -> None:
        """Make room for at least so many more buffered readings."""
        old = self.columns
        count = old.node_time.shape[0]
        extra = empty_columns(0, max(count, at_least), 0, 0, 0, 0, 0)
        self._chain(extra.node_number[:, NODE_NEXT], count, NODE_FREE)
        self._concatenate(extra, ("node_time", "node_number", "node_signal", "node_value"))

    def grow_sources(self, at_least: int = 1) -> None:
        """Make room for more sources or rings, whichever there are too few of."""
        old = self.columns
        if old.free[SOURCES_LEFT] < at_least:
            count = old.source.shape[0]
            extra = empty_columns(0, 0, count, 0, 0, 0, 0)
            self._chain(extra.source[:, NEXT_SOURCE], count, SOURCE_FREE)
            self._concatenate(extra, ("source", "source_window"))
        if old.free[RINGS_LEFT] < at_least:
            count = old.ring.shape[0]
            extra = empty_columns(0, 0, 0, count, 0, 0, 0)
            self._chain(extra.ring[:, 0], count, RING_FREE)
            self._concatenate(extra, ("ring",))

    def _chain(self, links: Int, count: int, first_free: int) -> None:
        """Hang new entries, numbered from `count`, before the free ones that are left."""
        free = self.columns.free
        links[:] = np.where(links >= 0, links + count, free[first_free])
        free[first_free] = count
        free[first_free + 1] += len(links)

    def _concatenate(self, extra: Columns, names: tuple[str, ...]) -> None:
        self._replace({name: np.concatenate([getattr(self.columns, name), getattr(extra, name)]) for name in names})

    def _replace(self, changed: dict[str, Any]) -> None:
        self.columns = self.columns._replace(**changed)
