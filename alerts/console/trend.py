"""Trends in memory: the last quarter of an hour value by value, half a day minute by minute."""

from __future__ import annotations

from array import array
from typing import NamedTuple

RECENT_POINTS = 900
MINUTE_POINTS = 720
MINUTE_S = 60.0


class Point(NamedTuple):
    """A value at its measured time; `low` and `high` are its minute's extremes; `delay_s` is measured to received."""

    t: float
    value: float
    low: float
    high: float
    quality: float
    delay_s: float


class Ring:
    """The newest `capacity` points, in order of measured time."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._start = 0
        self._t = array("d")
        self._columns = tuple(array("f") for _ in Point._fields[1:])

    def __len__(self) -> int:
        return len(self._t)

    def append(self, point: Point) -> None:
        """Adds a point; the oldest makes room."""
        if len(self._t) < self.capacity:
            self._t.append(point.t)
            for column, number in zip(self._columns, point[1:], strict=True):
                column.append(number)
            return
        self._t[self._start] = point.t
        for column, number in zip(self._columns, point[1:], strict=True):
            column[self._start] = number
        self._start = (self._start + 1) % self.capacity

    def since(self, t: float) -> list[Point]:
        """The points at or after `t`, oldest first."""
        order = (*range(self._start, len(self._t)), *range(self._start))
        return [Point(self._t[i], *(column[i] for column in self._columns)) for i in order if self._t[i] >= t]


class Trend:
    """One signal of one patient. Values come in order of measured time; an older one is ignored (history has it)."""

    def __init__(self) -> None:
        self.recent = Ring(RECENT_POINTS)
        self.minutes = Ring(MINUTE_POINTS)
        self.newest_t = float("-inf")
        self._minute: list[Point] = []

    def add(self, t: float, value: float, quality: float, delay_s: float) -> None:
        """Takes a value measured at `t` (s)."""
        if t <= self.newest_t:
            return
        self.newest_t = t
        point = Point(t, value, value, value, quality, delay_s)
        self.recent.append(point)
        if self._minute and t // MINUTE_S != self._minute[0].t // MINUTE_S:
            self.minutes.append(summary(self._minute))
            self._minute = []
        self._minute.append(point)

    def since(self, t: float) -> list[Point]:
        """Points at or after `t`: minute by minute where single values are no longer held."""
        recent = self.recent.since(t)
        if len(self.recent) < RECENT_POINTS or not recent or recent[0].t <= t:
            return recent
        return [point for point in self.minutes.since(t) if point.t < recent[0].t] + recent


def summary(points: list[Point]) -> Point:
    """One point that stands for many: mean of the values and times, extremes, the worst quality and delay."""
    count = len(points)
    return Point(
        sum(point.t for point in points) / count,
        sum(point.value for point in points) / count,
        min(point.low for point in points),
        max(point.high for point in points),
        min(point.quality for point in points),
        max(point.delay_s for point in points),
    )


def thin(points: list[Point], step_s: float) -> list[Point]:
    """At most one point each `step_s`, extremes kept."""
    thinned: list[Point] = []
    group: list[Point] = []
    for point in points:
        if group and point.t // step_s != group[0].t // step_s:
            thinned.append(summary(group))
            group = []
        group.append(point)
    return [*thinned, summary(group)] if group else thinned
