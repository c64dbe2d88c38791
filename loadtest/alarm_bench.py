"""`biotwin bench alarms`: a rule set on the labelled ward, beside plain thresholds on the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from alerts.rules import RuleSet
from loadtest.alarm_run import Alarm, AlarmRun
from loadtest.alarm_scoring import (
    Score,
    Span,
    Tally,
    chance_sensitivity,
    intervals,
    join_tallies,
    median_interval,
    rates,
    score,
    seen_events,
    tally,
    worst_tenth_share,
)
from loadtest.labelled_ward import BoolArray, IntArray, LabelledWard
from loadtest.physiology import FloatArray
from loadtest.threshold_alarms import MINUTE_S, MinuteValues
from loadtest.ward_batches import Arrivals, WardRecords, closing_tick, join, ticks
from loadtest.ward_events import START_T, Event
from stream.model_sets import ModelSet, model_set

SEEDS: dict[str, tuple[int, ...]] = {"tuning": (101, 102, 103), "reporting": (201, 202, 203)}
"""Rules are improved on the tuning seeds alone; figures that are published come from the reporting seeds."""

PLAIN_RATE = (100.0, 180.0)
PLAIN_SENSITIVITY = (0.5, 0.9)
"""What plain thresholds must give, or the ward is no valid benchmark: docs/synthetic-ward.md."""

GOALS: dict[str, tuple[str, float]] = {
    "interruptive_per_patient_day": ("at_most", 2.0),
    "sensitivity": ("at_least", 0.95),
    "ppv": ("at_least", 0.5),
    "added_delay_s_high": ("at_most", 30.0),
    "news_alarms_per_patient_day": ("at_most", 19.0),
}


class Delays(NamedTuple):
    """High-priority alarms in adverse events: how long after the noiseless truth first passed the rule's threshold each
    was told (s), and whose it was; `passed` counts the thresholds truly passed while the sensors were on."""

    seconds: FloatArray
    patients: IntArray
    passed: int


class WardResult(NamedTuple):
    """One ward under one rule set. `scored` and `tallies` have `product`, `plain` and `lasting`."""

    ward: LabelledWard
    adverse: tuple[Event, ...]
    seen: BoolArray
    alarms: list[Alarm]
    technical: int
    scored: dict[str, Score]
    tallies: dict[str, Tally]
    chance: dict[str, float]
    delays: Delays


UNFILTERED: dict[str, str] = {
    "heart_rate_steady": "heart_rate",
    "respiratory_rate_steady": "respiratory_rate",
    "spo2_steady": "spo2",
    "news2_steady": "news2_low",
}
"""What a steady value is an estimate of: its own lag must count as delay."""


def reference_rules(rules: RuleSet) -> RuleSet:
    """The high-priority physiological rules without delay, hysteresis and filter: on noiseless values their onset is
    the moment at which the threshold is truly passed."""
    high = tuple(
        msgspec.structs.replace(
            rule,
            channel=UNFILTERED.get(rule.channel, rule.channel),
            onset_delay_s=0.0,
            onset_area=0.0,
            clear_delay_s=0.0,
            hysteresis=0.0,
            update_step=0.0,
            pause_leak=0.0,
            group_s=0.0,
            suppressed_by=(),
        )
        for rule in rules.rules
        if rule.kind == "physiological" and rule.priority == "high"
    )
    return RuleSet(high, rules.notices)


class WardLog:
    """The log of a ward, chunk by chunk, into a run of the product's core."""

    def __init__(self, ward: LabelledWard, chosen: ModelSet, rules: RuleSet, seed: int) -> None:
        self.run = AlarmRun(chosen, rules, ward.patients)
        self.records = WardRecords(ward, chosen.registry, seed)
        self.arrivals = Arrivals(ward.patients)


def run_ward(rules: RuleSet, patients: int, days: float, seed: int) -> WardResult:
    """One seed through the core, and its alarms scored. About two minutes for 200 patients and 7 days."""
    ward = LabelledWard(patients, days, seed)
    chosen = model_set("clinical")
    live = WardLog(ward, chosen, rules, seed)
    noiseless = WardLog(ward, chosen, reference_rules(rules), seed)
    minutes = MinuteValues()
    for chunk in ward.chunks():
        begin_t, end_t = float(chunk.t[0]), float(chunk.t[-1]) + ward.period_s
        minutes.add(chunk)
        for log, records in ((live, live.records.of_chunk(chunk)), (noiseless, noiseless.records.of_truth(chunk))):
            arrived = log.arrivals.until(join([records, ticks(begin_t, end_t)]), end_t)
            log.run.take(log.arrivals.batch(arrived, log.run.rows))
    for log in (live, noiseless):
        rest = log.arrivals.until(closing_tick(ward.end_t + 3600.0), float("inf"))
        log.run.take(log.arrivals.batch(rest, log.run.rows))
    return _judge(ward, minutes, live.run.log.alarms, noiseless.run.log.alarms)


def _judge(ward: LabelledWard, minutes: MinuteValues, told: list[Alarm], truth: list[Alarm]) -> WardResult:
    adverse = tuple(event for event in ward.events if event.adverse)
    seen = seen_events(adverse, minutes)
    monitored = minutes.monitored()
    urgent = [alarm for alarm in told if alarm.priority in ("high", "medium")]
    alarms = [alarm for alarm in urgent if alarm.kind == "physiological"]
    spans = {
        "product": [Span(alarm.patient, alarm.told_t, alarm.until_t) for alarm in alarms],
        "plain": [Span(one.patient, one.t, one.until_t) for one in minutes.plain()],
        "lasting": [Span(one.patient, one.t, one.until_t) for one in minutes.lasting()],
    }
    scored = {name: score(adverse, seen, found) for name, found in spans.items()}
    return WardResult(
        ward=ward,
        adverse=adverse,
        seen=seen,
        alarms=alarms,
        technical=sum(alarm.kind == "technical" for alarm in urgent),
        scored=scored,
        tallies={name: tally(ward, adverse, seen, spans[name], scored[name], monitored) for name in spans},
        chance={name: chance_sensitivity(ward, adverse, seen, found) for name, found in spans.items()},
        delays=_delays(adverse, minutes, alarms, truth),
    )


def _delays(adverse: Sequence[Event], minutes: MinuteValues, alarms: list[Alarm], truth: list[Alarm]) -> Delays:
    """For each adverse event and high-priority rule the first true passing of the threshold in the event, while heart
    rate and SpO2 were measured, and from there to the first alarm of that rule in the event: 0 s where one stood."""
    measured = minutes.trusted("heart_rate") & minutes.trusted("spo2")
    passings: dict[int, dict[str, list[float]]] = {}
    for alarm in truth:
        passings.setdefault(alarm.patient, {}).setdefault(alarm.rule, []).append(alarm.onset_t)
    high = [alarm for alarm in alarms if alarm.priority == "high"]
    seconds, patients, passed = [], [], 0
    for event in adverse:
        for rule, times in passings.get(event.patient, {}).items():
            first = min((t for t in times if event.begin_t <= t <= event.end_t), default=None)
            minute = 0 if first is None else int((first - START_T) // MINUTE_S)
            if first is None or not measured[minute : minute + 2, event.patient].all():
                continue
            passed += 1
            own = [alarm for alarm in high if alarm.patient == event.patient and alarm.rule == rule]
            told = [alarm.told_t for alarm in own if alarm.until_t >= first and alarm.told_t <= event.end_t]
            if told:
                seconds.append(max(0.0, min(told) - first))
                patients.append(event.patient)
    return Delays(np.array(seconds), np.array(patients, np.int64), passed)


def run_bench(
    rules: RuleSet, seeds: Sequence[int], patients: int, days: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """All seeds, together as one result. `say` is told of progress."""
    results = []
    for seed in seeds:
        results.append(run_ward(rules, patients, days, seed))
        found = rates(results[-1].tallies["product"])
        say(f"seed {seed}: {found['per_patient_day']:.1f} alarms a patient-day, sensitivity {found['sensitivity']:.2f}")
    return {"seeds": list(seeds), "patients": patients, "days": days, "rules": rules.hash, **summarise(results)}


def summarise(results: Sequence[WardResult]) -> dict[str, Any]:
    """The figures of one or more wards; NaN is given as None."""
    joined = {name: join_tallies([result.tallies[name] for result in results]) for name in results[0].tallies}
    found = {name: rates(counts) for name, counts in joined.items()}
    limits = {name: intervals(counts) for name, counts in joined.items()}
    seconds = np.concatenate([result.delays.seconds for result in results])
    offsets = np.cumsum([0, *(result.ward.patients for result in results)])
    whose = np.concatenate([result.delays.patients + at for result, at in zip(results, offsets, strict=False)])
    days = joined["product"].monitored_days.sum()
    figures: dict[str, Any] = {
        "interruptive_per_patient_day": found["product"]["per_patient_day"],
        "sensitivity": found["product"]["sensitivity"],
        "ppv": found["product"]["ppv"],
        "added_delay_s_high": float(np.median(seconds)) if len(seconds) else None,
        "news_alarms_per_patient_day": found["lasting"]["per_patient_day"],
        "plain_threshold_per_patient_day": found["plain"]["per_patient_day"],
    }
    plain_ok = PLAIN_RATE[0] <= found["plain"]["per_patient_day"] <= PLAIN_RATE[1]
    valid = plain_ok and PLAIN_SENSITIVITY[0] <= found["plain"]["sensitivity"] <= PLAIN_SENSITIVITY[1]
    summary: dict[str, Any] = _plain(
        {
            **figures,
            "interval_95": {
                "interruptive_per_patient_day": limits["product"]["per_patient_day"],
                "sensitivity": limits["product"]["sensitivity"],
                "ppv": limits["product"]["ppv"],
                "added_delay_s_high": median_interval(seconds, whose, int(offsets[-1])) if len(seconds) else None,
                "news_alarms_per_patient_day": limits["lasting"]["per_patient_day"],
                "plain_threshold_per_patient_day": limits["plain"]["per_patient_day"],
            },
            "valid": valid,
            "goals_met": {name: _met(name, figures[name]) for name in GOALS},
            "monitored_patient_days": float(days),
            "events": {
                "adverse": sum(len(result.adverse) for result in results),
                "seen": int(sum(result.seen.sum() for result in results)),
            },
            "added_delay_s_high_p90": float(np.percentile(seconds, 90)) if len(seconds) else None,
            "high_thresholds_passed": sum(result.delays.passed for result in results),
            "high_thresholds_told": len(seconds),
            "high_per_patient_day": _rate(results, days, lambda alarm: alarm.priority == "high"),
            "withdrawn_per_patient_day": _rate(results, days, lambda alarm: alarm.withdrawn),
            "technical_per_patient_day": sum(result.technical for result in results) / days,
            "worst_tenth_share": worst_tenth_share(joined["product"]),
            "thresholds": {
                name: {
                    **found[name],
                    "sensitivity_by_chance": float(np.mean([result.chance[name] for result in results])),
                    "quartiles_per_patient_day": np.percentile(
                        joined[name].alarms / joined[name].monitored_days, (25, 50, 75)
                    ).tolist(),
                }
                for name in ("plain", "lasting")
            },
            "sensitivity_by_chance": float(np.mean([result.chance["product"] for result in results])),
            "by_rule": _by_rule(results, days),
            "by_event": dict(_by_event(results)),
        }
    )
    return summary


def _rate(results: Sequence[WardResult], days: float, wanted: Callable[[Alarm], bool]) -> float:
    return sum(wanted(alarm) for result in results for alarm in result.alarms) / days


def _by_rule(results: Sequence[WardResult], days: float) -> dict[str, Any]:
    counts: dict[str, list[int]] = {}
    for result in results:
        product = result.scored["product"]
        for n, alarm in enumerate(result.alarms):
            entry = counts.setdefault(alarm.rule, [0, 0, 0])
            entry[0] += 1
            entry[1] += int(product.hits[n])
            entry[2] += int(product.false[n])
    return {
        rule: {"per_patient_day": total / days, "hits": hits, "false": false, "false_share": false / total}
        for rule, (total, hits, false) in sorted(counts.items(), key=lambda item: -item[1][0])
    }


def _by_event(results: Sequence[WardResult]) -> Iterator[tuple[str, Any]]:
    """Sensitivity by kind of event, and of deteriorations by shape too."""
    names: dict[str, list[tuple[WardResult, int]]] = {}
    for result in results:
        for n, event in enumerate(result.adverse):
            if not result.seen[n]:
                continue
            names.setdefault(event.kind, []).append((result, n))
            if event.kind in ("sepsis", "respiratory_failure"):
                names.setdefault(f"deterioration, {event.shape}", []).append((result, n))
                part = "below" if event.size < 0.5 else "above"
                names.setdefault(f"deterioration, {part} half the full effect", []).append((result, n))
    for name in sorted(names):
        members = names[name]
        yield (
            name,
            {
                "seen": len(members),
                **{
                    which: sum(int(result.scored[which].hit_by[n] >= 0) for result, n in members) / len(members)
                    for which in ("product", "plain", "lasting")
                },
            },
        )


def _met(name: str, value: float | None) -> bool | None:
    if value is None or np.isnan(value):
        return None
    how, limit = GOALS[name]
    return bool(value <= limit if how == "at_most" else value >= limit)


def _plain(value: Any) -> Any:
    """As JSON takes it: numbers of four decimals, None for NaN."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(float(value), 4)
    return value
