"""Scores of probabilities against what came true."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.stats import rankdata

from loadtest.evaluation.network import Array


def auroc(labels: Array, scores: Array) -> float:
    """Area under the receiver operating characteristic, by ranks, ties halved; NaN where one class is missing."""
    positive = labels > 0.5
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if ones == 0 or zeros == 0:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - ones * (ones + 1) / 2.0) / (ones * zeros))


def balanced_accuracy(labels: Array, said: Array) -> float:
    """Mean of sensitivity and specificity of yes-or-no answers; NaN where one class is missing."""
    positive = labels > 0.5
    if positive.all() or not positive.any():
        return float("nan")
    return float(0.5 * (np.mean(said[positive] > 0.5) + np.mean(said[~positive] <= 0.5)))


def calibration_error(labels: Array, probabilities: Array, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of what was said from what came true over bins of equal width,
    weighted by their size. Source: Naeini et al., AAAI 2015."""
    place = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    said = np.bincount(place, probabilities, minlength=bins)
    true = np.bincount(place, labels, minlength=bins)
    return float(np.abs(said - true).sum() / count.sum())


def calibration_slope(labels: Array, log_odds: Array) -> float:
    """Slope of a logistic regression of the labels on the log odds: 1 where they are neither too bold nor too timid.
    Source: Cox, Biometrika 45(3-4), 1958. NaN where one class is missing."""
    if labels.min() == labels.max():
        return float("nan")

    def loss(theta: Array) -> tuple[float, Array]:
        z = theta[0] + theta[1] * log_odds
        slope = 1.0 / (1.0 + np.exp(-z)) - labels
        gradient = np.array([slope.mean(), (slope * log_odds).mean()])
        return float(np.mean(np.logaddexp(0.0, z) - labels * z)), gradient

    return float(minimize(loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B").x[1])
