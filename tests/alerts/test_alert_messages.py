"""The sentence of an alert: one that a clinician can read without knowing the rule file."""

from __future__ import annotations

import msgspec
import pytest

from alerts.messages import number_text, render_message, time_text
from alerts.rules import DERIVED_CHANNELS, default_rules
from alerts.words import CHANNEL_WORDS, CODE_WORDS, LANGUAGES, Language
from contracts.condition import Condition, ConditionState, Evidence, Input
from contracts.signals import default_registry

RULES = default_rules(0.0)


def sentence(rule: str, evidence: Evidence | None, state: ConditionState = "onset", language: Language = "en") -> str:
    condition = Condition("a", "p1", rule, "physiological", "high", state, "settled", 60.0, 60.0, evidence)
    return render_message(RULES.get(rule), condition, language)


def evidence(
    channel: str, value: float, threshold: float, *, own: bool = False, missing: tuple[str, ...] = (), **more: float
) -> Evidence:
    inputs = [Input("spo2", 82.0, 59.0, 1.0, 1.0, "r")]
    limit_from = "patient" if own else "rule"
    return Evidence(channel, value, threshold, limit_from, inputs, "m", "c", missing=list(missing), **more)  # type: ignore[arg-type]


def silent(*devices: str) -> Evidence:
    return Evidence("devices_silent", float(len(devices)), 1.0, "rule", [], "m", "c", devices=list(devices))


@pytest.mark.parametrize(
    ("rule", "of", "expected"),
    [
        (
            "news2-emergency",
            evidence("news2_low", 7, 7, low=6, high=9, missing=("body_temperature",)),
            "NEWS2 is 7 (6 to 9 possible; temperature missing), limit 7: emergency assessment.",
        ),
        (
            "news2-emergency",
            evidence("news2_low", 8, 7, low=8, missing=("spo2", "heart_rate", "consciousness")),
            "NEWS2 is 8 (at least; SpO2, heart rate and consciousness missing), limit 7: emergency assessment.",
        ),
        ("news2-emergency", evidence("news2_low", 8, 7), "NEWS2 is 8, limit 7: emergency assessment."),
        ("spo2-low-in-session", evidence("spo2", 86.25, 87.9), "SpO2 is 86.2 % in exercise, below 88 %: slow down."),
        (
            "spo2-low-in-session",
            evidence("spo2", 84, 84.9, own=True),
            "SpO2 is 84 % in exercise, below 85 %: slow down.",
        ),
        (
            "heart-rate-stop",
            evidence("heart_rate", 145, 140),
            "Heart rate is 145/min in exercise, limit 140/min: stop.",
        ),
        (
            "heart-rate-stop",
            evidence("heart_rate", 145, 132, own=True),
            "Heart rate is 145/min in exercise, personal limit 132/min: stop.",
        ),
        (
            "heart-rate-above-zone",
            evidence("heart_rate", 121, 120, own=True),
            (
                "Heart rate is 121/min, more than 10/min above the target zone for a minute (personal limit 110/min): "
                "slow down."
            ),
        ),
        (
            "past-event",
            evidence("symptom", 2, 1),
            "Past event, received late: symptom was syncope at 00:01:00 UTC on 1970-01-01.",
        ),
        ("silence", evidence("silence_s", 900, 900), "No reading has arrived for 900 s."),
        ("device-silent", silent("chest_strap-7"), "Connection lost: chest_strap-7."),
        ("device-silent-session", silent("a", "b", "c"), "Connection lost in exercise: a, b and c."),
        ("heart-rate-stop", None, "Heart rate is unknown/min in exercise, unknown/min: stop."),
        ("gone", evidence("spo2", 80, 85), "gone: SpO2 is 80, limit 85 (this rule is no longer in force)."),
        ("gone", None, "gone (this rule is no longer in force)."),
    ],
)
def test_sentence_while_it_stands(rule: str, of: Evidence | None, expected: str) -> None:
    assert sentence(rule, of) == expected
    assert sentence(rule, of, "update") == expected


@pytest.mark.parametrize(
    ("rule", "of", "expected"),
    [
        ("spo2-below-85", evidence("spo2", 93, 84.9), "Over: SpO2 is now 93."),
        ("silence", evidence("silence_s", 0, 0), "Readings arrive again."),
        ("device-silent", silent("b"), "Over: the number of silent devices is now 1."),
        ("symptom-chest-pain", evidence("symptom_chest_pain", 0, 1), "The report of chest pain is no longer current."),
        ("gone", None, "Over: gone."),
    ],
)
def test_sentence_when_it_ends(rule: str, of: Evidence | None, expected: str) -> None:
    assert sentence(rule, of, "clear") == expected


def test_sentence_of_a_withdrawal() -> None:
    assert sentence("spo2-below-85", evidence("spo2", 82, 84.9), "withdrawn").startswith("Withdrawn: ")


def test_every_shipped_rule_makes_a_sentence_in_every_state() -> None:
    states: tuple[ConditionState, ...] = ("onset", "update", "clear", "withdrawn")
    for rule in RULES:
        for state in states:
            made = sentence(rule.id, evidence("heart_rate", 7.25, 6.5, low=1, high=2, missing=("spo2",)), state)
            assert made.endswith(".")
            assert not {"{", "}"} & set(made)
            assert made[0].isupper()


@pytest.mark.parametrize(
    ("rule", "of", "state", "expected"),
    [
        ("spo2-below-85", evidence("spo2", 82, 84.9), "onset", "SpO2が 82 %で、85 %未満です。"),
        (
            "news2-emergency",
            evidence("news2_low", 7, 7, low=7, high=10, missing=("body_temperature", "consciousness")),
            "update",
            "NEWS2が 7 点です（7～10の可能性、体温、意識レベルが未測定）（基準値 7）。緊急の評価が必要です。",
        ),
        (
            "heart-rate-stop",
            evidence("heart_rate", 145, 132, own=True),
            "onset",
            "運動中の心拍数が 145/分です（個別基準値 132/分）。運動を中止してください。",
        ),
        (
            "past-event",
            evidence("symptom", 1, 1),
            "onset",
            "過去の事象（遅れて受信）：1970-01-01 00:01:00 UTC の症状は 胸痛 でした。",
        ),
        ("device-silent", silent("a", "b"), "onset", "機器との接続が切れました：a、b。"),
        ("spo2-below-85", evidence("spo2", 93, 84.9), "clear", "解消：SpO2は現在 93です。"),
        ("silence", evidence("silence_s", 0, 0), "clear", "測定値が再び届いています。"),
        ("gone", evidence("spo2", 80, 85), "onset", "gone：SpO2 80、基準値 85（このルールは現在有効ではありません）。"),
        ("gone", None, "clear", "解消：gone。"),
        ("heart-rate-pause", None, "onset", "運動中の心拍数が 不明/分です（不明/分）。休憩してください。"),
    ],
)
def test_sentence_in_japanese(rule: str, of: Evidence | None, state: ConditionState, expected: str) -> None:
    assert sentence(rule, of, state, "ja") == expected


def test_every_shipped_rule_speaks_japanese_in_every_state() -> None:
    states: tuple[ConditionState, ...] = ("onset", "update", "clear", "withdrawn")
    for rule in RULES:
        assert rule.message_ja, rule.id
        assert bool(rule.cleared) == bool(rule.cleared_ja), rule.id
        for state in states:
            made = sentence(rule.id, evidence("heart_rate", 7.25, 6.5, low=1, high=2, missing=("spo2",)), state, "ja")
            assert made.endswith("。")
            assert not {"{", "}"} & set(made)


def test_a_rule_without_a_japanese_sentence_is_told_from_its_evidence() -> None:
    rule = msgspec.structs.replace(RULES["spo2-below-85"], message_ja="")
    condition = Condition(
        "a", "p1", rule.id, "physiological", "high", "onset", "settled", 60.0, 60.0, evidence("spo2", 82, 84.9)
    )
    assert render_message(rule, condition, "ja") == "spo2-below-85：SpO2 82、基準値 84.9。"


def test_every_channel_and_code_has_a_name_in_both_languages() -> None:
    signals = default_registry().signals
    assert set(CHANNEL_WORDS) == {signal.name for signal in signals} | DERIVED_CHANNELS
    assert set(CODE_WORDS) == {(signal.name, code) for signal in signals for code in signal.codes}
    tables = (*CHANNEL_WORDS.values(), *CODE_WORDS.values())
    assert all(set(words) == set(LANGUAGES) and all(words.values()) for words in tables)


def test_numbers_and_times_that_cannot_be_told() -> None:
    assert [number_text(value) for value in (-0.04, 7.0, 7.04, 7.06, float("nan"), float("inf"))] == [
        "0",
        "7",
        "7",
        "7.1",
        "unknown",
        "unknown",
    ]
    assert time_text(1e300) == "an unknown time"
