"""Which of the patient's devices are silent: those whose last will came and of which nothing was heard since.

A device is heard of by its birth, by a reading measured after its last will, by the end of its binding, and by the
patient's discharge. Channel devices_silent is the number of devices that are silent now; it holds until something is
heard. A last will that comes again changes nothing.

Eight devices are told apart. While eight are silent, the last will of a ninth is not noticed.
"""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import compiled, inlined
from twin_state.constants import Constants
from twin_state.models.latest import channel_value, set_channel

OFFLINE, ONLINE, UNBOUND = 1.0, 2.0, 3.0
"""States of a device, in the order in which those of one instant are folded: the last word is that it is there."""

STATUS_T, OFFLINE_T = range(2)
"""Columns: the time of the newest status (s), and where those of the silent devices begin: since when they are."""

REMEMBERED = 8
"""Silent devices of a patient that are told apart."""


@inlined
def silent(k: Constants, f: Float) -> int:
    """How many devices are silent."""
    return int(channel_value(k, f, k.signals + c.DEVICES_SILENT))


@inlined
def _find(k: Constants, f: Float, i: Int, device: int) -> int:
    at = k.models[c.DEVICES, c.IDENTITY_BASE]
    for n in range(silent(k, f)):
        if i[at + n] == device:
            return n
    return -1


@inlined
def _remove(k: Constants, f: Float, i: Int, n: int, t: float, reading: int) -> None:
    at = k.models[c.DEVICES, c.BASE] + OFFLINE_T
    identity_at = k.models[c.DEVICES, c.IDENTITY_BASE]
    last = silent(k, f) - 1
    for m in range(n, last):
        f[at + m] = f[at + m + 1]
        i[identity_at + m] = i[identity_at + m + 1]
    f[at + last] = 0.0
    i[identity_at + last] = 0
    set_channel(k, f, i, k.signals + c.DEVICES_SILENT, float(last), t, reading)


@inlined
def _fall_silent(k: Constants, f: Float, i: Int, device: int, t: float, reading: int) -> None:
    count = silent(k, f)
    if count < REMEMBERED and _find(k, f, i, device) < 0:
        f[k.models[c.DEVICES, c.BASE] + OFFLINE_T + count] = t
        i[k.models[c.DEVICES, c.IDENTITY_BASE] + count] = device
        set_channel(k, f, i, k.signals + c.DEVICES_SILENT, float(count + 1), t, reading)


@compiled
def take(k: Constants, f: Float, i: Int, kind: int, device: int, state: float, t: float, reading: int) -> None:
    """Take in a record of `kind` as of `t` (s): a status, whose `state` it is, or what may end a silence. `reading` is
    the record's identity.

    Of a device's readings only those measured after its last will count: it sends first what it kept from before. Not
    compiled into the walk, because nearly all rows have no silent device.
    """
    at = k.models[c.DEVICES, c.BASE]
    if kind == b.DISCHARGE:
        while silent(k, f) > 0:
            _remove(k, f, i, silent(k, f) - 1, t, reading)
    elif kind == b.DEVICE:
        f[at + STATUS_T] = max(f[at + STATUS_T], t)
        n = _find(k, f, i, device)
        if state == OFFLINE:
            _fall_silent(k, f, i, device, t, reading)
        elif n >= 0 and t >= f[at + OFFLINE_T + n]:
            _remove(k, f, i, n, t, reading)
    elif kind == b.READING:
        n = _find(k, f, i, device)
        if n >= 0 and t > f[at + OFFLINE_T + n]:
            _remove(k, f, i, n, t, reading)
