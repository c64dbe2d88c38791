"""Alert rules as data: what is watched, from which limit on, how urgent it is, in which words, and who says so."""

from alerts.rules.rule_set import (
    CHANNELS,
    DERIVED_CHANNELS,
    PAST_EVENT,
    TICKS_STOPPED,
    Notice,
    Rule,
    RuleError,
    RuleSet,
    default_rules,
    default_rules_toml,
    escalate_after_s,
    parse_rules,
    re_alarm_after_s,
)

__all__ = [
    "CHANNELS",
    "DERIVED_CHANNELS",
    "PAST_EVENT",
    "TICKS_STOPPED",
    "Notice",
    "Rule",
    "RuleError",
    "RuleSet",
    "default_rules",
    "default_rules_toml",
    "escalate_after_s",
    "parse_rules",
    "re_alarm_after_s",
]
