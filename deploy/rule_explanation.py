"""A rule in plain words, for `biotwin rules explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from alerts.rules import Notice, Rule, RuleSet, escalate_after_s, re_alarm_after_s
from alerts.words import channel_words
from contracts.signals import default_registry
from deploy.alert_documents import CHANNEL_MEANINGS, comparison_text

WHEN = {
    "always": "always",
    "rest": "while no exercise session runs",
    "session": "during an exercise session only",
}


def explanation(rule: Notice, rules: RuleSet) -> str:
    """Title line, then one paragraph a question, at 100 columns."""
    lines = [f"{rule.id}: {rule.kind} alert of priority {rule.priority}"]
    for question, answer in _answers(rule, rules):
        lines += textwrap.wrap(
            f"{question:<14}{answer}", 100, initial_indent="  ", subsequent_indent=" " * 16, break_on_hyphens=False
        )
    return "\n".join(lines)


def _answers(rule: Notice, rules: RuleSet) -> Iterator[tuple[str, str]]:
    yield "Says", rule.message
    if not isinstance(rule, Rule):
        yield "Raised", "by BioTwin itself"
        yield "Source", f"{rule.source}. Author: {rule.author}."
        return
    yield "Watches", f"{comparison_text(rule)}: {_meaning(rule.channel)}"
    yield "Applies", WHEN[rule.when]
    yield "Comes up", _onset(rule)
    yield "Clears", _clear(rule)
    yield "Kept back", _kept_back(rule, rules)
    yield "Group", _group(rule)
    yield "Personal", _personal(rule)
    yield "Signal", _signal(rule)
    yield "Source", f"{rule.source}. Author: {rule.author}."


def _meaning(channel: str) -> str:
    if channel in CHANNEL_MEANINGS:
        return CHANNEL_MEANINGS[channel]
    return f"{channel_words(channel)} in {default_registry()[channel].ucum}, the last trusted value"


def _onset(rule: Rule) -> str:
    if not rule.onset_delay_s:
        return "at once"
    held = f" A value counts for {rule.hold_s:g} s." if rule.hold_s else ""
    if not rule.onset_area:
        return f"after {rule.onset_delay_s:g} s {_unbroken(rule)} beyond the limit.{held}"
    deep = rule.onset_area / 5.0
    return (
        f"after {rule.onset_delay_s:g} s {_unbroken(rule)} beyond the limit, or sooner once the area beyond it is "
        f"{rule.onset_area:g} (unit x s): {deep:g} s at 5 beyond.{held}"
    )


def _unbroken(rule: Rule) -> str:
    if not rule.pause_leak:
        return "without a break"
    return f"(each s of a break takes {rule.pause_leak:g} s away)"


def _clear(rule: Rule) -> str:
    back = f"{rule.hysteresis:g} back from the limit" if rule.hysteresis else "back within the limit"
    return f"after {rule.clear_delay_s:g} s {back}" if rule.clear_delay_s else f"once it is {back}"


def _kept_back(rule: Rule, rules: RuleSet) -> str:
    parts = []
    if rule.suppressed_by:
        parents = ", ".join(rule.suppressed_by)
        parts.append(f"while an alert of {parents} stands: recorded, told if that ends first")
    children = [other.id for other in rules.rules if rule.id in other.suppressed_by]
    if children:
        parts.append(f"keeps back {', '.join(children)} while it stands")
    return "; ".join(parts) or "by no other rule"


def _group(rule: Rule) -> str:
    if rule.kind != "physiological":
        return "none: only physiological alerts are grouped"
    leads = (
        f"for {rule.group_s:g} s after its call it takes in what comes for the patient, of no higher priority"
        if rule.group_s
        else "leads none"
    )
    joins = "joins another's, and then calls only if it worsens" if rule.joins else "always calls for itself"
    return f"{leads}; {joins}"


def _personal(rule: Rule) -> str:
    if not rule.limit:
        return "takes no personal limit: the threshold holds for everybody"
    name = rule.limit + (f" {rule.limit_offset:+g}" if rule.limit_offset else "")
    if rule.limit_required:
        return f"idle until a clinician has ordered {name} (`biotwin patient limits`)"
    return f"{name} takes the threshold's place where a clinician ordered it (`biotwin patient limits`)"


def _signal(rule: Rule) -> str:
    again, escalates = re_alarm_after_s(rule, rule.priority), escalate_after_s(rule, rule.priority)
    parts = ["stays until somebody has seen it" if rule.latching else "ends with the condition"]
    parts.append(f"told again {again:g} s after an acknowledgement" if again else "an acknowledgement holds")
    parts.append(f"escalates after {escalates:g} s without an answer" if escalates else "never escalates")
    return "; ".join(parts)
