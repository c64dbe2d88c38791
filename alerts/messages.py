"""The plain sentence of an alert, from its rule's template and its evidence."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from alerts.rules import Notice, Rule
from contracts.condition import Condition, Evidence
from contracts.signals import default_registry

PLAIN_NAMES: dict[str, str] = {
    "spo2": "SpO2",
    "body_temperature": "temperature",
    "rpe": "perceived exertion",
    "news2_low": "NEWS2",
    "news2_high": "NEWS2",
    "news2_steady": "NEWS2",
    "spo2_steady": "SpO2",
    "heart_rate_steady": "heart rate",
    "respiratory_rate_steady": "respiratory rate",
    "battery_pct": "battery level",
    "symptom_other": "a symptom",
    "symptom_syncope": "fainting",
    "devices_silent": "the number of silent devices",
}
"""Channels whose name in a sentence is not their own with spaces."""


def render_message(rule: Notice | None, condition: Condition) -> str:
    """What happened, in one sentence: the rule's own where the condition stands, another where it ends."""
    if condition.state == "withdrawn":
        return "Withdrawn: with readings that arrived since, the limit was not passed."
    if condition.state != "clear":
        return standing_message(rule, condition)
    if rule is not None and rule.cleared:
        return rule.cleared.format_map(_fields(rule, condition))
    evidence = condition.evidence
    if evidence is None:
        return f"Over: {condition.rule}."
    name = plain_name(evidence.channel)
    value = value_text(evidence.channel, evidence.value)
    return f"Over: {name} is now {value}{_range(evidence)}."


def standing_message(rule: Notice | None, condition: Condition) -> str:
    """The sentence while a condition stands, e.g. "NEWS2 is 7 (6 to 9 possible; temperature missing), limit 7.".

    A template may name {value}, {threshold}, {below} (the first whole number above the threshold), {limit} ("limit 7"
    or "personal limit 120"), {range} and {missing} (empty and "nothing" where all inputs are known), {devices},
    {channel} and {onset}. Without a rule (it is no longer in force) the sentence is made from the evidence alone.
    """
    if rule is None:
        return f"{condition.rule}{_comparison(condition.evidence)} (this rule is no longer in force)."
    return rule.message.format_map(_fields(rule, condition))


def _fields(rule: Notice, condition: Condition) -> dict[str, str]:
    evidence = condition.evidence
    onset = time_text(condition.onset_t)
    if evidence is None:
        unknown = dict.fromkeys(("value", "threshold", "below", "limit"), "unknown")
        return unknown | {"range": "", "missing": "nothing", "devices": "none", "channel": "the value", "onset": onset}
    return {
        "value": value_text(evidence.channel, evidence.value),
        "threshold": number_text(evidence.threshold),
        "below": number_text(evidence.threshold, whole=True),
        "limit": _limit(rule, evidence),
        "range": _range(evidence),
        "missing": _listed([plain_name(name) for name in evidence.missing]) or "nothing",
        "devices": _listed(evidence.devices) or "none",
        "channel": plain_name(evidence.channel),
        "onset": onset,
    }


def value_text(channel: str, value: float) -> str:
    """A channel's value in a sentence: the name of a code, else the number."""
    registry = default_registry()
    codes = registry[channel].codes if channel in registry else {}
    names = [name for name, code in codes.items() if code == value]
    return names[0].replace("_", " ") if names else number_text(value)


def number_text(value: float, *, whole: bool = False) -> str:
    """At most one decimal, none where it is zero; `whole` rounds up to the next whole number."""
    if not math.isfinite(value):
        return "unknown"
    if whole:
        return str(math.ceil(value))
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def plain_name(channel: str) -> str:
    """A channel's name as it stands in a sentence."""
    return PLAIN_NAMES.get(channel, channel.replace("_", " "))


def time_text(t: float) -> str:
    """A time in s since the epoch as it stands in a sentence, in UTC."""
    try:
        return datetime.fromtimestamp(t, UTC).strftime("%H:%M:%S UTC on %Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _limit(rule: Notice, evidence: Evidence) -> str:
    """The limit as the rule or the order states it: an offset that the rule adds to a personal limit is taken off."""
    if evidence.limit_from == "patient":
        offset = rule.limit_offset if isinstance(rule, Rule) else 0.0
        return f"personal limit {number_text(evidence.threshold - offset)}"
    return f"limit {number_text(evidence.threshold)}"


def _range(evidence: Evidence) -> str:
    parts: list[str] = []
    if evidence.low is not None and evidence.high is None:
        parts.append("at least")
    elif evidence.low is not None and evidence.high is not None and evidence.low != evidence.high:
        parts.append(f"{number_text(evidence.low)} to {number_text(evidence.high)} possible")
    if evidence.missing:
        parts.append(f"{_listed([plain_name(name) for name in evidence.missing])} missing")
    return f" ({'; '.join(parts)})" if parts else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _comparison(evidence: Evidence | None) -> str:
    if evidence is None:
        return ""
    limit = number_text(evidence.threshold)
    return f": {plain_name(evidence.channel)} is {number_text(evidence.value)}, limit {limit}"
