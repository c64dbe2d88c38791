"""Every rate, length and shape of the labelled ward in one table, each with its source.

The generator takes its numbers from here and nowhere else; docs/synthetic-ward.md is made from it, and tests hold what
is generated to it. "Chosen" means that no published figure was at hand: such values are set so that the ward as a whole
meets the published alarm figures, which tests hold too.
"""

from __future__ import annotations

from typing import NamedTuple

VAN_ROSSUM = "van Rossum et al., J Clin Monit Comput 2021, doi:10.1007/s10877-021-00666-4"
DUUS = "Duus et al., Acta Anaesthesiol Scand 2018, doi:10.1111/aas.13173"
BRETELER = "Breteler et al., Anesthesiology 2020;132:424"
AREIA = "BMC Digit Health 2025, doi:10.1186/s44247-025-00151-x, table 3"
CHUNG = "Anesth Analg 2015;120:1214, doi:10.1213/ANE.0000000000000774"
NEWS2 = "Royal College of Physicians, NEWS2, 2017"


class Entry(NamedTuple):
    """One row. `value` is a number, or the least and greatest of a uniform draw (or mean and standard deviation, as
    `unit` says)."""

    name: str
    value: float | tuple[float, float]
    unit: str
    meaning: str
    source: str


TABLE: dict[str, tuple[Entry, ...]] = {
    "Patients": (
        Entry("heart_rate", (80.0, 9.0), "1/min, mean and sd", "resting", "chosen: after surgery"),
        Entry("heart_rate_kept", (52.0, 104.0), "1/min", "where the draw is cut off", "chosen"),
        Entry("respiratory_rate", (16.5, 1.8), "1/min, mean and sd", "resting", "chosen"),
        Entry("respiratory_rate_kept", (12.5, 20.5), "1/min", "where the draw is cut off", "chosen"),
        Entry(
            "spo2",
            (96.3, 1.1),
            "%, mean and sd",
            "resting",
            f"chosen; below 92 % at some time in 98 % of patients: {DUUS}",
        ),
        Entry("spo2_kept", (93.0, 99.0), "%", "where the draw is cut off", "chosen"),
        Entry("temperature", (36.9, 0.25), "Cel, mean and sd", "resting", "chosen"),
        Entry("temperature_kept", (36.2, 37.6), "Cel", "where the draw is cut off", "chosen"),
        Entry("systolic", (130.0, 12.0), "mm[Hg], mean and sd", "resting", "chosen"),
        Entry("systolic_kept", (108.0, 170.0), "mm[Hg]", "where the draw is cut off", "chosen"),
        Entry("age_years", (45.0, 90.0), "years", "uniform", "chosen: adults after surgery or acutely ill"),
        Entry("hypercapnic_share", 0.05, "of patients", "SpO2 scale 2 is ordered", "chosen"),
        Entry("hypercapnic_spo2", (90.5, 0.8), "%, mean and sd", "their resting SpO2", f"target 88 to 92 %: {NEWS2}"),
        Entry("hypercapnic_floor", 88.0, "%", "ordered as their SpO2 floor", "lower end of their target"),
        Entry("oxygen_share", 0.08, "of patients", "on oxygen throughout", "chosen, as in the demonstration ward"),
    ),
    "Slow physiological variation": (
        Entry("drift_time_s", 2400.0, "s", "time constant of first-order drift", "chosen"),
        Entry("drift_heart_rate", 3.5, "1/min, sd", "drift of heart rate", "chosen"),
        Entry("drift_respiratory_rate", 0.9, "1/min, sd", "drift of respiratory rate", "chosen"),
        Entry("drift_spo2", 0.6, "%, sd", "drift of SpO2", "chosen"),
        Entry("drift_systolic", 7.0, "mm[Hg], sd", "drift of systolic pressure", "chosen"),
        Entry("apnoea_share", 0.258, "of patients", "with sleep-disordered breathing (AHI above 15)", CHUNG),
        Entry("apnoea_bouts", 3.0, "a night", "bouts of breathing pauses", "chosen"),
        Entry("apnoea_hours", (22.0, 30.0), "h of the day", "when they fall", "chosen: night"),
        Entry("apnoea_bout_s", (1200.0, 3600.0), "s", "length of a bout", "chosen"),
        Entry("apnoea_cycle_s", (70.0, 130.0), "s", "from one pause to the next", "chosen: 28 to 51 an hour"),
        Entry("apnoea_depth", (4.0, 9.0), "%", "fall of SpO2 in each", "4 % or more counts: Chest 2008;133:1128"),
    ),
    "Adverse events": (
        Entry(
            "deterioration_rate",
            0.108,
            "a patient-day",
            "sepsis or respiratory failure",
            f"18 adverse events in 3999 h: {VAN_ROSSUM}",
        ),
        Entry("sepsis_share", 0.5, "of deteriorations", "the others are respiratory failure", "chosen"),
        Entry(
            "desaturation_rate",
            0.183,
            "a patient-day",
            "SpO2 falls alone and stays low",
            f"52 % of patients in 4 days (Poisson): {DUUS}",
        ),
        Entry(
            "arrhythmia_rate",
            0.02,
            "a patient-day",
            "tachyarrhythmia or bradycardia",
            "8 % in 4 days; 0.4 to 12 % after non-cardiothoracic surgery: ISRN Cardiol 2011;203179",
        ),
        Entry("tachyarrhythmia_share", 0.75, "of arrhythmias", "the others are bradycardia", "chosen"),
        Entry("event_gap_s", 6 * 3600.0, "s", "least time between two adverse events of a patient", "chosen"),
        Entry(
            "severity",
            (0.25, 1.0),
            "of the full effect",
            "size of a deterioration: square of a uniform draw",
            "chosen: moderate ones are more frequent",
        ),
        Entry(
            "sudden_rise_s",
            (60.0, 300.0),
            "s",
            "shape sudden: straight rise; the four shapes of deterioration are equally frequent",
            "chosen",
        ),
        Entry("gradual_rise_s", (1800.0, 5400.0), "s", "shape gradual: straight rise", "chosen"),
        Entry(
            "slow_rise_s",
            (3 * 3600.0, 8 * 3600.0),
            "s",
            "shape slow: half-cosine rise",
            "changes 6 to 12 h ahead: J Clin Monit Comput 2015, doi:10.1007/s10877-015-9790-8",
        ),
        Entry(
            "stuttering_rise_s",
            (300.0, 900.0),
            "s",
            "shape stuttering: straight rise, then falls and comes back again and again",
            "chosen",
        ),
        Entry("stuttering_period_s", (1200.0, 2400.0), "s", "from one fall to the next", "chosen"),
        Entry("stuttering_fall", 0.5, "of its size", "how far it falls in between", "chosen"),
        Entry("deterioration_plateau_s", (2 * 3600.0, 8 * 3600.0), "s", "time at its full size", "chosen"),
        Entry("deterioration_fall_s", (3600.0, 3 * 3600.0), "s", "recovery under treatment", "chosen"),
        Entry(
            "desaturation_depth",
            (3.0, 12.0),
            "%",
            "fall of SpO2 below the patient's own values: square of a uniform draw",
            "chosen: small falls are more frequent",
        ),
        Entry("desaturation_rise_s", (60.0, 600.0), "s", "time to the full fall", "chosen"),
        Entry(
            "desaturation_plateau_s", (900.0, 5400.0), "s", "time at it", f"over 10 min, over 60 min in 58 %: {DUUS}"
        ),
        Entry("desaturation_fall_s", (120.0, 900.0), "s", "recovery", "chosen"),
        Entry("tachyarrhythmia", (115.0, 165.0), "1/min", "heart rate in it", "chosen: rapid atrial fibrillation"),
        Entry("bradycardia", (32.0, 44.0), "1/min", "heart rate in it", "chosen: around the NEWS2 limit of 40"),
        Entry("arrhythmia_irregularity", 6.0, "1/min, sd", "scatter of heart rate in tachyarrhythmia", "chosen"),
        Entry("arrhythmia_rise_s", (10.0, 30.0), "s", "onset and end", "chosen: paroxysmal"),
        Entry("arrhythmia_plateau_s", (1200.0, 6 * 3600.0), "s", "length", "chosen"),
    ),
    "Exercise, no adverse event": (
        Entry("exercise_rate", 1.5, "a patient-day", "walking or physiotherapy", "chosen"),
        Entry("exercise_hours", (8.0, 20.0), "h of the day", "when it begins", "chosen"),
        Entry("exercise_session_share", 0.3, "of exercise", "announced as a session", "chosen"),
        Entry("exercise_s", (300.0, 1500.0), "s", "length", "chosen"),
        Entry(
            "exercise_power_w",
            (20.0, 60.0),
            "W",
            "load; 0.3 to 0.5 bpm/W, tau 30 s on, 90 s off",
            "chosen: walking; response: simulation.md",
        ),
    ),
    "Measurement": (
        Entry(
            "sample_period_s",
            10.0,
            "s",
            "chest patch (heart and respiratory rate) and oximeter (SpO2), each a device",
            "chosen: wearables report each 4 to 60 s",
        ),
        Entry("cuff_day_s", 1800.0, "s", "cuff pressure by day", "chosen: ambulatory cuff, each half hour"),
        Entry("cuff_night_s", 3600.0, "s", "cuff pressure at night", "chosen"),
        Entry("cuff_day_hours", (7.0, 23.0), "h of the day", "what counts as day", "chosen"),
        Entry("cuff_success_share", 0.384, "of cuff readings", "that succeed", f"completeness: {AREIA}"),
        Entry("round_s", 6 * 3600.0, "s", "temperature, consciousness, oxygen by a nurse", f"4 to 12 h: {NEWS2}"),
        Entry("round_spread_s", 1800.0, "s", "by how much a round may be later", "chosen"),
        Entry("noise_temperature", 0.1, "Cel, sd", "of one value", "chosen"),
        Entry(
            "noise_heart_rate",
            1.6,
            "1/min, sd",
            "of one value",
            f"chosen within sd 1.0 to 3.8 (limits of agreement -0.5 to 3.3, -6.3 to 8.4): {BRETELER}",
        ),
        Entry(
            "noise_respiratory_rate",
            1.2,
            "1/min, sd",
            "of one value, at rest",
            f"chosen below sd 2.3 (limits of agreement -4.7 to 4.4), which has motion in it: {BRETELER}",
        ),
        Entry("noise_spo2", 0.7, "%, sd", "of one value, at rest", "chosen, within the 4 % that ISO 80601-2-61 allows"),
        Entry("noise_pressure", 4.0, "mm[Hg], sd", "of one cuff value", "chosen, within the 8 that ISO 81060-2 allows"),
        Entry("network_delay_s", (0.1, 2.0), "s", "from measurement to arrival", "chosen, within the lateness bound"),
    ),
    "Motion and artefacts": (
        Entry("motion_gap_s", 2.7 * 3600.0, "s, mean", "still time between two restless periods", "chosen"),
        Entry("motion_s", 4500.0, "s, mean", "length of a restless period", "chosen"),
        Entry("motion_spread", 0.6, "sd of a logarithm", "how restlessness differs between patients", "chosen"),
        Entry("motion_noise_time_s", 30.0, "s", "time constant of the noise of motion", "chosen"),
        Entry(
            "motion_respiratory_rate",
            (4.4, 4.5),
            "1/min, mean and sd",
            "added to respiratory rate in motion",
            f"bias 4.4, limits of agreement -4.4 to 13.3: {BRETELER}",
        ),
        Entry("motion_spo2", 3.2, "%, sd", "added noise of SpO2 in motion, downwards only", "chosen"),
        Entry("motion_heart_rate", 3.0, "1/min, sd", "added noise of heart rate in motion", f"sd 3.75: {BRETELER}"),
        Entry(
            "motion_respiratory_lost_share",
            0.5,
            "of values in motion",
            "respiratory rates that the patch rejects",
            "half of recordings valid: BMJ Open 2015;5:e006606",
        ),
        Entry("probe_rate", 60.0, "an hour of motion", "the oximeter's probe is pulled or pressed", "chosen"),
        Entry("probe_s", 35.0, "s, mean", "length", "chosen"),
        Entry("probe_fall", (6.0, 25.0), "%", "SpO2 reads low by", "chosen"),
        Entry("electrode_rate", 0.5, "an hour of motion", "the patch counts heart beats double or by half", "chosen"),
        Entry("electrode_s", 40.0, "s, mean", "length", "chosen"),
        Entry(
            "flagged_share",
            0.95,
            "of artefacts",
            "that the device flags with poor quality, from beginning to end",
            "18 % by an oximeter, 95 % by pulse-heart rate comparison: Eur J Pediatr 1997, doi:10.1007/s004310050719",
        ),
        Entry("flagged_quality", 0.25, "0..1", "quality of a flagged value", "chosen"),
        Entry("usual_quality", 0.95, "0..1", "quality of any other value", "chosen"),
        Entry("cuff_artefact_share", 0.02, "of cuff readings", "that are wrong", "chosen"),
        Entry("cuff_artefact", (30.0, 60.0), "mm[Hg]", "error of such a reading, up or down", "chosen"),
    ),
    "Dropouts": (
        Entry(
            "patch_missing_share", 0.188, "of time", "no heart and respiratory rate", f"completeness 81.2 %: {AREIA}"
        ),
        Entry("oximeter_missing_share", 0.314, "of time", "no SpO2", f"completeness 68.6 %: {AREIA}"),
        Entry("long_gap_share", 0.75, "of missing time", "lies in long gaps (worn off, charging)", "chosen"),
        Entry("long_gap_s", 7200.0, "s, mean", "length of a long gap", "chosen"),
        Entry("short_gap_s", 90.0, "s, mean", "length of a short gap (radio, contact)", "chosen"),
        Entry(
            "outage_rate", 0.5, "a patient-day", "the gateway holds readings back, then sends all in order", "chosen"
        ),
        Entry("outage_s", (60.0, 900.0), "s", "length of an outage", "chosen"),
    ),
}

_ENTRIES = {entry.name: entry for group in TABLE.values() for entry in group}


def number(name: str) -> float:
    """The one number of that row; raises `KeyError` or `TypeError` for a name that has none."""
    value = _ENTRIES[name].value
    if isinstance(value, tuple):
        raise TypeError(f"{name} has two numbers")
    return value


def pair(name: str) -> tuple[float, float]:
    """The two numbers of that row; raises `KeyError` or `TypeError` for a name that has one or none."""
    value = _ENTRIES[name].value
    if not isinstance(value, tuple):
        raise TypeError(f"{name} has one number")
    return value
