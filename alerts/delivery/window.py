"""Which records of one partition are through, and so up to where its offsets may be committed. Pure."""

from __future__ import annotations


class Window:
    """Records may end in any order; `position` never passes one that is still open."""

    def __init__(self) -> None:
        self._open: dict[int, None] = {}
        self._end: int | None = None

    def add(self, offset: int) -> None:
        """A record was read. Offsets come rising."""
        self._open[offset] = None
        self._end = offset + 1

    def done(self, offset: int) -> None:
        """A record is through, or nobody asked for it."""
        self._open.pop(offset, None)

    @property
    def position(self) -> int | None:
        """The offset to commit: everything below it is through. None before the first record."""
        return next(iter(self._open), self._end)
