"""Virtual devices: what each of them measures of a patient, second by second, and how it writes that down.

A device knows its own name, session and sequence numbers, and nothing of the patient's name or of what truly happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from random import Random
from typing import NamedTuple

import orjson

from contracts.identity import identity_text, reading_identity, session_identity, source_identity
from loadtest.recording import RecordedHeart
from loadtest.ward import Vitals

Values = dict[str, float | str | list[float]]


class Measured(NamedTuple):
    """What one stream of a device has to say: `after_s` into the second, values by signal, and one quality for all
    (1 is not written)."""

    stream: str
    after_s: float
    values: Values
    quality: float = 1.0


class Reading(NamedTuple):
    """One reading as it leaves the device: its id as the pipeline will know it, and its JSON text."""

    identity: str
    device: str
    stream: str
    t: float
    text: bytes


Sensor = Callable[[Vitals, int], Iterator[Measured]]
"""Measures the patient of that number in one second of the ward."""


class Device:
    """One boot after another of one device. `phase_s` in [0, 1) is when in the second it measures."""

    def __init__(
        self, name: str, patient: int, sensor: Sensor, rng: Random, start_t: float, *, senml: bool = False
    ) -> None:
        self.name = name
        self.patient = patient
        self.sensor = sensor
        self.rng = rng
        self.senml = senml
        self.phase_s = round(rng.uniform(0.0, 0.9), 3)
        self.clock_error_s = 0.0
        self._boots = 0
        self._start_t = start_t
        self._session = ""
        self._sequences: dict[str, int] = {}
        self.boot()

    @property
    def session(self) -> str:
        return self._session

    def boot(self) -> None:
        """Begin a new session. Its name comes from the device, the time of the run and the number of the boot."""
        self._boots += 1
        words = f"{self.name}\x1f{self._start_t!r}\x1f{self._boots}"
        self._session = blake2b(words.encode(), digest_size=4).hexdigest()
        self._sequences = {}

    def write(self, measured: Measured, t: float, *, nan: bool, packed: bool) -> Reading:
        """Give what was measured at `t` (s) its number and its bytes. `nan` puts a NaN where the first value stood;
        `packed` names the device in the text, as a gateway's batch needs."""
        sequence = self._sequences.get(measured.stream, 0)
        self._sequences[measured.stream] = sequence + 1
        t = round(t + self.clock_error_s, 3)
        if self.senml:
            return self._write_senml(measured, t, nan=nan)
        identity = reading_identity(
            source_identity(self.name, measured.stream), session_identity(self._session), sequence
        )
        document: dict[str, object] = {"session": self._session, "seq": sequence, "t": t, "v": measured.values}
        if packed:
            document = {"device": self.name, "stream": measured.stream} | document
        if measured.quality < 1.0:
            document["q"] = dict.fromkeys(measured.values, measured.quality)
        text = orjson.dumps(_with_hole(document, measured.values) if nan else document)
        if nan:
            text = text.replace(_HOLE, b"NaN")
        return Reading(identity_text(identity), self.name, measured.stream, t, text)

    def _write_senml(self, measured: Measured, t: float, *, nan: bool) -> Reading:
        records: list[dict[str, object]] = []
        for signal, value in measured.values.items():
            several = value if isinstance(value, list) else [value]
            records.extend({"n": signal, "vs" if isinstance(one, str) else "v": one} for one in several)
        records[0] = {"bn": f"{self.name}:{measured.stream}:", "bt": t} | records[0]
        text = orjson.dumps(records)
        if nan:
            # Broken in one record, whole in the others: ingest refuses the reading, whose number it then cannot tell.
            first = {**records[0], "v": _HOLE_TEXT}
            text = orjson.dumps([first, *records[1:]]).replace(_HOLE, b"NaN")
        number = orjson.dumps([t, measured.values], option=orjson.OPT_SORT_KEYS)
        sequence = int.from_bytes(blake2b(number, digest_size=8).digest(), "big") >> 1
        identity = reading_identity(source_identity(self.name, measured.stream), session_identity("senml"), sequence)
        return Reading(identity_text(identity), self.name, measured.stream, t, text)


_HOLE_TEXT = "\x00nan"
_HOLE = orjson.dumps(_HOLE_TEXT)


def _with_hole(document: dict[str, object], values: Values) -> dict[str, object]:
    first = next(iter(values))
    return document | {"v": {**values, first: _HOLE_TEXT}}


def chest_strap(rng: Random) -> Sensor:
    """Heart rate and the RR intervals of the second, with respiratory sinus arrhythmia."""
    beat_at: float | None = None

    def measure(vitals: Vitals, patient: int) -> Iterator[Measured]:
        nonlocal beat_at
        if not vitals.contact[patient]:
            beat_at = None
            return
        heart_rate = float(vitals.measured_heart_rate[patient])
        breath = float(vitals.respiratory_rate[patient]) / 60.0
        if beat_at is None:
            beat_at = vitals.t
        rr_ms: list[float] = []
        end = vitals.t + 1.0
        while True:
            swing = 0.03 * _triangle(beat_at * breath)
            interval_s = 60.0 / heart_rate * (1.0 + swing + rng.gauss(0.0, 0.008))
            if beat_at + interval_s >= end:
                break
            beat_at += interval_s
            rr_ms.append(round(interval_s * 1000.0, 1))
        values: Values = {"heart_rate": round(heart_rate)}
        if rr_ms:
            values["rr_ms"] = rr_ms
        yield Measured("heart", 0.0, values, _quality(vitals, patient))

    return measure


def recorded_strap(heart: RecordedHeart, start_t: float) -> Sensor:
    """A chest strap whose beats are those of a real recording."""

    def measure(vitals: Vitals, _patient: int) -> Iterator[Measured]:
        since_s = vitals.t - start_t
        heart_rate, rr_ms = heart.between(since_s, since_s + 1.0)
        values: Values = {"heart_rate": round(heart_rate)}
        if rr_ms:
            values["rr_ms"] = rr_ms
        yield Measured("heart", 0.0, values)

    return measure


def bedside_monitor(pressure_period_s: float, start_t: float) -> Sensor:
    """Heart rate, SpO2 and respiratory rate every second; temperature every minute; cuff pressure at its period;
    what the nurse enters (consciousness, oxygen) when it changes and every hour."""
    entered: tuple[int, bool, float] | None = None

    def measure(vitals: Vitals, patient: int) -> Iterator[Measured]:
        nonlocal entered
        since_s = vitals.t - start_t
        values: Values = {"respiratory_rate": round(float(vitals.respiratory_rate[patient]))}
        if vitals.contact[patient]:
            values["heart_rate"] = round(float(vitals.measured_heart_rate[patient]))
            values["spo2"] = round(float(vitals.measured_spo2[patient]))
        yield Measured("vitals", 0.0, values, _quality(vitals, patient))
        if since_s % 60.0 < 1.0:
            yield Measured(
                "temperature", 0.011, {"body_temperature": round(float(vitals.body_temperature[patient]), 1)}
            )
        # Cuffs do not all inflate at once: each patient's has its own place in the period, the first comes at once.
        if since_s < 1.0 or (since_s + patient * 7.0) % pressure_period_s < 1.0:
            systolic = float(vitals.systolic_pressure[patient])
            diastolic = float(vitals.diastolic_pressure[patient])
            pressures: Values = {
                "systolic_pressure": round(systolic),
                "diastolic_pressure": round(diastolic),
                "mean_pressure": round(diastolic + (systolic - diastolic) / 3.0),
            }
            yield Measured("pressure", 0.023, pressures)
        level, oxygen = int(vitals.consciousness[patient]), bool(vitals.supplemental_oxygen[patient])
        if entered is None or entered[:2] != (level, oxygen) or vitals.t - entered[2] >= 3600.0:
            entered = (level, oxygen, vitals.t)
            observations: Values = {
                "consciousness": "ACVPU"[level],
                "supplemental_oxygen": "oxygen" if oxygen else "air",
            }
            yield Measured("observations", 0.037, observations)

    return measure


def wrist_band(period_s: int, start_t: float, *, oximeter: bool, rng: Random) -> Sensor:
    """Skin temperature, electrodermal activity and steps, with SpO2 where nothing else measures it."""
    first = rng.randrange(period_s)
    steps = 0

    def measure(vitals: Vitals, patient: int) -> Iterator[Measured]:
        nonlocal steps
        steps += 2 if vitals.exercising[patient] else 0
        if int(vitals.t - start_t) % period_s != first or not vitals.contact[patient]:
            return
        values: Values = {
            "skin_temperature": round(float(vitals.skin_temperature[patient]), 2),
            "eda_us": round(abs(2.0 + 0.02 * float(vitals.heart_rate[patient]) + rng.gauss(0.0, 0.2)), 3),
            "steps": steps,
        }
        if oximeter:
            values["spo2"] = round(float(vitals.measured_spo2[patient]))
        yield Measured("wrist", 0.047, values, _quality(vitals, patient))

    return measure


def bicycle() -> Sensor:
    """Power and cadence while somebody rides."""

    def measure(vitals: Vitals, patient: int) -> Iterator[Measured]:
        if vitals.exercising[patient]:
            values: Values = {
                "power_w": round(float(vitals.power_w[patient]), 1),
                "cadence_per_min": round(float(vitals.cadence_per_min[patient])),
            }
            yield Measured("ride", 0.059, values)

    return measure


def app(start_t: float, rng: Random) -> Sensor:
    """Mood once, exertion while exercising, and a symptom when the patient feels one."""
    asked_at = start_t + rng.uniform(2.0, 30.0)
    complained_at = -1e18
    exerted_at = -1e18

    def measure(vitals: Vitals, patient: int) -> Iterator[Measured]:
        nonlocal asked_at, complained_at, exerted_at
        if vitals.t >= asked_at:
            asked_at += 86_400.0
            yield Measured("answers", 0.067, {"mood": rng.randint(-2, 2), "stress": rng.randint(0, 10)})
        if vitals.exercising[patient] and vitals.t - exerted_at >= 60.0:
            exerted_at = vitals.t
            yield Measured("exertion", 0.071, {"rpe": min(20, max(6, round(float(vitals.heart_rate[patient]) / 10.0)))})
        ill = float(vitals.spo2[patient]) < 88.0
        if ill and vitals.t - complained_at >= 120.0 and rng.random() < 0.02:
            complained_at = vitals.t
            yield Measured("symptom", 0.079, {"symptom": rng.choice(("chest_pain", "dyspnoea", "dizziness"))})

    return measure


def _quality(vitals: Vitals, patient: int) -> float:
    quality = float(vitals.quality[patient])
    return 1.0 if quality > 0.9 else round(quality, 2)


def _triangle(x: float) -> float:
    """A wave of period 1 between -1 and 1, cheap."""
    return 4.0 * abs(x % 1.0 - 0.5) - 1.0
