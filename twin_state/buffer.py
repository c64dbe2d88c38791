"""The short buffer of readings that are applied to the live row but not yet settled.

A row's nodes form a list in the order t, source, session, sequence, part: the order in which they settle, whatever
order they came in. Source and session stand there by identity, so ties in t have one order in every process.
"""

from __future__ import annotations

from twin_state.batch import DEVICE_OF, STREAM, Batch
from twin_state.columns import (
    HEAD,
    KEY_READING,
    KEY_SEQUENCE,
    KEY_SESSION,
    KEY_SOURCE,
    NODE_COUNT,
    NODE_DEVICE,
    NODE_FREE,
    NODE_KIND,
    NODE_LAST,
    NODE_NEXT,
    NODE_PART,
    NODE_RECEIVED,
    NODE_T,
    NODES_LEFT,
    TAIL,
    VALUES_PER_NODE,
    Columns,
)
from twin_state.compiled import compiled, inlined

REPEATED = -2
"""What `insert` returns for a reading that stands in the list already."""


@inlined
def nodes_needed(count: int) -> int:
    """Nodes that a reading of `count` values takes; a command without arguments takes one too."""
    return max(1, (count + VALUES_PER_NODE - 1) // VALUES_PER_NODE)


@inlined
def _before(s: Columns, a: int, b: int) -> bool:
    if s.node_time[a, NODE_T] != s.node_time[b, NODE_T]:
        return s.node_time[a, NODE_T] < s.node_time[b, NODE_T]  # type: ignore[no-any-return]
    for key in (KEY_SOURCE, KEY_SESSION, KEY_SEQUENCE):
        if s.node_number[a, key] != s.node_number[b, key]:
            return s.node_number[a, key] < s.node_number[b, key]  # type: ignore[no-any-return]
    return s.node_number[a, NODE_PART] < s.node_number[b, NODE_PART]  # type: ignore[no-any-return]


@compiled
def insert(s: Columns, row: int, b: Batch, j: int, t: float) -> int:
    """Put record j into the row's list as of `t` (s). Returns its first node if it went to the end, -1 if it went
    anywhere else, and `REPEATED` if the list holds a reading of the same time, source, session and sequence number:
    then nothing changes. So a repeat that is on time is known however many readings its source has sent since."""
    parts = nodes_needed(b.values[j])
    first = -1
    in_order = True
    for part in range(parts):
        node = s.free[NODE_FREE]
        s.free[NODE_FREE] = s.node_number[node, NODE_NEXT]
        s.free[NODES_LEFT] -= 1
        s.node_time[node, NODE_T] = t
        s.node_time[node, NODE_RECEIVED] = b.received_at[j]
        s.node_number[node, NODE_KIND] = b.kind[j]
        s.node_number[node, NODE_PART] = part
        s.node_number[node, NODE_LAST] = part == parts - 1
        s.node_number[node, KEY_SOURCE] = b.source[j, STREAM]
        s.node_number[node, KEY_SESSION] = b.session[j]
        s.node_number[node, KEY_SEQUENCE] = b.sequence[j]
        s.node_number[node, KEY_READING] = b.reading[j]
        s.node_number[node, NODE_DEVICE] = b.source[j, DEVICE_OF]
        begin = b.first[j] + part * VALUES_PER_NODE
        count = min(VALUES_PER_NODE, b.first[j] + b.values[j] - begin)
        s.node_number[node, NODE_COUNT] = count
        for n in range(count):
            s.node_signal[node, n] = b.signal[begin + n]
            s.node_value[node, n] = b.value[begin + n]
            s.node_value[node, VALUES_PER_NODE + n] = b.quality[begin + n]
        if part == 0:
            first = node
        tail = s.row_number[row, TAIL]
        if tail < 0:
            s.row_number[row, HEAD] = node
            s.row_number[row, TAIL] = node
            s.node_number[node, NODE_NEXT] = -1
        elif _before(s, tail, node):
            s.node_number[tail, NODE_NEXT] = node
            s.row_number[row, TAIL] = node
            s.node_number[node, NODE_NEXT] = -1
        else:
            in_order = False
            at = s.row_number[row, HEAD]
            if _before(s, node, at):
                s.node_number[node, NODE_NEXT] = at
                s.row_number[row, HEAD] = node
            else:
                following = s.node_number[at, NODE_NEXT]
                while following >= 0 and not _before(s, node, following):
                    at = following
                    following = s.node_number[at, NODE_NEXT]
                if not _before(s, at, node):
                    s.node_number[node, NODE_NEXT] = s.free[NODE_FREE]
                    s.free[NODE_FREE] = node
                    s.free[NODES_LEFT] += 1
                    return REPEATED
                s.node_number[node, NODE_NEXT] = following
                s.node_number[at, NODE_NEXT] = node
    return first if in_order else -1


@inlined
def drop_head(s: Columns, row: int) -> None:
    """Give the row's first node back."""
    node = s.row_number[row, HEAD]
    s.row_number[row, HEAD] = s.node_number[node, NODE_NEXT]
    if s.row_number[row, HEAD] < 0:
        s.row_number[row, TAIL] = -1
    s.node_number[node, NODE_NEXT] = s.free[NODE_FREE]
    s.free[NODE_FREE] = node
    s.free[NODES_LEFT] += 1
