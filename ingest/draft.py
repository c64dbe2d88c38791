"""What a payload format hands to the core: one reading as it was sent, not yet judged."""

from __future__ import annotations

from typing import Any, NamedTuple

from contracts.quarantine import Reason


class Refusal(NamedTuple):
    """Why a payload or one of its readings is refused. `detail` is one plain sentence for a person."""

    reason: Reason
    detail: str


class Draft(NamedTuple):
    """One reading as a format understood it. Every field may still hold anything that JSON can hold.

    `session` and `seq` None: the format has none, the core hashes the content. `units` maps signal to the unit as sent;
    a signal without one stands in the registry's unit. `source` is what a replay of this reading alone needs, as JSON
    types. `refusal` set: the format could not make sense of it.
    """

    source: Any
    device: Any = None
    stream: Any = None
    session: Any = None
    seq: Any = None
    t: Any = None
    v: Any = None
    q: Any = None
    hz: Any = None
    hashed: Any = None
    units: Any = None
    refusal: Refusal | None = None


class Context(NamedTuple):
    """Where a payload came from. `device` and `stream` are None on a gateway's batch topic."""

    device: str | None
    stream: str | None
    received_at: float


MAX_SHOWN = 48


def shown(value: object) -> str:
    """A value from outside as it may stand in a sentence: short, on one line, containers by their kind only."""
    if isinstance(value, str):
        text = ascii(value[: MAX_SHOWN + 1])
        return text if len(value) <= MAX_SHOWN else f"{text[: MAX_SHOWN + 1]}…'"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a number beyond 64 bits"
    if isinstance(value, (int, float)):
        return repr(value)
    return "an object" if isinstance(value, dict) else "an array"


def finite(value: object) -> float | None:
    """`value` where it is a finite number that fits 64 bits (no boolean), else None."""
    if type(value) is float:
        return value if value - value == 0.0 else None
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    return None
