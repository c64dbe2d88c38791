"""The labelled ward as the twin's columns: what its devices and people send, in order of arrival, with ticks between.

`twin_state.apply` takes the columns as they are; that the product's own decoder makes the same of the same readings as
JSON is a test. Nothing is written and decoded again: that would take longer than all that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.command import Admit, Limits, News2, PatientCommand, Session
from contracts.identity import device_identity, reading_identities, session_identity, source_identity, text_identity
from contracts.signals import Registry
from loadtest.labelled_ward import BoolArray, Chunk, IntArray, LabelledWard, Spots
from loadtest.physiology import FloatArray
from loadtest.ward_events import START_T
from loadtest.ward_table import number, pair
from stream.decode import COMMAND_SOURCE, command_arguments, signed
from twin_state import batch as b
from twin_state.batch import Batch

TICK_S = 1.0
"""As a worker writes them."""

BURST_PACE = 0.0005
"""Time in which a gateway sends after an outage, as a share of the time in which it was measured."""

WIDTH = 3
"""Values that a record has room for."""

PATCH, OXIMETER, CUFF, ROUNDS = range(4)
DEVICES: tuple[tuple[str, str], ...] = (
    ("patch", "vitals"),
    ("oximeter", "spo2"),
    ("cuff", "pressure"),
    ("rounds", "observations"),
)
"""Kind of device and its stream."""

SIGNALS: tuple[tuple[str, ...], ...] = (
    ("heart_rate", "respiratory_rate"),
    ("spo2",),
    ("systolic_pressure", "diastolic_pressure"),
    ("body_temperature", "consciousness", "supplemental_oxygen"),
)
SESSION = "1"


def pseudonym(patient: int) -> str:
    """The pseudonym of the patient of that number."""
    return f"ward-{patient + 1:04d}"


def device_name(kind: int, patient: int) -> str:
    """The name of a patient's device."""
    return f"{DEVICES[kind][0]}-{patient + 1:04d}"


class Records(NamedTuple):
    """n records in any order. Shapes: `signal` (-1: none), `value` and `quality` (n, WIDTH), all others (n,); `device`
    numbers `DEVICES`, -1 for commands and ticks; for commands `sequence` is the command's id."""

    kind: npt.NDArray[np.int8]
    patient: IntArray
    device: IntArray
    sequence: IntArray
    t: FloatArray
    received_at: FloatArray
    signal: IntArray
    value: FloatArray
    quality: FloatArray

    def take(self, which: IntArray | BoolArray) -> Records:
        """Those records, in that order."""
        return Records._make(column[which] for column in self)


def join(parts: list[Records]) -> Records:
    """All records of the parts."""
    return Records._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


class WardRecords:
    """Makes the records of a ward; `seed` draws how long each is on its way."""

    def __init__(self, ward: LabelledWard, registry: Registry, seed: int) -> None:
        self._ward = ward
        self._index = {name: registry.index[name] for names in SIGNALS for name in names}
        self._rng = np.random.default_rng(seed)

    def of_chunk(self, chunk: Chunk) -> Records:
        """What the devices measured in a chunk, and what the people ordered."""
        signals = (
            (chunk.heart_rate, chunk.respiratory_rate, chunk.patch_quality),
            (chunk.spo2, None, chunk.oximeter_quality),
        )
        parts = [
            self._steady(device, chunk, first, second, quality)
            for device, (first, second, quality) in enumerate(signals)
        ]
        parts += [
            self._spots(CUFF, chunk.cuff, chunk.cuff.value),
            self._spots(ROUNDS, chunk.rounds, chunk.rounds.value),
        ]
        records = join(parts)
        return join([self._delivered(records), self._orders(chunk)])

    def of_truth(self, chunk: Chunk) -> Records:
        """The same chunk as sensors without noise, artefact, loss or delay would report it."""
        truth = chunk.truth
        good = np.ones(truth.spo2.shape)
        parts = [
            self._steady(PATCH, chunk, truth.heart_rate, truth.respiratory_rate, good),
            self._steady(OXIMETER, chunk, truth.spo2, None, good),
            self._spots(CUFF, chunk.cuff, chunk.cuff.true_value),
            self._spots(ROUNDS, chunk.rounds, chunk.rounds.true_value),
            self._orders(chunk),
        ]
        return join(parts)

    def _steady(
        self, device: int, chunk: Chunk, first: FloatArray, second: FloatArray | None, quality: FloatArray
    ) -> Records:
        step, patient = np.nonzero(~np.isnan(first))
        n = len(step)
        t = chunk.t[step] + self._ward.phase_s[patient]
        value = np.zeros((n, WIDTH))
        signal = np.full((n, WIDTH), -1)
        value[:, 0] = first[step, patient]
        signal[:, 0] = self._index[SIGNALS[device][0]]
        if second is not None:
            other = second[step, patient]
            known = ~np.isnan(other)
            value[:, 1] = np.where(known, other, 0.0)
            signal[known, 1] = self._index[SIGNALS[device][1]]
        return Records(
            kind=np.full(n, b.READING, np.int8),
            patient=patient,
            device=np.full(n, device),
            sequence=chunk.first_step + step,
            t=t,
            received_at=t,
            signal=signal,
            value=value,
            quality=np.repeat(quality[step, patient][:, None], WIDTH, axis=1),
        )

    def _spots(self, device: int, spots: Spots, value: FloatArray) -> Records:
        n, width = value.shape
        wide = np.zeros((n, WIDTH))
        wide[:, :width] = value
        signal = np.full((n, WIDTH), -1)
        signal[:, :width] = [self._index[name] for name in SIGNALS[device]]
        return Records(
            kind=np.full(n, b.READING, np.int8),
            patient=spots.patient,
            device=np.full(n, device),
            # Seconds count up, and no two of a patient's readings are taken in one.
            sequence=(spots.t - START_T).astype(np.int64),
            t=spots.t,
            received_at=spots.t,
            signal=signal,
            value=wide,
            quality=np.full((n, WIDTH), number("usual_quality")),
        )

    def _delivered(self, records: Records) -> Records:
        """With arrival times: a short way, or held back by an outage and then sent in order."""
        received_at = records.t + self._rng.uniform(*pair("network_delay_s"), len(records.t))
        outages = self._ward.outages
        order = np.lexsort((records.t, records.patient))
        own_patient = records.patient[order]
        for patient, begin_t, end_t in zip(outages.patient, outages.begin_t, outages.end_t, strict=True):
            own = order[np.searchsorted(own_patient, patient, "left") : np.searchsorted(own_patient, patient, "right")]
            t = records.t[own]
            held = (t >= begin_t) & (t < end_t)
            received_at[own[held]] = end_t + BURST_PACE * (t[held] - begin_t)
            # What is measured next waits for what was held back: the gateway sends in order.
            after = own[t >= end_t]
            received_at[after] = np.maximum(received_at[after], end_t + BURST_PACE * (end_t - begin_t))
        return records._replace(received_at=received_at)

    def _orders(self, chunk: Chunk) -> Records:
        begin_t, end_t = chunk.t[0], chunk.t[-1] + self._ward.period_s
        orders = [order for order in self.commands() if begin_t <= max(order.t, START_T) < end_t]
        records = _no_records(len(orders))
        for n, command in enumerate(orders):
            kind, arguments = command_arguments(command)
            records.kind[n] = kind
            records.patient[n] = int(command.patient.removeprefix("ward-")) - 1
            records.t[n] = command.t
            records.received_at[n] = max(command.t, START_T)
            records.sequence[n] = signed(text_identity(command.id))
            for place, (argument, value) in enumerate(arguments):
                records.signal[n, place] = argument
                records.value[n, place] = value
        return records

    def commands(self) -> Iterator[PatientCommand]:
        """Everything that people order, in no order of time."""
        ward = self._ward
        for patient in range(ward.patients):
            common: Any = {"patient": pseudonym(patient), "author": "labelled ward"}
            before = START_T - 1.0
            yield Admit(id=f"admit-{patient}", t=before, age_years=int(ward.age_years[patient]), **common)
            if ward.hypercapnic[patient]:
                yield News2(id=f"news2-{patient}", t=before, spo2_scale=2, **common)
                yield Limits(id=f"limits-{patient}", t=before, spo2_floor=number("hypercapnic_floor"), **common)
        for n, event in enumerate(ward.events):
            if event.session:
                common = {"patient": pseudonym(event.patient), "author": "labelled ward"}
                yield Session(id=f"start-{n}", t=float(event.begin_t), phase="start", **common)
                if event.end_t < ward.end_t:
                    yield Session(id=f"end-{n}", t=float(event.end_t), phase="end", **common)


def _no_records(n: int) -> Records:
    return Records(
        kind=np.zeros(n, np.int8),
        patient=np.zeros(n, np.int64),
        device=np.full(n, -1),
        sequence=np.zeros(n, np.int64),
        t=np.zeros(n),
        received_at=np.zeros(n),
        signal=np.full((n, WIDTH), -1),
        value=np.zeros((n, WIDTH)),
        quality=np.ones((n, WIDTH)),
    )


def ticks(begin_t: float, end_t: float) -> Records:
    """A tick a second of arrival time in [begin, end)."""
    t = np.arange(np.ceil(begin_t), end_t, TICK_S)
    return _no_records(len(t))._replace(kind=np.full(len(t), b.TICK, np.int8), t=t, received_at=t)


def closing_tick(t: float) -> Records:
    """Says that nothing more will come."""
    return _no_records(1)._replace(kind=np.full(1, b.CLOSING, np.int8), t=np.full(1, t), received_at=np.full(1, t))


def _source_and_device(kind: int, patient: int) -> tuple[int, int]:
    name = device_name(kind, patient)
    return signed(source_identity(name, DEVICES[kind][1])), signed(device_identity(name))


class Arrivals:
    """Puts records into the order in which they arrive and numbers them: the log of one partition."""

    def __init__(self, patients: int) -> None:
        self._sources = np.array(
            [[_source_and_device(kind, n) for kind in range(len(DEVICES))] for n in range(patients)],
            np.int64,
        )
        self._session = signed(session_identity(SESSION))
        self._waiting: list[Records] = []
        self._offset = 0

    def until(self, records: Records, end_t: float) -> Records:
        """Records that arrived before `end_t`, those that waited from earlier calls among them, in order."""
        waiting = join([*self._waiting, records])
        arrived = waiting.received_at < end_t
        self._waiting = [waiting.take(~arrived)]
        found = waiting.take(arrived)
        return found.take(np.argsort(found.received_at, kind="stable"))

    def batch(self, records: Records, rows: IntArray) -> Batch:
        """Records in order of arrival as columns; `rows[patient]` is the patient's row in the store."""
        n = len(records.t)
        reading = records.kind == b.READING
        timed = (records.kind == b.TICK) | (records.kind == b.CLOSING)
        command = ~reading & ~timed
        source = np.where(reading[:, None], self._sources[records.patient, records.device], 0)
        source[command, b.STREAM] = signed(COMMAND_SOURCE)
        session = np.where(reading, self._session, np.where(command, signed(COMMAND_SOURCE), 0))
        stream = np.ascontiguousarray(source[:, b.STREAM])
        identities = reading_identities(stream.view(np.uint64), session.view(np.uint64), records.sequence)
        known = records.signal >= 0
        count = known.sum(axis=1)
        offset = self._offset + np.arange(n)
        self._offset += n
        return Batch(
            kind=records.kind,
            row=np.where(timed, 0, rows[records.patient]),
            offset=offset,
            t=records.t,
            received_at=records.received_at,
            source=source,
            session=session,
            sequence=records.sequence,
            reading=np.where(reading, identities.view(np.int64), np.where(command, records.sequence, 0)),
            hashed=command.astype(np.int8),
            first=np.cumsum(count) - count,
            values=count,
            signal=records.signal[known],
            value=records.value[known],
            quality=records.quality[known],
        )
