"""Who is on call: the value of one record of the compacted topic `oncall`, keyed by role.

A role ("ward-nurse-3-west") is what an escalation calls; a person holds it for a while. Persons stand here by the name
of their account, never by their own. Times are s since the epoch.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Shift(msgspec.Struct, frozen=True, omit_defaults=True):
    """From `since` on `holder` has the role, or nobody where it is empty; until `until` or the next shift.

    `act` is what was done, `author` who did it, `received_at` when it arrived, `command` by which command.
    """

    holder: str
    since: float
    received_at: float
    author: str
    command: str
    act: Literal["take_role", "hand_over_role", "release_role"]
    until: float | None = None


class OnCall(msgspec.Struct, frozen=True):
    """The newest shifts of one role, in order of `since`; of two that begin at once the later arrival counts."""

    role: str
    shifts: tuple[Shift, ...] = ()
