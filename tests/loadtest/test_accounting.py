"""The demo's figures: what counts as what, and when nothing is said."""

from __future__ import annotations

from collections import Counter
from typing import Any

from loadtest.accounting import Acknowledged, Log, account, latencies_ms, lost, percentiles
from loadtest.sse import Receipt


def log(**fields: Any) -> Log:
    empty = Log(Counter(), {}, Counter(), {}, set(), {})
    return empty._replace(**fields)


def test_an_acknowledged_reading_that_stands_nowhere_is_lost() -> None:
    acknowledged = Acknowledged({"a": 1.0, "b": 1.0, "c": 1.0}, 3)
    found = log(readings=Counter({"a": 1}), quarantined=Counter({"q": 1}), quarantined_readings={"q": "b"})
    assert lost(acknowledged, found) == {"c"}


def test_every_published_reading_is_counted_once() -> None:
    """Ten published: six applied, one late, a copy; one waits and was sent twice; one was released and applied."""
    found = log(
        readings=Counter({"r1": 2, **{f"r{n}": 1 for n in range(2, 8)}, "released": 1}),
        quarantined=Counter({"waits": 2, "freed": 1}),
        released={"freed"},
    )
    counters = {
        "biotwin_readings_applied_total": 7.0,
        "biotwin_readings_late_total": 1.0,
        "biotwin_readings_duplicate_total": 1.0,
    }
    figures = account(11, counters, found)
    assert figures == {"applied": 7, "late": 1, "quarantined": 1, "duplicates": 2, "redelivered": 0}
    assert sum(figures[name] for name in ("applied", "late", "quarantined", "duplicates")) == 11


def test_what_mqtt_delivers_again_was_published_once() -> None:
    found = log(readings=Counter({"a": 2, "b": 1}))
    counters = {"biotwin_readings_applied_total": 2.0, "biotwin_readings_duplicate_total": 1.0}
    figures = account(2, counters, found)
    assert figures["redelivered"] == 1
    assert figures["duplicates"] == 0


def test_latency_runs_from_the_publish_call_of_the_reading_that_completed_the_rule() -> None:
    acknowledged = Acknowledged({"a": 100.0, "b": 200.0}, 2)
    found = log(
        places={(0, 5): "a", (0, 6): "b"},
        triggers={(0, 0): (0, 5, 100.02), (0, 1): (0, 7, 100.5), (0, 2): (0, 6, 200.1)},
        quarantined_readings={"q": "b"},
    )

    def receipt(name: str, offset: int, at: float, stage: str = "provisional") -> Receipt:
        provenance = {"partition": 0, "offset": offset}
        return Receipt(at, {"id": name, "patient": "p", "stage": stage, "provenance": provenance})

    applied, delivered, left_out = latencies_ms(
        acknowledged,
        found,
        [
            receipt("one", 0, 100.05),
            receipt("one", 0, 105.0),
            receipt("by a tick", 1, 101.0),
            receipt("released", 2, 200.2),
            receipt("late", 0, 101.0, "settled"),
        ],
    )
    assert [round(value) for value in applied] == [20]
    assert [round(value) for value in delivered] == [50]
    assert left_out == {"by_clock": 1, "released": 1, "settled_first": 1}


def test_percentiles_are_given_for_enough_values_only() -> None:
    values = [float(n) for n in range(1, 201)]
    assert percentiles(values, 200) == {"p50": 100.0, "p95": 190.0, "p99": 198.0, "max": 200.0}
    assert percentiles(values[:199], 200) is None
    assert percentiles([]) is None
