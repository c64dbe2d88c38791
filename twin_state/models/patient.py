"""The patient's own facts, set by commands: admission, NEWS2 applicability and scale, session, personal limits."""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants
from twin_state.models.latest import channel_fresh, channel_value, unset_channel

(
    T,
    ADMISSION,
    AGE_KNOWN,
    AGE_YEARS,
    PREGNANT,
    SPINAL_INJURY,
    SPO2_SCALE,
    SESSION_ACTIVE,
    SESSION_START_T,
    SESSION_REST_HEART_RATE,
    LIMITS_EXPIRE_T,
) = range(11)
LIMITS = 11
LIMIT_COUNT = 9

ADMITTED, DISCHARGED = 1.0, 2.0

# Arguments of commands, as `Batch.signal` numbers them. Limits 0..8 follow `twin_state.rules.LIMITS`.
ARGUMENT_EXPIRES = 9
ARGUMENT_RESET = 10
ARGUMENT_SCALE = 0
ARGUMENT_ACTIVE = 0
ARGUMENT_AGE = 0
ARGUMENT_PREGNANT = 1
ARGUMENT_SPINAL_INJURY = 2


@inlined
def begin_command(k: Constants, f: Float, i: Int, kind: int, t: float) -> None:
    """Effects of a command that do not depend on its arguments; `t` (s) is when it takes effect."""
    at = k.models[c.PATIENT, c.BASE]
    if kind == b.ADMIT:
        f[at + ADMISSION] = ADMITTED
        f[at + AGE_KNOWN] = 0.0
        f[at + PREGNANT] = 0.0
        f[at + SPINAL_INJURY] = 0.0
    elif kind == b.DISCHARGE:
        f[at + ADMISSION] = DISCHARGED
        f[at + SESSION_ACTIVE] = 0.0
        # Orders end with the stay they were given for: no scale 2 and no wide limit waits for the next admission.
        f[at + SPO2_SCALE] = 0.0
        f[at + LIMITS_EXPIRE_T] = 0.0
        for number in range(LIMIT_COUNT):
            f[at + LIMITS + number] = 0.0


@inlined
def argument(k: Constants, f: Float, i: Int, kind: int, number: int, value: float, t: float) -> None:
    """Take in one argument of a command; unknown numbers are ignored, so that a later build's arguments do no harm."""
    at = k.models[c.PATIENT, c.BASE]
    if kind == b.LIMITS:
        if number == ARGUMENT_RESET:
            for limit in range(LIMIT_COUNT):
                f[at + LIMITS + limit] = 0.0
            f[at + LIMITS_EXPIRE_T] = 0.0
        elif number == ARGUMENT_EXPIRES:
            f[at + LIMITS_EXPIRE_T] = value
        elif 0 <= number < LIMIT_COUNT:
            f[at + LIMITS + number] = value
    elif kind == b.NEWS2:
        if number == ARGUMENT_SCALE:
            f[at + SPO2_SCALE] = value
    elif kind == b.SESSION:
        if number == ARGUMENT_ACTIVE:
            f[at + SESSION_ACTIVE] = value
            if value > 0.0:
                f[at + SESSION_START_T] = t
                heart_rate = k.special[c.HEART_RATE]
                rest = 0.0
                if heart_rate >= 0 and channel_fresh(k, f, heart_rate, t):
                    rest = channel_value(k, f, heart_rate)
                f[at + SESSION_REST_HEART_RATE] = rest
                if k.models[c.REHABILITATION, c.ENABLED]:
                    # What the last session left behind says nothing about this one.
                    unset_channel(k, f, k.signals + c.HEART_RATE_ABOVE_REST)
                    unset_channel(k, f, k.signals + c.SYSTOLIC_FALL)
                    f[k.models[c.REHABILITATION, c.BASE]] = 0.0
                    f[k.models[c.REHABILITATION, c.BASE] + 1] = 0.0
    elif kind == b.ADMIT:
        if number == ARGUMENT_AGE:
            f[at + AGE_KNOWN] = 1.0
            f[at + AGE_YEARS] = value
        elif number == ARGUMENT_PREGNANT:
            f[at + PREGNANT] = value
        elif number == ARGUMENT_SPINAL_INJURY:
            f[at + SPINAL_INJURY] = value


@inlined
def limit(k: Constants, f: Float, number: int, t: float) -> float:
    """The personal limit in force at `t`, or 0.0 where there is none (every limit is above zero)."""
    at = k.models[c.PATIENT, c.BASE]
    expires = f[at + LIMITS_EXPIRE_T]
    if expires > 0.0 and t > expires:
        return 0.0
    return f[at + LIMITS + number]  # type: ignore[no-any-return]


@inlined
def in_session(k: Constants, f: Float) -> bool:
    """Whether an exercise session is on."""
    return f[k.models[c.PATIENT, c.BASE] + SESSION_ACTIVE] > 0.0  # type: ignore[no-any-return]
