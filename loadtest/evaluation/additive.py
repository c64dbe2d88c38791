"""Fits an additive model of linear splines to examples, for `biotwin fit`. Live kernels only apply what is shipped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from loadtest.evaluation.network import Array
from twin_state.models.additive import MOST_AWAY


class Additive(NamedTuple):
    """Log odds = bias + the sum over features of weights on (x', max(x' - knot, 0), ...), x' = (x - centre) / scale.
    Shapes: (F,), (F,), (F, K), (F, 1 + K), scalar."""

    centre: Array
    scale: Array
    knots: Array
    weights: Array
    bias: float

    def values(self) -> dict[str, list[float]]:
        """As a file of parameters has them, rows one after another."""
        parts = {"centre": self.centre, "scale": self.scale, "knots": self.knots, "weights": self.weights}
        found = {name: [float(f"{value:.7g}") for value in part.ravel()] for name, part in parts.items()}
        return {**found, "bias": [float(f"{self.bias:.7g}")]}

    def flat(self) -> Array:
        """As kernels take it."""
        return np.array([value for values in self.values().values() for value in values])


def fit_additive(
    x: Array, y: Array, quantiles: tuple[float, ...], decay: float, weight: Array | None = None
) -> Additive:
    """Minimise the logistic loss of labels `y` on rows `x` plus `decay` times the squared weights of the terms, each
    brought to unit scale; `weight` is that of each row, all alike without it. NaN in `x` counts as its centre."""
    centre = np.nanmedian(x, axis=0)
    scale = np.nanstd(x, axis=0) + 1e-9
    z = np.clip(np.nan_to_num((x - centre) / scale, nan=0.0), -MOST_AWAY, MOST_AWAY)
    knots = np.quantile(z, quantiles, axis=0).T
    terms = np.concatenate([z[:, :, None], np.maximum(z[:, :, None] - knots[None], 0.0)], axis=2)
    flat = terms.reshape(len(z), -1)
    share = np.full(len(y), 1.0 / len(y)) if weight is None else weight / weight.sum()
    mean, spread = flat.mean(axis=0), flat.std(axis=0) + 1e-6
    flat = (flat - mean) / spread

    def loss(theta: Array) -> tuple[float, Array]:
        odds = flat @ theta[1:] + theta[0]
        slope = share * (1.0 / (1.0 + np.exp(-odds)) - y)
        value = float(np.sum(share * (np.logaddexp(0.0, odds) - y * odds)) + decay * np.sum(theta[1:] ** 2))
        return value, np.concatenate([[slope.sum()], flat.T @ slope + 2.0 * decay * theta[1:]])

    positive = min(max(float(np.sum(share * y)), 1e-4), 1.0 - 1e-4)
    start = np.concatenate([[np.log(positive / (1.0 - positive))], np.zeros(flat.shape[1])])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    weights = found[1:] / spread
    bias = float(found[0] - np.sum(found[1:] * mean / spread))
    return Additive(centre, scale, knots, weights.reshape(z.shape[1], -1), bias)
