"""An additive model of linear splines, as population models apply it; `loadtest.evaluation.additive` fits it.

    log odds = w0 + sum over features x of  w1 x' + sum over knots k of w_k max(x' - k, 0)
    x'       the feature less its centre, in its scale, at most `MOST_AWAY` from 0; a feature that is NaN counts as 0

Hastie and Tibshirani, Statistical Science 1(3), 1986. Parameters are, one after another: centre and scale of each
feature, the knots feature by feature, the weights feature by feature (1 + knots each), and w0.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled

MOST_AWAY = 6.0


def parameters(features: int, knots: int) -> int:
    """How many parameters a model of so many features and knots has."""
    return features * (2 + knots + 1 + knots) + 1


@compiled
def log_odds(f: Float, first: int, p: Float, features: int, knots: int, part: int) -> float:
    """The log odds of the features in columns `first` and on; columns `part` and on get what each adds beside that of
    its centre."""
    knot, weight = 2 * features, features * (2 + knots)
    total = p[features * (3 + 2 * knots)]
    for j in range(features):
        x = f[first + j]
        z = 0.0 if math.isnan(x) else (x - p[j]) / p[features + j]
        z = min(max(z, -MOST_AWAY), MOST_AWAY)
        w = weight + j * (1 + knots)
        added = p[w] * z
        usual = 0.0
        for k in range(knots):
            at = p[knot + j * knots + k]
            added += p[w + 1 + k] * max(z - at, 0.0)
            usual += p[w + 1 + k] * max(-at, 0.0)
        total += added
        f[part + j] = added - usual
    return total  # type: ignore[no-any-return]
