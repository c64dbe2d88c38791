"""Rules from TOML: bytes in, `RuleSet` out. No clock: which rules are in force is decided from a time that is given."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, TypeVar

import msgspec

from contracts.canonical import canonical_hash
from contracts.condition import Kind, Priority
from contracts.signals import default_registry
from twin_state.rules import LIMITS, Comparison, ConditionRule, Context

DERIVED_CHANNELS: frozenset[str] = frozenset(
    {
        "news2_low",
        "news2_high",
        "news2_single",
        "heart_rate_above_rest_pct",
        "systolic_fall",
        "silence_s",
        "devices_silent",
        "symptom_chest_pain",
        "symptom_syncope",
        "symptom_other",
        "heart_rate_steady",
        "respiratory_rate_steady",
        "spo2_steady",
        "news2_steady",
        "heart_rate_below_usual",
        "spo2_below_usual",
        "deterioration",
        "heart_rate_scatter",
    }
)
"""What the twin estimates beyond the signals themselves; `docs/rules.md` says what each one means."""

CHANNELS: frozenset[str] = DERIVED_CHANNELS | frozenset(
    signal.name for signal in default_registry().signals if signal.shape in {"scalar", "code"}
)
"""Every channel a rule of the clinical model set may watch."""

PAST_EVENT = "past-event"
"""Notice for a symptom report, or a reading that would have been high priority, older than the lateness bound."""

TICKS_STOPPED = "ticks-stopped"
"""Notice for a partition whose arrival clock stands still: nobody judges silence there."""

REQUIRED_NOTICES: tuple[str, ...] = (PAST_EVENT, TICKS_STOPPED)

MESSAGE_FIELDS: frozenset[str] = frozenset(
    {"value", "threshold", "below", "limit", "range", "missing", "devices", "channel", "onset"}
)
"""What a message may name in braces; `alerts/messages.py` fills them in."""


RE_ALARM_AFTER_S: dict[Priority, float] = {"high": 180.0, "medium": 600.0, "low": 0.0, "none": 0.0}
"""By priority: s from an acknowledgement until a condition that still stands is announced again; 0: never. Bedside
monitors remind after 2 to 3 minutes (Philips V24 instructions for use, p. 161); the rest is BioTwin's default."""

ESCALATE_AFTER_S: dict[Priority, float] = {"high": 60.0, "medium": 300.0, "low": 0.0, "none": 0.0}
"""By priority: s without an answer until an alert escalates; 0: never. IEC 60601-1-8 asks for an immediate response to
high and a prompt one to medium priority and names no time: these are BioTwin's defaults, for a clinician to sign."""


class RuleError(ValueError):
    """A rule file that cannot be used. The text names the file, the rule and the field."""


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A condition that a part of BioTwin raises by itself; the rule file gives it its words and its urgency.

    `message` is the sentence while it stands, `cleared` the one when it ends (absent: the channel's value then);
    `message_ja` and `cleared_ja` say the same in Japanese (absent: made from the evidence), with the same names.
    It is in force from the start of `effective_from` (UTC; absent: always has been) and no longer from the start of
    `effective_until` on (absent: without end).
    """

    id: str
    kind: Kind
    priority: Priority
    message: str
    source: str
    author: str
    cleared: str = ""
    message_ja: str = ""
    cleared_ja: str = ""
    effective_from: date = date.min
    effective_until: date | None = None

    def __post_init__(self) -> None:
        for name in ("id", "message", "source", "author"):
            if not getattr(self, name).strip():
                raise ValueError(f"field {name}: must not be empty")
        if self.effective_until is not None and self.effective_until <= self.effective_from:
            raise ValueError("field effective_until: must lie after effective_from")
        _check_translation("message", self.message, self.message_ja)
        _check_translation("cleared", self.cleared, self.cleared_ja)

    def in_force(self, at: float) -> bool:
        """Whether the rule applies at `at`, in s since the epoch."""
        until = math.inf if self.effective_until is None else _start_of_day(self.effective_until)
        since = -math.inf if self.effective_from == date.min else _start_of_day(self.effective_from)
        return since <= at < until


class Rule(Notice, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A notice with the comparison that raises it; those fields are of `twin_state.rules.ConditionRule`.

    `latching`, `re_alarm_after_s` and `escalate_after_s` are about the alert's signal (`alerts.alert_signal`): whether
    it stays when the condition is over until somebody has seen it, and after how many s it is announced again although
    it was acknowledged, or escalates because it was not. None takes the priority's default, 0 means never. `group_s` is
    for how long (s) after its call an alert of this rule takes others of its patient into its group (`alerts.step`),
    `joins` whether one of this rule may join another's. Only physiological alerts have groups.
    """

    channel: str
    comparison: Comparison
    threshold: float
    onset_delay_s: float = 0.0
    clear_delay_s: float = 0.0
    hysteresis: float = 0.0
    update_step: float = 0.0
    when: Context = "always"
    limit: str = ""
    limit_offset: float = 0.0
    limit_required: bool = False
    onset_area: float = 0.0
    hold_s: float = 0.0
    pause_leak: float = 0.0
    suppressed_by: tuple[str, ...] = ()
    group_s: float = 0.0
    joins: bool = True
    latching: bool = False
    re_alarm_after_s: float | None = None
    escalate_after_s: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("threshold", "limit_offset"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"field {name}: must be a finite number")
        for name in (
            "onset_delay_s",
            "clear_delay_s",
            "hysteresis",
            "update_step",
            "onset_area",
            "hold_s",
            "pause_leak",
            "group_s",
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"field {name}: must be a finite number of at least 0, got {value:g}")
        if self.onset_area and not self.onset_delay_s:
            raise ValueError("field onset_area: shortens onset_delay_s, which must be above 0")
        if self.pause_leak and not self.onset_delay_s:
            raise ValueError("field pause_leak: is about onset_delay_s, which must be above 0")
        if self.id in self.suppressed_by:
            raise ValueError("field suppressed_by: a rule cannot suppress itself")
        if self.group_s and self.kind != "physiological":
            raise ValueError("field group_s: only physiological alerts are grouped")
        if self.group_s and self.priority == "none":
            raise ValueError("field group_s: an advisory of priority none calls nobody and leads no group")
        if self.limit and self.limit not in LIMITS:
            raise ValueError(f'field limit: unknown personal limit "{self.limit}"; known: {", ".join(LIMITS)}')
        if self.limit_required and not self.limit:
            raise ValueError("field limit_required: names no limit; set `limit` too")
        if self.limit_offset and not self.limit:
            raise ValueError("field limit_offset: names no limit; set `limit` too")
        self._check_signal()

    def _check_signal(self) -> None:
        if self.latching and self.kind == "technical":
            raise ValueError("field latching: a technical alarm ends by itself and never latches (IEC 60601-1-8)")
        if self.latching and self.priority == "none":
            raise ValueError("field latching: an advisory of priority none interrupts nobody and cannot latch")
        for name in ("re_alarm_after_s", "escalate_after_s"):
            value = getattr(self, name)
            if value is None:
                continue
            if not (math.isfinite(value) and value >= 0.0):
                raise ValueError(f"field {name}: must be a finite number of at least 0, got {value:g}")
            if value == 0.0 and self.priority == "high":
                raise ValueError(f"field {name}: must be above 0 for priority high: such an alert is never left alone")

    def condition_rule(self) -> ConditionRule:
        """The part that decides, as the twin's kernels take it."""
        return ConditionRule(
            id=self.id,
            channel=self.channel,
            comparison=self.comparison,
            threshold=self.threshold,
            priority=self.priority,
            onset_delay_s=self.onset_delay_s,
            clear_delay_s=self.clear_delay_s,
            hysteresis=self.hysteresis,
            update_step=self.update_step,
            when=self.when,
            limit=self.limit,
            limit_offset=self.limit_offset,
            limit_required=self.limit_required,
            onset_area=self.onset_area,
            hold_s=self.hold_s,
            pause_leak=self.pause_leak,
        )


def re_alarm_after_s(rule: Notice | None, priority: Priority) -> float:
    """How long an acknowledgement holds (s) at a priority under a rule; 0: as long as the condition. Never 0 for
    high."""
    return _delay(rule.re_alarm_after_s if isinstance(rule, Rule) else None, RE_ALARM_AFTER_S, priority)


def escalate_after_s(rule: Notice | None, priority: Priority) -> float:
    """How long an alert waits for an answer (s) at a priority under a rule before it escalates; 0: for ever. Never 0
    for high."""
    return _delay(rule.escalate_after_s if isinstance(rule, Rule) else None, ESCALATE_AFTER_S, priority)


def _delay(own: float | None, defaults: Mapping[Priority, float], priority: Priority) -> float:
    return defaults[priority] if own is None or (own == 0.0 and priority == "high") else own


class RuleSet:
    """The rules in force, in order of their ids, so that equal hashes mean equal rules in equal order.

    `hash` is that of the canonical form of the rules in force: comments, layout and order in the file do not change it.
    """

    def __init__(self, rules: tuple[Rule, ...], notices: tuple[Notice, ...]) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.id))
        self.notices = tuple(sorted(notices, key=lambda notice: notice.id))
        self._by_id: dict[str, Notice] = {entry.id: entry for entry in (*self.rules, *self.notices)}
        self.hash = canonical_hash(
            {"rule": msgspec.to_builtins(self.rules), "notice": msgspec.to_builtins(self.notices)}
        )

    def conditions(self) -> tuple[ConditionRule, ...]:
        """What the twin watches, in order of the rules' ids."""
        return tuple(rule.condition_rule() for rule in self.rules)

    def __getitem__(self, rule_id: str) -> Notice:
        return self._by_id[rule_id]

    def get(self, rule_id: str) -> Notice | None:
        """The rule or notice of that id, or None where none is in force."""
        return self._by_id.get(rule_id)

    def __contains__(self, rule_id: str) -> bool:
        return rule_id in self._by_id

    def __iter__(self) -> Iterator[Notice]:
        return iter((*self.rules, *self.notices))

    def __len__(self) -> int:
        return len(self._by_id)


def parse_rules(toml: bytes, at: float, name: str = "rules", channels: frozenset[str] | None = CHANNELS) -> RuleSet:
    """The rules of a TOML file that are in force at `at` (s since the epoch).

    `name` stands in errors. `channels` are those that the model set offers; None takes any. Raises `RuleError`.
    """
    try:
        document = tomllib.loads(toml.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RuleError(f"{name}: not TOML: {error}") from error
    unknown = sorted(set(document) - {"rule", "notice"})
    if unknown:
        raise RuleError(f"{name}: unknown table {unknown[0]}; a rule file holds [[rule]] and [[notice]]")
    rules = _entries(document, "rule", Rule, name)
    notices = _entries(document, "notice", Notice, name)
    for rule in rules:
        if channels is not None and rule.channel not in channels:
            raise RuleError(f'{name}: rule "{rule.id}": field channel: unknown channel "{rule.channel}"')
        for parent in rule.suppressed_by:
            if parent not in {other.id for other in rules}:
                raise RuleError(f'{name}: rule "{rule.id}": field suppressed_by: no rule "{parent}"')
    _refuse_overlaps((*rules, *notices), name)
    in_force = RuleSet(
        tuple(rule for rule in rules if rule.in_force(at)), tuple(notice for notice in notices if notice.in_force(at))
    )
    for notice_id in REQUIRED_NOTICES:
        if notice_id not in in_force:
            raise RuleError(f'{name}: [[notice]] "{notice_id}" is missing, or not in force at {_utc(at)}')
    return in_force


@cache
def default_rules_toml() -> bytes:
    """The rule file shipped beside this module."""
    return (files("alerts.rules") / "default.toml").read_bytes()


def default_rules(at: float) -> RuleSet:
    """The shipped rules that are in force at `at` (s since the epoch)."""
    return parse_rules(default_rules_toml(), at, "default.toml")


_Entry = TypeVar("_Entry", bound=Notice)


def _entries(document: Mapping[str, Any], table: str, entry_type: type[_Entry], name: str) -> list[_Entry]:
    rows = document.get(table, [])
    if not isinstance(rows, list):
        raise RuleError(f"{name}: {table} must be an array of tables; write [[{table}]]")
    entries: list[_Entry] = []
    for position, row in enumerate(rows, start=1):
        label = row["id"] if isinstance(row, dict) and isinstance(row.get("id"), str) else f"number {position}"
        try:
            entries.append(msgspec.convert(row, entry_type))
        except msgspec.ValidationError as error:
            raise RuleError(f'{name}: {table} "{label}": {_plain(error)}') from error
    return entries


def _plain(error: msgspec.ValidationError) -> str:
    """msgspec's message with the field first: "field priority: Invalid enum value 'urgent'"."""
    text, _, place = str(error).partition(" - at `$.")
    return f"field {place.removesuffix('`')}: {text}" if place else text


def _refuse_overlaps(entries: tuple[Notice, ...], name: str) -> None:
    """An id may stand twice only with effective intervals that do not meet: the versions of one rule."""
    for i, first in enumerate(entries):
        for second in entries[i + 1 :]:
            if first.id != second.id:
                continue
            starts_before = second.effective_until is None or first.effective_from < second.effective_until
            ends_after = first.effective_until is None or second.effective_from < first.effective_until
            if starts_before and ends_after:
                raise RuleError(f'{name}: rule "{first.id}": field effective_from: two versions are in force at once')


def _check_translation(name: str, message: str, japanese: str) -> None:
    """Both can be filled in, and what is said in one language is said in the other."""
    named, named_ja = _check_message(name, message), _check_message(f"{name}_ja", japanese)
    if japanese and named != named_ja:
        different = ", ".join(f"{{{field}}}" for field in sorted(named ^ named_ja))
        raise ValueError(f"field {name}_ja: names not the same values as {name}: {different}")


def _check_message(name: str, message: str) -> set[str]:
    """The values that a message names."""
    try:
        parts = list(Formatter().parse(message))
    except ValueError as error:
        raise ValueError(f"field {name}: {error}") from error
    for _, field, specification, conversion in parts:
        if field is None:
            continue
        if field not in MESSAGE_FIELDS:
            known = ", ".join(sorted(MESSAGE_FIELDS))
            raise ValueError(f"field {name}: unknown name {{{field}}}; known: {known}")
        if specification or conversion:
            raise ValueError(f"field {name}: {{{field}}} takes no format")
    return {field for _, field, _, _ in parts if field is not None}


def _start_of_day(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
