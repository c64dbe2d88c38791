"""Pages about alerts generated from what runs: `python -m deploy.alert_documents docs`.

`docs/rules.md` comes from the rules and channels, `docs/alert-life-cycle.md` from the tables of `alerts.step` and
`alerts.signal_table`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from alerts import signal_table
from alerts.alert_signal import ESCALATION_STEPS
from alerts.rules import DERIVED_CHANNELS, Rule, RuleSet, default_rules, escalate_after_s, re_alarm_after_s
from alerts.signal_table import SIGNAL_EVENTS, SIGNAL_STATES, Cell
from alerts.step import HAPPENINGS, LIVES, STAGES, TABLE, Effect, Life
from contracts.alert_signal import SignalEffect, SignalEvent, SignalState
from contracts.command import ALARM_OFF_HIGH_MAX_S, ALARM_OFF_MAX_S, AUDIO_PAUSE_MAX_S
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
    "heart_rate_steady": "heart rate without artefacts ([steady values](twin-state.md#steady-values))",
    "respiratory_rate_steady": "respiratory rate, the same",
    "spo2_steady": "SpO2, the same",
    "news2_steady": "least NEWS2 total with the steady values in place of the last ones",
    "heart_rate_below_usual": "1/min by which heart rate lies below what is usual for the patient, from one hour on",
    "spo2_below_usual": "% by which SpO2 lies below what is usual for the patient, from one hour on",
    "deterioration": "heart rate and respiratory rate above and SpO2 below what is usual for the patient, summed",
    "heart_rate_scatter": "1/min by which single heart rates lie from their mean, both over about a minute",
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
    ("onset_area", "the onset comes sooner than its delay once the area beyond the limit (unit x s) reaches this"),
    ("hold_s", "s for which a value counts while a delay runs; absent: three of its periods, at least 15 s"),
    ("pause_leak", "a break takes so many s of the delay (and of the area in proportion) a second; 0: it begins anew"),
    ("group_s", "s after its call for which an alert takes others of its patient into its group; 0: it leads none"),
    ("joins", "false: never joins a group, always calls for itself"),
    ("suppressed_by", "ids of rules: while an alert of one of them stands, one of this rule is kept back"),
    ("update_step", "an update is written each time the value worsens by this much; 0: never"),
    ("when", "`always`, `rest` (no exercise session) or `session`"),
    ("limit", f"personal limit that replaces the threshold: {', '.join(f'`{limit}`' for limit in LIMITS)}"),
    ("limit_offset", "added to the personal limit"),
    ("limit_required", "true: the rule is idle until the patient has that limit"),
    ("latching", "true: the signal outlasts the condition until somebody has seen it; never for `technical`"),
    ("re_alarm_after_s", "s until an acknowledged alert is announced again; absent: by priority; 0: never"),
    ("escalate_after_s", "s until an alert that nobody answers escalates; absent: by priority; 0: never"),
    ("message", "the sentence while it stands"),
    ("cleared", "the sentence when it ends; without it, the channel's value then"),
    ("message_ja, cleared_ja", "the same in Japanese, with the same names; absent: made from the evidence"),
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

NOT_YET: tuple[tuple[str, str], ...] = (
    (
        "ten or more ectopic beats a minute, new atrial fibrillation, pauses",
        "a rhythm model, or a device's own finding",
    ),
    ("ST depression of 1 mm or more", "an ECG of diagnostic quality"),
    ("heart rate recovery below 12/min after one minute", "the session's end as a phase of its own"),
    ("a plateau of heart rate while work rises", "a model of the response to load"),
    ("weight up by 2 kg in three days", "a change of a signal over days; `body_weight` is only its last value"),
    ("body temperature of 37.5 or more before a session", "a source that was read"),
    (
        "a session is not started while an advisory stands",
        "the advisories `do-not-start-...` are shown; nothing is blocked",
    ),
    ("perceived exertion of 11 or less while heart rate is above its zone", "a rule on two channels"),
    ("blood pressure confirmed by a second reading", "a repeat count: a cuff's single reading raises an alert"),
    ("less than 70 % of planned sessions, low mood for three days", "plans, and estimates by day"),
    ("a device's clock off by more than 5 s", "reported by metrics, not as a patient's alert"),
)

EFFECTS: dict[Effect, str] = {"announce": "alert", "announce_if_new": "alert if new", "drop": "·"}

LIFE_MEANINGS: dict[Life, str] = {
    "absent": "never heard of",
    "provisional": "announced from the live row, not yet settled",
    "settled": "found by the settled row",
    "cleared": "over",
    "withdrawn": "announced, and taken back when the readings had settled",
}


STATE_MEANINGS: dict[SignalState, tuple[str, str, str]] = {
    "inactive": ("no signal", "Off", "On"),
    "on": ("announced, and answered by nobody", "On", "On"),
    "acknowledged": ("somebody has taken note and sees to it; the signal stops", "Ack", "On"),
    "audio_paused": ("seen, and not heard for a moment", "On", "Psd"),
    "alarm_off": ("held off by somebody, for a stated reason, until a stated time", "Off", "Off"),
    "latched": ("the condition is over, and nobody has seen it", "Latch", "On"),
    "latched_audio_paused": ("the same, not heard for a moment", "Latch", "Psd"),
}
"""What each state means, and its AlertSignalPresence and AlertActivation in ISO/IEEE 11073-10207."""

EVENT_MEANINGS: dict[SignalEvent, tuple[str, str]] = {
    "condition_onset": ("condition", "the condition begins"),
    "priority_raised": ("condition", "it becomes more urgent (escalation of the priority)"),
    "priority_lowered": ("condition", "it becomes less urgent (de-escalation)"),
    "condition_cleared": ("condition", "it is over"),
    "condition_withdrawn": ("condition", "its notice is taken back"),
    "condition_recurred": ("condition", "the same rule has found a new condition, which has a signal of its own"),
    "condition_renamed": ("condition", "settling found that another reading opened it: same alert, other id"),
    "acknowledge": ("person", "takes note, and sees to it"),
    "audio_pause": ("person", f"pauses the sound, for {AUDIO_PAUSE_MAX_S:g} s at most"),
    "alarm_off": ("person", "puts the alert off"),
    "alarm_resume": ("person", "takes any of these back"),
    "marked_useful": ("person", "says that it was worth the interruption"),
    "marked_not_useful": ("person", "says that it was not"),
    "inactivation_expired": ("clock", "a pause, or off, has lasted its time"),
    "re_alarm_due": ("clock", "acknowledged for so long, and the condition still stands"),
    "escalation_due": ("clock", "nobody has answered within the time of the priority"),
}

SIGNAL_EFFECTS: dict[SignalEffect, tuple[str, str]] = {
    "annunciate": ("announce", "the signal is generated anew"),
    "silence": ("silence", "it is heard no more"),
    "end": ("end", "it is over"),
    "escalate": ("escalate", "the next person is to be told"),
    "await_acknowledgement": ("await", "the time until escalation begins"),
    "remind_later": ("remind", "the time until the reminder begins"),
    "expire_later": ("expire", "the time of the pause, or off, begins"),
    "rename": ("rename", "the journal says under which id it goes on"),
    "refuse": ("refuse", "nothing changes; the journal says that somebody tried"),
    "record": ("record", "nothing changes; the journal says what somebody thinks of it"),
}

RULES_ARE_DATA = """
Rules are data. The shipped ones (`alerts/rules/default.toml`) are defaults for a clinician to sign, not a
treatment: BioTwin is not a medical device. To use others, copy the file, change it, check it with `biotwin
rules check FILE`, and set `worker.rules`. No learned baseline moves a limit; only a person's order (`biotwin
patient limits`) does, and the absolute rules take none.
"""

GROUPS = """
What belongs together is told once. An alert that calls somebody leads a **group** for its rule's `group_s`. A
physiological alert of the same patient that comes in that time, while any of the group stands, and whose priority is
not above the lead's, joins it: it is recorded, journalled and shown with `group_lead` and state `suppressed`, and
raises no signal. A higher priority always calls. So does a rule with `joins = false`; a joined alert that worsens by
its `update_step`; and whatever comes after `group_s`, because nobody knows by then whether it is still the same
episode. If the lead ends, unanswered, while others of its group stand, its signal stays until somebody has seen it.
The group ends with the last of them. Times are event time; a settled alert joins by settled ones alone, so that the
journal is the same whatever was announced before
([decision 0027](decisions/0027-one-episode-is-one-call.md)).
"""

ABOUT_NOTICES = """
A `[[notice]]` is raised by BioTwin itself and has no comparison; `past-event` and `ticks-stopped` must be
there. An `id` may stand twice if the effective dates do not overlap: those are versions of one rule. The rules
in force are chosen by a time that is given (a replay's first line, a worker's start); their hash stands in the
evidence of every alert as `configuration`.
"""

CONDITION_AND_SIGNAL = """
Two things are kept apart, as in IEC 60601-1-8 and ISO/IEEE 11073-10207: the **condition**, which is detected, and the
**signal**, which tells people. A condition comes and goes by the readings alone; nobody can acknowledge it away. The
signal is what one acknowledges, pauses or puts off.
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


FOR_THE_CLINICIAN = f"""
- **Acknowledge** says: I have seen it and see to it. The signal stops, and others see who has it. It comes back if the
  condition becomes more urgent, and as a reminder if it is still there after the time below. One acknowledges one alert
  at a time.
- **Pause audio** gives quiet for up to {AUDIO_PAUSE_MAX_S:g} s, of one alert or of all that the patient has now. It
  answers nothing: escalation goes on, and ends the pause. An alert that comes later is heard.
- **Off** takes an alert's signal away until a time, for a reason that is kept: at most {ALARM_OFF_MAX_S / 3600:g} h,
  and {ALARM_OFF_HIGH_MAX_S / 3600:g} h at high priority. It ends with the condition: another occurrence is heard.
- **Resume** takes any of these back.
- A **latching** alert stays when its condition is over, until somebody acknowledges it; if it comes again, the new one
  stands for both. It outlasts even the patient's discharge. Technical alerts never latch: they end by themselves when
  the equipment works again.
- Nobody answers: the alert **escalates**, {ESCALATION_STEPS} times at most, and its signal goes on.
"""

DELAYS = """
The times are each rule's own, or by priority, in s; 0 is never, and is refused at high priority. Reminders of 2 to 3
minutes are what bedside monitors do (Philips V24 instructions for use, p. 161). IEC 60601-1-8 names no time for
escalation: these are defaults, for a clinician to sign.
"""

HOW_TO_READ_SIGNALS = """
Rows are events, columns the state in which they come: the state that follows, and its effects. `·` changes and writes
nothing. Where a latching signal differs, the cell has both.
"""

ABOUT_TIME = """
Time here is the arrival clock in the log: the ticks, one a second, and the arrival of commands. No part reads another
clock, so that a replay of the same log escalates at the same moments. If ticks stop, nothing escalates, reminds or
expires. That is said by alert `ticks-stopped` and by the alarm BiotwinTicksStopped ([operations](operations.md)), which
a clock outside the log raises: the dead man's switch of all the others.
"""

ABOUT_JOURNAL = """
Every transition stands in topic `alerts.journal`, keyed by patient: from, event, to, effects, when, who, why, and who
holds the signal back until when. (`id`, `sequence`) is its identity; a reader drops what it has seen, and what comes
under a sequence number that is not above the newest one. A command that comes twice, by its id, changes nothing. What
cannot be done (acknowledging an alert that is over) is journalled as refused; a command that names no known alert goes
to quarantine.
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
            "## Groups",
            "",
            GROUPS.strip(),
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
            "## What the shipped rules cannot say yet",
            "",
            "Criteria of the published sets that today's signals do not carry, or that nobody computes:",
            "",
            *_table(["criterion", "what is missing"], [list(row) for row in NOT_YET]),
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
            "Generated by `python -m deploy.alert_documents docs` from the tables that run; do not edit.",
            "",
            CONDITION_AND_SIGNAL.strip(),
            "",
            "## The condition",
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
            "## The signal",
            "",
            FOR_THE_CLINICIAN.strip(),
            "",
            *_table(
                ["priority", "reminder after", "escalation after"],
                [
                    [
                        priority,
                        _delay_text(re_alarm_after_s(None, priority)),
                        _delay_text(escalate_after_s(None, priority)),
                    ]
                    for priority in reversed(PRIORITIES)
                ],
            ),
            "",
            DELAYS.strip(),
            "",
            "### States",
            "",
            *_table(
                ["state", "meaning", "presence", "activation"],
                [[f"`{state}`", *STATE_MEANINGS[state]] for state in SIGNAL_STATES],
            ),
            "",
            "Presence and activation are those of ISO/IEEE 11073-10207.",
            "",
            *signal_diagram(),
            "",
            "The diagram leaves out what leads nowhere else, and what is refused.",
            "",
            "### Events",
            "",
            *_table(
                ["event", "from", "what happens"], [[f"`{event}`", *EVENT_MEANINGS[event]] for event in SIGNAL_EVENTS]
            ),
            "",
            "### Effects",
            "",
            *_table(
                ["effect", "in the journal", "meaning"],
                [[word, f"`{effect}`", meaning] for effect, (word, meaning) in SIGNAL_EFFECTS.items()],
            ),
            "",
            "### The table",
            "",
            HOW_TO_READ_SIGNALS.strip(),
            "",
            *_table(
                ["event", *(f"`{state}`" for state in SIGNAL_STATES)],
                [[f"`{event}`", *(_signal_cell(state, event) for state in SIGNAL_STATES)] for event in SIGNAL_EVENTS],
            ),
            "",
            "### Time",
            "",
            ABOUT_TIME.strip(),
            "",
            "### The journal",
            "",
            ABOUT_JOURNAL.strip(),
            "",
        ]
    )


def signal_diagram() -> list[str]:
    """The life of a signal as a Mermaid state diagram, one arrow for each pair of states."""
    arrows: dict[tuple[SignalState, SignalState], list[str]] = {}
    for (state, event, latching), cell in signal_table.TABLE.items():
        if cell.state == state:
            continue
        only = latching and signal_table.TABLE[state, event, False] != cell
        other = not latching and signal_table.TABLE[state, event, True] != cell
        word = f"{event}{', latching' if only else ', not latching' if other else ''}"
        words = arrows.setdefault((state, cell.state), [])
        if word not in words:
            words.append(word)
    return [
        "```mermaid",
        "stateDiagram-v2",
        "  [*] --> inactive",
        *(f"  {state} --> {to}: {'<br>'.join(words)}" for (state, to), words in arrows.items()),
        "```",
    ]


def _signal_cell(state: SignalState, event: SignalEvent) -> str:
    plain, latching = (signal_table.TABLE[state, event, kind] for kind in (False, True))
    if plain == latching:
        return _cell_text(state, plain)
    return f"{_cell_text(state, plain)}; latching: {_cell_text(state, latching)}"


def _cell_text(state: SignalState, cell: Cell) -> str:
    if cell.state == state and not cell.effects:
        return "·"
    words = ", ".join(SIGNAL_EFFECTS[effect][0] for effect in cell.effects)
    return words if cell.state == state else f"→ {cell.state}" + (f": {words}" if words else "")


def _delay_text(seconds: float) -> str:
    return f"{seconds:g} s" if seconds else "never"


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
