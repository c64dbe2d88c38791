"""The canonical form in which records are hashed, compared and written by `biotwin replay`."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

PROVENANCE = "provenance"
"""Key of the part of a record that depends on the run (offsets, arrival and processing times), not on what happened."""


def canonical_bytes(record: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted keys and without `provenance` at the top level."""
    return orjson.dumps({key: value for key, value in record.items() if key != PROVENANCE}, option=orjson.OPT_SORT_KEYS)


def canonical_hash(record: Mapping[str, Any]) -> str:
    """BLAKE2b-128 of the canonical bytes, 32 hexadecimal digits."""
    return blake2b(canonical_bytes(record), digest_size=16).hexdigest()
