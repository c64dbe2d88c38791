"""Rules as data: the shipped set is complete and safe, and a site's own file says what is wrong with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.rules import (
    CHANNELS,
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
from alerts.rules.rule_set import ESCALATE_AFTER_S, RE_ALARM_AFTER_S
from contracts.signals import default_registry
from deploy.cli.rules import app

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()

RULE = """
[[rule]]
id = "fever"
kind = "physiological"
priority = "low"
channel = "body_temperature"
comparison = "at_least"
threshold = 38.5
message = "Temperature is {value}, {limit}."
source = "a book"
author = "a person"
"""

NOTICES = """
[[notice]]
id = "past-event"
kind = "advisory"
priority = "none"
message = "Late: {channel}."
source = "a book"
author = "a person"

[[notice]]
id = "ticks-stopped"
kind = "technical"
priority = "medium"
message = "The clock stands still."
source = "a book"
author = "a person"
"""


def parse(text: str, at: float = NOW) -> RuleSet:
    return parse_rules(text.encode(), at, "site.toml")


def comparison(rules: RuleSet, rule_id: str) -> Rule:
    rule = rules[rule_id]
    assert isinstance(rule, Rule)
    return rule


def test_the_shipped_rules_are_in_force_at_any_time_and_all_name_a_source() -> None:
    for at in (0.0, 1000.0, NOW):
        rules = default_rules(at)
        assert len(rules) == 39
        assert all(entry.source and entry.author and entry.message for entry in rules)
    assert {PAST_EVENT, TICKS_STOPPED} <= {notice.id for notice in rules.notices}
    assert rules[PAST_EVENT].priority == "none"
    assert rules[TICKS_STOPPED].kind == "technical"


@pytest.mark.parametrize(
    ("rule_id", "channel", "threshold", "priority", "when", "delay_s"),
    [
        ("news2-emergency", "news2_steady", 7.0, "high", "rest", 15.0),
        ("news2-urgent", "news2_steady", 5.0, "medium", "rest", 3600.0),
        ("news2-single-parameter", "news2_single", 1.0, "low", "rest", 300.0),
        ("news2-emergency-possible", "news2_high", 7.0, "low", "rest", 300.0),
        ("spo2-below-85", "spo2_steady", 84.9, "high", "always", 10.0),
        ("spo2-low-in-session", "spo2_steady", 87.9, "medium", "session", 15.0),
        ("spo2-low-at-rest", "spo2_steady", 89.9, "medium", "rest", 300.0),
        ("spo2-below-usual", "spo2_below_usual", 2.05, "medium", "rest", 780.0),
        ("deterioration", "deterioration", 2.7, "medium", "rest", 1560.0),
        ("heart-rate-irregular", "heart_rate_scatter", 3.8, "medium", "rest", 420.0),
        ("heart-rate-below-usual", "heart_rate_below_usual", 18.0, "medium", "rest", 300.0),
        ("heart-rate-stop", "heart_rate", 140.0, "high", "session", 10.0),
        ("heart-rate-above-zone", "heart_rate", 130.0, "low", "session", 60.0),
        ("heart-rate-pause-above-rest", "heart_rate_above_rest_pct", 30.0, "low", "session", 60.0),
        ("systolic-250", "systolic_pressure", 250.0, "high", "always", 0.0),
        ("diastolic-115", "diastolic_pressure", 115.0, "high", "session", 0.0),
        ("systolic-fall", "systolic_fall", 10.1, "high", "session", 0.0),
        ("symptom-chest-pain", "symptom_chest_pain", 1.0, "high", "always", 0.0),
        ("symptom-syncope", "symptom_syncope", 1.0, "high", "always", 0.0),
        ("exertion-high", "rpe", 15.0, "low", "session", 0.0),
        ("silence", "silence_s", 0.0, "medium", "always", 0.0),
        ("device-silent", "devices_silent", 1.0, "low", "rest", 0.0),
        ("device-silent-session", "devices_silent", 1.0, "medium", "session", 0.0),
        ("battery-low", "battery_pct", 15.0, "low", "always", 0.0),
    ],
)
def test_published_thresholds(
    rule_id: str, channel: str, threshold: float, priority: str, when: str, delay_s: float
) -> None:
    rule = comparison(default_rules(NOW), rule_id)
    found = (rule.channel, rule.threshold, rule.priority, rule.when, rule.onset_delay_s)
    assert found == (channel, threshold, priority, when, delay_s)


def test_absolute_limits_name_no_personal_limit_and_no_rule_watches_a_baseline() -> None:
    rules = default_rules(NOW)
    for rule_id in ("spo2-below-85", "systolic-250", "diastolic-115", "symptom-chest-pain", "news2-emergency"):
        rule = comparison(rules, rule_id)
        assert (rule.limit, rule.limit_required, rule.limit_offset) == ("", False, 0.0)
    assert not any("baseline" in channel for channel in CHANNELS)


def test_what_stops_exercise_latches_and_nothing_technical_does() -> None:
    latching = {rule.id for rule in default_rules(0.0).rules if rule.latching}
    assert latching == {
        *("spo2-below-85", "heart-rate-stop", "heart-rate-above-maximum", "systolic-250", "diastolic-115"),
        *("systolic-fall", "symptom-chest-pain", "symptom-syncope"),
    }


def test_delays_of_a_signal_are_the_rules_own_or_the_prioritys() -> None:
    rules = parse(RULE + "re_alarm_after_s = 45\nescalate_after_s = 0\n" + NOTICES)
    assert re_alarm_after_s(rules["fever"], "low") == 45.0
    assert escalate_after_s(rules["fever"], "medium") == 0.0
    assert escalate_after_s(rules["fever"], "high") == ESCALATE_AFTER_S["high"]  # never left alone
    for rule in (None, rules["past-event"], comparison(parse(RULE + NOTICES), "fever")):
        assert re_alarm_after_s(rule, "medium") == RE_ALARM_AFTER_S["medium"]
        assert escalate_after_s(rule, "low") == ESCALATE_AFTER_S["low"] == 0.0


def test_channels_are_the_scalar_and_code_signals_and_the_derived_ones() -> None:
    assert {"heart_rate", "symptom", "rpe", "news2_low", "silence_s"} <= CHANNELS
    assert not {"rr_ms", "ecg_mv"} & CHANNELS
    assert all(rule.channel in CHANNELS for rule in default_rules(NOW).rules)
    assert len(default_registry()) > 0


def test_conditions_come_in_order_of_id_with_every_number_of_the_file() -> None:
    rules = default_rules(NOW)
    conditions = rules.conditions()
    assert [condition.id for condition in conditions] == sorted(rule.id for rule in rules.rules)
    zone = next(condition for condition in conditions if condition.id == "heart-rate-above-zone")
    assert (zone.limit, zone.limit_offset, zone.limit_required) == ("zone_high", 10.0, True)
    assert (zone.onset_delay_s, zone.clear_delay_s, zone.hysteresis) == (60.0, 10.0, 5.0)


def test_hash_follows_the_meaning_not_the_layout() -> None:
    plain = parse(RULE + NOTICES)
    assert parse("# a remark\n" + NOTICES + RULE).hash == plain.hash
    assert parse(RULE.replace("38.5", "38.4") + NOTICES).hash != plain.hash
    assert parse(RULE.replace("a book", "another book") + NOTICES).hash != plain.hash


def test_effective_dates_choose_the_version_in_force() -> None:
    first = RULE + "effective_until = 2026-03-01\n"
    second = RULE.replace("38.5", "38.0") + "effective_from = 2026-03-01\n"
    text = first + second + NOTICES
    boundary = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert comparison(parse(text, boundary - 0.001), "fever").threshold == 38.5
    assert comparison(parse(text, boundary), "fever").threshold == 38.0
    ended = parse(first + NOTICES, boundary)
    assert "fever" not in ended
    assert ended.get("fever") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (RULE.replace('"low"', '"urgent"'), 'rule "fever": field priority: Invalid enum value'),
        (RULE.replace("threshold = 38.5\n", ""), 'rule "fever": Object missing required field `threshold`'),
        (RULE.replace("38.5", '"high"'), 'rule "fever": field threshold: Expected `float`, got `str`'),
        (RULE.replace("38.5", "nan"), 'rule "fever": field threshold: must be a finite number'),
        (RULE + "onset_delay_s = -1\n", 'rule "fever": field onset_delay_s: must be a finite number of at least 0'),
        (RULE + "clear_delay_s = inf\n", 'rule "fever": field clear_delay_s: must be a finite number'),
        (RULE + 'limit = "mood"\n', 'rule "fever": field limit: unknown personal limit "mood"'),
        (RULE + "limit_required = true\n", 'rule "fever": field limit_required: names no limit'),
        (RULE + "limit_offset = 10\n", 'rule "fever": field limit_offset: names no limit'),
        (RULE + "pause_leak = 1\n", 'rule "fever": field pause_leak: is about onset_delay_s'),
        (RULE + "group_s = -1\n", 'rule "fever": field group_s: must be a finite number of at least 0'),
        (
            RULE.replace('"physiological"', '"technical"') + "group_s = 60\n",
            'rule "fever": field group_s: only physiological alerts are grouped',
        ),
        (RULE.replace('"low"', '"none"') + "group_s = 60\n", 'rule "fever": field group_s: an advisory'),
        (RULE + 'when = "asleep"\n', 'rule "fever": field when: Invalid enum value'),
        (RULE + "colour = 3\n", 'rule "fever": Object contains unknown field `colour`'),
        (RULE.replace("body_temperature", "aura"), 'rule "fever": field channel: unknown channel "aura"'),
        (RULE.replace("{value}", "{name}"), 'rule "fever": field message: unknown name {name}'),
        (RULE.replace("{value}", "{value:d}"), 'rule "fever": field message: {value} takes no format'),
        (RULE + 'message_ja = "{limit}"\n', 'rule "fever": field message_ja: names not the same values as message: '),
        (RULE + 'message_ja = "{nom}"\n', 'rule "fever": field message_ja: unknown name {nom}'),
        (RULE + 'cleared_ja = "{value}"\n', 'rule "fever": field cleared_ja: names not the same values as cleared'),
        (RULE.replace("{value}", "{value"), 'rule "fever": field message: '),
        (RULE.replace('"a book"', '" "'), 'rule "fever": field source: must not be empty'),
        (RULE.replace('id = "fever"', "id = 7"), 'rule "number 1": field id: Expected `str`'),
        (
            RULE.replace('"physiological"', '"technical"') + "latching = true\n",
            'rule "fever": field latching: a technical alarm ends by itself',
        ),
        (RULE.replace('"low"', '"none"') + "latching = true\n", 'rule "fever": field latching: an advisory'),
        (RULE + "latching = 1\n", 'rule "fever": field latching: Expected `bool`'),
        (
            RULE + "re_alarm_after_s = -1\n",
            'rule "fever": field re_alarm_after_s: must be a finite number of at least 0',
        ),
        (RULE + "escalate_after_s = inf\n", 'rule "fever": field escalate_after_s: must be a finite number'),
        (
            RULE.replace('"low"', '"high"') + "re_alarm_after_s = 0\n",
            'rule "fever": field re_alarm_after_s: must be above 0 for priority high',
        ),
        (
            RULE.replace('"low"', '"high"') + "escalate_after_s = 0\n",
            'rule "fever": field escalate_after_s: must be above 0 for priority high',
        ),
        (RULE + RULE, 'rule "fever": field effective_from: two versions are in force at once'),
        (RULE + "effective_until = 0001-01-01\n", 'rule "fever": field effective_until: must lie after effective_from'),
        ("[rule]\nid = 1\n", "rule must be an array of tables"),
        ("[[rules]]\nid = 1\n", "unknown table rules"),
        ("[[rule", "not TOML"),
        (RULE, 'rule "past-event"'),
    ],
)
def test_an_unusable_file_names_the_file_the_rule_and_the_field(text: str, complaint: str) -> None:
    notices = "" if complaint == 'rule "past-event"' else NOTICES
    expected = '[[notice]] "past-event" is missing' if not notices else complaint
    with pytest.raises(RuleError, match=re.escape(expected)) as caught:
        parse(text + notices)
    assert str(caught.value).startswith("site.toml: ")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(RuleError, match="not TOML"):
        parse_rules(b"\xff\xfe", NOW)


def test_other_model_sets_bring_their_own_channels() -> None:
    text = RULE.replace("body_temperature", "w1_score") + NOTICES
    assert "fever" in parse_rules(text.encode(), NOW, channels=None)
    assert "fever" in parse_rules(text.encode(), NOW, channels=frozenset({"w1_score"}))


def test_command_checks_a_file(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_bytes(default_rules_toml())
    bad.write_text(RULE.replace('"low"', '"urgent"') + NOTICES)
    result = CliRunner().invoke(app, ["check", str(good)])
    assert result.exit_code == 0
    assert "37 rules and 2 notices in force" in result.output
    refused = CliRunner().invoke(app, ["check", str(bad)])
    assert refused.exit_code != 0
    assert 'rule "fever": field priority' in str(refused.exception)


def test_command_lists_rules_the_most_urgent_first() -> None:
    result = CliRunner().invoke(app, ["list", "--sources"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    priorities = [line.split()[1] for line in lines[1:-2]]
    assert priorities == sorted(priorities, key=["high", "medium", "low", "none"].index)
    assert any("news2-emergency " in line and "Royal College of Physicians" in line for line in lines)


def test_a_notice_is_found_like_a_rule() -> None:
    rules = parse(RULE + NOTICES)
    assert isinstance(rules["past-event"], Notice)
    assert {entry.id for entry in rules} == {"fever", "past-event", "ticks-stopped"}
