"""NEWS2 against the chart, written out here a second time, and what the chart leaves open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal
from itertools import combinations, pairwise, product
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.twin_state.conftest import START, Arrival, Outcome, command, logged, make_processor, reading
from twin_state.models import news2

Run = Callable[[Iterable[Arrival]], Outcome]

RESPIRATION = [(0, 8, 3), (9, 11, 1), (12, 20, 0), (21, 24, 2), (25, 150, 3)]
SPO2_SCALE_1 = [(0, 91, 3), (92, 93, 2), (94, 95, 1), (96, 100, 0)]
SPO2_SCALE_2_AIR = [(0, 83, 3), (84, 85, 2), (86, 87, 1), (88, 100, 0)]
SPO2_SCALE_2_OXYGEN = [(0, 83, 3), (84, 85, 2), (86, 87, 1), (88, 92, 0), (93, 94, 1), (95, 96, 2), (97, 100, 3)]
SYSTOLIC = [(0, 90, 3), (91, 100, 2), (101, 110, 1), (111, 219, 0), (220, 370, 3)]
PULSE = [(0, 40, 3), (41, 50, 1), (51, 90, 0), (91, 110, 1), (111, 130, 2), (131, 400, 3)]
TEMPERATURE_TENTHS = [(0, 350, 3), (351, 360, 1), (361, 380, 0), (381, 390, 1), (391, 470, 2)]
"""(from, to, points), both ends included: RCP, NEWS2, 2017, chart 1."""

NORMAL: dict[str, Any] = {
    "respiratory_rate": 16,
    "spo2": 98,
    "supplemental_oxygen": "air",
    "systolic_pressure": 120,
    "heart_rate": 70,
    "consciousness": "A",
    "body_temperature": 37.0,
}


def rounded(value: float, digits: str) -> int:
    """Half up to the chart's resolution, in decimal as a person would; tenths for "0.1"."""
    quantum = Decimal(digits)
    return int((Decimal(str(value)) / quantum).quantize(Decimal(1), ROUND_HALF_UP))


def chart(bands: list[tuple[int, int, int]], x: int) -> int:
    """Points of the band that holds x; exactly one does."""
    (points,) = [points for low, high, points in bands if low <= x <= high]
    return points


def parts(v: dict[str, Any], scale: int) -> list[int]:
    """Points of each parameter of a complete observation."""
    on_oxygen = v["supplemental_oxygen"] == "oxygen"
    spo2 = SPO2_SCALE_1 if scale == 1 else SPO2_SCALE_2_OXYGEN if on_oxygen else SPO2_SCALE_2_AIR
    return [
        chart(RESPIRATION, rounded(v["respiratory_rate"], "1")),
        chart(spo2, rounded(v["spo2"], "1")),
        2 if on_oxygen else 0,
        chart(SYSTOLIC, rounded(v["systolic_pressure"], "1")),
        chart(PULSE, rounded(v["heart_rate"], "1")),
        0 if v["consciousness"] == "A" else 3,
        chart(TEMPERATURE_TENTHS, rounded(v["body_temperature"], "0.1")),
    ]


def scores(observations: list[dict[str, Any]], before: list[Arrival] | None = None) -> list[dict[str, Any]]:
    """NEWS2 in the twin record of each observation, each a patient of its own; `before` are commands to "p1"."""
    processor = make_processor()
    arrivals: list[Arrival] = []
    for n, v in enumerate(observations):
        for order in before or []:
            patient = f"p{n}"
            arrivals.append(Arrival(patient.encode(), order.value.replace(b'"p1"', f'"{patient}"'.encode())))
        arrivals.append(reading(0, v, seq=0, patient=f"p{n}"))
    processor.process(logged(arrivals), START)
    found = {}
    for output in processor.flush(START):
        if output.topic == "twin":
            record = read_json(output.value)
            found[record["patient"]] = record["live"]["news2"]
    return [found[f"p{n}"] for n in range(len(observations))]


def read_json(value: bytes | None) -> Any:
    """A record's value."""
    return orjson.loads(value or b"")


def around_every_edge(bands: list[tuple[int, int, int]], per_unit: int, name: str) -> list[dict[str, Any]]:
    """Observations normal but for one parameter, which takes each edge of each band, one resolution step and half a
    step and a hair to both sides."""
    edges = {edge for low, high, _ in bands for edge in (low, high)}
    steps = [Decimal(d) for d in ("-1", "-0.51", "-0.5", "-0.49", "0", "0.49", "0.5", "0.51", "1")]
    top, bottom = bands[-1][1], bands[0][0]
    values = sorted({(edge + step) / per_unit for edge in edges for step in steps if bottom <= edge + step <= top})
    return [{**NORMAL, name: float(value)} for value in values]


SCALE_2 = [command(-5, "news2", spo2_scale=2, reason="hypercapnic respiratory failure")]


@pytest.mark.parametrize("scale", [1, 2])
def test_every_band_edge_of_every_parameter_scores_as_the_chart_says(scale: int) -> None:
    observations: list[dict[str, Any]] = []
    for oxygen in ("air", "oxygen"):
        for bands, per_unit, name in (
            (RESPIRATION, 1, "respiratory_rate"),
            (SPO2_SCALE_1 + SPO2_SCALE_2_OXYGEN, 1, "spo2"),
            (SYSTOLIC, 1, "systolic_pressure"),
            (PULSE, 1, "heart_rate"),
            (TEMPERATURE_TENTHS, 10, "body_temperature"),
        ):
            found = around_every_edge(bands, per_unit, name)
            observations += [{**v, "supplemental_oxygen": oxygen} for v in found]
        observations += [{**NORMAL, "supplemental_oxygen": oxygen, "consciousness": acvpu} for acvpu in "ACVPU"]
    expected: list[dict[str, Any]] = []
    for v in observations:
        points = parts(v, scale)
        expected.append(
            {
                "applicable": True,
                "low": sum(points),
                "high": sum(points),
                "single": 1 if 3 in points else 0,
                "missing": [],
            }
        )
    assert scores(observations, SCALE_2 if scale == 2 else None) == expected


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "respiratory_rate": st.floats(0, 150),
                "spo2": st.floats(0, 100),
                "supplemental_oxygen": st.sampled_from(["air", "oxygen"]),
                "systolic_pressure": st.floats(0, 370),
                "heart_rate": st.floats(0, 400),
                "consciousness": st.sampled_from("ACVPU"),
                "body_temperature": st.floats(10, 47),
            }
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([1, 2]),
)
def test_the_total_is_the_sum_of_its_parts_between_0_and_20(observations: list[dict[str, Any]], scale: int) -> None:
    for v, score in zip(observations, scores(observations, SCALE_2 if scale == 2 else None), strict=True):
        assert score["low"] == score["high"] == sum(parts(v, scale))
        assert 0 <= score["low"] <= 20


def test_no_parameter_scores_less_further_away_from_normal() -> None:
    ladders: list[tuple[Callable[..., int], tuple[Any, ...], float, float, float]] = [
        (news2.respiration_points, (), 12, 20, 150),
        (news2.spo2_points, (1, 0), 96, 100, 100),
        (news2.spo2_points, (2, 1), 88, 92, 100),
        (news2.spo2_points, (2, 0), 88, 100, 100),
        (news2.systolic_points, (), 111, 219, 370),
        (news2.pulse_points, (), 51, 90, 400),
        (news2.temperature_points, (), 36.1, 38.0, 47),
    ]
    for points, arguments, low, high, top in ladders:
        below = [points(low - n * 0.05, *arguments) for n in range(int(low / 0.05))]
        above = [points(high + n * 0.05, *arguments) for n in range(int((top - high) / 0.05))]
        assert all(nearer <= further for nearer, further in pairwise(below))
        assert all(nearer <= further for nearer, further in pairwise(above))


@given(st.integers(3000, 4500))
@example(3805)
@example(3504)
@example(3505)
def test_temperature_is_rounded_half_up_to_a_tenth(hundredths: int) -> None:
    celsius = hundredths / 100
    assert news2.temperature_points(celsius) == chart(TEMPERATURE_TENTHS, rounded(celsius, "0.1"))


@pytest.mark.parametrize("gone", [names for count in (1, 2) for names in combinations(news2.INPUTS, count)])
def test_missing_inputs_give_the_range_of_totals_that_are_possible(gone: tuple[str, ...]) -> None:
    known = {name: value for name, value in NORMAL.items() if name not in gone}
    known.update({name: value for name, value in {"spo2": 93, "heart_rate": 120}.items() if name not in gone})
    extremes: dict[str, list[Any]] = {
        "respiratory_rate": [5, 10, 16, 22, 30],
        "spo2": [80, 84, 86, 90, 93, 94, 95, 98],
        "supplemental_oxygen": ["air", "oxygen"],
        "systolic_pressure": [80, 95, 105, 120, 230],
        "heart_rate": [30, 45, 70, 100, 120, 140],
        "consciousness": ["A", "V"],
        "body_temperature": [34.0, 35.5, 37.0, 38.5, 40.0],
    }
    missing = [name for name in news2.INPUTS if name in gone]
    for scale in (1, 2):
        (score,) = scores([known], SCALE_2 if scale == 2 else None)
        possible = [
            sum(parts({**known, **dict(zip(missing, values, strict=True))}, scale))
            for values in product(*(extremes[name] for name in missing))
        ]
        assert (score["low"], score["high"], score["missing"]) == (min(possible), max(possible), missing)


def test_a_possible_emergency_is_told_from_five_known_inputs_on(run: Run) -> None:
    """With a chest strap alone nearly every total is possible: that is no reason to call anybody."""
    four = {"heart_rate": 95, "spo2": 98, "respiratory_rate": 16, "systolic_pressure": 120}
    five = {**four, "supplemental_oxygen": "oxygen"}

    def possible(v: dict[str, Any]) -> list[float]:
        outcome = run([reading(t, v, seq=t) for t in range(320)])
        return [t for state, stage, t, _ in outcome.told("news2-emergency-possible") if stage == "settled"]

    assert possible(four) == []
    assert possible(five) == [300.0]


@pytest.mark.parametrize(
    ("name", "validity_s"),
    [
        ("heart_rate", 300),
        ("spo2", 300),
        ("respiratory_rate", 3600),
        ("body_temperature", 43_200),
        ("systolic_pressure", 43_200),
        ("consciousness", 43_200),
        ("supplemental_oxygen", 43_200),
    ],
)
def test_an_input_older_than_its_validity_is_missing_not_carried(run: Run, name: str, validity_s: int) -> None:
    rest = {other: value for other, value in NORMAL.items() if other != name}

    def missing_after(age_s: float) -> list[str]:
        twins = run([reading(0, NORMAL, seq=0), reading(age_s, rest, seq=1)]).twins
        found: list[str] = read_json(twins["p1"])["news2"]["missing"]
        return found

    assert missing_after(validity_s) == []
    assert missing_after(validity_s + 1) == [name]


def test_scale_2_counts_only_after_the_order_and_ends_with_the_stay(run: Run) -> None:
    low_on_air = {**NORMAL, "spo2": 89}
    order = command(10, "news2", spo2_scale=2, reason="hypercapnic respiratory failure")
    back = command(10, "news2", spo2_scale=1, reason="not confirmed")

    def low(*arrivals: Arrival) -> int:
        found: int = read_json(run(arrivals).twins["p1"])["news2"]["low"]
        return found

    assert low(reading(0, low_on_air, seq=0)) == 3
    assert low(reading(0, low_on_air, seq=0), order) == 0
    assert low(reading(0, low_on_air, seq=0), order, back) == 3
    stay_ends = [command(20, "discharge"), command(30, "admit", age_years=70)]
    assert low(reading(0, low_on_air, seq=0), order, *stay_ends, reading(40, low_on_air, seq=1)) == 3


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"age_years": 15}, "not applicable under 16 years"),
        ({"age_years": 30, "pregnant": True}, "not applicable in pregnancy"),
        ({"age_years": 30, "spinal_injury": True}, "not applicable with spinal injury"),
    ],
)
def test_where_news2_does_not_apply_it_says_why_and_raises_nothing(
    run: Run, facts: dict[str, Any], reason: str
) -> None:
    ill = {**NORMAL, "respiratory_rate": 28, "consciousness": "V", "systolic_pressure": 85}
    readings = [reading(t, ill, seq=t) for t in range(120)]
    outcome = run([command(-1, "admit", **facts), *readings])
    assert read_json(outcome.twins["p1"])["news2"] == {"applicable": False, "reason": reason}
    assert not [c for c in outcome.conditions if c["rule"].startswith("news2")]
    adult = run([command(-1, "admit", age_years=16), *readings])
    assert [c["rule"] for c in adult.conditions if c["state"] == "onset" and c["priority"] == "high"]


def test_an_alarm_of_news2_clears_when_it_turns_out_not_to_apply(run: Run) -> None:
    ill = {**NORMAL, "respiratory_rate": 28, "consciousness": "V", "systolic_pressure": 85}
    readings = [reading(t, ill, seq=t) for t in range(60)]
    told = run([*readings, command(59.5, "admit", age_years=30, pregnant=True)]).told("news2-emergency")
    assert [(state, stage) for state, stage, _, _ in told] == [
        ("onset", "provisional"),
        ("onset", "settled"),
        ("clear", "settled"),
    ]
    assert told[-1][2] == 59.5


def test_a_session_suspends_news2_and_its_end_brings_it_back(run: Run) -> None:
    exercising = {**NORMAL, "respiratory_rate": 30, "heart_rate": 135, "systolic_pressure": 225}
    readings = [reading(t, exercising, seq=t) for t in range(300)]
    start, end = command(9.5, "session", phase="start"), command(199.5, "session", phase="end")
    within = run([*readings[:10], start, *readings[10:100]])
    assert read_json(within.twins["p1"])["news2"] == {
        "applicable": False,
        "reason": "suspended during an exercise session",
    }
    outcome = run([*readings[:10], start, *readings[10:200], end, *readings[200:]])
    onsets = [t for state, stage, t, _ in outcome.told("news2-emergency") if (state, stage) == ("onset", "settled")]
    assert onsets == [199.5 + 15]
    assert read_json(outcome.twins["p1"])["news2"]["low"] == 9
