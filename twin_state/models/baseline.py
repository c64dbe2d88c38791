"""Personal baseline of each signal at rest: robust exponentially weighted mean and scale.

With a = 1 - exp(-dt / tau), tau = 24 h, dt the time since the last value that taught it (at most 60 s, so that an
outage does not make one value weigh like a day), and during the first 60 values a = 1 / n where that is larger:

    d      = clip(x - mean, -3 s, +3 s)                  Huber's clipping, once 60 values are in
             with s = max(scale, |mean| / 100, 0.01): sixty equal values must not shut it for good
    mean  <- mean + a d
    scale <- scale + a (1.2533 |d| - scale)              1.2533 = sqrt(pi / 2): mean absolute deviation to sigma

Frozen while abnormal: during an exercise session, while any rule of medium or high priority is pending or present (a
patient deteriorates in signals that have no rule of their own, too), and while any rule on the signal itself is. No
rule takes a threshold from it: a baseline never loosens an absolute limit.
Source of the clipping: Huber, Robust Statistics (1981), ch. 3.
"""

from __future__ import annotations

import math

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants
from twin_state.models.patient import in_session

TAU_S = 86_400.0
LONGEST_STEP_S = 60.0
WARM_UP_VALUES = 60.0
CLIP = 3.0
LEAST_RELATIVE_SCALE = 0.01
LEAST_SCALE = 0.01
MEAN_ABSOLUTE_TO_SIGMA = 1.2533141373155003


@inlined
def observe(k: Constants, f: Float, i: Int, signal: int, value: float, t: float) -> None:
    """Learn from one trusted value measured at `t` (s), unless the signal is frozen."""
    if not k.channel[signal, c.BASELINED] or in_session(k, f):
        return
    for rule in range(k.rules):
        if f[k.models[c.RULES, c.BASE] + rule] > 0.0 and (
            k.rule_number[rule, c.FREEZES] or k.rule_number[rule, c.CHANNEL] == signal
        ):
            return
    mean = k.models[c.BASELINE, c.BASE] + signal
    scale = mean + k.signals
    count = scale + k.signals
    last = count + k.signals
    f[count] += 1.0
    n = f[count]
    if n == 1.0:
        f[mean] = value
        f[last] = t
        return
    step = min(max(t - f[last], 0.0), LONGEST_STEP_S)
    f[last] = t
    weight = max(1.0 - math.exp(-step / TAU_S), 1.0 / n if n <= WARM_UP_VALUES else 0.0)
    deviation = value - f[mean]
    if n > WARM_UP_VALUES:
        bound = CLIP * max(f[scale], LEAST_RELATIVE_SCALE * abs(f[mean]), LEAST_SCALE)
        deviation = min(max(deviation, -bound), bound)
    f[mean] += weight * deviation
    f[scale] += weight * (MEAN_ABSOLUTE_TO_SIGMA * abs(deviation) - f[scale])
