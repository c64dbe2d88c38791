"""The labelled ward: what is generated is what the table says, and the same seed gives the same ward."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from contracts.signals import default_registry
from deploy import ward_document
from loadtest import labelled_ward, ward_batches, ward_events
from loadtest.alarm_bench import PLAIN_RATE, PLAIN_SENSITIVITY, SEEDS
from loadtest.alarm_scoring import Span, rates, score, seen_events, tally
from loadtest.labelled_ward import Bouts, Chunk, LabelledWard
from loadtest.physiology import DAY_S
from loadtest.threshold_alarms import MinuteValues
from loadtest.ward_batches import WardRecords
from loadtest.ward_events import SHAPES, START_T, Event, event_course, exertion
from loadtest.ward_table import TABLE, number, pair

DOCS = Path(__file__).resolve().parents[2] / "docs"
DAYS = 6.0


@cache
def ward() -> LabelledWard:
    return LabelledWard(200, DAYS, 11)


@cache
def chunks() -> tuple[Chunk, ...]:
    """A day and two hours of fifty patients."""
    found = []
    for chunk in LabelledWard(50, 2.0, 12).chunks():
        found.append(chunk)
        if len(found) == 13:
            break
    return tuple(found)


def adverse(*kinds: str) -> list[Event]:
    return [event for event in ward().events if event.kind in kinds]


def close(count: float, expected: float, sigmas: float = 3.5) -> bool:
    """Whether a Poisson count fits."""
    return abs(count - expected) <= sigmas * sqrt(expected)


def test_the_same_seed_gives_the_same_ward_and_another_seed_another() -> None:
    def first(seed: int) -> tuple[tuple[Event, ...], bytes]:
        made = LabelledWard(5, 0.5, seed)
        chunk = next(made.chunks())
        return made.events, b"".join(
            np.ascontiguousarray(column).tobytes() for column in (chunk.heart_rate, chunk.spo2)
        )

    assert first(1) == first(1)
    assert first(1)[1] != first(2)[1]


def test_the_page_is_current() -> None:
    written = (DOCS / ward_document.NAME).read_text(encoding="utf-8")
    assert written == ward_document.ward_page(), "run: python -m deploy.ward_document docs"


def test_every_row_of_the_table_is_used_and_has_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[str] = set()

    def used_number(name: str) -> float:
        used.add(name)
        return number(name)

    def used_pair(name: str) -> tuple[float, float]:
        used.add(name)
        return pair(name)

    for module in (labelled_ward, ward_events, ward_batches):
        monkeypatch.setattr(module, "pair", used_pair)
        monkeypatch.setattr(module, "number", used_number)
    made = LabelledWard(40, 14.0, 3)
    for chunk in made.chunks():
        if any(event.kind == "tachyarrhythmia" and event.begin_t < chunk.t[-1] for event in made.events):
            break
    WardRecords(made, default_registry(), 1).of_chunk(chunk)
    rows = [entry for entries in TABLE.values() for entry in entries]
    assert {entry.name for entry in rows} == used
    assert all(entry.source and entry.meaning and entry.unit for entry in rows)


def test_events_come_at_the_rates_of_the_table() -> None:
    patient_days = 200 * DAYS
    # An event is dropped where the half hour after its onset would lie beyond the end, and moved on where the one
    # before is not over: a tenth fewer at most.
    for kinds, name in (
        (("sepsis", "respiratory_failure"), "deterioration_rate"),
        (("desaturation",), "desaturation_rate"),
        (("tachyarrhythmia", "bradycardia"), "arrhythmia_rate"),
    ):
        expected = number(name) * patient_days
        assert 0.9 * expected - 3.5 * sqrt(expected) <= len(adverse(*kinds)) <= expected + 3.5 * sqrt(expected), name
    assert close(len(adverse("exercise")), number("exercise_rate") * patient_days)
    sessions = sum(event.session for event in adverse("exercise"))
    assert sessions / len(adverse("exercise")) == pytest.approx(number("exercise_session_share"), abs=0.05)
    morning, evening = pair("exercise_hours")
    assert all(morning <= (event.begin_t - START_T) % DAY_S / 3600 <= evening for event in adverse("exercise"))


def test_events_have_the_sizes_lengths_and_shapes_of_the_table() -> None:
    def within(value: float, span: tuple[float, float]) -> bool:
        return span[0] <= value <= span[1]

    for event in adverse("sepsis", "respiratory_failure"):
        assert within(event.size, pair("severity"))
        assert within(event.rise_s, pair(f"{event.shape}_rise_s"))
        assert within(event.plateau_s, pair("deterioration_plateau_s"))
        assert within(event.fall_s, pair("deterioration_fall_s"))
    shapes = Counter(event.shape for event in adverse("sepsis", "respiratory_failure"))
    assert all(0.15 <= shapes[shape] / shapes.total() <= 0.35 for shape in SHAPES)
    for event in adverse("desaturation"):
        assert within(event.size, pair("desaturation_depth"))
        assert within(event.rise_s, pair("desaturation_rise_s"))
        assert within(event.plateau_s, pair("desaturation_plateau_s"))
    assert all(within(event.size, pair("tachyarrhythmia")) for event in adverse("tachyarrhythmia"))
    assert all(within(event.size, pair("bradycardia")) for event in adverse("bradycardia"))
    assert all(within(event.end_t - event.begin_t, pair("exercise_s")) for event in adverse("exercise"))


def test_adverse_events_of_a_patient_keep_their_distance() -> None:
    for patient in range(200):
        own = [event for event in ward().events if event.adverse and event.patient == patient]
        for before, after in pairwise(own):
            assert after.begin_t - before.end_t >= number("event_gap_s")


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_starts_from_nothing_is_at_its_least_size_at_the_onset_and_ends(shape: str) -> None:
    event = next(event for event in adverse("sepsis", "respiratory_failure") if event.shape == shape)
    at = np.array([event.begin_t, event.onset_t, event.begin_t + event.rise_s, event.end_t])
    begin, onset, top, end = event_course(event, at) * event.size
    assert (begin, end) == (0.0, 0.0)
    assert onset == pytest.approx(pair("severity")[0])
    assert top == pytest.approx(event.size)


def test_exercise_raises_the_heart_rate_in_first_order_and_lets_it_fall_slower() -> None:
    event = max(adverse("exercise"), key=lambda event: event.plateau_s)
    t = event.begin_t + np.array([0.0, 30.0, 900.0, event.plateau_s, event.plateau_s + 90.0])
    start, risen, steady, last, falling = exertion(event, 0.4, t) / (0.4 * event.size)
    assert start == 0.0
    assert risen == pytest.approx(1 - np.exp(-1))
    assert steady == pytest.approx(1.0, abs=1e-6)
    assert falling == pytest.approx(last * np.exp(-1))


def test_sensors_are_missing_as_often_as_published() -> None:
    made = LabelledWard(100, 4.0, 13)
    patch, oximeter = zip(
        *((np.isnan(chunk.heart_rate).mean(), np.isnan(chunk.spo2).mean()) for chunk in made.chunks()), strict=True
    )
    assert np.mean(patch) == pytest.approx(number("patch_missing_share"), abs=0.03)
    assert np.mean(oximeter) == pytest.approx(number("oximeter_missing_share"), abs=0.03)


def test_artefacts_come_in_motion_at_their_rates_and_most_are_flagged() -> None:
    hours = float((ward().motion.end_t - ward().motion.begin_t).sum()) / 3600.0
    for bouts, name in ((ward().probe, "probe"), (ward().electrode, "electrode")):
        assert close(len(bouts.patient), number(f"{name}_rate") * hours), name
        assert (bouts.end_t - bouts.begin_t).mean() == pytest.approx(number(f"{name}_s"), rel=0.1)
        assert bouts.flagged.mean() == pytest.approx(number("flagged_share"), abs=0.02)
    assert close(len(ward().outages.patient), number("outage_rate") * 200 * DAYS)


def test_some_patients_have_pauses_in_breathing_and_only_at_night() -> None:
    bouts: Bouts = ward().apnoea
    assert len(set(bouts.patient.tolist())) / 200 == pytest.approx(number("apnoea_share"), abs=0.08)
    hours = (bouts.begin_t - START_T) % DAY_S / 3600.0
    assert bool(((hours >= 22.0) | (hours <= 6.0)).all())


def test_what_is_measured_differs_from_the_truth_by_the_noise_of_the_table() -> None:
    still_heart, still_spo2, moving_rate = [], [], []
    made = LabelledWard(50, 2.0, 12)
    for chunk in chunks():
        moving = np.zeros(chunk.spo2.shape, np.bool_)
        near = np.zeros(chunk.spo2.shape, np.bool_)
        for bouts, found, after_s in ((made.motion, moving, 0.0), (made.motion, near, 400.0)):
            for patient, begin, end in zip(bouts.patient, bouts.begin_t, bouts.end_t, strict=True):
                found[(chunk.t >= begin) & (chunk.t < end + after_s), patient] = True
        irregular = [event.patient for event in made.events if event.kind == "tachyarrhythmia"]
        near[:, irregular] = True
        still_heart.append((chunk.heart_rate - chunk.truth.heart_rate)[~near])
        still_spo2.append((chunk.spo2 - chunk.truth.spo2)[~near & (chunk.truth.spo2 < 97.0)])
        moving_rate.append((chunk.respiratory_rate - chunk.truth.respiratory_rate)[moving])
    rounding = 1 / 12
    heart, spo2 = np.concatenate(still_heart), np.concatenate(still_spo2)
    assert np.nanstd(heart) == pytest.approx(sqrt(number("noise_heart_rate") ** 2 + rounding), rel=0.03)
    assert np.nanstd(spo2) == pytest.approx(sqrt(number("noise_spo2") ** 2 + rounding), rel=0.05)
    bias, sd = pair("motion_respiratory_rate")
    rate = np.concatenate(moving_rate)
    assert np.nanmean(rate) == pytest.approx(bias, abs=0.2)
    assert np.nanstd(rate) == pytest.approx(sqrt(sd**2 + number("noise_respiratory_rate") ** 2 + rounding), rel=0.1)
    missing_patch = np.mean([np.isnan(chunk.heart_rate).mean() for chunk in chunks()])
    assert np.isnan(rate).mean() == pytest.approx(
        missing_patch + (1 - missing_patch) * number("motion_respiratory_lost_share"), abs=0.05
    )


def test_cuffs_and_rounds_come_as_planned() -> None:
    made = LabelledWard(50, 2.0, 12)
    patients, _ = made.cuff_times(START_T + 8 * 3600.0, START_T + 22 * 3600.0)
    assert len(patients) == pytest.approx(50 * 14 * 3600.0 / number("cuff_day_s"), abs=50)
    day = [chunk for chunk in chunks() if START_T + 8 * 3600.0 <= chunk.t[0] < START_T + 22 * 3600.0]
    taken = sum(len(chunk.cuff.t) for chunk in day)
    assert taken / len(patients) == pytest.approx(number("cuff_success_share"), abs=0.05)
    for times in made._round_times:
        assert np.diff(times).mean() == pytest.approx(number("round_s"), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seeds in SEEDS.values() for seed in seeds])
def test_plain_thresholds_find_the_ward_as_the_published_wards_are(seed: int) -> None:
    """Else it is no valid benchmark."""
    made = LabelledWard(200, 7.0, seed)
    minutes = MinuteValues()
    for chunk in made.chunks():
        minutes.add(chunk)
    events = tuple(event for event in made.events if event.adverse)
    seen = seen_events(events, minutes)
    spans = [Span(one.patient, one.t, one.until_t) for one in minutes.plain()]
    found = rates(tally(made, events, seen, spans, score(events, seen, spans), minutes.monitored()))
    assert PLAIN_RATE[0] <= found["per_patient_day"] <= PLAIN_RATE[1]
    assert PLAIN_SENSITIVITY[0] <= found["sensitivity"] <= PLAIN_SENSITIVITY[1]
