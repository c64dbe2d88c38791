"""The one way in which a test waits: for what it wants to see, generously, and never for a time.

A wait that succeeds costs nothing, so its limit fits the slowest machine. What is asserted after a wait must be true
the moment the wait ends: wait for what comes last.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

TIMEOUT_S = 60.0


async def until(
    condition: Callable[[], Any | Awaitable[Any]],
    what: Callable[[], str] | str = "",
    timeout_s: float = TIMEOUT_S,
    interval_s: float = 0.05,
) -> Any:
    """What `condition` gives as soon as it is true; fails with `what` was waited for and what was seen last."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            wanted = (what() if callable(what) else what) or inspect.getsource(condition).strip()
            pytest.fail(f"not within {timeout_s:g} s: {wanted}; seen last: {found!r}")
        await asyncio.sleep(interval_s)
