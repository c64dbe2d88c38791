"""Fits a network of one hidden layer to examples, for `biotwin fit`. The live kernels only apply what is shipped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


class Network(NamedTuple):
    """z = w2 . tanh(((x - centre) / scale) W1 + b1) + b2, log odds. Shapes: (F,), (F,), (F, H), (H,), (H,), scalar."""

    centre: Array
    scale: Array
    w1: Array
    b1: Array
    w2: Array
    b2: float

    def flat(self) -> list[float]:
        """In this order, W1 row by row: as kernels take it."""
        parts = (self.centre, self.scale, self.w1.ravel(), self.b1, self.w2, np.array([self.b2]))
        return [float(f"{value:.7g}") for value in np.concatenate(parts)]


def fit_network(x: Array, y: Array, weight: Array, hidden: int, decay: float, seed: int, steps: int = 200) -> Network:
    """Minimise the weighted logistic loss of labels `y` (0 or 1) on rows `x` plus `decay` times the squared weights.

    By L-BFGS (Nocedal 1980) from weights drawn by `seed`. Raises ValueError for rows that are not finite.
    """
    if not np.isfinite(x).all():
        raise ValueError("an example has a value that is not finite")
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = (x - centre) / scale
    inputs = x.shape[1]
    share = weight / weight.sum()
    edges = np.cumsum([inputs * hidden, hidden, hidden])

    def parts(theta: Array) -> tuple[Array, Array, Array, float]:
        w1, b1, w2, b2 = np.split(theta, edges)
        return w1.reshape(inputs, hidden), b1, w2, float(b2[0])

    def loss(theta: Array) -> tuple[float, Array]:
        w1, b1, w2, b2 = parts(theta)
        h = np.tanh(z @ w1 + b1)
        odds = h @ w2 + b2
        value = float(np.sum(share * (np.logaddexp(0.0, odds) - y * odds)) + decay * np.sum(theta**2))
        slope = share * (1.0 / (1.0 + np.exp(-odds)) - y)
        back = np.outer(slope, w2) * (1.0 - h * h)
        gradient = np.concatenate([(z.T @ back).ravel(), back.sum(axis=0), h.T @ slope, [slope.sum()]])
        return value, gradient + 2.0 * decay * theta

    rng = np.random.default_rng(seed)
    start = np.concatenate(
        [rng.normal(0.0, inputs**-0.5, inputs * hidden), np.zeros(hidden), rng.normal(0.0, 0.3, hidden), [0.0]]
    )
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    w1, b1, w2, b2 = parts(found.x)
    return Network(centre, scale, w1, b1, w2, b2)
