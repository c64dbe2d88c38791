"""A real recording inside a PyPI package, made into a chest strap's readings.

heartpy's wheel carries `heartpy/data/data2.csv`: 128 s of finger photoplethysmography of a person, with times in ms.
Only that file is read; the package itself is not imported.

Beats are found by a moving threshold: a sample belongs to a beat while it lies above the mean of the 0.75 s around it
by more than the signal's standard deviation over 4 s; the beat's time is the highest sample of that stretch. Two beats
closer than 0.35 s are one. Samples of 0 mean that the sensor had no contact: nothing within 1 s of one is looked at.
RR intervals follow; an interval more than 30 % from the median of the nine around it is left out as an artefact of
detection, and so is one among neighbours that scatter by more than 12 %. That is enough for clean recordings such as
this one and for nothing else.
"""

from __future__ import annotations

import csv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PACKAGE = "heartpy"
FILE = "heartpy/data/data2.csv"

_WINDOW_S = 0.75
_SPREAD_S = 4.0
_REFRACTORY_S = 0.35

FloatArray = npt.NDArray[np.float64]


class Beats(NamedTuple):
    """Heart beats of a recording: `time_s` of each from the start, in s, and `rr_ms` to the beat before, in ms."""

    time_s: FloatArray
    rr_ms: FloatArray


class RecordingMissingError(Exception):
    """The package that carries the recording is not installed."""


def find_recording() -> Path:
    """Where the recording lies; raises `RecordingMissingError`."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise RecordingMissingError(f"{PACKAGE} is not installed: `pip install biotwin[demo]`") from error
    if not path.is_file():
        raise RecordingMissingError(f"this build of {PACKAGE} carries no {FILE}")
    return path


def read_recording(path: Path) -> tuple[FloatArray, FloatArray]:
    """Times in s and samples of a CSV file with the columns timer (ms) and hr (raw photoplethysmogram)."""
    with path.open(newline="", encoding="ascii") as file:
        rows = [(float(row["timer"]), float(row["hr"])) for row in csv.DictReader(file)]
    columns = np.array(rows)
    return columns[:, 0] / 1000.0, columns[:, 1]


def _rolling_mean(samples: FloatArray, width: int) -> FloatArray:
    padded = np.pad(samples, width // 2, mode="edge")
    sums = np.concatenate(([0.0], np.cumsum(padded)))
    means: FloatArray = (sums[width:] - sums[:-width]) / width
    return means


def detect_beats(time_s: FloatArray, samples: FloatArray) -> Beats:
    """Beats of an evenly sampled pulse wave, as the module's text has it."""
    step_s = float(np.median(np.diff(time_s)))
    width = round(_WINDOW_S / step_s) | 1
    lost = _rolling_mean((samples <= 0.0).astype(np.float64), round(2.0 / step_s) | 1) > 0.0
    local_mean = _rolling_mean(samples, width)
    long = round(_SPREAD_S / step_s) | 1
    spread = np.sqrt(np.maximum(_rolling_mean((samples - local_mean) ** 2, long), 0.0))
    above = (samples > local_mean + spread) & ~lost
    edges = np.flatnonzero(np.diff(np.concatenate(([False], above, [False])).astype(np.int8)))
    peaks: list[int] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        peak = int(first + np.argmax(samples[first:end]))
        if peaks and time_s[peak] - time_s[peaks[-1]] < _REFRACTORY_S:
            if samples[peak] > samples[peaks[-1]]:
                peaks[-1] = peak
            continue
        peaks.append(peak)
    at_s = time_s[peaks]
    rr_ms = np.diff(at_s) * 1000.0
    nine = [rr_ms[max(0, i - 4) : i + 5] for i in range(len(rr_ms))]
    around = np.array([np.median(some) for some in nine])
    scatter = np.array([np.median(np.abs(some - middle)) for some, middle in zip(nine, around, strict=True)])
    good = (np.abs(rr_ms - around) <= 0.3 * around) & (scatter <= 0.12 * around)
    return Beats(at_s[1:][good], np.round(rr_ms[good], 1))


class RecordedHeart:
    """Beats played again and again, as a chest strap sees them."""

    def __init__(self, beats: Beats) -> None:
        self._rr_ms = beats.rr_ms
        self._ends_s = np.cumsum(beats.rr_ms) / 1000.0
        self._length_s = float(self._ends_s[-1])

    def between(self, start_s: float, end_s: float) -> tuple[float, list[float]]:
        """Heart rate in 1/min (mean of the last five beats) and the RR intervals in ms that ended in [start, end)."""
        laps, inside_s = divmod(start_s, self._length_s)
        until_s = end_s - laps * self._length_s
        first = int(np.searchsorted(self._ends_s, inside_s))
        last = int(np.searchsorted(self._ends_s, min(until_s, self._length_s)))
        rr_ms = [float(value) for value in self._rr_ms[first:last]]
        recent = self._rr_ms[max(0, last - 5) : max(last, 5)]
        return float(60_000.0 / np.mean(recent)), rr_ms


def load_recorded_heart() -> RecordedHeart:
    """The recording's beats, ready to be played; raises `RecordingMissingError`."""
    return RecordedHeart(detect_beats(*read_recording(find_recording())))
