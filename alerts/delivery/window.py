"""Which records of one partition are through, and so up to where its offsets may be committed. Pure."""

from __future__ import annotations


class Window:
    """Records may end in any order; `position` never passes one that is still open."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._end: int | None = None

    def add(self, offset: int) -> None:
        """A record was read. Offsets rise, or begin again lower where the partition is read again."""
        self._open.add(offset)
        self._end = offset + 1

    def done(self, offset: int) -> None:
        """A record is through, or nobody asked for it."""
        self._open.discard(offset)

    @property
    def position(self) -> int | None:
        """The offset to commit: everything below it is through. None before the first record."""
        return min(self._open, default=self._end)
