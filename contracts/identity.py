"""Identities that come out the same in every process: of a stream of a device, of a reading, of a condition.

A reading's id is a 64-bit mix of (device, stream), session and sequence number, so that it can be computed over whole
columns. It is the CloudEvents id, the key by which repeats are dropped, and what evidence refers to.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15

UInt64Array = npt.NDArray[np.uint64]


def text_identity(*parts: str) -> int:
    """64-bit BLAKE2b of the parts, joined by the unit separator so that ("ab", "c") differs from ("a", "bc")."""
    return int.from_bytes(blake2b("\x1f".join(parts).encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=65_536)
def source_identity(device: str, stream: str) -> int:
    """Identity of one stream of one device."""
    return text_identity(device, stream)


@lru_cache(maxsize=65_536)
def device_identity(device: str) -> int:
    """Identity of a device."""
    return text_identity(device)


@lru_cache(maxsize=65_536)
def session_identity(session: str) -> int:
    """Identity of a device session: the time between two boots."""
    return text_identity(session)


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection of 64-bit numbers."""
    x = ((x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return x ^ (x >> 31)


def reading_identity(source: int, session: int, sequence: int) -> int:
    """Identity of one reading; `sequence` may be negative or any 64-bit number."""
    x = _mix((source + _GOLDEN) & _MASK)
    x = _mix(((x ^ session) + _GOLDEN) & _MASK)
    return _mix(((x ^ (sequence & _MASK)) + _GOLDEN) & _MASK)


def _mix_columns(x: UInt64Array) -> UInt64Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return x ^ (x >> np.uint64(31))


def reading_identities(source: UInt64Array, session: UInt64Array, sequence: npt.NDArray[np.int64]) -> UInt64Array:
    """`reading_identity` over columns of equal length."""
    golden = np.uint64(_GOLDEN)
    x = _mix_columns(source + golden)
    x = _mix_columns((x ^ session) + golden)
    return _mix_columns((x ^ sequence.view(np.uint64)) + golden)


def identity_text(identity: int) -> str:
    """An identity as it is written: 16 hexadecimal digits."""
    return f"{identity:016x}"


def condition_identity(patient: str, rule: str, opened_by: int) -> str:
    """Identity of a condition: the same after any crash or replay, because it names the reading that opened it."""
    return identity_text(text_identity(patient, rule, identity_text(opened_by)))
