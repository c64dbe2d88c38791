"""The page about the labelled ward, generated from its table: `python -m deploy.ward_document docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from loadtest.alarm_bench import PLAIN_RATE, PLAIN_SENSITIVITY, SEEDS
from loadtest.threshold_alarms import THRESHOLDS
from loadtest.ward_table import TABLE, Entry

NAME = "synthetic-ward.md"

INTRODUCTION = """
`biotwin bench alarms` measures alert rules on a simulated ward of 200 patients and 7 days whose events are known to
the second. The same readings go through plain NEWS thresholds, so that every figure has its counterpart. It compares
rule sets with each other and with thresholds; a rate of true or false alarms on it says nothing about people.
Results: [benchmarks](benchmarks.md#alarms-on-the-synthetic-ward).

The readings are made as columns and go through the core of the live path: `twin_state.apply` with the clinical
models, conditions with their evidence, `alerts.step`. That the same readings as JSON give the same conditions, and
that repeats, disorder, cuts and a restart change no settled alert, are tests. The physiology is that of the
[simulator](simulation.md).
"""

DEFINITIONS = """
**Adverse event.** Sepsis, respiratory failure, desaturation, tachyarrhythmia, bradycardia: an alarm is wanted.
Exercise, breathing pauses in sleep, drift and motion are not events: every alarm they raise is false. Of each event
three times are known: the *beginning*, when the vital signs leave their usual course; the *onset*, when the effect is
as large as that of the smallest event of its kind, so that everything after it is large enough to be told (an
arrhythmia: half of it is there); the *end*, when they are back.

**Interruptive alarm.** A physiological alert of medium or high priority that comes up and did not stand before,
counted when it is first told; notices that are withdrawn later count. Technical alarms are counted apart.

**Match.** An alarm matches an event if it is told from the onset to 30 min after it, or if it came in the rise before
the onset and still stands at it: told early is told. Each event is matched once, by the first such alarm, and each
alarm matches one event. An alarm that stood since before the beginning matches nothing.

**Belonging.** Further alarms between an event's beginning and its end are neither hits nor false: the patient is ill,
and whoever comes finds him so. Studies of adverse events, too, ask whether an alarm came for an event and not how
many did (doi:10.1007/s10877-021-00666-4). They do count as interruptive. All other alarms are false.

**Sensitivity** is over events that a sensor saw: one of the vital signs that the event changes was measured with good
quality in at least half of the 30 minutes. **PPV** is hits / (hits + false). Rates are per patient-day in which heart
rate, respiratory rate or SpO2 was measured.

**Sensitivity by chance** is what the same alarms would score if they knew nothing: the share of half hours, moved by
hours and days within the same patient, in which an alarm came. A rule set that alarms all the time has a high
sensitivity, and its chance is as high.

**Added delay of high priority.** For each adverse event and each high-priority rule whose threshold the noiseless
values truly pass while heart rate and SpO2 are measured: from then to the first alarm of the rule in that event, 0 s
where one stood. The first passing is found by the same core, with the same rules without delay and hysteresis, on
values without noise, artefact, loss or way, on the grid of measurement. What is measured now and then (cuff, rounds)
is held between, so that a nurse's round is not counted as an alarm's delay.

**Intervals** are 95 %, from drawing patients with replacement.
"""

ABOUT_THRESHOLDS = """
Means over a minute, rounded half up; a cuff reading for itself. *Plain* counts each crossing of the first threshold
of a line, with no delay and no hysteresis, armed again when a value is back. *Lasting* leaves out values that the
device itself marks as poor, and asks for so many minutes in a row; one alarm for each crossing of the first
threshold. The limits are those of three points in NEWS2. The published medians are 137 and 19 a patient-day (Aagaard
et al., Hosp Pract 2023, doi:10.1080/21548331.2023.2298185), with artefacts alone left out 101. That paper's list of
durations was not at hand: the minutes are chosen.
"""

LIMITS = """
- Most numbers on motion and artefacts are chosen, so that thresholds alarm as often as published, with and without
  artefacts. How the alarms share among vital signs was not published in what was at hand.
- No device reports activity, so no rule can know that a patient moves.
- Nobody answers an alarm: the course of an event does not depend on it.
- A channel that learns from the patient learns something else from noiseless values. The added delay of a high-priority
  rule on such a channel would not be what it says; the shipped high-priority rules have none.
- Nurses' rounds and cuffs come by the clock, whatever the score.
"""


def ward_page() -> str:
    """`docs/synthetic-ward.md`."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from ("# The synthetic ward", "", "Generated by `python -m deploy.ward_document docs`; do not edit.", "")
    yield from (INTRODUCTION.strip(), "", "## What is counted", "", DEFINITIONS.strip(), "")
    yield from ("## Plain thresholds", "", ABOUT_THRESHOLDS.strip(), "")
    yield from ("| vital sign | thresholds, and minutes for *lasting* |", "| --- | --- |")
    for side in THRESHOLDS:
        steps = ", ".join(
            f"{'≥' if one.sense > 0 else '≤'} {one.limit:g}"
            + (" at once" if one.signal == "systolic_pressure" else f" for {one.minutes}")
            for one in side
        )
        yield f"| {side[0].signal} | {steps} |"
    yield from ("", "## When the ward is a valid benchmark", "")
    yield (
        f"Plain thresholds must give {PLAIN_RATE[0]:g} to {PLAIN_RATE[1]:g} alarms a patient-day and a sensitivity of "
        f"{PLAIN_SENSITIVITY[0]:g} to {PLAIN_SENSITIVITY[1]:g} (published: 137;\n11 of 18 events, "
        "doi:10.1007/s10877-021-00666-4). `valid` in the result says whether they do."
    )
    tuning, reporting = (", ".join(str(seed) for seed in SEEDS[name]) for name in ("tuning", "reporting"))
    yield ""
    yield (
        f"Rules are improved on the seeds {tuning} (`--seeds tuning`) alone; figures that are published come\n"
        f"from {reporting} (`--seeds reporting`). `--seed N` runs a ward that nobody tuned on. Generator and rules "
        "are\nchanged in separate commits, so that a better figure has one cause."
    )
    yield from ("", "## Limits", "", LIMITS.strip())
    yield from ("", "## The table", "", 'All rates, lengths and shapes. "Chosen": no published figure was at hand.')
    for group, entries in TABLE.items():
        yield from (
            "",
            f"### {group}",
            "",
            "| name | value | unit | meaning | source |",
            "| --- | --- | --- | --- | --- |",
        )
        for entry in entries:
            yield f"| `{entry.name}` | {_value(entry)} | {entry.unit} | {entry.meaning} | {entry.source} |"


def _value(entry: Entry) -> str:
    if not isinstance(entry.value, tuple):
        return f"{entry.value:g}"
    joint = " and " if "mean and sd" in entry.unit else " to "
    return joint.join(f"{one:g}" for one in entry.value)


if __name__ == "__main__":
    (Path(sys.argv[1]) / NAME).write_text(ward_page(), encoding="utf-8")
