"""Named tokens: who the caller of the HTTP interface is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest


class TokenHolders:
    """`tokens` maps each token to its holder's name."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._holders = [(sha256(token.encode()).digest(), name) for token, name in tokens.items()]

    def __bool__(self) -> bool:
        return bool(self._holders)

    def holder(self, header: str) -> str | None:
        """The holder of the token in an Authorization header. Every known token is compared, each in constant time."""
        scheme, _, token = header.partition(" ")
        given = sha256(token.strip().encode("utf-8", "replace")).digest()
        found = None
        for known, name in self._holders:
            if compare_digest(known, given):
                found = name
        return found if scheme.lower() == "bearer" else None
