"""Fits a network of one hidden layer and a linear part to a number, for `biotwin fit`."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from loadtest.evaluation.network import Array


def fit_regression(x: Array, y: Array, hidden: int, decay: float, knee: float, seed: int, steps: int = 200) -> Array:
    """Minimise the pseudo-Huber loss (knee in units of `y`) of `y` (n,) on rows `x` (n, F).

    Returns, one after another: centre and scale of the inputs (F each), W1 (F, H) row by row, b1 (H), w2 (H), b2, and
    the weights of the linear part (F): y = w2 . tanh(z W1 + b1) + b2 + w . z with z = (x - centre) / scale. `decay`
    times the squared weights is added, a tenth of that for the linear part. Pseudo-Huber: Charbonnier et al. 1997, near
    the absolute error far from 0. By L-BFGS from weights drawn by `seed`. Raises ValueError for rows not finite.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("an example has a value that is not finite")
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    z = (x - centre) / scale
    rows, inputs = z.shape
    middle, unit = float(np.median(y)), float(np.std(y)) + 1e-9
    edges = np.cumsum([inputs * hidden, hidden, hidden, 1])

    def loss(theta: Array) -> tuple[float, Array]:
        w1_flat, b1, w2, b2, skip = np.split(theta, edges)
        w1 = w1_flat.reshape(inputs, hidden)
        h = np.tanh(z @ w1 + b1)
        error = (middle + unit * (h @ w2 + b2[0] + z @ skip) - y) / knee
        root = np.sqrt(1.0 + error**2)
        squares = np.sum(w1**2) + np.sum(w2**2) + 0.1 * np.sum(skip**2)
        slope = unit * error / root / rows
        back = np.outer(slope, w2) * (1.0 - h * h)
        gradient = [
            (z.T @ back).ravel() + 2.0 * decay * w1_flat,
            back.sum(axis=0),
            h.T @ slope + 2.0 * decay * w2,
            [slope.sum()],
            z.T @ slope + 0.2 * decay * skip,
        ]
        return float(knee * np.mean(root - 1.0) + decay * squares), np.concatenate(gradient)

    rng = np.random.default_rng(seed)
    start = np.concatenate(
        [
            rng.normal(0.0, inputs**-0.5, inputs * hidden),
            rng.normal(0.0, 0.3, hidden),
            rng.normal(0.0, 0.1, hidden),
            np.zeros(1 + inputs),
        ]
    )
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    w1_flat, b1, w2, b2, skip = np.split(found.x, edges)
    return np.concatenate([centre, scale, w1_flat, b1, unit * w2, [middle + unit * b2[0]], unit * skip])
