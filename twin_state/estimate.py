"""What settles goes through the estimators here, by the drivers and in their order; see `twin_state.estimators`."""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.columns import KEY_READING, NODE_COUNT, NODE_KIND, NODE_LAST, NODE_T, VALUES_PER_NODE, Columns
from twin_state.compiled import compiled
from twin_state.constants import Constants
from twin_state.drivers import beats, load

WIRED = (*beats.DRIVEN, *load.DRIVEN)
"""Those that `take` drives."""


@compiled
def take(k: Constants, s: Columns, row: int, node: int) -> None:
    """Take in one node of the buffer as it settles, after the settled row has. A new stay begins with nothing known."""
    kind = s.node_number[node, NODE_KIND]
    e = s.estimates[row]
    if kind == b.ADMIT:
        for n in range(e.shape[0]):
            e[n] = 0.0
    if kind != b.READING:
        return
    t = s.node_time[node, NODE_T]
    f, i = s.settled[row], s.settled_identities[row]
    for n in range(s.node_number[node, NODE_COUNT]):
        if s.node_signal[node, n] == k.special[c.RR] and s.node_value[node, VALUES_PER_NODE + n] >= k.quality_floor:
            beats.take(k, e, s.node_value[node, n] / 1000.0, t, beats.fast_per_min(k, f))
    if s.node_number[node, NODE_LAST]:
        load.take(k, f, i, e, t, s.node_number[node, KEY_READING])
