"""`biotwin evaluate` and `fit`: each task runs on a folder of its layout, says what it found, and refuses another."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.errors import UserError
from loadtest.evaluation.result import bootstrapped


def irregular(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.asarray(350.0 + np.random.default_rng(seed).gamma(3.0, 100.0, count), np.float64)


def regular(count: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    noise = np.random.default_rng(seed).normal(0.0, 12.0, count)
    return np.asarray(850.0 + 50.0 * np.sin(np.arange(count) / 3.5) + noise, np.float64)


def long_records(folder: Path) -> Path:
    """Two people with an episode of fibrillation each."""
    arrays = {}
    for seed, name in enumerate(("one", "two")):
        arrays[f"rr_{name}"] = np.concatenate([regular(900, seed), irregular(600, seed), regular(600, seed + 5)])
        arrays[f"lab_{name}"] = np.repeat([0, 1, 0], [900, 600, 600])
    np.savez(folder / "records.npz", **arrays)  # type: ignore[arg-type]
    return folder


def short_records(folder: Path) -> Path:
    """Twenty recordings of each rhythm, one with too few beats, and one of noise."""
    parts = [rhythm(40, seed) for rhythm in (regular, irregular) for seed in range(20)] + [
        regular(4, 1),
        irregular(40, 99),
    ]
    labels = np.array(["N"] * 20 + ["A"] * 20 + ["N", "~"])
    offset = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    names = np.array([f"A{n}" for n in range(len(parts))])
    np.savez(folder / "rr_wqrs.npz", rr_ms=np.concatenate(parts), offset=offset, rec=names, label=labels)
    return folder


def logged_session(folder: Path) -> Path:
    """A session of five minutes, with a log that says what is true of it."""
    rr_ms = np.round(regular(400, 1))
    ends = np.cumsum(rr_ms) / 1000.0
    lines = ["timestamp,rmssd,alpha1,filtered"]
    for begin in range(0, 200, 5):
        window = rr_ms[(ends >= begin) & (ends < begin + 120)]
        lines.append(f"{begin},{np.sqrt(np.mean(np.diff(window) ** 2)):.3f},1.0,0")
    with gzip.open(folder / "one.rr.csv.gz", "wt") as file:
        file.write("\n".join(["rr", *(str(value) for value in rr_ms)]))
    with gzip.open(folder / "one.rr.csv_python_features.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    return folder


def day(folder: Path) -> Path:
    """Two people's beats with a gap, their times in whole seconds."""
    arrays: dict[str, Any] = {}
    for name in ("1", "2"):
        rr_ms = regular(2000, int(name))
        second = np.floor(36_000 + np.cumsum(rr_ms) / 1000.0).astype(int)
        second[1000:] += 600
        arrays |= {f"ibi_ms_{name}": rr_ms, f"t_s_{name}": np.diff(second, prepend=0)}
    np.savez(folder / "rr.npz", **arrays)
    return folder


def training(folder: Path) -> Path:
    """Half a year of training with a test each fortnight."""
    rng = np.random.default_rng(1)
    lines = ["Day,BikeScore,Test_5min_Power"]
    lines += [f"{day},{rng.uniform(0, 100):.1f},{270 + day / 8 if day % 14 == 0 else ''}" for day in range(1, 180)]
    (folder / "one.csv").write_text("\n".join(lines))
    return folder


def stays(folder: Path) -> Path:
    """Forty stays of a day and a half, a quarter of whom fall ill after a day; signs are missing now and then."""
    rng = np.random.default_rng(1)
    hours = 36
    names = ("HR", "O2Sat", "Temp_x10", "SBP", "MAP", "DBP", "Resp")
    calm, ill = np.array([75, 97, 368, 124, 85, 66, 15]), np.array([50, -5, 15, -30, -20, -15, 12])
    columns: dict[str, list[Any]] = {name: [] for name in ("pid", "ICULOS", "SepsisLabel", "FiO2_x100", *names)}
    for stay in range(40):
        for hour in range(1, hours + 1):
            worse = max(0.0, (hour - 24) / 12) if stay % 4 == 0 else 0.0
            signs = np.round(calm + worse * ill + rng.normal(0.0, 3.0, 7))
            signs[rng.random(7) < 0.3] = -1
            for name, value in zip(names, signs, strict=True):
                columns[name].append(value)
            columns["pid"].append(stay)
            columns["ICULOS"].append(hour)
            columns["FiO2_x100"].append(40 if worse > 0.5 else -1)
            columns["SepsisLabel"].append(int(worse > 0.0))
    np.savez(folder / "hours.npz", **{name: np.array(values, np.int64) for name, values in columns.items()})  # type: ignore[arg-type]
    return folder


def rides(folder: Path) -> Path:
    """Six rides of twelve minutes with a load that changes, and a heart rate that follows it."""
    rng = np.random.default_rng(1)
    seconds = 720
    watts = np.repeat(rng.uniform(0.0, 300.0, (6, seconds // 60)), 60, axis=1)
    heart_rate = np.zeros((6, seconds))
    level = np.zeros(6)
    for second in range(seconds):
        level += (watts[:, second] - level) / 50.0
        heart_rate[:, second] = 85.0 + 0.28 * level + rng.normal(0.0, 1.0, 6)
    np.savez(
        folder / "one.npz",
        SECS=np.tile(np.arange(seconds), (6, 1)),
        HR=np.round(heart_rate),
        WATTS=watts,
        KPH=np.full((6, seconds), 2500),
        CAD=np.full((6, seconds), 80),
    )
    return folder


def runs(folder: Path) -> Path:
    """Two runs by the protocol."""
    t = 4.0 + 2.0 * np.arange(148)
    stage = np.clip((t - 30.0) // 60.0, -1, 4).astype(int)
    arrays = {}
    for name, speeds in (("one_TYPE01", (8.0, 15.0)), ("two_TYPE02", (6.0, 12.0))):
        aim = np.choose(stage + 1, [80.0, *(80.0 + 5.0 * speed for speed in speeds * 2), 80.0])
        heart_rate = np.full(len(t), 80.0)
        for n in range(1, len(t)):
            heart_rate[n] = heart_rate[n - 1] + 2.0 * (aim[n] - heart_rate[n - 1]) / 60.0
        arrays[f"{name}_bpm_x10"] = np.round(10.0 * heart_rate)
    np.savez(folder / "runs.npz", **arrays)  # type: ignore[arg-type]
    return folder


def worn(folder: Path) -> Path:
    """Four people with a wristband, whose heart rate and skin conductance rise while a stressor goes on."""
    seconds = 900
    arrays: dict[str, Any] = {}
    lines = ["Participant,HR,respr,Time(sec),Label"]
    for number in range(1, 5):
        rng = np.random.default_rng(number)
        label = ((np.arange(seconds) // 150) % 3 == 1).astype(int)
        level = np.zeros(seconds)
        for n in range(1, seconds):
            level[n] = level[n - 1] + (label[n] - level[n - 1]) / 30.0
        person = f"S{number:02d}"
        arrays[f"{person}_hr_x10"] = np.round(700 + 120 * level + rng.normal(0, 15, seconds))
        arrays[f"{person}_eda_uS_x1000_4hz"] = np.repeat(np.round(900 + 900 * level + rng.normal(0, 10, seconds)), 4)
        arrays[f"{person}_temp_x100_1hz"] = np.round(3200 - 40 * level)
        arrays[f"{person}_acc_std_x10_1hz"] = np.round(rng.gamma(2.0, 8.0, seconds))
        for name in ("hr", "eda", "temp", "acc"):
            arrays[f"{person}_{name}_t0"] = np.array(1000.0 * number)
        lines += [f"{number},,,{1000 * number + n},{value}" for n, value in enumerate(label)]
    np.savez(folder / "e4_signals.npz", **arrays)
    with gzip.open(folder / "labels.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    return folder


def answers(folder: Path) -> Path:
    """Three people with forty measurements each, who feel low the more often the faster their heart."""
    lines = ["user_code,measurement_datetime,bpm,rmssd,how_feel,how_mood"]
    for number in range(3):
        rng = np.random.default_rng(number)
        for n in range(40):
            low = rng.random() < (0.2, 0.5, 0.8)[number]
            heart_rate, rmssd = (78.0, 24.0) if low else (62.0, 55.0)
            moment = f"2020-05-{1 + n // 2:02d}  {8 + 12 * (n % 2):02d}:00:00"
            heart = f"{heart_rate + rng.normal(0, 3):.0f},{rmssd + rng.normal(0, 4):.1f}"
            lines.append(f"person-{number},{moment},{heart},{-1 if low else 0},{'' if n % 5 == 0 else int(not low)}")
    with gzip.open(folder / "hrv_measurements.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    return folder


def walks(folder: Path) -> Path:
    """Two people who walk at two steps a second, and tremble at five in place of it now and then."""
    arrays: dict[str, Any] = {}
    for number in (1, 2):
        rng = np.random.default_rng(number)
        t = np.arange(64 * 180) / 64.0
        freeze = (t % 60.0) > 52.0
        swing = np.where(freeze, 80.0 * np.sin(2 * np.pi * 5 * t), 400.0 * np.sin(2 * np.pi * 2 * t))
        nine = np.round(swing[:, None] + rng.normal(0.0, 20.0, (len(t), 9)) + np.array([0, 1000, 0] * 3)).astype(
            np.int16
        )
        arrays[f"S0{number}R01_acc9_mg_diff"] = np.diff(nine, axis=0, prepend=0).astype(np.int16)
        arrays[f"S0{number}R01_label"] = np.where(freeze, 2, 1).astype(np.uint8)
    np.savez(folder / "walks.npz", **arrays)
    return folder


def days_of_illness(folder: Path) -> Path:
    """Eight people over four months, who fall ill on day 0: the heart faster, fewer steps."""
    lines = ["id,Day,Constant Vertical Shift in HR,Daily step count"]
    for number in range(8):
        rng = np.random.default_rng(number)
        for day in range(-80, 40):
            ill = -2 <= day <= 6
            heart_rate = 62.0 + number + rng.normal(0.0, 1.2) + (5.0 if ill else 0.0)
            lines.append(f"p{number},{day},{heart_rate:.2f},{rng.gamma(8.0, 1000.0) * (0.3 if ill else 1.0):.0f}")
    with gzip.open(folder / "days.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    return folder


def incremental_tests(folder: Path) -> Path:
    """Six people whose variability sinks and whose heart rate rises with the load, at thresholds of their own."""
    lines = ["ID,time,RR,VO2,power"]
    info = ["ID,age,P_vt1,P_vt2"]
    for number in range(6):
        rng = np.random.default_rng(number)
        t = -120.0
        while t < 900.0:
            power = 0.0 if t < 0.0 else 50.0 + 15.0 * (t // 60.0)
            rate = 80.0 + 0.35 * power
            swing = max(40.0 - 0.28 * power - 3.0 * number, 1.0)
            rr_ms = 60_000.0 / rate + swing * np.sin(t * 1.6) + rng.normal(0.0, 0.5)
            t += rr_ms / 1000.0
            lines.append(f"{number},{t:.3f},{rr_ms:.1f},,{power:.0f}")
        info.append(f"{number},15,{110 - 8 * number},{190 - 8 * number}")
    with gzip.open(folder / "test_measure.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    (folder / "subject-info.csv").write_text("\n".join(info))
    return folder


LAYOUTS = {
    "threshold": incremental_tests,
    "threshold-light": incremental_tests,
    "infection": days_of_illness,
    "freeze": walks,
    "mood": answers,
    "stress": worn,
    "hr-load": rides,
    "hr-treadmill": runs,
    "fitness": training,
    "af": long_records,
    "af-short": short_records,
    "hrv": logged_session,
    "hrv-day": day,
    "deterioration": stays,
}
FITTED = (
    "af",
    "af-short",
    "deterioration",
    "hr-load",
    "hr-treadmill",
    "stress",
    "mood",
    "freeze",
    "infection",
    "threshold",
)
MEASURES = {
    "threshold": {"vt1_mae_bpm", "vt2_mae_bpm"},
    "threshold-light": {"vt2_light_mae_bpm"},
    "infection": {"sensitivity_7d", "sensitivity_by_onset", "false_days_per_30d"},
    "freeze": {"sensitivity", "specificity", "delay_s"},
    "mood": {"auc", "auc_within_person", "auc_ahead", "auc_ahead_within_person", "ece"},
    "stress": {"auc", "balanced_accuracy", "ece", "auc_begun_midway"},
    "hr-load": {"open_loop_mae_bpm", "ahead_60s_mae_bpm", "coverage_90"},
    "hr-treadmill": {"second_half_mae_bpm"},
    "deterioration": {"auroc", "calibration_slope"},
    "fitness": {"mae_w"},
    "hrv": {"rmssd_relative_error", "alpha1_abs_error", "stream_equals_batch"},
    "hrv-day": {"stream_equals_batch", "judged_share"},
    "af": {"sensitivity", "specificity", "onset_delay_beats", "burden_error"},
    "af-short": {"f1"},
}


@pytest.mark.parametrize("task", LAYOUTS)
def test_a_task_gives_its_measures_its_predictions_and_a_picture(task: str, tmp_path: Path) -> None:
    data = LAYOUTS[task](tmp_path)
    table, picture = tmp_path / "predictions.csv", tmp_path / "picture.png"
    words = ["evaluate", task, "--data", str(data), "--json", "--predictions", str(table), "--picture", str(picture)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    told = orjson.loads(done.stdout)
    assert told["task"] == task
    assert set(told["measures"]) == MEASURES[task]
    for measure in told["measures"].values():
        assert measure["low"] <= measure["value"] <= measure["high"]
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {"person", "t", "prediction", "low", "high", "label", "measure"} == set(rows[0])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_fibrillation_is_found_where_it_is(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            "evaluate",
            "af",
            "--data",
            str(long_records(tmp_path)),
            "--json",
            "--predictions",
            str(tmp_path / "p.parquet"),
        ],
    )
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["sensitivity"]["value"] > 0.95
    assert measures["specificity"]["value"] > 0.95
    assert pq.read_table(tmp_path / "p.parquet").column_names[:3] == ["person", "t", "prediction"]


def test_a_load_foretells_the_heart_rate(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "hr-load", "--data", str(rides(tmp_path)), "--json"])
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["ahead_60s_mae_bpm"]["value"] < 6.0
    (tmp_path / "on foot").mkdir()
    done = CliRunner().invoke(app, ["evaluate", "hr-treadmill", "--data", str(runs(tmp_path / "on foot")), "--json"])
    measure = orjson.loads(done.stdout)["measures"]["second_half_mae_bpm"]
    assert measure["value"] < min(8.0, measure["baseline"])


def test_stressors_are_told_from_rests(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "stress", "--data", str(worn(tmp_path)), "--json"])
    assert orjson.loads(done.stdout)["measures"]["auc"]["value"] > 0.75


@pytest.mark.slow
def test_stress_is_told_wherever_a_recording_begins(recordings: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "stress", "--data", str(recordings / "stress_predict"), "--json"])
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["auc"]["value"] > 0.78
    assert measures["auc_begun_midway"]["value"] > 0.78
    assert measures["ece"]["value"] < 0.1


def test_low_answers_are_foretold_from_heart_and_history(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "mood", "--data", str(answers(tmp_path)), "--json"])
    measure = orjson.loads(done.stdout)["measures"]["auc_within_person"]
    assert measure["value"] > max(0.6, measure["baseline"])


def test_freezes_are_told_from_steps_soon(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "freeze", "--data", str(walks(tmp_path)), "--json"])
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["sensitivity"]["value"] > 0.8
    assert measures["specificity"]["value"] > 0.8
    assert measures["delay_s"]["value"] <= 2.0


def test_an_illness_is_warned_of_and_health_seldom_is(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "infection", "--data", str(days_of_illness(tmp_path)), "--json"])
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["sensitivity_7d"]["value"] > 0.8
    assert measures["false_days_per_30d"]["value"] < 2.0


def test_those_who_fall_ill_are_told_from_the_others(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "deterioration", "--data", str(stays(tmp_path)), "--json"])
    assert orjson.loads(done.stdout)["measures"]["auroc"]["value"] > 0.7


def test_variability_is_that_of_the_log(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "hrv", "--data", str(logged_session(tmp_path)), "--json"])
    measures = orjson.loads(done.stdout)["measures"]
    assert measures["rmssd_relative_error"]["value"] < 0.02
    assert measures["stream_equals_batch"]["value"] == 1.0


@pytest.mark.parametrize("task", FITTED)
def test_parameters_that_are_fitted_are_of_the_form_that_is_shipped(task: str, tmp_path: Path) -> None:
    written = tmp_path / "parameters.json"
    done = CliRunner().invoke(app, ["fit", task, "--data", str(LAYOUTS[task](tmp_path)), "--output", str(written)])
    assert done.exit_code == 0, done.output
    fitted = orjson.loads(written.read_bytes())
    shipped = Path(f"contracts/parameters/{fitted['model']}.json")
    assert fitted.keys() == orjson.loads((Path(__file__).parents[3] / shipped).read_bytes()).keys()


@pytest.mark.parametrize(
    ("task", "said"),
    [("af", "no .npz"), ("af-short", "no rr_wqrs.npz"), ("hrv", "no NAME.rr.csv.gz"), ("dance", "no task dance")],
)
def test_what_cannot_be_evaluated_is_said_plainly(task: str, said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", task, "--data", str(tmp_path)])
    assert done.exit_code != 0
    assert isinstance(done.exception, UserError | SystemExit)
    assert said in str(done.exception) + done.output


def test_an_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(60):
        measure = bootstrapped(
            list(rng.normal(5.0, 2.0, 40)), lambda units: float(np.mean(units)), trial, resamples=300
        )
        covered += measure.low <= 5.0 <= measure.high
    assert covered >= 50


RECORDED = {
    "fitness": "bike_score_banister",
    "af": "afdb_rr",
    "af-short": "cinc2017",
    "hrv": "fatmaxxer_logs",
    "hrv-day": "mmash",
    "deterioration": "sepsis2019b",
    "stress": "stress_predict",
    "threshold": "actes",
    "threshold-light": "actes",
    "infection": "covid_hr_daily",
    "freeze": "daphnet_fog",
    "mood": "welltory_hrv_covid",
    "hr-load": "cycling_freg",
    "hr-treadmill": "ieee_spc2015_treadmill",
}


@pytest.mark.slow
@pytest.mark.parametrize("task", RECORDED)
def test_a_task_runs_on_the_recordings(task: str, recordings: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", task, "--data", str(recordings / RECORDED[task]), "--json"])
    assert done.exit_code == 0, done.output
    assert set(orjson.loads(done.stdout)["measures"]) == MEASURES[task]
