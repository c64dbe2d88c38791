"""Repeats are dropped in the patient's row: a window of sequence numbers per (device, stream) and session.

Of each source the current and the previous session are kept, each with the newest sequence number and a bitmap of the
256 below it. A number older than the window cannot be told from a repeat and counts as late, never as new. Hashed
sequence numbers have no order: of them the last 64 are kept.
"""

from __future__ import annotations

import numpy as np

from twin_state.batch import Int
from twin_state.columns import (
    NEWEST,
    NEXT_SOURCE,
    NO_SESSION,
    PREVIOUS_NEWEST,
    PREVIOUS_SESSION,
    RING,
    RING_AT,
    RING_COUNT,
    RING_FREE,
    RINGS_LEFT,
    SESSION,
    SOURCE_FREE,
    SOURCE_ID,
    SOURCES,
    SOURCES_LEFT,
    WINDOW,
    WINDOW_WORDS,
    Columns,
    Mark,
)
from twin_state.compiled import compiled, inlined

FRESH, REPEAT, BELOW_WINDOW = range(3)


@inlined
def find_source(s: Columns, row: int, source: int) -> int:
    """The row's entry for a source, made if it is new. There must be a free one (`source_free[1] > 0`)."""
    at = s.row_number[row, SOURCES]
    while at >= 0:
        if s.source[at, SOURCE_ID] == source:
            return at  # type: ignore[no-any-return]
        at = s.source[at, NEXT_SOURCE]
    at = s.free[SOURCE_FREE]
    s.free[SOURCE_FREE] = s.source[at, NEXT_SOURCE]
    s.free[SOURCES_LEFT] -= 1
    s.source[at, :] = 0
    s.source[at, SOURCE_ID] = source
    s.source[at, RING_AT] = -1
    s.source[at, NEXT_SOURCE] = s.row_number[row, SOURCES]
    s.source_window[at, :, :] = 0
    s.row_number[row, SOURCES] = at
    return at  # type: ignore[no-any-return]


@inlined
def _seen(window: Mark, below: int) -> bool:
    word = window[below >> 6]
    return (word >> np.uint64(below & 63)) & np.uint64(1) == np.uint64(1)  # type: ignore[no-any-return]


@inlined
def _mark(window: Mark, below: int) -> None:
    window[below >> 6] |= np.uint64(1) << np.uint64(below & 63)


@inlined
def _advance(window: Mark, by: int) -> None:
    """Make room for `by` newer numbers: bit n becomes bit n + by."""
    if by >= WINDOW:
        window[:] = 0
        return
    words = by >> 6
    bits = by & 63
    for at in range(WINDOW_WORDS - 1, -1, -1):
        moved = np.uint64(0)
        if at - words >= 0:
            moved = window[at - words] << np.uint64(bits)
            if bits > 0 and at - words - 1 >= 0:
                moved |= window[at - words - 1] >> np.uint64(64 - bits)
        window[at] = moved


@inlined
def _check(entry: Int, window: Mark, newest_at: int, sequence: int) -> int:
    newest = entry[newest_at]
    # Unsigned: the difference of two signed numbers may be too wide for a third.
    if sequence > newest:
        ahead = np.uint64(sequence) - np.uint64(newest)
        _advance(window, WINDOW if ahead > np.uint64(WINDOW) else int(np.int64(ahead)))
        entry[newest_at] = sequence
        _mark(window, 0)
        return FRESH
    behind = np.uint64(newest) - np.uint64(sequence)
    if behind >= np.uint64(WINDOW):
        return BELOW_WINDOW
    below = int(np.int64(behind))
    if _seen(window, below):
        return REPEAT
    _mark(window, below)
    return FRESH


@compiled
def _check_ring(s: Columns, at: int, sequence: int) -> int:
    ring = s.source[at, RING_AT]
    if ring < 0:
        ring = s.free[RING_FREE]
        s.free[RING_FREE] = s.ring[ring, 0]
        s.free[RINGS_LEFT] -= 1
        s.ring[ring, :] = 0
        s.source[at, RING_AT] = ring
        s.source[at, RING_COUNT] = 0
    count = s.source[at, RING_COUNT]
    for n in range(min(count, RING)):
        if s.ring[ring, n] == sequence:
            return REPEAT
    s.ring[ring, count % RING] = sequence
    s.source[at, RING_COUNT] = count + 1
    return FRESH


@compiled
def check(s: Columns, row: int, source: int, session: int, sequence: int, hashed: bool, on_time: bool) -> int:
    """Whether a reading is fresh, a repeat, or below the window; a fresh one is remembered.

    `on_time` says whether it may open a session: a reading that is late anyway must not displace the current one.
    """
    at = find_source(s, row, source)
    if hashed:
        return _check_ring(s, at, sequence)
    entry = s.source[at]
    if entry[SESSION] == session:
        return _check(entry, s.source_window[at, 0], NEWEST, sequence)
    if entry[PREVIOUS_SESSION] == session:
        return _check(entry, s.source_window[at, 1], PREVIOUS_NEWEST, sequence)
    if entry[SESSION] != NO_SESSION and not on_time:
        return BELOW_WINDOW
    entry[PREVIOUS_SESSION] = entry[SESSION]
    entry[PREVIOUS_NEWEST] = entry[NEWEST]
    for word in range(WINDOW_WORDS):
        s.source_window[at, 1, word] = s.source_window[at, 0, word]
        s.source_window[at, 0, word] = 0
    entry[SESSION] = session
    entry[NEWEST] = sequence
    _mark(s.source_window[at, 0], 0)
    return FRESH
