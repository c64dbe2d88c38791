"""The phases of a rule, and what an interruption does to a delay that runs.

A rule with `pause_leak` is paused, in place of absent, while its breach is interrupted or nothing is measured: each
second of a pause takes `pause_leak` seconds of the delay that has run, and of the area in proportion, and the next
breach goes on with what is left. What comes and goes adds up; breaches far apart do not (a leaky integrator).
"""

from __future__ import annotations

from twin_state import constants as c
from twin_state.batch import Float
from twin_state.compiled import inlined
from twin_state.constants import Constants

ABSENT, PAUSED, PENDING, PRESENT, CLEARING = 0.0, 0.5, 1.0, 2.0, 3.0


@inlined
def pause(k: Constants, f: Float, rule: int, t: float) -> None:
    """End a pending breach at `t` (s). While a rule is paused its `onset_t` is when the pause began, the other columns
    stay as they were."""
    phase_at = k.models[c.RULES, c.BASE]
    if k.rule_value[rule, c.PAUSE_LEAK] <= 0.0 or t <= f[phase_at + k.rules + rule]:
        f[phase_at + rule] = ABSENT
        return
    f[phase_at + rule] = PAUSED
    f[phase_at + 2 * k.rules + rule] = t


@inlined
def left_of(k: Constants, f: Float, rule: int, t: float) -> float:
    """What is left at `t` of the share of a paused rule's delay that had run: s, at most 0 where it is used up."""
    phase_at = k.models[c.RULES, c.BASE]
    begun, paused = f[phase_at + k.rules + rule], f[phase_at + 2 * k.rules + rule]
    return paused - begun - k.rule_value[rule, c.PAUSE_LEAK] * (t - paused)  # type: ignore[no-any-return]


@inlined
def resume(k: Constants, f: Float, rule: int, t: float, left: float) -> None:
    """Go on at `t` with the `left` s of the delay that have run, above 0."""
    phase_at = k.models[c.RULES, c.BASE]
    ran = f[phase_at + 2 * k.rules + rule] - f[phase_at + k.rules + rule]
    f[phase_at + rule] = PENDING
    f[phase_at + k.rules + rule] = t - left
    f[phase_at + 2 * k.rules + rule] = t
    f[phase_at + 3 * k.rules + rule] *= left / ran
