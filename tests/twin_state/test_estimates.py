"""Estimates of the live twin: those of the models over the settled intervals, whatever way these came."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest

from contracts.parameters import shipped_parameters
from contracts.twin import Estimate
from loadtest.evaluation import atrial_fibrillation as af
from loadtest.evaluation import heart_rate_variability as hrv
from loadtest.evaluation import heart_rate_variability_of_a_day as hrv_day
from stream.estimates.beats import EVENTS
from tests.twin_state.conftest import START, Arrival, Outcome, command, logged, make_processor, reading, tick
from tests.twin_state.models.test_spectrum import heart
from twin_state import estimate
from twin_state.batch import Float
from twin_state.blocks import block_bytes, load_block
from twin_state.estimators import ESTIMATORS, number_of
from twin_state.models import atrial_fibrillation, beat_clock, heart_rate_under_load, spectrum, variability
from twin_state.store import Store

Run = Callable[..., Outcome]

UNWIRED = {
    "fitness": "its loads and tests come with sessions",
    "training_load": "a session's, as above",
    "heart_rate_on_foot": "a session's, as above",
    "freezing_of_gait": "waveforms stay in the log",
    "infection": "its daily record is not made in the stream yet",
    "ventilatory_threshold": "a session's, as above",
    "mood": "answers and measurements at rest are not joined in the stream yet",
    "stress": "skin conductance and movement by the second are not joined in the stream yet",
    "deterioration": "its hourly record of signs is not made in the stream yet",
    "r_peaks": "waveforms stay in the log",
    "pulses": "waveforms stay in the log",
}
"""Estimators that the live twin does not drive yet, and what for."""


def irregular(count: int, seed: int = 1) -> Float:
    return np.round(350.0 + np.random.default_rng(seed).gamma(3.0, 100.0, count))


def regular(count: int, seed: int = 1) -> Float:
    noise = np.random.default_rng(seed).normal(0.0, 10.0, count)
    return np.round(850.0 + 50.0 * np.sin(np.arange(count) / 3.5) + noise)


def strap(rr_ms: Float, at_once: int = 1) -> list[Arrival]:
    """Readings of a chest strap: so many intervals in each, at the time of the last."""
    ends = np.cumsum(rr_ms) / 1000.0
    return [
        reading(
            float(ends[min(first + at_once, len(rr_ms)) - 1]),
            {"rr_ms": rr_ms[first : first + at_once].tolist()},
            seq=n,
            device="strap",
        )
        for n, first in enumerate(range(0, len(rr_ms), at_once))
    ]


def told(outcome: Outcome, patient: str = "p1") -> dict[str, Estimate]:
    record: dict[str, Any] = orjson.loads(outcome.twins[patient])
    return msgspec.convert(record.get("estimates", {}), dict[str, Estimate])


@pytest.mark.parametrize("at_once", [1, 2, 5, 11])
def test_the_live_twin_says_what_the_models_say_of_the_same_intervals(run: Run, at_once: int) -> None:
    rr_ms = irregular(400) if at_once < 5 else regular(400)
    found = told(run(strap(rr_ms, at_once)))
    parameters = np.array(shipped_parameters("atrial_fibrillation").flat)
    _, now, _ = af.run_model(rr_ms / 1000.0, parameters)
    assert found["atrial_fibrillation_probability"].value == pytest.approx(now[-1], rel=1e-9)
    windows, _, _ = hrv.run_model(rr_ms / 1000.0, START + np.cumsum(rr_ms) / 1000.0)
    if at_once < 5:
        assert found["rmssd"].value is msgspec.UNSET, "the intervals of fibrillation are distrusted"
        assert found["atrial_fibrillation_probability"].value > 0.9  # type: ignore[operator]
        return
    assert found["rmssd"].value == pytest.approx(1000.0 * windows[-1].measures[variability.RMSSD], rel=1e-6)
    assert 0.0 < found["rmssd"].sd < found["rmssd"].value  # type: ignore[operator]
    assert found["dfa_alpha1"].value == pytest.approx(windows[-1].measures[variability.ALPHA1], rel=1e-6)


def test_order_and_repeats_change_no_estimate(run: Run) -> None:
    arrivals = strap(regular(300))
    shuffled: list[Arrival] = []
    chance = random.Random(1)
    for begin in range(0, len(arrivals), 4):
        some = arrivals[begin : begin + 4]
        chance.shuffle(some)
        shuffled += [*some, some[0]]
    assert told(run(shuffled)) == told(run(arrivals))


@pytest.mark.slow
def test_a_recorded_day_through_the_stream_is_the_day_of_the_evaluation(recordings: Path, run: Run) -> None:
    """Every beat a reading of its own; what the twin says at the end is what the models say of the same beats."""
    interval_s, t = next(iter(hrv_day.read(recordings / "mmash").values()))
    interval_s, t = interval_s[:30_000], t[:30_000]
    arrivals = [
        reading(float(t[n]), {"rr_ms": [1000.0 * float(interval_s[n])]}, seq=n, device="strap") for n in range(len(t))
    ]
    found = told(run(arrivals))
    clock = np.zeros(1)
    beat = np.array(
        [beat_clock.beat_t(clock, 0, x, START + at) for x, at in zip(interval_s.tolist(), t.tolist(), strict=True)]
    )
    windows, _, _ = hrv.run_model(interval_s, beat)
    if windows[-1].valid > 0.0:
        assert found["rmssd"].value == pytest.approx(1000.0 * windows[-1].measures[variability.RMSSD], rel=1e-6)
        assert found["sdnn"].value == pytest.approx(1000.0 * windows[-1].measures[variability.SDNN], rel=1e-6)
    else:
        assert found["rmssd"].value is msgspec.UNSET
    f, p = np.zeros(atrial_fibrillation.WIDTH), np.array(shipped_parameters("atrial_fibrillation").flat)
    for interval, at in zip(interval_s.tolist(), beat.tolist(), strict=True):
        atrial_fibrillation.observe(f, 0, p, interval, at)
    expected = atrial_fibrillation.probability(f, 0, float(beat[-1]))
    assert found["atrial_fibrillation_probability"].value == pytest.approx(expected, rel=1e-6)
    assert found["atrial_fibrillation_burden"].value == pytest.approx(atrial_fibrillation.burden(f, 0), abs=1e-6)


def test_few_beats_poor_ones_and_none_are_abstentions(run: Run) -> None:
    few = told(run(strap(regular(5))))
    assert few.keys() >= {"atrial_fibrillation_probability", "rmssd", "dfa_alpha1", "lf_hf", "pauses"}
    assert all(one.value is msgspec.UNSET for name, one in few.items() if name not in EVENTS)
    assert all(few[name].value == 0.0 for name in EVENTS)
    assert told(run([reading(0, {"heart_rate": 70}, seq=0)])) == {}
    poor = [reading(n, {"rr_ms": [850.0]}, seq=n, q={"rr_ms": 0.2}) for n in range(100)]
    assert told(run(poor)) == {}


def test_spectrum_and_breathing_are_those_of_the_model(run: Run) -> None:
    _, intervals = heart(500, waves=((0.1, 20.0), (0.25, 30.0)))
    rr_ms = np.round(1000.0 * intervals)
    found = told(run(strap(rr_ms)))
    f, out, t = np.zeros(spectrum.WIDTH), np.zeros(6), START
    for interval_ms in rr_ms:
        t += interval_ms / 1000.0
        spectrum.observe(f, 0, interval_ms / 1000.0, t)
    spectrum.measure(f, 0, t, out)
    assert found["respiratory_rate_from_beats"].value == pytest.approx(15.0, abs=0.5)
    for name, which in (("lf", spectrum.LF), ("hf", spectrum.HF), ("lf_hf", spectrum.LF_TO_HF)):
        assert found[name].value == pytest.approx(out[which], rel=1e-6)
        assert 0.0 < found[name].sd < found[name].value  # type: ignore[operator]


def test_events_are_counted_and_a_fast_heart_in_a_session_is_none(run: Run) -> None:
    rr_ms = np.array([800.0] * 20 + [2700.0] + [800.0] * 20 + [350.0] * 40)
    at_rest = told(run(strap(rr_ms)))
    assert (at_rest["pauses"].value, at_rest["longest_pause"].value) == (1.0, 2.7)
    assert at_rest["tachycardia_episodes"].value == 1.0
    in_session = told(run([command(0.1, "session", phase="start"), *strap(rr_ms)]))
    assert in_session["tachycardia_episodes"].value == 0.0


def test_under_load_the_heart_rate_is_what_the_model_expects_of_it(run: Run) -> None:
    rng = np.random.default_rng(1)
    watts = np.repeat(rng.uniform(50.0, 200.0, 10), 30)
    rates = np.round(95.0 + 0.2 * watts + rng.normal(0.0, 2.0, len(watts)))
    arrivals: list[Arrival] = []
    p = np.array(shipped_parameters("heart_rate_under_load").flat)
    f = np.zeros(heart_rate_under_load.WIDTH)
    for n, (load, rate) in enumerate(zip(watts.tolist(), rates.tolist(), strict=True)):
        arrivals.append(reading(float(n), {"power_w": load, "speed_mps": 7.0}, seq=n, device="bike"))
        arrivals.append(reading(n + 0.4, {"heart_rate": rate}, seq=n))
        heart_rate_under_load.observe_load(f, 0, p, load, 3.6 * 7.0, START + n)
        heart_rate_under_load.observe_heart_rate(f, 0, rate, START + n + 0.4)
    found = told(run(arrivals))["heart_rate_expected"]
    assert found.value == pytest.approx(heart_rate_under_load.heart_rate(f, 0, START + 299.4), rel=1e-6)
    assert found.sd == pytest.approx(math.sqrt(heart_rate_under_load.variance(f, 0, START + 299.4)), rel=1e-6)
    assert "heart_rate_expected" not in told(run([reading(0, {"heart_rate": 70}, seq=0)]))


def test_what_is_old_is_no_estimate_of_now(run: Run) -> None:
    fresh = strap(regular(200))
    later = reading(600, {"heart_rate": 70}, seq=0)
    assert told(run(fresh))["rmssd"].value is not msgspec.UNSET
    found = told(run([*fresh, later]))["rmssd"]
    assert (found.value, found.t < START + 200) == (msgspec.UNSET, True)


def test_a_new_stay_begins_with_nothing_known(run: Run) -> None:
    arrivals = strap(irregular(300))
    end = float(np.sum(irregular(300)) / 1000.0)
    again = [command(end + 1, "discharge"), command(end + 2, "admit"), reading(end + 3, {"heart_rate": 70}, seq=9)]
    assert told(run([*arrivals, *again])) == {}


def test_estimates_go_on_after_a_checkpoint_as_if_nothing_had_been() -> None:
    records = logged([*strap(irregular(260)), tick(1e6, closing=True)])
    whole, first, second = make_processor(), make_processor(), make_processor()
    whole.process(records, START)
    first.process(records[:130], START)
    for block in first.changed_blocks():
        second.load_block(block.number, block.payload)
    second.process(records[130:], START)
    assert second.store.columns.estimates[0].tobytes() == whole.store.columns.estimates[0].tobytes()
    assert second.store.columns.estimates[0].any()


def test_a_block_of_a_build_without_an_estimator_is_read() -> None:
    processor = make_processor()
    processor.process(logged([*strap(regular(50)), tick(1e6, closing=True)]), START)
    payload = block_bytes(processor.store, 0)
    head, _, rest = payload.partition(b"\n")
    header = orjson.loads(head)
    header["places"] = [
        [model, f"former_{field}" if model == "variability" else field, *place]
        for model, field, *place in header["places"]
    ]
    store = Store(processor.store.configuration)
    load_block(store, 0, orjson.dumps(header) + b"\n" + rest)
    constants = store.configuration.constants
    base = constants.models[number_of("atrial_fibrillation"), 1]
    assert store.columns.estimates[0, base + atrial_fibrillation.COUNT] == 50.0
    begins = constants.models[number_of("variability"), 1]
    assert not store.columns.estimates[0, begins : begins + variability.WIDTH].any()


def test_every_estimator_is_driven_or_says_why_not() -> None:
    wired = {estimator.name for estimator in ESTIMATORS if number_of(estimator.name) in estimate.WIRED}
    assert wired | set(UNWIRED) == {estimator.name for estimator in ESTIMATORS}
    assert wired.isdisjoint(UNWIRED)


def test_an_estimator_without_its_parameters_is_refused() -> None:
    from twin_state.configuration import SignalSpec, configure

    with pytest.raises(ValueError, match="atrial_fibrillation: 225 parameters are wanted, got 0"):
        configure([SignalSpec("rr_ms", 1, 300, 5.0)], [], ("beat_clock", "atrial_fibrillation"))
