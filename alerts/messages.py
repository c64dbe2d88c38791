"""The plain sentence of an alert in each language, from its rule's template and its evidence."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple

from alerts.rules import Notice, Rule
from alerts.words import CODE_WORDS, Language, channel_words
from contracts.condition import Condition, Evidence
from contracts.signals import default_registry


class _Phrases(NamedTuple):
    """What sentences are made of in one language."""

    withdrawn: str
    over: str
    over_of: str
    standing: str
    sentence: str
    out_of_force: str
    limit: str
    personal_limit: str
    at_least: str
    possible: str
    missing: str
    range: str
    part: str
    listed: str
    last: str
    unknown: str
    nothing: str
    none: str
    value: str
    time: str
    unknown_time: str


PHRASES: dict[Language, _Phrases] = {
    "en": _Phrases(
        withdrawn="Withdrawn: with readings that arrived since, the limit was not passed.",
        over="Over: {rule}.",
        over_of="Over: {name} is now {value}{range}.",
        standing="{rule}: {name} is {value}, limit {threshold}",
        sentence="{sentence}.",
        out_of_force="{sentence} (this rule is no longer in force).",
        limit="limit {limit}",
        personal_limit="personal limit {limit}",
        at_least="at least",
        possible="{low} to {high} possible",
        missing="{names} missing",
        range=" ({parts})",
        part="; ",
        listed=", ",
        last=" and ",
        unknown="unknown",
        nothing="nothing",
        none="none",
        value="the value",
        time="%H:%M:%S UTC on %Y-%m-%d",
        unknown_time="an unknown time",
    ),
    "ja": _Phrases(
        withdrawn="取り消し：その後に届いた測定値を含めると、基準値を超えていませんでした。",
        over="解消：{rule}。",
        over_of="解消：{name}は現在 {value}{range}です。",
        standing="{rule}：{name} {value}、基準値 {threshold}",
        sentence="{sentence}。",
        out_of_force="{sentence}（このルールは現在有効ではありません）。",
        limit="基準値 {limit}",
        personal_limit="個別基準値 {limit}",
        at_least="最低値",
        possible="{low}～{high}の可能性",
        missing="{names}が未測定",
        range="（{parts}）",
        part="、",
        listed="、",
        last="、",
        unknown="不明",
        nothing="なし",
        none="なし",
        value="値",
        time="%Y-%m-%d %H:%M:%S UTC",
        unknown_time="不明な時刻",
    ),
}


def render_message(rule: Notice | None, condition: Condition, language: Language = "en") -> str:
    """What happened, in one sentence: the rule's own where the condition stands, another where it ends."""
    phrases = PHRASES[language]
    if condition.state == "withdrawn":
        return phrases.withdrawn
    if condition.state != "clear":
        return standing_message(rule, condition, language)
    template = "" if rule is None else rule.cleared if language == "en" else rule.cleared_ja
    if rule is not None and template:
        return template.format_map(_fields(rule, condition, language))
    evidence = condition.evidence
    if evidence is None:
        return phrases.over.format(rule=condition.rule)
    return phrases.over_of.format(
        name=channel_words(evidence.channel, language),
        value=value_text(evidence.channel, evidence.value, language),
        range=range_text(evidence, language),
    )


def standing_message(rule: Notice | None, condition: Condition, language: Language = "en") -> str:
    """The sentence while a condition stands, e.g. "NEWS2 is 7 (6 to 9 possible; temperature missing), limit 7.".

    A template may name {value}, {threshold}, {below} (the first whole number above the threshold), {limit} ("limit 7"
    or "personal limit 120"), {range} and {missing} (empty and "nothing" where all inputs are known), {devices},
    {channel} and {onset}. Without a rule (it is no longer in force), or where the rule has no sentence in that
    language, the sentence is made from the evidence alone.
    """
    phrases = PHRASES[language]
    if rule is None:
        return phrases.out_of_force.format(sentence=_comparison(condition, language))
    template = rule.message if language == "en" else rule.message_ja
    if not template:
        return phrases.sentence.format(sentence=_comparison(condition, language))
    return template.format_map(_fields(rule, condition, language))


def _fields(rule: Notice, condition: Condition, language: Language) -> dict[str, str]:
    phrases = PHRASES[language]
    evidence = condition.evidence
    onset = time_text(condition.onset_t, language)
    if evidence is None:
        unknown = dict.fromkeys(("value", "threshold", "below", "limit"), phrases.unknown)
        rest = {"range": "", "missing": phrases.nothing, "devices": phrases.none, "channel": phrases.value}
        return unknown | rest | {"onset": onset}
    return {
        "value": value_text(evidence.channel, evidence.value, language),
        "threshold": number_text(evidence.threshold, language),
        "below": number_text(evidence.threshold, language, whole=True),
        "limit": limit_text(rule, evidence, language),
        "range": range_text(evidence, language),
        "missing": listed([channel_words(name, language) for name in evidence.missing], language) or phrases.nothing,
        "devices": listed(evidence.devices, language) or phrases.none,
        "channel": channel_words(evidence.channel, language),
        "onset": onset,
    }


def value_text(channel: str, value: float, language: Language = "en") -> str:
    """A channel's value in a sentence: the name of a code, else the number."""
    registry = default_registry()
    codes = registry[channel].codes if channel in registry else {}
    for name, code in codes.items():
        if code == value:
            known = CODE_WORDS.get((channel, name))
            return known[language] if known else name.replace("_", " ")
    return number_text(value, language)


def number_text(value: float, language: Language = "en", *, whole: bool = False) -> str:
    """At most one decimal, none where it is zero; `whole` rounds up to the next whole number."""
    if not math.isfinite(value):
        return PHRASES[language].unknown
    if whole:
        return str(math.ceil(value))
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def time_text(t: float, language: Language = "en") -> str:
    """A time in s since the epoch as it stands in a sentence, in UTC."""
    phrases = PHRASES[language]
    try:
        return datetime.fromtimestamp(t, UTC).strftime(phrases.time)
    except (ValueError, OverflowError, OSError):
        return phrases.unknown_time


def limit_text(rule: Notice | None, evidence: Evidence, language: Language = "en") -> str:
    """The limit as the rule or the order states it: an offset that the rule adds to a personal limit is taken off."""
    phrases = PHRASES[language]
    if evidence.limit_from == "patient":
        offset = rule.limit_offset if isinstance(rule, Rule) else 0.0
        return phrases.personal_limit.format(limit=number_text(evidence.threshold - offset, language))
    return phrases.limit.format(limit=number_text(evidence.threshold, language))


def listed(names: list[str], language: Language = "en") -> str:
    """Names in a sentence: "a, b and c"; nothing where there is none."""
    phrases = PHRASES[language]
    if len(names) < 2:
        return names[0] if names else ""
    return f"{phrases.listed.join(names[:-1])}{phrases.last}{names[-1]}"


def range_text(evidence: Evidence, language: Language = "en") -> str:
    """What missing inputs leave open, in brackets; nothing where all are known."""
    phrases = PHRASES[language]
    parts: list[str] = []
    if evidence.low is not None and evidence.high is None:
        parts.append(phrases.at_least)
    elif evidence.low is not None and evidence.high is not None and evidence.low != evidence.high:
        low, high = number_text(evidence.low, language), number_text(evidence.high, language)
        parts.append(phrases.possible.format(low=low, high=high))
    if evidence.missing:
        names = listed([channel_words(name, language) for name in evidence.missing], language)
        parts.append(phrases.missing.format(names=names))
    return phrases.range.format(parts=phrases.part.join(parts)) if parts else ""


def _comparison(condition: Condition, language: Language) -> str:
    evidence = condition.evidence
    if evidence is None:
        return condition.rule
    return PHRASES[language].standing.format(
        rule=condition.rule,
        name=channel_words(evidence.channel, language),
        value=number_text(evidence.value, language),
        threshold=number_text(evidence.threshold, language),
    )
