"""How far each device's clock runs ahead of ours, as far as arrival times can tell."""

from __future__ import annotations

from collections import deque

SAMPLES = 8
"""Readings looked at together. Two of eight may carry a wild time without moving the estimate."""

_THIRD_SMALLEST = 2

RELAX_S = 0.001
"""How far one reading may lift the estimate: a corrected clock is followed, a burst after an outage hardly counts."""

MAX_CORRECTION_S = 3.0
"""Most that is allowed for a clock that runs ahead. With the tolerance of 2 s this makes 5 s, the default lateness
bound: a device further ahead would push its patient's clock past what the patient's other devices can still deliver on
time, and their readings would count as late."""

MAX_DEVICES = 65_536
"""Devices remembered by one ingest process; the least recently heard is forgotten first."""


class _DeviceClock:
    __slots__ = ("offset_s", "recent")

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=SAMPLES)
        self.offset_s: float | None = None

    def observe(self, offset_s: float) -> None:
        self.recent.append(offset_s)
        if len(self.recent) < SAMPLES:
            return
        candidate = sorted(self.recent)[_THIRD_SMALLEST]
        if self.offset_s is None or candidate < self.offset_s:
            self.offset_s = candidate
        else:
            self.offset_s += min(candidate - self.offset_s, RELAX_S)


class DeviceClocks:
    """Running robust minimum of (arrival time - measured time) for each device.

    The delay on the way is never negative, so the smallest difference seen is the clock's offset plus the shortest
    delay. The estimate is the third smallest of the last 8 differences, kept while it is the lowest so far and
    otherwise lifted by at most 1 ms a reading. Negative: the device's clock runs ahead of ours.

    Limits. Nothing is corrected before a device's eighth reading. A clock that runs behind cannot be told from a slow
    network. The estimate depends on nothing but the sequence of readings offered, so replay of one process's log
    agrees with it; several ingest processes, or one that was started anew, each have their own. It only decides what
    counts as `future_time`: the measured time itself is never changed, because a copy that comes a second time, by
    another process, must be the same reading.
    """

    def __init__(self, max_devices: int = MAX_DEVICES) -> None:
        self._devices: dict[str, _DeviceClock] = {}
        self._max_devices = max_devices

    def __len__(self) -> int:
        return len(self._devices)

    def observe(self, device: str, t: float, received_at: float) -> None:
        """Take one reading into account; times in s since the epoch."""
        clock = self._devices.pop(device, None)
        if clock is None:
            clock = _DeviceClock()
            if len(self._devices) >= self._max_devices:
                del self._devices[next(iter(self._devices))]
        self._devices[device] = clock
        clock.observe(received_at - t)

    def offset_s(self, device: str) -> float | None:
        """Estimated (arrival - measured) at the shortest delay, in s; None before there are enough readings."""
        clock = self._devices.get(device)
        return None if clock is None else clock.offset_s

    def correction_s(self, device: str) -> float:
        """Seconds by which the device's clock is known to run ahead, in 0..`MAX_CORRECTION_S`."""
        offset_s = self.offset_s(device)
        return 0.0 if offset_s is None else min(max(-offset_s, 0.0), MAX_CORRECTION_S)
