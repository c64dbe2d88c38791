"""The online population model: starts as shipped, learns from late labels, survives a crash, stays small."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import population_model as module
from stream.population_model import PopulationModel, SnapshotError, restored

FEATURES = ("heart rate", "temperature")


def fresh(learning_rate: float = 0.01) -> PopulationModel:
    return PopulationModel("deterioration", 1, FEATURES, learning_rate=learning_rate)


def features(heart_rate: float, temperature: float = 37.0) -> dict[str, float]:
    return {"heart rate": heart_rate, "temperature": temperature}


def test_before_any_label_it_says_what_was_shipped() -> None:
    for odds in (-3.0, 0.0, 1.5):
        assert fresh().predict(odds, features(80.0)) == pytest.approx(1.0 / (1.0 + math.exp(-odds)))


def test_it_learns_what_the_shipped_model_gets_wrong_here() -> None:
    model = fresh()
    rng = np.random.default_rng(1)
    for n in range(4000):
        heart_rate = rng.normal(80.0, 10.0)
        ill = bool(rng.random() < 1.0 / (1.0 + math.exp(-0.3 * (heart_rate - 85.0))))
        model.learn(f"p{n % 50}", 0.0, features(heart_rate), ill)
    assert model.predict(0.0, features(100.0)) > 0.85
    assert model.predict(0.0, features(65.0)) < 0.15
    assert model.learned == 4000


def test_a_late_label_finds_its_prediction_by_event_time_and_only_once() -> None:
    model = fresh()
    for hour in range(5):
        model.expect("p1", 3600.0 * hour, 0.0, features(80.0 + hour))
    assert not model.label("p2", 7200.0, True, 3600.0)
    assert not model.label("p1", 3600.0 * 40, True, 3600.0)
    assert model.label("p1", 7300.0, True, 3600.0)
    assert not model.label("p1", 7300.0, True, 100.0), "that prediction has had its label"
    assert (model.learned, model.unmatched, model.waiting) == (1, 3, 4)


def test_a_missing_value_counts_as_usual() -> None:
    model = fresh()
    for heart_rate in (70.0, 90.0) * 50:
        model.learn("p1", 0.0, features(heart_rate), heart_rate > 80.0)
    missing = model.predict(0.0, features(math.nan))
    assert missing == pytest.approx(model.predict(0.0, features(80.0)))
    with pytest.raises(ValueError, match="heart rate, temperature are wanted, got heart rate"):
        model.predict(0.0, {"heart rate": 80.0})


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 100)
    monkeypatch.setattr(module, "MOST_PEOPLE", 10)
    model = fresh()
    for n in range(500):
        model.expect(f"p{n % 40}", float(n), 0.0, features(80.0))
        model.learn(f"p{n % 40}", 0.0, features(80.0), n % 2 == 0)
    assert (model.waiting, model.forgotten) == (100, 400)
    assert model.watched_people == 10
    assert model.forgotten_people == 490


def test_a_change_of_the_world_is_noticed() -> None:
    model = fresh(0.0)
    rng = np.random.default_rng(2)
    for n in range(3000):
        model.learn("p1", -3.0, features(80.0), bool(rng.random() < (0.05 if n < 1500 else 0.6)))
    assert model.drifts >= 1


OTHERS = {"model": "stress", "version": 2, "features": ("heart rate",)}


@pytest.mark.parametrize("other", OTHERS)
def test_a_snapshot_of_something_else_is_refused(other: str) -> None:
    wanted = {"model": "deterioration", "version": 1, "features": FEATURES, other: OTHERS[other]}
    with pytest.raises(SnapshotError, match="this build wants"):
        restored(fresh().snapshot(), **wanted)  # type: ignore[arg-type]
    with pytest.raises(SnapshotError, match="no snapshot"):
        restored(b"rubbish", "deterioration", 1, FEATURES)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["expect", "label", "learn"]),
        st.sampled_from(["p1", "p2", "p3"]),
        st.integers(0, 20),
        st.floats(-5.0, 5.0),
        st.one_of(st.floats(40.0, 160.0), st.just(math.nan)),
        st.booleans(),
    ),
    max_size=60,
)


def play(model: PopulationModel, acts: list[tuple[str, str, int, float, float, bool]]) -> None:
    for act, person, hour, odds, heart_rate, y in acts:
        if act == "expect":
            model.expect(person, 3600.0 * hour, odds, features(heart_rate))
        elif act == "label":
            model.label(person, 3600.0 * hour, y, 7200.0)
        else:
            model.learn(person, odds, features(heart_rate), y)


@settings(deadline=None, max_examples=60)
@given(ACTS, ACTS)
def test_after_a_crash_it_goes_on_as_if_nothing_had_been(before: list[object], after: list[object]) -> None:
    whole = fresh()
    play(whole, before)  # type: ignore[arg-type]
    copied = restored(whole.snapshot(), "deterioration", 1, FEATURES)
    for model in (whole, copied):
        play(model, after)  # type: ignore[arg-type]
    assert copied.predict(0.3, features(95.0)) == whole.predict(0.3, features(95.0))
    assert copied.weights() == whole.weights()
    for counter in ("learned", "unmatched", "forgotten", "drifts", "waiting", "watched_people"):
        assert getattr(copied, counter) == getattr(whole, counter)
