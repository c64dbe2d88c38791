"""Gaps in sequence numbers: readings that a device counted and that never came."""

from __future__ import annotations

WINDOW = 64
"""A number may come this many numbers late before it counts as lost."""

MAX_STREAMS = 65_536
"""(device, stream, session) triples remembered; the least recently heard is forgotten first."""

MAX_JUMP = 1_000_000
"""A larger jump is a counter that was set anew, not a loss."""

_FULL = (1 << WINDOW) - 1


class SequenceGaps:
    """Counts lost numbers per (device, stream, session) in bounded memory.

    The last `WINDOW` numbers are kept as bits; a number that leaves the window unseen is a gap. What comes later still
    is not taken back: the counter says "not here in time", the twin's windows say what was applied.
    """

    def __init__(self, max_streams: int = MAX_STREAMS) -> None:
        self._streams: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._max_streams = max_streams

    def __len__(self) -> int:
        return len(self._streams)

    def observe(self, device: str, stream: str, session: str, seq: int) -> int:
        """Take in one number; returns how many numbers turned out lost by it."""
        key = (device, stream, session)
        state = self._streams.pop(key, None)
        if state is None:
            if len(self._streams) >= self._max_streams:
                del self._streams[next(iter(self._streams))]
            self._streams[key] = (seq, _FULL)
            return 0
        highest, seen = state
        advance = seq - highest
        lost = 0
        if advance == 1:
            lost = 1 - (seen >> (WINDOW - 1))
            self._streams[key] = (seq, (seen << 1 | 1) & _FULL)
        elif advance <= 0:
            if advance > -WINDOW:
                seen |= 1 << -advance
            self._streams[key] = (highest, seen)
        elif advance > MAX_JUMP:
            self._streams[key] = (seq, _FULL)
        elif advance >= WINDOW:
            lost = WINDOW - seen.bit_count() + advance - 1
            self._streams[key] = (seq, _FULL)
        else:
            leaving = seen >> (WINDOW - advance)
            lost = advance - leaving.bit_count()
            self._streams[key] = (seq, (seen << advance | 1) & _FULL)
        return lost
