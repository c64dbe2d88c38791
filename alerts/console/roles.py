"""What each role may see and do: one table, and the questions asked of it. Pure."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
import orjson

MACHINE = "machine"
"""The role of whoever shows a named token: a system, never a person."""


class May(StrEnum):
    """One permission."""

    VIEW = "view"
    """Pages, streams and API of the ward and its patients."""
    SEE_PHYSIOLOGY = "see_physiology"
    """Values, scores, trends and physiological alerts; without it technical alerts only."""
    SEE_NAMES = "see_names"
    """Display name and age band from the site's directory."""
    ACT = "act"
    """Acknowledge, pause, put off, resume, give feedback; begin and end an exercise session."""
    CHANGE_LIMITS = "change_limits"
    """A patient's own limits and the NEWS2 scale."""
    CHANGE_STAY = "change_stay"
    """Admit and discharge; bind devices to patients."""
    CHANGE_ON_CALL = "change_on_call"
    """Take, hand over and release a role on call."""
    READ_AUDIT = "read_audit"
    """The audit journal."""


ROLES: MappingProxyType[str, frozenset[May]] = MappingProxyType(
    {
        "clinician": frozenset({May.VIEW, May.SEE_PHYSIOLOGY, May.SEE_NAMES, May.ACT}),
        "charge_nurse": frozenset(
            {
                *(May.VIEW, May.SEE_PHYSIOLOGY, May.SEE_NAMES, May.ACT),
                *(May.CHANGE_LIMITS, May.CHANGE_STAY, May.CHANGE_ON_CALL),
            }
        ),
        "operator": frozenset({May.VIEW}),
        "auditor": frozenset({May.READ_AUDIT}),
        MACHINE: frozenset(
            {
                *(May.VIEW, May.SEE_PHYSIOLOGY, May.ACT),
                *(May.CHANGE_LIMITS, May.CHANGE_STAY, May.CHANGE_ON_CALL),
            }
        ),
    }
)
"""Permissions by role. Who keeps watch over others acts never, and who acts does not read the audit."""

COMMANDS: MappingProxyType[str, May] = MappingProxyType(
    {
        **dict.fromkeys(("acknowledge", "audio_pause", "alarm_off", "alarm_resume", "feedback", "session"), May.ACT),
        **dict.fromkeys(("limits", "news2"), May.CHANGE_LIMITS),
        **dict.fromkeys(("admit", "discharge", "bind", "unbind"), May.CHANGE_STAY),
        **dict.fromkeys(("take_role", "hand_over_role", "release_role"), May.CHANGE_ON_CALL),
    }
)
"""What each kind of command needs."""


class Principal(msgspec.Struct, frozen=True):
    """Who asks: an account or a token's holder, the role, and "password", "link", "oidc" or "token"."""

    account: str
    role: str
    via: str

    def may(self, permission: May) -> bool:
        """Whether the role has the permission."""
        return permission in ROLES[self.role]


class Lens(msgspec.Struct, frozen=True):
    """What of a ward row or an alert somebody sees."""

    names: bool = True
    physiology: bool = True

    def row(self, row: bytes) -> bytes:
        """An encoded ward row as it is seen: without names and age bands, or with technical alerts only."""
        if self.names and self.physiology:
            return row
        return orjson.dumps(self.plain_row(orjson.loads(row)))

    def plain_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """A ward row as plain types, as it is seen."""
        if not self.names:
            row = row | {"name": "", "age_band": ""}
        if not self.physiology:
            alerts = [alert for alert in row["alerts"] if self.shows(alert["kind"])]
            hidden: dict[str, Any] = {"signals": {}, "news2": None, "limits": {}, "session": None, "alerts": alerts}
            row = row | {name: value for name, value in hidden.items() if name in row}
            row["urgency"] = [-1.0, 0.0, -1.0]
        return row

    def shows(self, kind: str) -> bool:
        """Whether alerts of this kind are seen."""
        return self.physiology or kind == "technical"


EVERYTHING = Lens()


def lens_of(principal: Principal) -> Lens:
    """What the principal sees."""
    return Lens(names=principal.may(May.SEE_NAMES), physiology=principal.may(May.SEE_PHYSIOLOGY))


def is_role(text: str) -> bool:
    """Whether a person may have this role."""
    return text in ROLES and text != MACHINE
