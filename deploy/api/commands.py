"""Building, checking and sending commands."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.command import (
    ALARM_OFF_MAX_S,
    AlarmOff,
    Bind,
    Command,
    HandOverRole,
    Limits,
    RoleCommand,
    TakeRole,
    Unbind,
)
from contracts.configuration import Kafka
from contracts.topics import COMMANDS
from deploy.errors import UserError

SEND_TIMEOUT_S = 10.0
EARLIEST_T: Final = 946_684_800.0
"""2000-01-01."""
LATEST_T: Final = 4_102_444_800.0
"""2100-01-01."""

MAX_REASON = 200


def tag_of(command: type) -> str:
    """The kind by which a type of command goes."""
    return str(msgspec.inspect.type_info(command).tag)  # type: ignore[attr-defined]


KINDS: tuple[str, ...] = tuple(tag_of(kind) for kind in get_args(Command))

_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")

LIMIT_RANGES: Mapping[str, tuple[float, float]] = {
    "heart_rate_low": (20, 200),
    "heart_rate_high": (40, 250),
    "heart_rate_maximum": (60, 250),
    "zone_low": (30, 230),
    "zone_high": (40, 250),
    "spo2_floor": (50, 100),
    "systolic_low": (40, 200),
    "systolic_high": (80, 300),
    "diastolic_high": (40, 200),
}
"""What a personal limit may be, in its own unit: wide, but a slip of the keyboard is caught."""

ORDERED_LIMITS = (("heart_rate_low", "heart_rate_high"), ("zone_low", "zone_high"), ("systolic_low", "systolic_high"))


class CommandError(UserError):
    """A command that cannot be meant; the text says which field and why."""


class NotSentError(UserError):
    """Kafka did not take the command. Sending it again with the same id is harmless."""


def new_id() -> str:
    """An id for a command that has none."""
    return uuid.uuid4().hex


def build(kind: str, fields: Mapping[str, Any], *, author: str, now: float) -> Command:
    """A checked command of `kind` ("bind", …). `id` defaults to a new one, `t` (s since the epoch) to `now`.

    Raises `CommandError`.
    """
    if kind not in KINDS:
        raise CommandError(f"there is no command {kind!r}; there are {', '.join(KINDS)}")
    for name in ("kind", "author"):
        if name in fields:
            raise CommandError(f"{name} is not given with the fields of a command")
    given = {name: value for name, value in fields.items() if value is not None}
    whole = {"id": new_id(), "t": now, "author": author, **given, "kind": kind}
    try:
        command: Command = msgspec.convert(whole, type=Command)
    except msgspec.ValidationError as error:
        raise CommandError(f"{kind}: {error}") from error
    check(command)
    return command


def check(command: Command) -> None:
    """Raises `CommandError` where a field cannot be meant. No name of a person passes as a pseudonym: no blanks."""
    _matches(command.id, _ID, "id")
    _time(command.t, "t")
    if not command.author or len(command.author) > MAX_REASON:
        raise CommandError("author: say who decides this")
    if isinstance(command, Bind | Unbind):
        _matches(command.device, _DEVICE, "device")
    if isinstance(command, RoleCommand):
        _check_role(command)
    elif not isinstance(command, Unbind):
        _matches(command.patient, _PSEUDONYM, "patient")
    for name in ("until", "expires_at"):
        end = getattr(command, name, None)
        if end is not None:
            _time(end, name)
            if end <= command.t:
                raise CommandError(f"{name}: lies not after t")
    if len(getattr(command, "reason", "")) > MAX_REASON:
        raise CommandError(f"reason: longer than {MAX_REASON} characters")
    age = getattr(command, "age_years", None)
    if age is not None and not 0 <= age <= 130:
        raise CommandError("age_years: not in 0..130")
    alert = getattr(command, "alert", "")
    if alert:
        _matches(alert, _ID, "alert")
    if isinstance(command, Limits):
        _check_limits(command)
    if isinstance(command, AlarmOff):
        _check_alarm_off(command)


def _check_role(command: RoleCommand) -> None:
    """Whoever is on call stands in Kafka by the name of an account: a blank in it would be a person's own name."""
    _matches(command.role, _PSEUDONYM, "role")
    if isinstance(command, TakeRole):
        _matches(command.author, _PSEUDONYM, "author")
    if isinstance(command, HandOverRole):
        _matches(command.to, _PSEUDONYM, "to")


def _check_alarm_off(command: AlarmOff) -> None:
    if not command.alert:
        raise CommandError("alert: say which; nobody puts off every alert of a patient")
    if not command.reason.strip():
        raise CommandError("reason: an alert is put off for a stated reason")
    if command.expires_at > command.t + ALARM_OFF_MAX_S:
        raise CommandError(f"expires_at: more than {ALARM_OFF_MAX_S / 3600:g} h after t")


def _check_limits(command: Limits) -> None:
    for name, (low, high) in LIMIT_RANGES.items():
        value = getattr(command, name)
        if value is not None and not low <= value <= high:
            raise CommandError(f"{name}: {value:g} is not in {low:g}..{high:g}")
    for lower, upper in ORDERED_LIMITS:
        low_value, high_value = getattr(command, lower), getattr(command, upper)
        if low_value is not None and high_value is not None and low_value >= high_value:
            raise CommandError(f"{lower}: lies not below {upper}")
    missing = command.missing()
    if missing:
        raise CommandError(f"{missing}: personal limits are set for a stated reason and until a stated time")


def _matches(text: str, pattern: re.Pattern[str], name: str) -> None:
    if not pattern.fullmatch(text):
        raise CommandError(f"{name}: 1 to 64 letters, digits, dots, dashes or underscores; no blanks")


def _time(t: float, name: str) -> None:
    if not EARLIEST_T <= t < LATEST_T:
        raise CommandError(f"{name}: not seconds since 1970 between the years 2000 and 2100")


def key_of(command: Command) -> bytes:
    """The record's key: the device for bind and unbind, the role for who is on call, else the patient."""
    if isinstance(command, RoleCommand):
        return command.role.encode()
    return (command.device if isinstance(command, Bind | Unbind) else command.patient).encode()


async def send(kafka: Kafka, commands: Sequence[Command]) -> None:
    """Write commands to topic `commands`, acknowledged by all in-sync replicas. Raises `NotSentError`."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, acks="all", request_timeout_ms=int(SEND_TIMEOUT_S * 1000)
    )
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await producer.start()
            for command in commands:
                await producer.send_and_wait(COMMANDS, msgspec.json.encode(command), key=key_of(command))
    except (KafkaError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise NotSentError(f"Kafka at {kafka.bootstrap} did not take the command: {reason}") from error
    finally:
        await producer.stop()
