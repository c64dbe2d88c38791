"""The walk over a batch: fence, repeats, lateness, buffer, live row, settled row, ticks. Driven by `apply`."""

from __future__ import annotations

import numpy as np

from twin_state import batch as b
from twin_state import constants as c
from twin_state import duplicates, estimate
from twin_state.batch import Batch, Transitions
from twin_state.buffer import REPEATED, drop_head, insert, nodes_needed
from twin_state.columns import (
    ANNOUNCED,
    ANNOUNCED_COUNT,
    ANNOUNCED_SEEN,
    CLOCK,
    DIRTY,
    FENCE,
    HEAD,
    LAST_READING,
    LAST_RECEIVED,
    NODE_NEXT,
    NODE_T,
    NODES_LEFT,
    RINGS_LEFT,
    SILENT_SINCE,
    SOURCES_LEFT,
    UNPUBLISHED,
    WATERMARK,
    Columns,
)
from twin_state.compiled import compiled, inlined
from twin_state.conditions import (
    AGAIN,
    FILLED,
    FOLD_AGAIN,
    FOLD_LIVE,
    FOLD_SETTLED,
    FOLD_SILENT,
    FOLD_TICK,
    MOST_AGAIN,
    advance,
    reconcile,
    threshold_of,
    withdraw,
    write,
)
from twin_state.constants import Constants
from twin_state.fold import ALL_CHANNELS, fold_node
from twin_state.models import patient

NEXT_ROW, UNSETTLED_ROW = 14, 12
"""Places in `Columns.counters`: the row at which an interrupted tick goes on, and 1 + the row whose settling was
interrupted (0: none)."""

DONE, NO_ROOM, NO_NODES, NO_SOURCES = range(4)
"""Why the walk stopped."""


@inlined
def room_to_settle(k: Constants) -> int:
    """Most transitions that one node can write as it settles, and the withdrawals after it."""
    return 2 * k.rules + ANNOUNCED


@inlined
def room_to_arrive(k: Constants) -> int:
    """Most transitions that one record can write before anything settles."""
    return 2 * k.rules + MOST_AGAIN + 2


@compiled
def fold_live_again(k: Constants, s: Columns, out: Transitions, row: int, record: int, fold: int) -> None:
    """Rebuild the live row: the settled row and then everything in the buffer."""
    for at in range(s.live.shape[1]):
        s.live[row, at] = s.settled[row, at]
    for at in range(s.live_identities.shape[1]):
        s.live_identities[row, at] = s.settled_identities[row, at]
    for at in range(s.row_number[row, ANNOUNCED_COUNT]):
        s.announced[row, at, ANNOUNCED_SEEN] = 0
    s.counters[AGAIN] = 0
    first = s.counters[FILLED]
    node = s.row_number[row, HEAD]
    while node >= 0:
        fold_node(k, s, out, row, s.live[row], s.live_identities[row], node, record, fold)
        node = s.node_number[node, NODE_NEXT]
    if fold == FOLD_AGAIN:
        reconcile(s, out, row, first)


@compiled
def _settle(k: Constants, s: Columns, out: Transitions, row: int, until: float, record: int) -> bool:
    """Fold into the settled row everything measured before `until` (s), then withdraw what did not come true.
    Returns False where the output has no more room: call again with an emptied one."""
    while s.row_number[row, HEAD] >= 0 and s.node_time[s.row_number[row, HEAD], NODE_T] < until:
        if out.number.shape[0] - s.counters[FILLED] < room_to_settle(k):
            return False
        node = s.row_number[row, HEAD]
        fold_node(k, s, out, row, s.settled[row], s.settled_identities[row], node, record, FOLD_SETTLED)
        if s.estimates.shape[1] > 0:
            estimate.take(k, s, row, node)
        drop_head(s, row)
    if s.row_number[row, ANNOUNCED_COUNT] > 0:
        withdraw(k, s, out, row, record, s.settled[row], s.settled_identities[row])
    return True


@inlined
def _tell_past_event(
    k: Constants,
    s: Columns,
    out: Transitions,
    row: int,
    batch: Batch,
    j: int,
    signal: int,
    value: float,
    threshold: float,
    personal: int,
) -> None:
    t = batch.t[j]
    what, rule = b.PAST_EVENT, k.past_event_rule
    f, i = s.live[row], s.live_identities[row]
    write(s, out, row, rule, what, b.SETTLED, t, t, batch.reading[j], signal, value, threshold, personal, j, f, i)


@compiled
def _past_event(k: Constants, s: Columns, out: Transitions, row: int, batch: Batch, j: int) -> None:
    """One advisory for a late reading that reports a symptom or would have opened a high-priority condition."""
    if k.past_event_rule < 0:
        return
    f = s.live[row]
    session = patient.in_session(k, f)
    for n in range(batch.first[j], batch.first[j] + batch.values[j]):
        signal = batch.signal[n]
        value = batch.value[n]
        if signal == k.special[c.SYMPTOM]:
            if value > 0.0:
                _tell_past_event(k, s, out, row, batch, j, signal, value, 1.0, 0)
                return
            continue
        if batch.quality[n] < k.quality_floor:
            continue
        for rule in range(k.rules):
            if not k.rule_number[rule, c.URGENT] or k.rule_number[rule, c.CHANNEL] != signal:
                continue
            if (k.rule_number[rule, c.WHEN] == c.REST and session) or (
                k.rule_number[rule, c.WHEN] == c.IN_SESSION and not session
            ):
                continue
            threshold, personal = threshold_of(k, f, rule, batch.t[j])
            if k.rule_value[rule, c.SENSE] * (value - threshold) >= 0.0:
                _tell_past_event(k, s, out, row, batch, j, signal, value, threshold, personal)
                return


@inlined
def _end_silence(k: Constants, s: Columns, out: Transitions, row: int, t: float, j: int) -> None:
    since = s.row_time[row, SILENT_SINCE]
    if since > 0.0:
        s.row_time[row, SILENT_SINCE] = 0.0
        write(
            s,
            out,
            row,
            k.silence_rule,
            b.CLEAR,
            b.SETTLED,
            max(t, since),
            since,
            s.row_number[row, LAST_READING],
            0,
            0.0,
            0.0,
            0,
            j,
            s.live[row],
            s.live_identities[row],
        )


@compiled
def _arrive(k: Constants, s: Columns, out: Transitions, batch: Batch, j: int) -> None:
    row = batch.row[j]
    command = batch.kind[j] != b.READING
    t = batch.t[j]
    bound = 0.0
    if not command:
        for n in range(batch.first[j], batch.first[j] + batch.values[j]):
            bound = max(bound, k.channel[batch.signal[n], c.LATENESS_S])
        if batch.values[j] == 0:
            bound = k.settling_s
    on_time = command or t >= max(s.row_time[row, CLOCK] - bound, s.row_time[row, WATERMARK])
    seen = duplicates.check(
        s, row, batch.source[j, b.STREAM], batch.session[j], batch.sequence[j], batch.hashed[j] == 1, on_time
    )
    if seen == duplicates.REPEAT:
        s.counters[b.DUPLICATES] += 1
        return
    late = not on_time or seen == duplicates.BELOW_WINDOW
    if command:
        # A command is never too late: it takes effect where the settled row stands.
        t = max(t, s.row_time[row, WATERMARK])
    first = -1
    if not late:
        first = insert(s, row, batch, j, t)
        if first == REPEATED:
            s.counters[b.DUPLICATES] += 1
            return
    s.row_number[row, UNPUBLISHED] = 1
    if not command:
        s.row_time[row, LAST_RECEIVED] = max(s.row_time[row, LAST_RECEIVED], batch.received_at[j])
    if late:
        s.counters[b.LATE] += 1
        if s.row_time[row, SILENT_SINCE] == 0.0:
            s.row_number[row, LAST_READING] = batch.reading[j]
        _past_event(k, s, out, row, batch, j)
        return
    if command:
        s.counters[b.COMMANDS] += 1
        if batch.kind[j] == b.DISCHARGE:
            _end_silence(k, s, out, row, t, j)
    else:
        s.counters[b.APPLIED] += 1
        _end_silence(k, s, out, row, t, j)
        s.row_time[row, CLOCK] = max(s.row_time[row, CLOCK], t)
        # The reading that came last, not the newest: two silences must not have one identity.
        s.row_number[row, LAST_READING] = batch.reading[j]
    if first >= 0:
        node = first
        while node >= 0:
            fold_node(k, s, out, row, s.live[row], s.live_identities[row], node, j, FOLD_LIVE)
            node = s.node_number[node, NODE_NEXT]
    else:
        fold_live_again(k, s, out, row, j, FOLD_AGAIN)
    until = s.row_time[row, CLOCK] - k.settling_s
    if until > s.row_time[row, WATERMARK]:
        s.row_time[row, WATERMARK] = until
        if not _settle(k, s, out, row, until, j):
            s.counters[UNSETTLED_ROW] = row + 1


@compiled
def _tick_row(k: Constants, s: Columns, out: Transitions, row: int, t: float, closing: bool, j: int) -> bool:
    """Let time pass for one row. Returns False where the output has no more room: call again for the same row."""
    waited = t - s.row_time[row, LAST_RECEIVED]
    if s.row_number[row, HEAD] >= 0 and (closing or waited > k.idle_s):
        # Nothing has come for so long that nothing on time is expected: what is buffered settles. The watermark goes
        # no further than the patient's clock, so that what a gateway held back during an outage is still on time.
        s.row_time[row, WATERMARK] = max(s.row_time[row, WATERMARK], np.nextafter(s.row_time[row, CLOCK], np.inf))
        s.row_number[row, DIRTY] = 1
        s.row_number[row, UNPUBLISHED] = 1
        if not _settle(k, s, out, row, np.inf, j):
            return False
    if closing or s.row_time[row, LAST_RECEIVED] == -np.inf or waited <= 0.0:
        return True
    f = s.live[row]
    if f[k.models[c.PATIENT, c.BASE] + patient.ADMISSION] == patient.DISCHARGED:
        return True
    if out.number.shape[0] - s.counters[FILLED] < room_to_arrive(k):
        return False
    before = s.counters[FILLED]
    now = s.row_time[row, CLOCK] + waited
    advance(k, s, out, row, f, s.live_identities[row], now, ALL_CHANNELS, j, FOLD_TICK)
    if s.counters[FILLED] > before:
        s.row_number[row, DIRTY] = 1
        s.row_number[row, UNPUBLISHED] = 1
    allowed = k.silence_session_s if patient.in_session(k, f) else k.silence_rest_s
    if k.silence_rule >= 0 and s.row_time[row, SILENT_SINCE] == 0.0 and waited >= allowed:
        since = s.row_time[row, CLOCK] + allowed
        s.row_time[row, SILENT_SINCE] = since
        s.row_number[row, DIRTY] = 1
        s.row_number[row, UNPUBLISHED] = 1
        write(
            s,
            out,
            row,
            k.silence_rule,
            b.ONSET,
            b.SETTLED,
            since,
            since,
            s.row_number[row, LAST_READING],
            0,
            allowed,
            allowed,
            0,
            j,
            f,
            s.live_identities[row],
        )
    return True


@compiled
def restore_live(k: Constants, s: Columns, out: Transitions, row: int) -> None:
    """Rebuild a live row after its settled row and buffer were loaded, without saying again what was said."""
    fold_live_again(k, s, out, row, 0, FOLD_SILENT)


@compiled
def apply_records(k: Constants, s: Columns, batch: Batch, out: Transitions, rows: int, begin: int) -> tuple[int, int]:
    """Walk the batch from record `begin`. Returns (next record, why it stopped); anything but DONE asks to be called
    again from there with more room."""
    capacity = out.number.shape[0]
    if s.counters[UNSETTLED_ROW] > 0:
        row = s.counters[UNSETTLED_ROW] - 1
        if not _settle(k, s, out, row, s.row_time[row, WATERMARK], begin - 1):
            return begin, NO_ROOM
        s.counters[UNSETTLED_ROW] = 0
    for j in range(begin, batch.kind.shape[0]):
        kind = batch.kind[j]
        if kind in (b.TICK, b.CLOSING):
            for row in range(s.counters[NEXT_ROW], rows):
                if s.row_number[row, FENCE] <= batch.offset[j] and not _tick_row(
                    k, s, out, row, batch.t[j], kind == b.CLOSING, j
                ):
                    s.counters[NEXT_ROW] = row
                    return j, NO_ROOM
            s.counters[NEXT_ROW] = 0
            s.counters[b.TICKS] += 1
            continue
        if capacity - s.counters[FILLED] < room_to_arrive(k):
            return j, NO_ROOM
        row = batch.row[j]
        if batch.offset[j] < s.row_number[row, FENCE]:
            s.counters[b.FENCE_SKIPS] += 1
            continue
        if s.free[NODES_LEFT] < nodes_needed(batch.values[j]):
            return j, NO_NODES
        if s.free[SOURCES_LEFT] < 1 or s.free[RINGS_LEFT] < 1:
            return j, NO_SOURCES
        s.row_number[row, FENCE] = batch.offset[j] + 1
        s.row_number[row, DIRTY] = 1
        _arrive(k, s, out, batch, j)
        if s.counters[UNSETTLED_ROW] > 0:
            return j + 1, NO_ROOM
    return batch.kind.shape[0], DONE
