"""A reading as it stands in `telemetry`, and the other records of that log: statuses of devices, commands, ticks."""

from __future__ import annotations

from typing import Literal

import msgspec

Value = float | int | str | list[float]


class Reading(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="reading"):
    """One validated reading: names from the signal registry, units from it (UCUM), times in s since the epoch.

    `t` is measured time, `received_at` arrival time at ingest. `v` maps signal to number, code or list of numbers; `q`
    maps signal to quality in 0..1 (absent = 1). `hz` is the sampling rate of a waveform. `hashed` says that `seq` is a
    hash of the content, because the format has no counter.
    """

    device: str
    stream: str
    session: str
    seq: int
    t: float
    received_at: float
    v: dict[str, Value]
    q: dict[str, float] = {}
    hz: float | None = None
    hashed: bool = False


class DeviceStatus(msgspec.Struct, frozen=True, tag_field="kind", tag="device"):
    """What is known of a device's connection as of `t`, in s since the epoch, under the key of the patient it measures.

    `online` is its birth, `offline` its last will; `unbound` says that it measures another patient or nobody now. A
    last will is written before it happens and carries no time: `t` of a birth or will is its arrival, `received_at`.
    The `t` of `unbound` is that of the command, or its arrival where that is later.
    """

    device: str
    state: Literal["online", "offline", "unbound"]
    t: float
    received_at: float


class Tick(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="tick"):
    """The arrival clock of one partition, written about once a second; `t` in s since the epoch.

    `closing` says that nothing more will come (the end of a replayed file), so that everything settles.
    """

    t: float
    closing: bool = False


class LoggedCommand(msgspec.Struct, frozen=True, tag_field="kind", tag="command"):
    """A command as the router copied it into `telemetry`, and the twin agent into `conditions` if it is about an alert.

    `received_at` is its time of arrival, s since the epoch."""

    received_at: float
    command: msgspec.Raw
