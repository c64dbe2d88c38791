"""The watchdog: a worker that stands still while records wait ends itself, so that its supervisor starts a new one.

It watches what only a working agent can move: the position of each partition, and its checkpoints. Broker outages are
not its business: while Kafka does not answer nothing is known to wait.
"""

from __future__ import annotations

from typing import NamedTuple

EXIT_STUCK = 77
"""Exit status of a worker whose watchdog gave it up."""


class Standing(NamedTuple):
    """How one partition stands. `waiting` counts records not applied, `undurable` those applied since the last finished
    checkpoint; `since_advance_s` and `since_checkpoint_s` say for how long neither has got better."""

    name: str
    waiting: int
    undurable: int
    since_advance_s: float
    since_checkpoint_s: float


class PartitionWatch:
    """Watches one partition. The time in which there is nothing to do does not count: what comes after a quiet hour has
    as long as what comes after a busy second."""

    def __init__(self, clock: float) -> None:
        self._moved_at = clock
        self._durable_at = clock
        self._position = -1
        self._durable = -1

    def look(self, name: str, position: int, durable: int, waiting: int, clock: float) -> Standing:
        """How the partition stands at the monotonic time `clock`; `position` and `durable` are offsets."""
        if waiting == 0 or position != self._position:
            self._moved_at = clock
        if position == durable or durable != self._durable:
            self._durable_at = clock
        self._position, self._durable = position, durable
        return Standing(name, waiting, position - durable, clock - self._moved_at, clock - self._durable_at)


def stuck(standings: list[Standing], stuck_after_s: float, checkpoint_max_s: float) -> str | None:
    """Why the worker counts as stuck, or None."""
    for standing in standings:
        if standing.waiting > 0 and standing.since_advance_s > stuck_after_s:
            return (
                f"{standing.name}: {standing.waiting} records wait and none was applied "
                f"for {standing.since_advance_s:.0f} s"
            )
        if standing.undurable > 0 and standing.since_checkpoint_s > stuck_after_s + checkpoint_max_s:
            return (
                f"{standing.name}: no checkpoint finished for {standing.since_checkpoint_s:.0f} s "
                f"while {standing.undurable} records wait for one"
            )
    return None
