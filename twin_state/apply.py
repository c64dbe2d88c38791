"""`apply`: a batch of records into a store, effects out. The one entrance through which a twin changes."""

from __future__ import annotations

from typing import NamedTuple

from twin_state.batch import Batch, Transitions, take_transitions
from twin_state.conditions import FILLED
from twin_state.kernel import DONE, NO_NODES, NO_SOURCES, apply_records
from twin_state.store import Store


class Effects(NamedTuple):
    """What came of a batch: transitions of conditions in the order in which they were written, in parts."""

    transitions: tuple[Transitions, ...]


def apply(store: Store, batch: Batch) -> Effects:
    """Fold a batch into the store, in offset order, under the store's configuration.

    The result does not depend on how the log is cut into batches. Records below a row's fence change nothing.
    `Batch.row` must come from this store's `row_of`. Raises nothing for any finite input.
    """
    written: list[Transitions] = []
    k = store.configuration.constants
    at = 0
    while True:
        at, why = apply_records(k, store.columns, batch, store.room, store.rows, at)
        filled = int(store.columns.counters[FILLED])
        if filled:
            written.append(take_transitions(store.room, filled))
            store.columns.counters[FILLED] = 0
        if why == DONE:
            return Effects(tuple(written))
        if why == NO_NODES:
            store.grow_nodes(int(batch.values[at]) // 8 + 1)
        elif why == NO_SOURCES:
            store.grow_sources()
