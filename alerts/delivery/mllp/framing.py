"""MLLP framing (HL7 v2 transport specification, MLLP release 1): VT, the message, FS, CR."""

from __future__ import annotations

import asyncio

START = b"\x0b"
END = b"\x1c\r"
MOST_BYTES = 262_144


class FramingError(Exception):
    """What came is no MLLP frame, or longer than `MOST_BYTES`."""


def frame(message: bytes) -> bytes:
    """The message as it goes over the wire."""
    return START + message + END


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next message. The reader's own limit should be `MOST_BYTES`.

    Raises `FramingError`, and `EOFError` or `OSError` where the connection ends.
    """
    try:
        data = await reader.readuntil(END)
    except asyncio.LimitOverrunError as error:
        raise FramingError("a message longer than is taken") from error
    _, start, message = data.rpartition(START)
    if not start:
        raise FramingError("a frame without its beginning")
    return message.removesuffix(END)
