"""Quarantine: what ingest refused or holds back, with a typed reason and the bytes as they came."""

from __future__ import annotations

from base64 import b64decode, b64encode
from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """Why a payload, or one reading of it, stands in quarantine. `docs/quarantine.md` says what to do about each."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_FORMAT = "unknown_format"
    BAD_FIELD = "bad_field"
    BAD_TIME = "bad_time"
    FUTURE_TIME = "future_time"
    UNKNOWN_SIGNAL = "unknown_signal"
    BAD_VALUE = "bad_value"
    IMPLAUSIBLE_VALUE = "implausible_value"
    WRONG_UNIT = "wrong_unit"
    NO_VALUE = "no_value"
    TOO_MANY_VALUES = "too_many_values"
    UNBOUND_DEVICE = "unbound_device"
    BAD_COMMAND = "bad_command"
    BAD_RECORD = "bad_record"


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record of `telemetry.quarantine`.

    `raw` is base64 of the payload, or for one reading of a packed payload of that reading alone, so that replaying it
    needs nothing else. `reading` is the reading's id where it could be told. A record with `released` says that the
    record of that id was replayed and no longer waits.
    """

    id: str
    reason: Reason
    detail: str
    topic: str
    received_at: float
    raw: str
    device: str = ""
    stream: str = ""
    t: float | None = None
    reading: str = ""
    released: bool = False

    def payload(self) -> bytes:
        """The bytes as they came."""
        return b64decode(self.raw)


def encode_raw(payload: bytes) -> str:
    """Bytes as they stand in `Quarantined.raw`."""
    return b64encode(payload).decode("ascii")
