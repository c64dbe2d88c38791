"""A reading's number from the source's own id. What stands in such an id may name a person: only its hash is kept."""

from __future__ import annotations

import re
from hashlib import blake2b

_KEPT = re.compile(r"biotwin-([0-9a-f]{16})")


def kept_id(*parts: str) -> str:
    """What stands for an id from outside in quarantine; for one that was made here, itself."""
    if len(parts) == 1 and _KEPT.fullmatch(parts[0]):
        return parts[0]
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return f"biotwin-{blake2b(text, digest_size=8).hexdigest()}"


def number_of(kept: str) -> int:
    """The reading's number: 63 bits, as they fit a signed 64-bit column."""
    return int(kept.removeprefix("biotwin-"), 16) >> 1
