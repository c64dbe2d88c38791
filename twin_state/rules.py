"""Condition rules as the kernels see them: one comparison of one channel, with delay and hysteresis.

The texts, sources and authors of the rules stand in TOML under `alerts/rules/`; what decides is here, as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Comparison = Literal["at_least", "at_most"]
Context = Literal["always", "rest", "session"]

LIMITS: tuple[str, ...] = (
    "heart_rate_low",
    "heart_rate_high",
    "heart_rate_maximum",
    "zone_low",
    "zone_high",
    "spo2_floor",
    "systolic_low",
    "systolic_high",
    "diastolic_high",
)
"""Personal limits a rule may name in `limit`; the order is the order of the row's columns."""


@dataclass(frozen=True, slots=True)
class ConditionRule:
    """One rule.

    The condition is breached while `channel` is `comparison` `threshold` (replaced by the patient's own `limit`, plus
    `limit_offset`, where one is set), the channel is fresh, and `when` fits. The onset comes after `onset_delay_s` of
    unbroken breach; it clears after `clear_delay_s` beyond `threshold` less `hysteresis` (at_least) or plus it
    (at_most). With `onset_area` > 0 the onset comes sooner, once the area between value and threshold has reached it
    (channel's unit x s): the deeper, the sooner. A value counts for `hold_s` while a delay runs (0: as long as its
    channel's own). With `pause_leak` > 0 an interrupted breach does not begin anew: what has run of its delay shrinks
    by that many s, and its area in proportion, for each s of the pause. `update_step` > 0 writes an update each time
    the value worsens by that much. `required_limit` rules are idle until the patient has that limit. All times in s of
    event time; threshold in the channel's unit.
    """

    id: str
    channel: str
    comparison: Comparison
    threshold: float
    priority: Literal["high", "medium", "low", "none"]
    onset_delay_s: float = 0.0
    clear_delay_s: float = 0.0
    hysteresis: float = 0.0
    update_step: float = 0.0
    when: Context = "always"
    limit: str = ""
    limit_offset: float = 0.0
    limit_required: bool = False
    onset_area: float = 0.0
    hold_s: float = 0.0
    pause_leak: float = 0.0

    def __post_init__(self) -> None:
        if self.limit and self.limit not in LIMITS:
            raise ValueError(f"rule {self.id}: unknown personal limit {self.limit!r}; known: {', '.join(LIMITS)}")
        if min(self.onset_delay_s, self.clear_delay_s, self.hysteresis, self.update_step) < 0:
            raise ValueError(f"rule {self.id}: delays, hysteresis and update_step are at least 0")
        if min(self.onset_area, self.hold_s, self.pause_leak) < 0:
            raise ValueError(f"rule {self.id}: onset_area, hold_s and pause_leak are at least 0")
        if self.onset_area > 0 and self.onset_delay_s <= 0:
            raise ValueError(f"rule {self.id}: onset_area shortens onset_delay_s, which must be above 0")
        if self.pause_leak > 0 and self.onset_delay_s <= 0:
            raise ValueError(f"rule {self.id}: pause_leak is about onset_delay_s, which must be above 0")
