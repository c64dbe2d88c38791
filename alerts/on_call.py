"""Who is on call: what commands about roles do to the shifts of a role, and who has it at a time. Pure.

A shift ends when its own end comes or the next one begins, whichever is first. So a roster may be entered ahead, and
whoever takes a role for an hour without saying until when still gives way to the next one on the roster.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from contracts.command import HandOverRole, ReleaseRole, RoleCommand, TakeRole
from contracts.on_call import OnCall, Shift

SHIFTS_KEPT = 200
"""Shifts of a role that its record keeps: the newest. All commands stand in topic `commands` for good."""


def changed(on_call: OnCall, command: RoleCommand, received_at: float) -> OnCall:
    """The role after a command that arrived at `received_at`; the order in which commands come does not matter, and one
    that comes again changes nothing."""
    if any(shift.command == command.id for shift in on_call.shifts):
        return on_call
    match command:
        case TakeRole():
            holder, act, until = command.author, "take_role", command.until
        case HandOverRole():
            holder, act, until = command.to, "hand_over_role", command.until
        case ReleaseRole():
            holder, act, until = "", "release_role", None
    shift = msgspec.convert(
        {
            "holder": holder,
            "since": command.t,
            "until": until,
            "received_at": received_at,
            "author": command.author,
            "command": command.id,
            "act": act,
        },
        Shift,
    )
    return OnCall(on_call.role, tuple(sorted((*on_call.shifts, shift), key=_order)[-SHIFTS_KEPT:]))


def shift_at(on_call: OnCall, t: float) -> Shift | None:
    """The shift in force at `t`; None where nobody has the role."""
    index = bisect_right(on_call.shifts, t, key=lambda shift: shift.since) - 1
    if index < 0:
        return None
    shift = on_call.shifts[index]
    return shift if shift.holder and (shift.until is None or t < shift.until) else None


def ends_at(on_call: OnCall, shift: Shift) -> float | None:
    """When a shift ends: its own end, or the beginning of the next; None where neither is known."""
    later = [other.since for other in on_call.shifts if _order(other) > _order(shift)]
    ends = [*later[:1], *([] if shift.until is None else [shift.until])]
    return min(ends, default=None)


class OnCallTable:
    """Every role's shifts, as topic `oncall` has them."""

    def __init__(self) -> None:
        self._roles: dict[str, OnCall] = {}

    def roles(self) -> tuple[OnCall, ...]:
        """Every role that anybody ever had, in order of name."""
        return tuple(self._roles[role] for role in sorted(self._roles))

    def shift_at(self, role: str, t: float) -> Shift | None:
        """Who has the role at `t`, and since when; None where nobody has."""
        known = self._roles.get(role)
        return None if known is None else shift_at(known, t)

    def holders_at(self, t: float, roles: Iterable[str] = ()) -> dict[str, Shift | None]:
        """Who has each role at `t`: of all that are known here, and of `roles`."""
        return {role: self.shift_at(role, t) for role in sorted({*self._roles, *roles})}

    def apply(self, command: RoleCommand, received_at: float) -> bytes | None:
        """Take in a command; returns the role's new value for topic `oncall`, None where nothing changed."""
        known = self._roles.get(command.role) or OnCall(command.role)
        after = changed(known, command, received_at)
        if after == known:
            return None
        self._roles[command.role] = after
        return msgspec.json.encode(after)

    def load(self, key: bytes, value: bytes | None) -> str | None:
        """Take in one record of topic `oncall`; a value of None forgets the role. Returns the role's name, or None for
        a record that is none: one broken record must not keep all others from being read."""
        try:
            role = key.decode()
            if value is None:
                self._roles.pop(role, None)
            else:
                self._roles[role] = msgspec.json.decode(value, type=OnCall)
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None
        return role


def _order(shift: Shift) -> tuple[float, float, str]:
    return shift.since, shift.received_at, shift.command
