"""What goes into `apply` and what comes out, as columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Small = npt.NDArray[np.int8]

READING, TICK, CLOSING, LIMITS, NEWS2, SESSION, ADMIT, DISCHARGE, DEVICE = range(9)
"""Kinds of record. A CLOSING tick says that nothing more will come, so that everything settles (end of a replayed
file; never written live). Everything from LIMITS on is a command, or goes a command's way: DEVICE is what a device says
of itself."""


STREAM, DEVICE_OF = range(2)
"""Columns of `Batch.source`: the stream of a device, and the device itself (0 for commands). In one array, because each
array more costs every call that passes the batch."""


class Batch(NamedTuple):
    """n records of one partition in offset order, with m values among them.

    Shapes: `source` is (n, 2), `signal`, `value` and `quality` have m entries, the others n; record j owns values
    `first[j]` to `first[j] + values[j]`. `t` is measured time, `received_at` arrival time, both s since the epoch.
    `source`, `session`, `sequence` and `reading` are identities (64 bits, as signed numbers). `hashed` is 1 where the
    sequence number is a hash. For commands `signal` is the number of the argument: see `twin_state.models.patient`. The
    only value of a status is its state: see `twin_state.models.devices`.
    """

    kind: Small
    row: Int
    offset: Int
    t: Float
    received_at: Float
    source: Int
    session: Int
    sequence: Int
    reading: Int
    hashed: Small
    first: Int
    values: Int
    signal: Int
    value: Float
    quality: Float


ONSET, UPDATE, CLEAR, WITHDRAWN, PAST_EVENT = range(5)
"""Transitions of a condition. PAST_EVENT is the onset of an advisory about a reading that came too late."""

STATES: tuple[str, ...] = ("onset", "update", "clear", "withdrawn", "onset")

PROVISIONAL, SETTLED = range(2)
STAGES: tuple[str, ...] = ("provisional", "settled")


ROW, RULE, WHAT, STAGE, OPENED_BY, ANNOUNCED_ID, PERSONAL, RECORD = range(8)
"""Columns of `Transitions.number`. OPENED_BY is the reading that opened the condition, ANNOUNCED_ID the one under which
a provisional notice went out (0: none did); PERSONAL is 1 where the limit is the patient's own; RECORD is the record of
the batch at which the transition was noticed. Of a PAST_EVENT, ANNOUNCED_ID is the signal."""

T, ONSET_T, VALUE, THRESHOLD_VALUE = range(4)
"""Columns of `Transitions.measure`: event times (s), the channel's value and the limit."""


class Transitions(NamedTuple):
    """n transitions of conditions. Shapes: `number` (n, 8), `measure` (n, 4); `state` (n, floats) and `identities`
    (n, identities) are the row at the moment of each."""

    number: Int
    measure: Float
    state: Float
    identities: Int


def empty_transitions(capacity: int, floats: int, identities: int) -> Transitions:
    """Room for `capacity` transitions of rows of the given widths."""
    return Transitions(
        np.zeros((capacity, 8), np.int64),
        np.zeros((capacity, 4)),
        np.zeros((capacity, floats)),
        np.zeros((capacity, identities), np.int64),
    )


def take_transitions(filled: Transitions, n: int) -> Transitions:
    """The first n transitions, copied out so that the room can be filled again."""
    number, measure, state, identities = filled
    return Transitions(number[:n].copy(), measure[:n].copy(), state[:n].copy(), identities[:n].copy())


APPLIED, LATE, DUPLICATES, FENCE_SKIPS, COMMANDS, TICKS, WITHDRAWALS = range(7)
COUNTERS: tuple[str, ...] = (
    "applied",
    "late",
    "duplicates",
    "fence_skips",
    "commands",
    "ticks",
    "provisional_withdrawn",
)
