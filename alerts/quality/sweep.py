"""Rule sets between two others, for the trade-off between few alarms and what would be lost. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from alerts.rules import Rule, RuleSet

FACTORS: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
"""0: the present rules, 1: the new ones."""

TEXTS = frozenset({"author", "source", "message", "cleared", "effective_from", "effective_until"})
"""Fields that decide nothing."""

NOT_NEGATIVE = frozenset({"onset_delay_s", "clear_delay_s", "hysteresis", "update_step"})


class Difference(msgspec.Struct, frozen=True):
    """One field of a rule that two sets have different; a rule that one of them lacks has the field "rule"."""

    rule: str
    field: str
    present: Any
    new: Any


def differences(present: RuleSet, new: RuleSet) -> list[Difference]:
    """What differs between two rule sets and decides something, by rule and field."""
    found: list[Difference] = []
    for rule_id in sorted({entry.id for entry in (*present, *new)}):
        old, other = present.get(rule_id), new.get(rule_id)
        if old is None or other is None:
            found.append(Difference(rule_id, "rule", old is not None, other is not None))
            continue
        before, after = msgspec.to_builtins(old), msgspec.to_builtins(other)
        found += [
            Difference(rule_id, field, before.get(field), after.get(field))
            for field in sorted({*before, *after} - TEXTS)
            if before.get(field) != after.get(field)
        ]
    return found


def rules_between(present: RuleSet, new: RuleSet, factor: float) -> RuleSet:
    """The rules at `factor` of the way from the present (0) to the new ones (1); beyond 1 further on the same way.

    Numbers of a rule that both have go in proportion; delays and hysteresis never below 0. What is no number, and rules
    that only one of the sets has, change at 1.
    """
    if factor <= 0.0:
        return present
    if factor == 1.0:
        return new
    base = new if factor > 1.0 else present
    rules = tuple(_between(present.get(rule.id), new.get(rule.id), rule, factor) for rule in base.rules)
    return RuleSet(rules, base.notices)


def _between(old: Any, other: Any, base: Rule, factor: float) -> Rule:
    if not isinstance(old, Rule) or not isinstance(other, Rule):
        return base
    changes: dict[str, float] = {}
    for field in Rule.__struct_fields__:
        before, after = getattr(old, field), getattr(other, field)
        if isinstance(before, float | int) and isinstance(after, float | int) and not isinstance(before, bool):
            value = before + factor * (after - before)
            changes[field] = max(0.0, value) if field in NOT_NEGATIVE else value
    return msgspec.structs.replace(base, **changes)
