"""What the twin core is told: signals, rules, models and times, checked once and turned into arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.constants import Constants
from twin_state.estimators import ESTIMATORS
from twin_state.rules import LIMITS, ConditionRule
from twin_state.schema import Layout, lay_out

CLINICAL_MODELS: tuple[str, ...] = (
    *("baseline", "news2", "rehabilitation", "devices", "steady"),
    *("beat_clock", "atrial_fibrillation", "variability", "spectrum", "rhythm", "heart_rate_under_load"),
)

PAST_EVENT_RULE = "past-event"
"""Id of the rule under which an advisory about a late reading is written."""

LEAST_HOLD_S = 15.0
"""A value is held at least this long when a delay is counted: many wearables report each 5 to 15 s."""

DERIVED_VALIDITY_S = {
    "symptom_chest_pain": 900.0,
    "symptom_syncope": 900.0,
    "symptom_other": 900.0,
    "devices_silent": math.inf,
    "respiratory_rate_steady": 600.0,
}
"""Validity of a model's channel where it is not 300 s: a symptom report is current for a quarter of an hour, then over;
a device is silent until something is heard of it; a patch in motion gives a respiratory rate now and then."""

ENDING_CHANNELS = ("symptom_chest_pain", "symptom_syncope", "symptom_other", "devices_silent")
"""Channels whose value is over once it is past its validity; that of any other is unknown from then on."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """What the core needs to know of a signal; times in s. `baselined` signals get a personal baseline."""

    name: str
    period_s: float
    validity_s: float
    lateness_s: float
    baselined: bool = True


@dataclass(frozen=True, slots=True)
class TwinConfiguration:
    """The core's configuration. `models_hash` and `configuration_hash` go into evidence."""

    layout: Layout
    constants: Constants
    signals: tuple[SignalSpec, ...]
    rules: tuple[ConditionRule, ...]
    models_hash: str
    configuration_hash: str


def _flat_parameters(models: Sequence[str], given: Mapping[str, Sequence[float]]) -> tuple[Int, Float]:
    """Where the parameters of each model begin (-1: it has none), and all of them one after another."""
    begins = np.full(len(c.MODEL_NAMES) + len(ESTIMATORS), -1, np.int64)
    flat: list[float] = []
    for number, estimator in enumerate(ESTIMATORS, start=len(c.MODEL_NAMES)):
        if estimator.name not in models or not estimator.parameters:
            continue
        own = given.get(estimator.name, ())
        if len(own) != estimator.parameters:
            raise ValueError(
                f"estimator {estimator.name}: {estimator.parameters} parameters are wanted, got {len(own)}"
            )
        begins[number] = len(flat)
        flat += [float(value) for value in own]
    return begins, np.array(flat, np.float64)


def configure(
    signals: Sequence[SignalSpec],
    rules: Sequence[ConditionRule],
    models: Sequence[str] = CLINICAL_MODELS,
    *,
    parameters: Mapping[str, Sequence[float]] | None = None,
    models_hash: str = "",
    configuration_hash: str = "",
    idle_s: float = 120.0,
    silence_rest_s: float = 900.0,
    silence_session_s: float = 60.0,
    quality_floor: float = 0.5,
) -> TwinConfiguration:
    """Check and compile a configuration; `parameters` are the population parameters of estimators, by name.

    Raises `ValueError` for a rule on a channel that nothing sets, and for parameters that are missing or too few.
    """
    layout = lay_out(tuple(s.name for s in signals), tuple(r.id for r in rules), tuple(models))
    index = {name: n for n, name in enumerate(layout.channels)}
    for rule in rules:
        if rule.id != PAST_EVENT_RULE and rule.channel not in index:
            raise ValueError(f"rule {rule.id}: unknown channel {rule.channel!r}")
    periods = np.array([s.period_s for s in signals])
    validity = np.array(
        [s.validity_s for s in signals] + [DERIVED_VALIDITY_S.get(name, 300.0) for name in c.DERIVED_CHANNELS]
    )
    hold = np.minimum(validity, np.maximum(np.concatenate([3.0 * periods, validity[len(signals) :]]), LEAST_HOLD_S))
    when = {"always": c.ALWAYS, "rest": c.REST, "session": c.IN_SESSION}

    def rule_number(wanted: str) -> int:
        return next((n for n, rule in enumerate(rules) if wanted in (rule.id, f"channel:{rule.channel}")), -1)

    begins, flat = _flat_parameters(models, parameters or {})
    channel = np.zeros((len(layout.channels), 5))
    channel[:, c.VALIDITY_S] = validity
    channel[:, c.HOLD_S] = hold
    channel[: len(signals), c.LATENESS_S] = [s.lateness_s for s in signals]
    channel[: len(signals), c.BASELINED] = [s.baselined for s in signals]
    channel[[index[name] for name in ENDING_CHANNELS], c.ENDS] = 1.0
    constants = Constants(
        models=np.ascontiguousarray(
            np.stack([layout.enabled.astype(np.int64), layout.base, layout.identity_base, begins], axis=1)
        ),
        special=np.array([index.get(name, -1) for name in c.SPECIAL_SIGNALS], np.int64),
        channel=channel,
        rule_number=np.array(
            [
                (
                    -1 if rule.id == PAST_EVENT_RULE else index[rule.channel],
                    when[rule.when],
                    LIMITS.index(rule.limit) if rule.limit else -1,
                    rule.limit_required,
                    rule.priority == "high",
                    rule.priority in {"high", "medium"},
                )
                for rule in rules
            ],
            np.int64,
        ).reshape(len(rules), 6),
        rule_value=np.array(
            [
                (
                    1.0 if rule.comparison == "at_least" else -1.0,
                    rule.threshold,
                    rule.hysteresis,
                    rule.onset_delay_s,
                    rule.clear_delay_s,
                    rule.update_step,
                    rule.limit_offset,
                    rule.onset_area,
                    rule.hold_s,
                    rule.pause_leak,
                )
                for rule in rules
            ],
            np.float64,
        ).reshape(len(rules), 10),
        parameters=flat,
        signals=len(layout.signals),
        channels=len(layout.channels),
        rules=len(rules),
        silence_rule=rule_number("channel:silence_s"),
        past_event_rule=rule_number(PAST_EVENT_RULE),
        settling_s=max(s.lateness_s for s in signals),
        idle_s=idle_s,
        silence_rest_s=silence_rest_s,
        silence_session_s=silence_session_s,
        quality_floor=quality_floor,
    )
    return TwinConfiguration(layout, constants, tuple(signals), tuple(rules), models_hash, configuration_hash)
