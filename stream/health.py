"""Readiness and liveness of a worker, as an orchestrator asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream.watchdog import Standing


@dataclass(slots=True)
class Health:
    """`ready`: partitions are assigned and their state is recovered. `live`: every partition with records waiting has
    moved within half the time after which the watchdog ends the process."""

    ready: bool = False
    live: bool = True
    standings: list[Standing] = field(default_factory=list)

    def update(self, ready: bool, standings: list[Standing], stuck_after_s: float) -> None:
        """Take in how the partitions stand."""
        self.ready = ready
        self.standings = standings
        self.live = all(
            standing.waiting == 0 or standing.since_advance_s < stuck_after_s / 2.0 for standing in standings
        )
