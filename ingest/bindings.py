"""Which patient a device measures, and when: the table behind the compacted topic `bindings`.

The router applies commands and writes values; every ingest reads them; replay does both. Intervals are half open,
[from, until), in s since the epoch; `until` None is "until further notice".
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from contracts.command import Bind, Unbind

REMEMBERED_COMMANDS = 64
"""Ids of applied commands kept with a device, so that a command that comes again changes nothing."""


class Interval(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The device belongs to `patient` while from <= t < until."""

    patient: str
    from_: float
    until: float | None = None

    def covers(self, t: float) -> bool:
        return self.from_ <= t and (self.until is None or t < self.until)


class DeviceBindings(msgspec.Struct, frozen=True):
    """Value of one record of `bindings`: intervals in order of time, never overlapping, and the ids of the commands
    they come from."""

    device: str
    intervals: tuple[Interval, ...] = ()
    commands: tuple[str, ...] = ()


class BindingError(ValueError):
    """A bind command that cannot be meant."""


class BindingTable:
    """All devices' bindings. Small: one entry a device."""

    def __init__(self) -> None:
        self._devices: dict[str, DeviceBindings] = {}
        self._starts: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self._devices)

    def devices(self) -> tuple[DeviceBindings, ...]:
        """Every device's bindings, in order of device name."""
        return tuple(self._devices[device] for device in sorted(self._devices))

    def lookup(self, device: str, t: float) -> str | None:
        """The patient whom `device` measured at `t`, or None."""
        starts = self._starts.get(device)
        if starts is None:
            return None
        i = bisect_right(starts, t) - 1
        if i < 0:
            return None
        interval = self._devices[device].intervals[i]
        return interval.patient if interval.until is None or t < interval.until else None

    def apply(self, command: Bind | Unbind) -> bytes | None:
        """Take in a command; returns the device's new value for topic `bindings`, None where nothing changed.

        Commands are applied in the order in which they come. A bind ends the interval that holds its `t` there, and is
        itself ended by the next interval that begins later. Raises `BindingError` for an empty interval.
        """
        known = self._devices.get(command.device) or DeviceBindings(command.device)
        if command.id in known.commands:
            return None
        intervals = _unbound(known.intervals, command.t)
        if isinstance(command, Bind):
            intervals = _bound(known.intervals, command)
        if intervals == known.intervals and isinstance(command, Unbind):
            return None
        commands = (*known.commands, command.id)[-REMEMBERED_COMMANDS:]
        changed = DeviceBindings(command.device, intervals, commands)
        self._put(changed)
        return msgspec.json.encode(changed)

    def former_patient(self, command: Bind | Unbind) -> str | None:
        """The patient who last had the device at the command's `t`, other than by this very command: to be asked
        before `apply`. A command that was applied already has the same answer, so that whoever tells the patient may
        do so again after a crash."""
        known = self._devices.get(command.device)
        if known is None:
            return None
        taken = command.patient if isinstance(command, Bind) else None
        for interval in reversed(known.intervals):
            if interval.from_ <= command.t and (interval.from_, interval.patient) != (command.t, taken):
                return interval.patient
        return None

    def load(self, key: bytes, value: bytes | None) -> str | None:
        """Take in one record of topic `bindings`; a value of None forgets the device. Returns the device's name, or
        None for a record that is no binding: one broken record must not keep all others from being read."""
        try:
            device = key.decode()
            if value is None:
                self._devices.pop(device, None)
                self._starts.pop(device, None)
                return device
            self._put(msgspec.json.decode(value, type=DeviceBindings))
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None
        return device

    def _put(self, bindings: DeviceBindings) -> None:
        self._devices[bindings.device] = bindings
        self._starts[bindings.device] = [interval.from_ for interval in bindings.intervals]


def _unbound(intervals: tuple[Interval, ...], t: float) -> tuple[Interval, ...]:
    """The intervals with the one that holds `t` ended there (dropped where it begins at `t`)."""
    return tuple(
        msgspec.structs.replace(interval, until=t) if interval.covers(t) else interval
        for interval in intervals
        if not (interval.from_ == t and interval.covers(t))
    )


def _bound(intervals: tuple[Interval, ...], command: Bind) -> tuple[Interval, ...]:
    if command.until is not None and command.until <= command.t:
        raise BindingError(f"binding of {command.device} would end at {command.until}, not after its start {command.t}")
    rest = _unbound(intervals, command.t)
    ends = [interval.from_ for interval in rest if interval.from_ > command.t]
    if command.until is not None:
        ends.append(command.until)
    new = Interval(command.patient, command.t, min(ends) if ends else None)
    return tuple(sorted((*rest, new), key=lambda interval: interval.from_))
