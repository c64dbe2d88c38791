"""What plain thresholds would make of the labelled ward: the two baselines that a rule set is compared with.

Both look at one vital sign at a time, at the values at which NEWS2 gives a single parameter three points, on means over
a minute (cuff pressure: each reading), rounded half up. They know no other patient, no other sign, no session and no
order of a clinician.

- plain: each crossing of a threshold is an alarm, with no delay and no hysteresis, armed again when a value is back.
- lasting: values that the device itself marks as poor are left out, and a crossing must last the longer, the milder it
  is. One alarm for each crossing of the mildest threshold.

Source of both: Aagaard et al., Hosp Pract 2023, doi:10.1080/21548331.2023.2298185 (medians of 137 and 19 a
patient-day). The paper's own list of durations was not at hand: those below are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from loadtest.labelled_ward import BoolArray, Chunk, Spots
from loadtest.physiology import FloatArray
from loadtest.ward_events import START_T

MINUTE_S = 60.0
QUALITY_FLOOR = 0.5
"""Values of poorer quality are artefacts to the lasting thresholds, as they are to the twin."""


class Threshold(NamedTuple):
    """A limit of one vital sign: `sense` 1 is at least, -1 at most; `minutes` how long it must last (lasting only)."""

    signal: str
    sense: float
    limit: float
    minutes: int


THRESHOLDS: tuple[tuple[Threshold, ...], ...] = (
    (
        Threshold("spo2", -1.0, 91.0, 5),
        Threshold("spo2", -1.0, 87.0, 3),
        Threshold("spo2", -1.0, 84.0, 2),
        Threshold("spo2", -1.0, 79.0, 1),
    ),
    (Threshold("respiratory_rate", 1.0, 25.0, 3), Threshold("respiratory_rate", 1.0, 31.0, 1)),
    (Threshold("respiratory_rate", -1.0, 8.0, 3), Threshold("respiratory_rate", -1.0, 5.0, 1)),
    (Threshold("heart_rate", 1.0, 131.0, 3), Threshold("heart_rate", 1.0, 151.0, 1)),
    (Threshold("heart_rate", -1.0, 40.0, 3), Threshold("heart_rate", -1.0, 30.0, 1)),
    (Threshold("systolic_pressure", -1.0, 90.0, 1),),
    (Threshold("systolic_pressure", 1.0, 220.0, 1),),
)
"""For each vital sign and side the thresholds from the mildest on; the mildest is that of NEWS2's three points."""


class Told(NamedTuple):
    """One alarm of a baseline: when it came and until when it stood, s since the epoch."""

    patient: int
    signal: str
    t: float
    until_t: float


class MinuteValues:
    """Means over minutes as a ward comes in, chunk by chunk: `minutes` holds (minutes, patients) a signal."""

    def __init__(self) -> None:
        self._all: dict[str, list[FloatArray]] = {"heart_rate": [], "respiratory_rate": [], "spo2": []}
        self._good: dict[str, list[FloatArray]] = {name: [] for name in self._all}
        self._cuff: list[Spots] = []

    def add(self, chunk: Chunk) -> None:
        """Take in the next chunk; a chunk begins with a whole minute."""
        for name in self._all:
            values: FloatArray = getattr(chunk, name)
            quality = chunk.oximeter_quality if name == "spo2" else chunk.patch_quality
            steps = round(MINUTE_S / (chunk.t[1] - chunk.t[0]))
            self._all[name].append(_means(values, steps))
            self._good[name].append(_means(np.where(quality >= QUALITY_FLOOR, values, np.nan), steps))
        self._cuff.append(chunk.cuff)

    def monitored(self) -> BoolArray:
        """In which minutes each patient's heart rate, respiratory rate or SpO2 was measured, (minutes, patients)."""
        found = [~np.isnan(np.concatenate(parts)) for parts in self._all.values()]
        return found[0] | found[1] | found[2]

    def trusted(self, signal: str) -> BoolArray:
        """In which minutes a good value of a signal was measured, (minutes, patients)."""
        return ~np.isnan(np.concatenate(self._good[signal]))

    def plain(self) -> list[Told]:
        """Alarms of the plain thresholds."""
        return list(self._alarms(self._all, lasting=False))

    def lasting(self) -> list[Told]:
        """Alarms of the thresholds with artefacts left out and durations by severity."""
        return list(self._alarms(self._good, lasting=True))

    def _alarms(self, parts: dict[str, list[FloatArray]], *, lasting: bool) -> Iterator[Told]:
        for side in THRESHOLDS:
            signal = side[0].signal
            if signal == "systolic_pressure":
                yield from self._cuff_alarms(side[0])
                continue
            values = np.concatenate(parts[signal])
            for patient in range(values.shape[1]):
                own = values[:, patient]
                known = np.flatnonzero(~np.isnan(own))
                t = np.asarray(START_T + (known + 1) * MINUTE_S, np.float64)
                # A missing minute breaks the count of a duration; it neither ends nor begins a crossing.
                broken = np.diff(known, prepend=known[:1]) > 1
                yield from _side_alarms(side, patient, own[known], t, broken, lasting=lasting)

    def _cuff_alarms(self, threshold: Threshold) -> Iterator[Told]:
        patient = np.concatenate([spots.patient for spots in self._cuff])
        t = np.concatenate([spots.t for spots in self._cuff])
        value = np.concatenate([spots.value[:, 0] for spots in self._cuff])
        for one in np.unique(patient):
            own = patient == one
            yield from _side_alarms(
                (threshold,), int(one), value[own], t[own], np.zeros(own.sum(), np.bool_), lasting=False
            )


def _means(values: FloatArray, steps: int) -> FloatArray:
    """Means of the known among every `steps` rows, rounded half up; NaN where none is known."""
    grouped = values[: len(values) // steps * steps].reshape(-1, steps, values.shape[1])
    known = ~np.isnan(grouped)
    count = known.sum(axis=1)
    total = np.where(known, grouped, 0.0).sum(axis=1)
    return np.where(count > 0, np.floor(total / np.maximum(count, 1) + 0.5), np.nan)


def _side_alarms(
    side: Iterable[Threshold], patient: int, values: FloatArray, t: FloatArray, broken: BoolArray, *, lasting: bool
) -> Iterator[Told]:
    """Alarms on known values in order of time; one for each crossing of the mildest threshold."""
    thresholds = tuple(side)
    mildest = thresholds[0]
    beyond = mildest.sense * (values - mildest.limit) >= 0.0
    starts, ends = _runs(beyond)
    if lasting:
        met = np.zeros(len(values), np.bool_)
        for threshold in thresholds:
            met |= _lasted(threshold.sense * (values - threshold.limit) >= 0.0, broken, threshold.minutes)
        for start, end in zip(starts, ends, strict=True):
            found = np.flatnonzero(met[start:end])
            if len(found):
                yield Told(patient, mildest.signal, float(t[start + found[0]]), float(t[min(end, len(t) - 1)]))
        return
    for start, end in zip(starts, ends, strict=True):
        yield Told(patient, mildest.signal, float(t[start]), float(t[min(end, len(t) - 1)]))


def _runs(beyond: BoolArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where stretches of True begin and end (exclusive)."""
    edges = np.diff(np.concatenate([[False], beyond, [False]]).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _lasted(beyond: BoolArray, broken: BoolArray, minutes: int) -> BoolArray:
    """Where the condition has held for so many minutes on end, each of them known."""
    number = np.arange(len(beyond))
    reset = np.maximum.accumulate(np.where(~beyond, number + 1, np.where(broken, number, 0)))
    return beyond & (number - reset + 1 >= minutes)
