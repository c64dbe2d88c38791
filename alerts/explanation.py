"""Why an alert was told: one alert's records as plain types, and as text in English or Japanese. Pure.

Everything comes from the records themselves; nothing is computed anew here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from unicodedata import east_asian_width

import msgspec

from alerts.comparison import Comparison, Difference
from alerts.messages import number_text, range_text, time_text, value_text
from alerts.rules import Notice, Rule
from alerts.words import (
    KIND_WORDS,
    PRIORITY_WORDS,
    SIGNAL_EVENT_WORDS,
    STAGE_WORDS,
    STATE_WORDS,
    TRANSITION_WORDS,
    Language,
    channel_words,
    unit_words,
)
from contracts.alert_signal import SYSTEM_ACTOR, SignalTransition
from contracts.condition import Alert, Evidence, Input, Place


class _Phrases(NamedTuple):
    """What an explanation is made of in one language."""

    title: str
    patient: str
    since: str
    told: str
    lasted: str
    value: str
    inputs: str
    rule: str
    made: str
    log: str
    line: str
    done: str
    onset: str
    onset_area: str
    arrived: str
    said: str
    kept_back: str
    standing: str
    lasted_until: str
    taken_back: str
    limit_rule: str
    limit_patient: str
    input: str
    baseline: str
    deviation: str
    source: str
    author: str
    not_in_force: str
    hashes: str
    decided: str
    opened: str
    unknown: str
    nobody: str
    act: str
    by: str
    until: str
    because: str
    refused: str
    minutes: str
    seconds: str
    match: str
    match_extra: str
    mismatch: str
    unjudged: str
    difference: str
    only_recorded: str
    only_recomputed: str


PHRASES: dict[Language, _Phrases] = {
    "en": _Phrases(
        title="Alert {id}: {rule}, {kind}, {priority}, {state}",
        patient="Patient",
        since="Onset",
        told="Told",
        lasted="Lasted",
        value="Value",
        inputs="Rests on",
        rule="Rule",
        made="Made with",
        log="From",
        line="Said",
        done="Done",
        onset="{t}, after {seconds} beyond the limit, as the rule asks",
        onset_area="{t}, after up to {seconds} beyond the limit, as the rule asks: the further beyond, the sooner",
        arrived="first by what arrived at {t}, {seconds} after the onset",
        said="{t} {stage} {transition}: {message}{rest}",
        kept_back=" (kept back while {rule} stood: told to nobody)",
        standing="stands still, by the last of its records",
        lasted_until="{seconds}, until {t}",
        taken_back="taken back at {t}",
        limit_rule="{value}; the limit is {threshold}, the rule's",
        limit_patient="{value}; the limit is {threshold}, ordered for this patient",
        input="{name} {value}, {age} s old, quality {quality} (reading {reading}){rest}",
        baseline="; usual is {mean} ± {scale}, from {count} values",
        deviation="; {z} standard deviations from that",
        source="{rule}. Source: {source}",
        author=". Author: {author}",
        not_in_force=" (the rules in use here have none of this id)",
        hashes="rules {configuration}, models {model}, build {build}",
        decided="decided by record {decided}",
        opened="; opened by record {opened}",
        unknown="not recorded",
        nobody="nothing is recorded",
        act="{t} {event}{rest}",
        by=" by {actor}",
        until=" until {t}",
        because=": {reason}",
        refused=" (refused)",
        minutes="{minutes} min {seconds} s",
        seconds="{seconds} s",
        match="MATCH: recomputed from {source}, all {recorded} lines are the same, byte for byte.",
        match_extra=(
            "MATCH: recomputed from {source}, all confirmed lines are the same, byte for byte. More provisional lines "
            "were sent ({extra}), as a worker may do that restarts."
        ),
        mismatch="MISMATCH: {recorded} lines are recorded, {recomputed} were recomputed from {source}.",
        unjudged="NOT JUDGED: whether the log ({source}) gives the same lines cannot be said, because",
        difference="first difference: {line}: {field} is {recorded} in the record and {recomputed} by the log",
        only_recorded="first difference: {line} is recorded and does not follow from the log",
        only_recomputed="first difference: {line} follows from the log and is not recorded",
    ),
    "ja": _Phrases(
        title="アラート {id}：{rule}、{kind}、{priority}、{state}",
        patient="患者",
        since="発生時刻",
        told="通知",
        lasted="持続",
        value="値",
        inputs="根拠",
        rule="ルール",
        made="計算条件",
        log="記録位置",
        line="経過",
        done="対応",
        onset="{t}（ルールの定めにより、基準値を超えて {seconds} 後）",
        onset_area="{t}（ルールの定めにより、基準値を超えて最長 {seconds} 後。超え方が大きいほど早い）",
        arrived="{t} に届いた記録で最初に通知（発生から {seconds}）",
        said="{t} {stage}・{transition}：{message}{rest}",
        kept_back="（{rule} が継続中のため抑制し、通知していません）",
        standing="最後の記録の時点で継続中",
        lasted_until="{seconds}（{t} まで）",
        taken_back="{t} に取り消し",
        limit_rule="{value}、基準値 {threshold}（ルールの値）",
        limit_patient="{value}、基準値 {threshold}（この患者への個別指示）",
        input="{name} {value}、{age} 秒前の測定、品質 {quality}（測定値 {reading}）{rest}",
        baseline="、普段の値 {mean} ± {scale}（{count} 個の値から）",
        deviation="、そこから標準偏差の {z} 倍",
        source="{rule}。出典：{source}",
        author="。作成者：{author}",
        not_in_force="（ここで有効なルールにこのIDはありません）",
        hashes="ルール {configuration}、モデル {model}、ビルド {build}",
        decided="記録 {decided} で判定",
        opened="、記録 {opened} で開始",
        unknown="記録なし",
        nobody="記録はありません",
        act="{t} {event}{rest}",
        by="（{actor}）",
        until="、{t} まで",
        because="：{reason}",
        refused="（受け付けられず）",
        minutes="{minutes} 分 {seconds} 秒",
        seconds="{seconds} 秒",
        match="一致：{source} から再計算し、全 {recorded} 行がバイト単位で一致しました。",
        match_extra=(
            "一致：{source} から再計算し、確定した行はすべてバイト単位で一致しました。暫定の行が {extra} "
            "行多く送られていますが、再起動したワーカーでは起こり得ます。"
        ),
        mismatch="不一致：記録は {recorded} 行、{source} からの再計算では {recomputed} 行です。",
        unjudged="判定不能：ログ（{source}）から同じ行が得られるかどうかは判定できません。理由（英語）：",
        difference="最初の相違：{line}：{field} は記録では {recorded}、ログからは {recomputed}",
        only_recorded="最初の相違：{line} は記録にありますが、ログからは得られません",
        only_recomputed="最初の相違：{line} はログから得られますが、記録にありません",
    ),
}


def explanation(
    alerts: Sequence[Alert], signals: Sequence[SignalTransition], rule: Notice | None, language: Language = "en"
) -> dict[str, Any]:
    """One alert as plain JSON types, from its records in the order in which they were written (at least one).

    `evidence`, `message` and `provenance` are those of the telling that counts: the first settled record, else the
    first. Times are in s since the epoch: `t` is event time, in `done` the arrival clock; `told_received_at` is when
    the record arrived with which the alert was first told. `rule` is the rule as it is in force here, None where it is
    not.
    """
    first, newest = _first(alerts), alerts[-1]
    over = newest.t if newest.state in {"cleared", "withdrawn"} else None
    return {
        "id": newest.id,
        "patient": newest.patient,
        "rule": newest.rule,
        "kind": newest.kind,
        "priority": newest.priority,
        "state": newest.state,
        "message": _sentence(first, language),
        "source": newest.source,
        "author": None if rule is None else rule.author,
        "onset_t": newest.onset_t,
        "told_received_at": alerts[0].provenance.received_at,
        "over_t": over,
        "lasted_s": None if over is None else round(over - newest.onset_t, 3),
        "unit": "" if first.evidence is None else unit_words(first.evidence.channel).strip(),
        "evidence": msgspec.to_builtins(first.evidence),
        "provenance": msgspec.to_builtins(first.provenance),
        "transitions": [
            {
                "transition": alert.transition,
                "state": alert.state,
                "suppressed_by": alert.suppressed_by,
                "stage": alert.stage,
                "sequence": alert.sequence,
                "t": alert.t,
                "value": None if alert.evidence is None else alert.evidence.value,
                "message": _sentence(alert, language),
            }
            for alert in alerts
        ],
        "done": [
            {
                "event": signal.event,
                "to": signal.to,
                "t": signal.t,
                "actor": signal.actor,
                "reason": signal.reason,
                "until": signal.until,
                "refused": "refuse" in signal.effects,
            }
            for signal in signals
        ],
    }


def explanation_lines(
    alerts: Sequence[Alert], signals: Sequence[SignalTransition], rule: Notice | None, language: Language = "en"
) -> list[str]:
    """The same in words, a title and one line for each thing to know."""
    words, newest = PHRASES[language], alerts[-1]
    title = words.title.format(
        id=newest.id,
        rule=newest.rule,
        kind=KIND_WORDS[newest.kind][language],
        priority=PRIORITY_WORDS[newest.priority][language],
        state=STATE_WORDS[newest.state][language],
    )
    lines = [title, f"  {_sentence(_first(alerts), language)}"]
    answers = list(_answers(alerts, signals, rule, language))
    width = max(_width(question) for question, _ in answers) + 2
    before = ""
    for question, answer in answers:
        shown = "" if question == before else question
        lines.append(f"  {shown}{' ' * (width - _width(shown))}{answer}")
        before = question
    return lines


def verdict_lines(comparison: Comparison, source: str, language: Language = "en") -> list[str]:
    """What a comparison with a recomputation came to. Reasons are in English."""
    words = PHRASES[language]
    told = {"source": source, "recorded": comparison.recorded, "recomputed": comparison.recomputed}
    if comparison.outcome == "match":
        phrase = words.match_extra if comparison.extra_notices else words.match
        return [phrase.format(extra=comparison.extra_notices, **told)]
    found = [] if comparison.difference is None else [f"  {_difference(comparison.difference, words)}"]
    if comparison.outcome == "mismatch":
        return [words.mismatch.format(**told), *found]
    return [words.unjudged.format(**told), *(f"  {reason}" for reason in comparison.reasons), *found]


def _answers(
    alerts: Sequence[Alert], signals: Sequence[SignalTransition], rule: Notice | None, language: Language
) -> Iterator[tuple[str, str]]:
    words, first, newest = PHRASES[language], _first(alerts), alerts[-1]
    yield words.patient, newest.patient or "–"
    yield words.since, _onset(newest.onset_t, rule, words, language)
    arrived = alerts[0].provenance.received_at
    if arrived > 0.0:
        waited = _duration(max(0.0, arrived - newest.onset_t), words)
        yield words.told, words.arrived.format(t=time_text(arrived, language), seconds=waited)
    yield words.lasted, _lasted(newest, words, language)
    evidence = first.evidence
    if evidence is not None:
        yield words.value, _value(evidence, words, language)
        for one in evidence.inputs:
            yield words.inputs, _input(one, words, language)
    known = words.not_in_force if rule is None else words.author.format(author=rule.author)
    yield words.rule, words.source.format(rule=newest.rule, source=newest.source) + known
    if evidence is not None:
        build = first.provenance.build or words.unknown
        hashes = {"configuration": evidence.configuration, "model": evidence.model, "build": build}
        yield words.made, words.hashes.format(**hashes)
    decided, opened = first.provenance.decided, first.provenance.opened
    if decided is not None:
        rest = "" if opened is None else words.opened.format(opened=_place(opened))
        yield words.log, words.decided.format(decided=_place(decided)) + rest
    for alert in alerts:
        yield (
            words.line,
            words.said.format(
                t=time_text(alert.t, language),
                stage=STAGE_WORDS[alert.stage][language],
                transition=TRANSITION_WORDS[alert.transition][language],
                message=_sentence(alert, language),
                rest=words.kept_back.format(rule=alert.suppressed_by) if alert.suppressed_by else "",
            ),
        )
    for signal in signals:
        yield words.done, _act(signal, words, language)
    if not signals:
        yield words.done, words.nobody


def _first(alerts: Sequence[Alert]) -> Alert:
    return next((alert for alert in alerts if alert.stage == "settled"), alerts[0])


def _sentence(alert: Alert, language: Language) -> str:
    return alert.message if language == "en" or not alert.message_ja else alert.message_ja


def _onset(t: float, rule: Notice | None, words: _Phrases, language: Language) -> str:
    at = time_text(t, language)
    if not isinstance(rule, Rule) or not rule.onset_delay_s:
        return at
    phrase = words.onset_area if rule.onset_area else words.onset
    return phrase.format(t=at, seconds=_duration(rule.onset_delay_s, words))


def _lasted(newest: Alert, words: _Phrases, language: Language) -> str:
    if newest.state == "withdrawn":
        return words.taken_back.format(t=time_text(newest.t, language))
    if newest.state != "cleared":
        return words.standing
    lasted = _duration(max(0.0, newest.t - newest.onset_t), words)
    return words.lasted_until.format(seconds=lasted, t=time_text(newest.t, language))


def _value(evidence: Evidence, words: _Phrases, language: Language) -> str:
    unit = unit_words(evidence.channel)
    phrase = words.limit_patient if evidence.limit_from == "patient" else words.limit_rule
    value = value_text(evidence.channel, evidence.value, language)
    return phrase.format(
        value=f"{channel_words(evidence.channel, language)} {value}{unit}{range_text(evidence, language)}",
        threshold=f"{number_text(evidence.threshold, language)}{unit}",
    )


def _input(one: Input, words: _Phrases, language: Language) -> str:
    rest = ""
    if one.baseline is not None:
        mean, scale = number_text(one.baseline.mean, language), number_text(one.baseline.scale, language)
        rest += words.baseline.format(mean=mean, scale=scale, count=one.baseline.count)
    if one.z is not None:
        rest += words.deviation.format(z=number_text(one.z, language))
    return words.input.format(
        name=channel_words(one.signal, language),
        value=value_text(one.signal, one.value, language) + unit_words(one.signal),
        age=number_text(one.age_s, language),
        quality=f"{one.quality:.2f}",
        reading=one.reading,
        rest=rest,
    )


def _act(signal: SignalTransition, words: _Phrases, language: Language) -> str:
    rest = "" if signal.actor == SYSTEM_ACTOR else words.by.format(actor=signal.actor)
    if signal.until is not None and signal.event in {"audio_pause", "alarm_off"}:
        rest += words.until.format(t=time_text(signal.until, language))
    if "refuse" in signal.effects:
        rest += words.refused
    if signal.reason:
        rest += words.because.format(reason=signal.reason)
    event = SIGNAL_EVENT_WORDS[signal.event][language]
    return words.act.format(t=time_text(signal.t, language), event=event, rest=rest)


def _difference(found: Difference, words: _Phrases) -> str:
    if found.recomputed is None and not found.field:
        return words.only_recorded.format(line=found.line)
    if found.recorded is None and not found.field:
        return words.only_recomputed.format(line=found.line)
    told = {"recorded": _json(found.recorded), "recomputed": _json(found.recomputed)}
    return words.difference.format(line=found.line, field=found.field, **told)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _duration(seconds: float, words: _Phrases) -> str:
    if seconds < 120.0:
        return words.seconds.format(seconds=number_text(seconds))
    return words.minutes.format(minutes=int(seconds // 60.0), seconds=int(seconds % 60.0))


def _place(place: Place) -> str:
    return f"{place.topic}-{place.partition}@{place.offset}"


def _width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
