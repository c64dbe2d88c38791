"""Workload W1: a payload adapter and a model set named `w1`; everything else is the product's own path.

A million records of 10,000 patients, one a second each: exponentially weighted moments of six channels, a scalar Kalman
filter on heart rate, NEWS2 from five of them, and a condition when the score first reaches 5, re-armed at 3 or below.
`plain_loop` is the same arithmetic as a plain loop, the reference that the run is held to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.identity import reading_identities
from contracts.signals import Registry, Signal
from stream.decode import Rejected, parse_values
from stream.model_sets import ModelSet
from stream.processor import SourceRecord
from twin_state.batch import READING, Batch
from twin_state.store import Store

Float = npt.NDArray[np.float64]

CHANNELS: tuple[tuple[str, str, float, float], ...] = (
    ("hr", "heart_rate", 0.0, 400.0),
    ("spo2", "spo2", 0.0, 100.0),
    ("rr", "respiratory_rate", 0.0, 150.0),
    ("temp", "body_temperature", 10.0, 47.0),
    ("sbp", "systolic_pressure", 0.0, 370.0),
    ("act", "activity", 0.0, 100.0),
)
"""Field of the payload, signal, least and greatest possible value."""

REGISTRY = Registry(
    tuple(
        Signal(name=name, loinc="", mdc=0, ucum="1", low=low - 1.0, high=high + 1.0, period_s=1.0, validity_s=300.0)
        for _, name, low, high in CHANNELS
    )
)

RULES = b"""
[[rule]]
id = "news2-5"
kind = "physiological"
priority = "medium"
channel = "news2_low"
comparison = "at_least"
threshold = 5
hysteresis = 2
message = "NEWS2 is {value}, limit {threshold}."
source = "Royal College of Physicians 2017, urgent response threshold"
author = "workload W1"

[[notice]]
id = "past-event"
kind = "advisory"
priority = "none"
message = "A late reading would have opened a condition."
source = "workload W1"
author = "workload W1"

[[notice]]
id = "ticks-stopped"
kind = "technical"
priority = "medium"
message = "The arrival clock of a partition stands still."
source = "workload W1"
author = "workload W1"
"""

_FIELDS = itemgetter("t", *(field for field, *_ in CHANNELS))
_WIDTH = 1 + len(CHANNELS)
_LOW = np.array([0.0, *(low for _, _, low, _ in CHANNELS)])
_HIGH = np.array([1e11, *(high for _, _, _, high in CHANNELS)])
_SOURCE = 0x5731
_SESSION = 0x5732


class W1Decoder:
    """The payload adapter: one flat record is one reading of six signals, its second the sequence number."""

    def __init__(self, registry: Registry) -> None:
        if len(registry) != len(CHANNELS):
            raise ValueError("workload W1 has six signals")

    def decode(self, records: Sequence[SourceRecord], store: Store) -> tuple[Batch, list[Rejected]]:
        """See `stream.decode.Decoder`."""
        documents = parse_values(records)
        values = _values(documents)
        rejected: list[Rejected] = []
        if values is None or not _possible(values):
            good: list[int] = []
            for place, document in enumerate(documents):
                one = _values([document])
                if one is not None and _possible(one):
                    good.append(place)
                else:
                    rejected.append(Rejected(place, "not a record of workload W1, or an impossible value"))
            records = [records[place] for place in good]
            values = _values([documents[place] for place in good])
            if values is None:
                values = np.zeros((0, _WIDTH))
        n = len(records)
        rows = store.row_indices([record.key or b"" for record in records])
        t = np.ascontiguousarray(values[:, 0])
        sequence = t.astype(np.int64)
        source = np.full(n, _SOURCE, np.uint64)
        session = np.full(n, _SESSION, np.uint64)
        batch = Batch(
            kind=np.full(n, READING, np.int8),
            row=rows,
            offset=_offsets(records),
            t=t,
            received_at=t,
            source=np.stack((source.view(np.int64), np.zeros(n, np.int64)), axis=1),
            session=session.view(np.int64),
            sequence=sequence,
            reading=reading_identities(source, session, sequence).view(np.int64),
            hashed=np.zeros(n, np.int8),
            first=np.arange(0, n * len(CHANNELS), len(CHANNELS)),
            values=np.full(n, len(CHANNELS), np.int64),
            signal=np.tile(np.arange(len(CHANNELS)), n),
            value=np.ascontiguousarray(values[:, 1:]).reshape(-1),
            quality=np.ones(n * len(CHANNELS)),
        )
        return batch, rejected


def _values(documents: list[Any]) -> Float | None:
    """t and the six values of each document, shape (n, 7); None where one is not as it should be."""
    try:
        flat = list(chain.from_iterable(map(_FIELDS, documents)))
    except (TypeError, KeyError, AttributeError):
        return None
    if not set(map(type, flat)) <= {float, int}:
        return None
    return np.array(flat, np.float64).reshape(-1, _WIDTH)


def _possible(values: Float) -> bool:
    # A NaN compares false with everything, so it is caught here as well.
    return bool(((values >= _LOW) & (values <= _HIGH)).all())


def _offsets(records: Sequence[SourceRecord]) -> npt.NDArray[np.int64]:
    if not records:
        return np.zeros(0, np.int64)
    first, last = records[0].offset, records[-1].offset
    if last - first == len(records) - 1:
        return np.arange(first, last + 1)
    return np.array([record.offset for record in records], np.int64)


MODEL_SET = ModelSet("w1", REGISTRY, ("moments", "heart_rate_filter", "news2"), W1Decoder, RULES)

FIRST_SECOND = 1_700_000_000


def rounds(patients: int, seconds: int, seed: int = 7) -> Iterator[tuple[int, npt.NDArray[np.int64], Float]]:
    """Second by second: (t, patients in a shuffled order, their six values of shape (patients, 6)).

    A quarter of the patients deteriorate (heart rate up, SpO2 down, respiration up); half of those recover and relapse.
    """
    random = np.random.default_rng(seed)
    base = np.stack(
        [
            random.uniform(62, 82, patients),
            random.uniform(96.6, 98.5, patients),
            random.uniform(12.5, 17.5, patients),
            random.uniform(36.4, 37.2, patients),
            random.uniform(114, 138, patients),
            np.full(patients, 0.12),
        ],
        axis=1,
    )
    deteriorates = random.random(patients) < 0.25
    start = random.uniform(0.05 * seconds, 0.9 * seconds, patients)
    ramp = np.maximum(4.0, seconds * random.uniform(0.08, 0.3, patients))
    relapses = random.random(patients) < 0.5
    effect = np.array([45.0, -8.0, 11.0, 0.9, -12.0, 0.0])
    noise = np.array([1.5, 0.5, 0.8, 0.05, 2.0, 0.05])
    for second in range(seconds):
        since = second - start
        phase = np.mod(since, 2 * ramp) / ramp
        severity = np.where(relapses, np.where(phase <= 1, phase, 2 - phase), np.minimum(1.0, since / ramp))
        severity = np.where(deteriorates & (since >= 0), severity, 0.0)
        values = base + severity[:, None] * effect + random.normal(0, 1, (patients, 6)) * noise
        values[:, :3] = np.round(values[:, :3])
        values[:, 1] = np.minimum(values[:, 1], 100.0)
        values[:, 3] = np.round(values[:, 3], 1)
        values[:, 4] = np.round(values[:, 4])
        values[:, 5] = np.round(np.abs(values[:, 5]), 2)
        order = random.permutation(patients)
        yield FIRST_SECOND + second, order, values[order]


def payload(patient: int, t: int, values: Sequence[float]) -> bytes:
    """A record's value: about 110 bytes of JSON."""
    hr, spo2, rr, temp, sbp, act = values
    return (
        f'{{"patient":"p{patient:05d}","t":{t}.0,"hr":{hr:.1f},"spo2":{spo2:.1f},"rr":{rr:.1f},"temp":{temp:.1f},'
        f'"sbp":{sbp:.1f},"act":{act:.2f}}}'
    ).encode()


class W1Alert(NamedTuple):
    """What W1 asks to be told; `z` is heart rate's, against the moments before it."""

    patient: str
    t: float
    score: int
    z: float


def plain_loop(patients: int, seconds: int, seed: int = 7) -> list[W1Alert]:
    """The alerts by a plain loop over the same records."""
    states: list[_PlainState | None] = [None] * patients
    alerts: list[W1Alert] = []
    for t, order, values in rounds(patients, seconds, seed):
        for patient, row in zip(order.tolist(), values.tolist(), strict=True):
            state = states[patient]
            if state is None:
                state = states[patient] = _PlainState()
            found = state.step(row)
            if found is not None:
                alerts.append(W1Alert(f"p{patient:05d}", float(t), *found))
    return alerts


class _PlainState:
    """Moments of heart rate and the armed flag of one patient; the other channels do not bear on the alert."""

    def __init__(self) -> None:
        self.mean = math.nan
        self.variance = 0.0
        self.armed = True

    def step(self, x: list[float]) -> tuple[int, float] | None:
        z = 0.0
        if math.isnan(self.mean):
            self.mean = x[0]
        else:
            d = x[0] - self.mean
            z = d / math.sqrt(self.variance) if self.variance > 1e-9 else 0.0
            step = 0.01 * d
            self.mean += step
            self.variance = (1.0 - 0.01) * (self.variance + d * step)
        score = plain_news2(*x[:5])
        if self.armed:
            if score >= 5:
                self.armed = False
                return score, z
        elif score <= 3:
            self.armed = True
        return None


def plain_news2(heart_rate: float, spo2: float, respiration: float, temperature: float, systolic: float) -> int:
    """NEWS2 from five inputs, alert and on air (Royal College of Physicians 2017), scale 1."""
    return (
        _band(respiration, ((8, 3), (11, 1), (20, 0), (24, 2)), 3)
        + _band(spo2, ((91, 3), (93, 2), (95, 1)), 0)
        + _band(systolic, ((90, 3), (100, 2), (110, 1), (219, 0)), 3)
        + _band(heart_rate, ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2)), 3)
        + _band(temperature, ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1)), 2)
    )


def _band(x: float, bands: tuple[tuple[float, int], ...], above: int) -> int:
    return next((points for limit, points in bands if x <= limit), above)
