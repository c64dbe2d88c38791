"""Configuration as the kernels see it: one named tuple of arrays, made once by `twin_state.configuration`."""

from __future__ import annotations

from typing import NamedTuple

from twin_state.batch import Float, Int

# Models in the order in which a reading passes them; the number is the model's place in `Constants.base`.
(
    LATEST,
    CHANNELS,
    RULES,
    PATIENT,
    BASELINE,
    NEWS2_MODEL,
    REHABILITATION,
    MOMENTS,
    HEART_RATE_FILTER,
    DEVICES,
    STEADY,
) = range(11)
MODEL_NAMES: tuple[str, ...] = (
    "latest",
    "channels",
    "rules",
    "patient",
    "baseline",
    "news2",
    "rehabilitation",
    "moments",
    "heart_rate_filter",
    "devices",
    "steady",
)

# Signals that a model asks for by name; -1 in `Constants.special` where the registry lacks one.
(
    HEART_RATE,
    SPO2,
    RESPIRATORY_RATE,
    BODY_TEMPERATURE,
    SYSTOLIC,
    CONSCIOUSNESS,
    SUPPLEMENTAL_OXYGEN,
    SYMPTOM,
    POWER,
    RR,
    SPEED,
) = range(11)
SPECIAL_SIGNALS: tuple[str, ...] = (
    "heart_rate",
    "spo2",
    "respiratory_rate",
    "body_temperature",
    "systolic_pressure",
    "consciousness",
    "supplemental_oxygen",
    "symptom",
    "power_w",
    "rr_ms",
    "speed_mps",
)

# Channels made by models; they follow the signals, in this order.
(
    NEWS2_LOW,
    NEWS2_HIGH,
    NEWS2_SINGLE,
    HEART_RATE_ABOVE_REST,
    SYSTOLIC_FALL,
    SYMPTOM_CHEST_PAIN,
    SYMPTOM_SYNCOPE,
    SYMPTOM_OTHER,
    SILENCE,
    DEVICES_SILENT,
    HEART_RATE_STEADY,
    RESPIRATORY_RATE_STEADY,
    SPO2_STEADY,
    NEWS2_STEADY,
    HEART_RATE_BELOW_USUAL,
    SPO2_BELOW_USUAL,
    DETERIORATION,
    HEART_RATE_SCATTER,
) = range(18)
DERIVED_CHANNELS: tuple[str, ...] = (
    "news2_low",
    "news2_high",
    "news2_single",
    "heart_rate_above_rest_pct",
    "systolic_fall",
    "symptom_chest_pain",
    "symptom_syncope",
    "symptom_other",
    "silence_s",
    "devices_silent",
    "heart_rate_steady",
    "respiratory_rate_steady",
    "spo2_steady",
    "news2_steady",
    "heart_rate_below_usual",
    "spo2_below_usual",
    "deterioration",
    "heart_rate_scatter",
)

ALWAYS, REST, IN_SESSION = range(3)


ENABLED, BASE, IDENTITY_BASE, PARAMETERS = range(4)
"""Columns of `Constants.models`: 1 where the model runs, where its columns begin, and where its population parameters
do in `Constants.parameters`, -1 where it has none. Estimators follow the models, in their own order."""

VALIDITY_S, HOLD_S, LATENESS_S, BASELINED, ENDS = range(5)
"""Columns of `Constants.channel`; LATENESS_S and BASELINED mean something for signals only. ENDS is 1 where a value
past its validity is over (a report), not merely unknown (a measurement): its conditions clear."""

CHANNEL, WHEN, LIMIT, LIMIT_REQUIRED, URGENT, FREEZES = range(6)
"""Columns of `Constants.rule_number`; URGENT marks high priority, FREEZES what keeps baselines from learning."""

(
    SENSE,
    THRESHOLD,
    HYSTERESIS,
    ONSET_S,
    CLEAR_S,
    UPDATE_STEP,
    LIMIT_OFFSET,
    ONSET_AREA,
    RULE_HOLD_S,
    PAUSE_LEAK,
) = range(10)
"""Columns of `Constants.rule_value`; SENSE is +1 for at_least, -1 for at_most; 0 in the last three: none of its own."""


class Constants(NamedTuple):
    """Few wide arrays rather than many narrow ones: every kernel call passes them, and passing an array costs."""

    models: Int
    special: Int
    channel: Float
    rule_number: Int
    rule_value: Float
    parameters: Float
    signals: int
    channels: int
    rules: int
    silence_rule: int
    past_event_rule: int
    settling_s: float
    idle_s: float
    silence_rest_s: float
    silence_session_s: float
    quality_floor: float
