"""Words for what stands in alerts, in each language that people are spoken to: for pages, channels and explanations.

English is the language of the code; a table here has both. Japanese follows JIS T 60601-1-8 for priorities and signals
and the usual clinical words for vital signs. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from contracts.alert_signal import SignalEvent, SignalState
from contracts.condition import AlertState, ConditionState, Kind, Priority, Stage
from contracts.signals import default_registry
from twin_state.rules import Context

Language = Literal["en", "ja"]

LANGUAGES: tuple[Language, ...] = ("en", "ja")

Words = Mapping[Language, str]

PRIORITY_WORDS: Mapping[Priority, Words] = {
    "high": {"en": "high priority", "ja": "高優先度"},
    "medium": {"en": "medium priority", "ja": "中優先度"},
    "low": {"en": "low priority", "ja": "低優先度"},
    "none": {"en": "information", "ja": "情報"},
}

KIND_WORDS: Mapping[Kind, Words] = {
    "physiological": {"en": "physiological", "ja": "生理的アラーム"},
    "technical": {"en": "technical", "ja": "技術的アラーム"},
    "advisory": {"en": "advisory", "ja": "注意喚起"},
}

STATE_WORDS: Mapping[AlertState, Words] = {
    "active": {"en": "active", "ja": "発生中"},
    "suppressed": {"en": "kept back", "ja": "抑制中"},
    "cleared": {"en": "over", "ja": "解消"},
    "withdrawn": {"en": "withdrawn", "ja": "取り消し"},
}

TRANSITION_WORDS: Mapping[ConditionState, Words] = {
    "onset": {"en": "began", "ja": "発生"},
    "update": {"en": "changed", "ja": "更新"},
    "clear": {"en": "ended", "ja": "解消"},
    "withdrawn": {"en": "was taken back", "ja": "取り消し"},
}

STAGE_WORDS: Mapping[Stage, Words] = {
    "provisional": {"en": "provisional", "ja": "暫定"},
    "settled": {"en": "confirmed", "ja": "確定"},
}

SIGNAL_WORDS: Mapping[SignalState, Words] = {
    "inactive": {"en": "no signal", "ja": "アラーム信号なし"},
    "on": {"en": "unanswered", "ja": "未対応"},
    "acknowledged": {"en": "acknowledged", "ja": "確認済み"},
    "audio_paused": {"en": "sound paused", "ja": "アラーム音一時停止中"},
    "alarm_off": {"en": "alarm off", "ja": "アラーム停止中"},
    "latched": {"en": "over, not yet seen", "ja": "解消（未確認）"},
    "latched_audio_paused": {"en": "over, not yet seen, sound paused", "ja": "解消（未確認）、アラーム音一時停止中"},
}

SIGNAL_EVENT_WORDS: Mapping[SignalEvent, Words] = {
    "condition_onset": {"en": "announced", "ja": "発報"},
    "priority_raised": {"en": "more urgent, announced again", "ja": "優先度が上がり再発報"},
    "priority_lowered": {"en": "less urgent", "ja": "優先度が下がった"},
    "condition_cleared": {"en": "condition over", "ja": "状態が解消"},
    "condition_withdrawn": {"en": "notice taken back", "ja": "通知の取り消し"},
    "condition_recurred": {"en": "came again as a new alert", "ja": "新しいアラートとして再発"},
    "condition_renamed": {"en": "goes on under the confirmed id", "ja": "確定したIDで継続"},
    "acknowledge": {"en": "acknowledged", "ja": "確認"},
    "audio_pause": {"en": "sound paused", "ja": "アラーム音を一時停止"},
    "alarm_off": {"en": "put off", "ja": "アラームを停止"},
    "alarm_resume": {"en": "resumed", "ja": "再開"},
    "marked_useful": {"en": "found useful", "ja": "有用と評価"},
    "marked_not_useful": {"en": "found not useful", "ja": "有用でないと評価"},
    "inactivation_expired": {"en": "pause over, announced again", "ja": "停止期間が終わり再発報"},
    "re_alarm_due": {"en": "still there, announced again", "ja": "継続しているため再発報"},
    "escalation_due": {"en": "nobody answered, escalated", "ja": "応答がないためエスカレーション"},
}

CONTEXT_WORDS: Mapping[Context, Words] = {
    "always": {"en": "at any time", "ja": "常時"},
    "rest": {"en": "outside exercise sessions", "ja": "運動セッション以外"},
    "session": {"en": "in an exercise session", "ja": "運動セッション中"},
}

CHANNEL_WORDS: Mapping[str, Words] = {
    "heart_rate": {"en": "heart rate", "ja": "心拍数"},
    "spo2": {"en": "SpO2", "ja": "SpO2"},
    "respiratory_rate": {"en": "respiratory rate", "ja": "呼吸数"},
    "body_temperature": {"en": "temperature", "ja": "体温"},
    "systolic_pressure": {"en": "systolic pressure", "ja": "収縮期血圧"},
    "diastolic_pressure": {"en": "diastolic pressure", "ja": "拡張期血圧"},
    "mean_pressure": {"en": "mean pressure", "ja": "平均血圧"},
    "consciousness": {"en": "consciousness", "ja": "意識レベル"},
    "supplemental_oxygen": {"en": "supplemental oxygen", "ja": "酸素投与"},
    "rr_ms": {"en": "beat intervals", "ja": "RR間隔"},
    "power_w": {"en": "power", "ja": "運動負荷"},
    "speed_mps": {"en": "speed", "ja": "速度"},
    "grade_pct": {"en": "grade", "ja": "傾斜"},
    "cadence_per_min": {"en": "cadence", "ja": "回転数"},
    "steps": {"en": "steps", "ja": "歩数"},
    "skin_temperature": {"en": "skin temperature", "ja": "皮膚温"},
    "eda_us": {"en": "skin conductance", "ja": "皮膚電気活動"},
    "body_weight": {"en": "body weight", "ja": "体重"},
    "glucose_mg_dl": {"en": "glucose", "ja": "血糖値"},
    "mood": {"en": "mood", "ja": "気分"},
    "stress": {"en": "stress", "ja": "ストレス"},
    "rpe": {"en": "perceived exertion", "ja": "自覚的運動強度"},
    "symptom": {"en": "symptom", "ja": "症状"},
    "battery_pct": {"en": "battery level", "ja": "電池残量"},
    "ecg_mv": {"en": "ECG", "ja": "心電図"},
    "ppg": {"en": "pulse wave", "ja": "脈波"},
    "acceleration_mg": {"en": "acceleration", "ja": "加速度"},
    "news2_low": {"en": "NEWS2", "ja": "NEWS2"},
    "news2_high": {"en": "NEWS2", "ja": "NEWS2"},
    "news2_single": {"en": "one NEWS2 parameter scoring 3", "ja": "単独で3点のNEWS2項目"},
    "news2_steady": {"en": "NEWS2", "ja": "NEWS2"},
    "heart_rate_steady": {"en": "heart rate", "ja": "心拍数"},
    "respiratory_rate_steady": {"en": "respiratory rate", "ja": "呼吸数"},
    "spo2_steady": {"en": "SpO2", "ja": "SpO2"},
    "heart_rate_below_usual": {"en": "heart rate below usual", "ja": "普段からの心拍数低下"},
    "spo2_below_usual": {"en": "SpO2 below usual", "ja": "普段からのSpO2低下"},
    "heart_rate_scatter": {"en": "scatter of heart rate", "ja": "心拍数のばらつき"},
    "deterioration": {"en": "deterioration", "ja": "悪化スコア"},
    "heart_rate_above_rest_pct": {"en": "heart rate above rest", "ja": "安静時からの心拍数増加"},
    "systolic_fall": {"en": "fall of systolic pressure", "ja": "収縮期血圧の低下"},
    "silence_s": {"en": "time without a reading", "ja": "測定値が届かない時間"},
    "devices_silent": {"en": "the number of silent devices", "ja": "応答のない機器の数"},
    "symptom_chest_pain": {"en": "chest pain", "ja": "胸痛"},
    "symptom_syncope": {"en": "fainting", "ja": "失神"},
    "symptom_other": {"en": "a symptom", "ja": "症状"},
}
"""Names of signals and of what the twin estimates, as they stand in a sentence."""

CODE_WORDS: Mapping[tuple[str, str], Words] = {
    ("consciousness", "A"): {"en": "A (alert)", "ja": "A（清明）"},
    ("consciousness", "C"): {"en": "C (new confusion)", "ja": "C（新たな混乱）"},
    ("consciousness", "V"): {"en": "V (responds to voice)", "ja": "V（呼びかけに反応）"},
    ("consciousness", "P"): {"en": "P (responds to pain)", "ja": "P（痛み刺激に反応）"},
    ("consciousness", "U"): {"en": "U (unresponsive)", "ja": "U（反応なし）"},
    ("supplemental_oxygen", "air"): {"en": "air", "ja": "室内気"},
    ("supplemental_oxygen", "oxygen"): {"en": "oxygen", "ja": "酸素投与中"},
    ("symptom", "none"): {"en": "none", "ja": "なし"},
    ("symptom", "chest_pain"): {"en": "chest pain", "ja": "胸痛"},
    ("symptom", "syncope"): {"en": "syncope", "ja": "失神"},
    ("symptom", "dyspnoea"): {"en": "dyspnoea", "ja": "息切れ"},
    ("symptom", "dizziness"): {"en": "dizziness", "ja": "めまい"},
    ("symptom", "palpitations"): {"en": "palpitations", "ja": "動悸"},
    ("symptom", "nausea"): {"en": "nausea", "ja": "吐き気"},
    ("symptom", "leg_pain"): {"en": "leg pain", "ja": "下肢痛"},
    ("symptom", "fatigue"): {"en": "fatigue", "ja": "疲労感"},
    ("symptom", "other"): {"en": "other", "ja": "その他"},
}
"""Names of coded values, by signal and code."""

UNIT_WORDS: Mapping[str, str] = {"mm[Hg]": " mmHg", "Cel": " °C", "1": "", "{score}": "", "{steps}": "", "/min": "/min"}
"""Units that people write in another way than UCUM, with the blank before them."""

OWN_UNITS: Mapping[str, str] = {
    "heart_rate_above_rest_pct": " %",
    "systolic_fall": " mmHg",
    "silence_s": " s",
    "heart_rate_steady": "/min",
    "respiratory_rate_steady": "/min",
    "spo2_steady": " %",
    "heart_rate_below_usual": "/min",
    "heart_rate_scatter": "/min",
    "spo2_below_usual": " %",
}
"""Units of what the twin estimates, which the signal registry does not have."""


def channel_words(channel: str, language: Language = "en") -> str:
    """A channel's name in a sentence; its own with spaces where no table has it."""
    known = CHANNEL_WORDS.get(channel)
    return known[language] if known else channel.replace("_", " ")


def unit_words(channel: str) -> str:
    """A channel's unit behind a number, with the blank that belongs before it; nothing where it has none."""
    registry = default_registry()
    if channel not in registry:
        return OWN_UNITS.get(channel, "")
    ucum = registry[channel].ucum
    return UNIT_WORDS.get(ucum, f" {ucum}")
