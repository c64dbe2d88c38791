"""A process that was frozen and thawed is a worker that Kafka may have declared dead: it must not write.

SIGSTOP, a paused virtual machine or a suspended laptop look the same from within: no thread ran for a while. A thread
of its own looks at the clock four times a second; whoever is first to see that half the session has passed between two
looks, that thread or a caller of `check` before a write, ends the process at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

EXIT_FROZEN = 76
"""Exit status of a worker that found itself frozen for longer than half its session."""

LOOK_EVERY_S = 0.25


def clock_s() -> float:
    """Seconds that also pass while the machine is suspended, where the system has such a clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def exit_frozen(gap_s: float) -> None:
    """Leave without running anything more: no flush, no handler, no write."""
    sys.stderr.write(
        f"worker was frozen for {gap_s:.1f} s, too long to still own its partitions; leaving before writing anything\n"
    )
    sys.stderr.flush()
    os._exit(EXIT_FROZEN)


class FreezeGuard:
    """Notices that the process did not run for more than `limit_s`."""

    def __init__(self, limit_s: float, on_frozen: Callable[[float], None] = exit_frozen) -> None:
        self._limit_s = limit_s
        self._on_frozen = on_frozen
        self._seen = clock_s()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="freeze-guard", daemon=True)

    def start(self) -> None:
        self._seen = clock_s()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def check(self) -> None:
        """Call before a write."""
        gap_s = clock_s() - self._seen
        if gap_s > self._limit_s and not self._stopped.is_set():
            self._on_frozen(gap_s)

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_S):
            self.check()
            self._seen = clock_s()
