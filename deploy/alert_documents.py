"""Pages about alerts generated from what runs: `python -m deploy.alert_documents docs`.

`docs/rules.md` comes from the rules and channels, `docs/alert-life-cycle.md` from the table of `alerts.step`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from alerts.rules import DERIVED_CHANNELS, Rule, RuleSet, default_rules
from alerts.step import HAPPENINGS, LIVES, STAGES, TABLE, Effect, Life
from contracts.condition import PRIORITIES
from twin_state.rules import LIMITS

CHANNEL_MEANINGS: dict[str, str] = {
    "news2_low": "least NEWS2 total that the known inputs allow",
    "news2_high": "greatest NEWS2 total possible, from five known inputs on",
    "news2_single": "1 while one known NEWS2 parameter alone scores 3",
    "heart_rate_above_rest_pct": "heart rate in % above its value before the session",
    "systolic_fall": "mm[Hg] below the highest systolic pressure of the session while the load rose",
    "silence_s": "s since the last reading, once its allowance is used up (15 min at rest, 1 min in a session)",
    "devices_silent": "devices whose last will came and of which nothing was heard since, at most 8",
    "symptom_chest_pain": "1 while a report of chest pain is current",
    "symptom_syncope": "1 while a report of fainting is current",
    "symptom_other": "1 while a report of any other symptom is current",
}

FIELDS: tuple[tuple[str, str], ...] = (
    ("id", "name of the rule; part of every alert's id, so keep it when only a number changes"),
    ("kind", "`physiological`, `technical` or `advisory`"),
    ("priority", "`high`, `medium`, `low` (IEC 60601-1-8) or `none`, which interrupts nobody"),
    ("channel", "what is watched: a signal or one of the channels below"),
    ("comparison", "`at_least` or `at_most`"),
    ("threshold", "the limit, in the channel's unit"),
    ("hysteresis", "how far back beyond the limit the value must go to clear"),
    ("onset_delay_s", "s of unbroken breach before the onset; no delay runs across a gap in the data"),
    ("clear_delay_s", "s beyond the hysteresis before it clears"),
    ("update_step", "an update is written each time the value worsens by this much; 0: never"),
    ("when", "`always`, `rest` (no exercise session) or `session`"),
    ("limit", f"personal limit that replaces the threshold: {', '.join(f'`{limit}`' for limit in LIMITS)}"),
    ("limit_offset", "added to the personal limit"),
    ("limit_required", "true: the rule is idle until the patient has that limit"),
    ("message", "the sentence while it stands"),
    ("cleared", "the sentence when it ends; without it, the channel's value then"),
    ("source", "who says so: guideline, paper or order"),
    ("author", "who put the rule here and answers for it"),
    ("effective_from, effective_until", "UTC dates; in force from the start of the first to the start of the second"),
)

MESSAGE_NAMES: tuple[tuple[str, str], ...] = (
    ("{value}", "the channel's value"),
    ("{threshold}", "the limit that was passed"),
    ("{below}", "the first whole number above the threshold: `at_most 87.9` reads as below 88"),
    ("{limit}", "`limit 140` or `personal limit 132`"),
    ("{range}", "` (6 to 9 possible; temperature missing)`, or nothing where all inputs are known"),
    ("{missing}", "the missing inputs, or `nothing`"),
    ("{devices}", "the devices that it is about, or `none`"),
    ("{channel}", "the channel's plain name"),
    ("{onset}", "time of the onset, UTC"),
)

EFFECTS: dict[Effect, str] = {"announce": "alert", "announce_if_new": "alert if new", "drop": "·"}

LIFE_MEANINGS: dict[Life, str] = {
    "absent": "never heard of",
    "provisional": "announced from the live row, not yet settled",
    "settled": "found by the settled row",
    "cleared": "over",
    "withdrawn": "announced, and taken back when the readings had settled",
}


RULES_ARE_DATA = """
Rules are data. The shipped ones (`alerts/rules/default.toml`) are defaults for a clinician to sign, not a
treatment: BioTwin is not a medical device. To use others, copy the file, change it, check it with `biotwin
rules check FILE`, and set `worker.rules`. No learned baseline moves a limit; only a person's order (`biotwin
patient limits`) does, and the absolute rules take none.
"""

ABOUT_NOTICES = """
A `[[notice]]` is raised by BioTwin itself and has no comparison; `past-event` and `ticks-stopped` must be
there. An `id` may stand twice if the effective dates do not overlap: those are versions of one rule. The rules
in force are chosen by a time that is given (a replay's first line, a worker's start); their hash stands in the
evidence of every alert as `configuration`.
"""

TWO_STAGES = """
An alert is announced at once from the live row (provisional) and confirmed, or withdrawn, when the readings
have settled. A notice that was sent is never unsent: a withdrawal is a transition of its own.
"""

HOW_TO_READ = """
Each row is a condition record, each column the alert's state when it comes. `·` changes and writes nothing; *if
new* drops what repeats, as after a crash. `past` is the onset of a past-event notice, which is told once and
does not stand.
"""

ABOUT_SEQUENCE = """
`sequence` counts an alert's settled transitions from 1, and the others (provisional ones and withdrawals) from
1 on their own, so that the settled journal is the same whether or not a notice went out before. A subscriber
drops repeats by (`id`, `transition`, `stage`, `sequence`). Where settling changed which reading opened a
condition, `provenance.announced_id` of the settled onset names the id of the notice.
"""


def rules_page(rules: RuleSet) -> str:
    """`docs/rules.md`."""
    rows = [
        [
            f"`{entry.id}`",
            entry.priority,
            entry.kind,
            comparison_text(entry) if isinstance(entry, Rule) else "raised by BioTwin itself",
            entry.when if isinstance(entry, Rule) else "",
            f"{entry.onset_delay_s:g} s" if isinstance(entry, Rule) else "",
            entry.source,
        ]
        for entry in sorted(rules, key=lambda entry: (-PRIORITIES.index(entry.priority), entry.id))
    ]
    return "\n".join(
        [
            "# Alert rules",
            "",
            "Generated by `python -m deploy.alert_documents docs`; do not edit.",
            "",
            RULES_ARE_DATA.strip(),
            "",
            f"## Shipped rules (hash `{rules.hash}`)",
            "",
            *_table(["rule", "priority", "kind", "watches", "when", "delay", "source"], rows),
            "",
            "## Fields of a `[[rule]]`",
            "",
            *_table(["field", "meaning"], [[f"`{name}`", meaning] for name, meaning in FIELDS]),
            "",
            ABOUT_NOTICES.strip(),
            "",
            "## Names in a message",
            "",
            *_table(["name", "becomes"], [[f"`{name}`", meaning] for name, meaning in MESSAGE_NAMES]),
            "",
            "## Channels",
            "",
            "Every scalar or coded signal of `contracts/signals.toml` (its latest value, while it is valid), and:",
            "",
            *_table(
                ["channel", "meaning"], [[f"`{name}`", CHANNEL_MEANINGS[name]] for name in sorted(DERIVED_CHANNELS)]
            ),
            "",
        ]
    )


def life_cycle_page() -> str:
    """`docs/alert-life-cycle.md`."""
    rows = []
    for happening in HAPPENINGS:
        for stage in STAGES:
            cells = [TABLE[life, (happening, stage)] for life in LIVES]
            told = [
                EFFECTS[cell.effect] if cell.effect == "drop" else f"{EFFECTS[cell.effect]} → {cell.life}"
                for cell in cells
            ]
            rows.append([f"{happening}, {stage}", *told])
    return "\n".join(
        [
            "# The life of an alert",
            "",
            "Generated by `python -m deploy.alert_documents docs` from the table that runs; do not edit.",
            "",
            TWO_STAGES.strip(),
            "",
            *_table(["state", "meaning"], [[life, LIFE_MEANINGS[life]] for life in LIVES]),
            "",
            HOW_TO_READ.strip(),
            "",
            *_table(["record", *LIVES], rows),
            "",
            ABOUT_SEQUENCE.strip(),
            "",
        ]
    )


def comparison_text(rule: Rule) -> str:
    """What a rule watches, e.g. "heart_rate ≥ 140 or heart_rate_maximum"."""
    sign = "≥" if rule.comparison == "at_least" else "≤"
    own = f"{rule.limit}{rule.limit_offset:+g}" if rule.limit_offset else rule.limit
    if rule.limit_required:
        return f"{rule.channel} {sign} {own}"
    return f"{rule.channel} {sign} {rule.threshold:g}" + (f" or {own}" if own else "")


def _table(headings: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return {"rules.md": rules_page(default_rules(0.0)), "alert-life-cycle.md": life_cycle_page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
