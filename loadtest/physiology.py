"""Physiology that every simulated ward shares: what a patient's vital signs truly are, given what happens to him.

A source of test data with known truth, not a model to treat anybody by. Sources of the numbers: docs/simulation.md.
Heart rate under load is first order, tau dH/dt = (H0 + k u) - H, with tau 30 s on and 90 s off and k 0.3 to 0.5 bpm/W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TAU_ON_S = 30.0
TAU_OFF_S = 90.0
GAIN_BPM_PER_W = (0.3, 0.5)
DAY_S = 86_400.0
ACROPHASE_S = 17 * 3600.0
"""Time of day (UTC) at which heart rate and temperature are highest."""


class Spread(NamedTuple):
    """A normal distribution cut off at `low` and `high`."""

    mean: float
    sd: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator, n: int, mean: FloatArray | None = None) -> FloatArray:
        """n values; `mean` gives each its own in place of `self.mean`."""
        return np.clip(rng.normal(np.full(n, self.mean) if mean is None else mean, self.sd), self.low, self.high)


@dataclass(frozen=True, slots=True)
class Population:
    """How resting values are spread over patients: 1/min, %, 1/min, Cel, mm[Hg]."""

    heart_rate: Spread
    spo2: Spread
    respiratory_rate: Spread
    temperature: Spread
    systolic: Spread


@dataclass(frozen=True, slots=True)
class Resting:
    """Resting values of n patients, each of shape (n,); units as in `Population`."""

    heart_rate: FloatArray
    spo2: FloatArray
    respiratory_rate: FloatArray
    temperature: FloatArray
    systolic: FloatArray
    diastolic: FloatArray


def draw_resting(
    rng: np.random.Generator, n: int, population: Population, heart_rate_mean: FloatArray | None = None
) -> Resting:
    """Resting values of n patients; `heart_rate_mean` (n,) where the mean differs between them."""
    heart_rate = population.heart_rate.draw(rng, n, heart_rate_mean)
    spo2 = population.spo2.draw(rng, n)
    respiratory_rate = population.respiratory_rate.draw(rng, n)
    temperature = population.temperature.draw(rng, n)
    systolic = population.systolic.draw(rng, n)
    return Resting(
        heart_rate=heart_rate,
        spo2=spo2,
        respiratory_rate=respiratory_rate,
        temperature=temperature,
        systolic=systolic,
        diastolic=0.45 * systolic + rng.normal(20.0, 4.0, n),
    )


class Drive(NamedTuple):
    """What moves the vital signs, each of shape (n,) or (steps, n): how far sepsis and respiratory failure have come
    (0..1), and by how much exertion has raised the heart rate (1/min)."""

    sepsis: FloatArray
    hypoxia: FloatArray
    exertion_bpm: FloatArray


class Truth(NamedTuple):
    """True vital signs without any noise, each of the drive's shape; units as in the signal registry."""

    heart_rate: FloatArray
    respiratory_rate: FloatArray
    spo2: FloatArray
    body_temperature: FloatArray
    systolic_pressure: FloatArray
    diastolic_pressure: FloatArray


def daily_rhythm(t: float | FloatArray) -> FloatArray:
    """-1..1 at `t` (s since the epoch), highest at `ACROPHASE_S`."""
    return np.cos(2.0 * np.pi * (np.asarray(t) - ACROPHASE_S) / DAY_S)


def effort(exertion_bpm: FloatArray) -> FloatArray:
    """Exertion as a share of one that raises the heart rate by 60/min."""
    return exertion_bpm / 60.0


def true_vital_signs(resting: Resting, daily: FloatArray, drive: Drive) -> Truth:
    """The coupled vital signs. `daily` is `daily_rhythm`, of shape () or (steps, 1)."""
    sepsis, hypoxia, exertion_bpm = drive
    exertion = effort(exertion_bpm)
    return Truth(
        heart_rate=resting.heart_rate + 4.0 * daily + exertion_bpm + 55.0 * sepsis + 38.0 * hypoxia,
        respiratory_rate=resting.respiratory_rate + 0.4 * daily + 9.0 * exertion + 14.0 * sepsis + 16.0 * hypoxia,
        spo2=resting.spo2 - 5.5 * sepsis - 17.0 * hypoxia - 0.8 * exertion,
        body_temperature=resting.temperature + 0.25 * daily + 2.4 * sepsis,
        systolic_pressure=resting.systolic + 3.0 * daily + 22.0 * exertion - 48.0 * sepsis,
        diastolic_pressure=resting.diastolic + 2.0 * daily + 3.0 * exertion - 22.0 * sepsis,
    )


def consciousness(sepsis: FloatArray) -> npt.NDArray[np.int64]:
    """ACVPU code: confused when sepsis is severe."""
    return np.where(sepsis > 0.8, 1, 0)
