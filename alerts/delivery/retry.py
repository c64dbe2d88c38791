"""When to try again. Pure: chance and time are arguments."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_ASKED_S = 600.0
"""How long a receiver may ask us to stay away (Retry-After); it may not silence alerts for a day."""


class Backoff(NamedTuple):
    """Waits that double from `shortest_s` to `longest_s`."""

    shortest_s: float
    longest_s: float

    def delay_s(self, failures: int, chance: float, asked_s: float | None = None) -> float:
        """How long to wait after so many failures in a row (from 1 on).

        `chance` in 0..1 spreads waits over the upper half of the step, so that receivers that come back are not met by
        everybody at once. `asked_s` is what the receiver asked for: never less than that, up to `LONGEST_ASKED_S`.
        """
        step = min(self.shortest_s * 2.0 ** min(failures - 1, 30), self.longest_s)
        own = step * (0.5 + chance / 2.0)
        return own if asked_s is None else max(own, min(asked_s, LONGEST_ASKED_S))
