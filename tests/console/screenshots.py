"""Makes docs/images: the console on a ward of invented patients, on a real Kafka and in a real Chromium.

Run: python -m tests.console.screenshots [FOLDER]. With a folder named it also puts every page there, in each language
and at the widths of a desk and of a telephone, to be looked at. Japanese needs a font (Debian: fonts-ipafont-gothic).
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from alerts.console.directory import Directory, Entry
from contracts.configuration import Configuration, Kafka
from contracts.topics import ALERT_RECEIPTS, ON_CALL
from deploy.kafka.broker import Broker
from deploy.kafka.topics import create_topics
from tests.console.console_harness import (
    ACCOUNT,
    SESSION,
    Console,
    Record,
    SignedIn,
    alert,
    chromium,
    evidence,
    running_console,
    score,
    signal,
    twin,
    wave,
    write,
)

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
MAX_BYTES = 300_000

PEOPLE = (
    ("p-7f3a", "Margarethe Lindqvist", "12", "70-79"),
    ("p-2c81", "Ravi Chandrasekhar", "4", "60-69"),
    ("p-90de", "Oluwaseun Adeyemi", "7", "50-59"),
    ("p-5b17", "Hannah Whitcombe", "9", "60-69"),
    ("p-e4a0", "Tomás Figueroa", "2", "70-79"),
    ("p-13cf", "Ingrid Solheim", "10", "50-59"),
    ("p-a6d2", "Kwame Boateng", "3", "40-49"),
    ("p-d05e", "Yuki Tanabe", "11", "60-69"),
)
SICK = "p-7f3a"
AUDITOR = "a-session-cookie-of-the-auditor"
JAPANESE = {
    "heart-rate-high-personal": "安静時の心拍数は122/minで、個別の限界値120/minを超えています。",
    "news2-urgent": "NEWS2は7(可能な範囲7〜10、体温が欠測)で、限界値5以上です。緊急に評価してください。",
    "news2-emergency": "NEWS2は8(可能な範囲8〜11、体温が欠測)で、限界値7以上です。緊急対応が必要です。",
    "spo2-low-at-rest": "安静時のSpO2が1分間にわたり限界値を下回っています。",
    "heart-rate-above-zone": "心拍数は126/minで、目標範囲を10/min以上超えています。ペースを落としてください。",
    "news2-emergency-possible": "NEWS2は最大17の可能性があります。測定項目をそろえてください。",
    "device-silent": "バイタルサインが許容時間を超えて届いていません。",
    "battery-low": "機器の電池残量は12 %で、限界値15 %を下回っています。",
}
"""Sentences as the templates of the rules would make them, by rule."""

AIR = {"consciousness": 0.0, "supplemental_oxygen": 0.0}


def ward(now: float) -> Iterator[Record]:
    """The newest state of everyone."""
    yield sick_twin(now)
    yield twin(
        "p-2c81",
        now,
        {"heart_rate": 126, "spo2": 94, "systolic_pressure": 158, "diastolic_pressure": 84, "rpe": 15, "power_w": 92},
        ages={"systolic_pressure": 260, "diastolic_pressure": 260, "rpe": 120},
        session=True,
        limits={"zone_low": 95, "zone_high": 115, "heart_rate_high": 130},
        news2={"applicable": False, "reason": "suspended during an exercise session"},
    )
    yield twin(
        "p-90de",
        now,
        {"heart_rate": 88, "spo2": 93, "respiratory_rate": 21, "body_temperature": 37.4}
        | {"systolic_pressure": 128, "diastolic_pressure": 76}
        | AIR,
        ages={"body_temperature": 2400, "systolic_pressure": 5600, "diastolic_pressure": 5600},
        qualities={"spo2": 0.62},
        news2=score(4),
    )
    yield twin("p-5b17", now, {"heart_rate": 71}, news2=score(0, 17, ["spo2", "respiratory_rate", "body_temperature"]))
    yield twin(
        "p-e4a0",
        now - 740,
        {"heart_rate": 64, "spo2": 96, "respiratory_rate": 14, "body_temperature": 36.6}
        | {"systolic_pressure": 119, "diastolic_pressure": 70}
        | AIR,
        ages={"systolic_pressure": 1500, "diastolic_pressure": 1500},
        news2=score(0, 3, ["heart_rate"]),
    )
    calm = {"respiratory_rate": 15, "systolic_pressure": 124, "diastolic_pressure": 74} | AIR
    for patient, heart_rate, spo2, temperature in (("p-13cf", 66, 98, 36.7), ("p-a6d2", 58, 97, 36.4)):
        yield twin(
            patient,
            now,
            calm | {"heart_rate": heart_rate, "spo2": spo2, "body_temperature": temperature},
            ages={"systolic_pressure": 900, "diastolic_pressure": 900, "body_temperature": 1200},
            qualities={"heart_rate": 0.4 if patient == "p-a6d2" else 0.98},
            news2=score(0 if patient == "p-13cf" else 1),
        )


def sick_twin(t: float) -> Record:
    """The patient who deteriorates: over the last eight minutes the pulse climbs and the saturation falls."""
    ill = min(1.0, max(0.0, (t - BEGAN) / 480))
    pressure_t = t // 300 * 300
    values = {
        "heart_rate": round(wave("hr", t, 84 + 46 * ill, 6)),
        "spo2": round(min(99.0, wave("spo2", t, 96 - 7 * ill, 1.6))),
        "respiratory_rate": round(wave("rr", t, 16 + 11 * ill, 2)),
        "systolic_pressure": round(wave("sys", pressure_t, 124 - 28 * ill, 6)),
        "diastolic_pressure": round(wave("dia", pressure_t, 76 - 12 * ill, 4)),
        "battery_pct": 64.0,
        "skin_temperature": 33.1,
        **AIR,
    }
    return twin(
        SICK,
        t,
        values,
        ages={"systolic_pressure": t - pressure_t, "diastolic_pressure": t - pressure_t, "consciousness": 1900}
        | {"supplemental_oxygen": 1900, "battery_pct": 60},
        qualities={"spo2": 0.91, "respiratory_rate": 0.71},
        baselines={"heart_rate": (82.0, 4.5), "spo2": (96.0, 0.9), "respiratory_rate": (15.5, 1.1)},
        limits={"heart_rate_high": 120, "spo2_floor": 90},
        news2=score(round(1 + 7 * ill), round(4 + 7 * ill), ["body_temperature"]) if t % 5 < 1 or ill == 1 else None,
        estimates={
            "atrial_fibrillation_probability": {"t": t - 8, "unit": "1", "valid_s": 60, "value": 0.03, "sd": 0.17},
            "atrial_fibrillation_burden": {"t": t - 8, "unit": "1", "valid_s": 86400, "value": 0.0},
            "mean_nn": {"t": t - 8, "unit": "ms", "valid_s": 60, "value": 60_000 / (84 + 46 * ill), "sd": 3.1},
            "rmssd": {"t": t - 8, "unit": "ms", "valid_s": 60, "value": 14.2, "sd": 0.7},
            "dfa_alpha1": {"t": t - 8, "unit": "1", "valid_s": 60},
        },
    )


BEGAN = time.time() - 540


def alerts(now: float) -> Iterator[Record]:
    """The alerts of everyone, in the order in which they were written."""
    royal = "Royal College of Physicians, National Early Warning Score (NEWS) 2, 2017: total of 7 or more"
    earlier = now - 9000
    yield alert(
        SICK,
        "heart-rate-high-personal",
        "medium",
        "Heart rate is 122/min at rest, personal limit 120/min.",
        onset_t=earlier,
    )
    yield alert(
        *(SICK, "heart-rate-high-personal", "medium", "Heart rate is 122/min at rest, personal limit 120/min."),
        onset_t=earlier,
        t=earlier + 5,
        transition="withdrawn",
        stage="settled",
    )
    base = now - 250
    inputs = {"respiratory_rate": 25, "spo2": 91, "heart_rate": 122, "systolic_pressure": 101, "consciousness": 0}
    found = evidence("news2_low", 7, 7, inputs, base, low=7, high=10, missing=["body_temperature"])
    text = "NEWS2 is 7 (7 to 10 possible; temperature missing), limit 7: emergency assessment."
    yield alert(
        SICK,
        "news2-urgent",
        "medium",
        "NEWS2 is 5 (5 to 8 possible; temperature missing), limit 5: urgent review.",
        onset_t=base - 120,
        stage="settled",
    )
    yield alert(
        *(
            SICK,
            "news2-urgent",
            "medium",
            "NEWS2 is 7 (7 to 10 possible; temperature missing), limit 5: urgent review.",
        ),
        onset_t=base - 120,
        t=base,
        transition="clear",
        stage="settled",
        sequence=2,
    )
    yield alert(SICK, "news2-emergency", "high", text, onset_t=base, evidence=found, source=royal)
    yield alert(
        SICK, "news2-emergency", "high", text, onset_t=base, t=base, stage="settled", evidence=found, source=royal
    )
    worse = evidence(
        "news2_low",
        8,
        7,
        inputs | {"spo2": 90, "heart_rate": 129},
        now - 60,
        low=8,
        high=11,
        missing=["body_temperature"],
    )
    yield alert(
        *(SICK, "news2-emergency", "high", text.replace("NEWS2 is 7 (7 to 10", "NEWS2 is 8 (8 to 11")),
        onset_t=base,
        t=now - 60,
        transition="update",
        stage="settled",
        sequence=2,
        evidence=worse,
        source=royal,
    )
    yield alert(
        *(SICK, "spo2-low-at-rest", "medium", "SpO2 has been below 90 % for a minute at rest, now 89 %."),
        onset_t=now - 18,
        evidence=evidence("spo2", 89, 89.9, {"spo2": 89}, now - 18, limit_from="patient"),
        source="Respiratory Care 2012;57(7):1154",
    )
    yield alert(
        *("p-2c81", "heart-rate-above-zone", "low"),
        "Heart rate is 126/min, more than 10/min above the target zone for a minute (personal limit 115/min): "
        "slow down.",
        onset_t=now - 75,
        stage="settled",
    )
    yield alert(
        "p-90de",
        "spo2-low-at-rest",
        "medium",
        "SpO2 has been below 94 % for a minute at rest, now 93 %.",
        onset_t=now - 12,
    )
    yield alert(
        *("p-5b17", "news2-emergency-possible", "low"),
        "NEWS2 may be 17 (0 to 17 possible; SpO2, respiratory rate and temperature missing), limit 7: "
        "complete the observations.",
        onset_t=now - 1400,
        stage="settled",
        kind="advisory",
    )
    yield alert(
        *("p-e4a0", "device-silent", "low", "No vital sign has arrived for longer than its allowance."),
        onset_t=now - 440,
        stage="settled",
        kind="technical",
    )
    yield alert(
        "p-d05e",
        "battery-low",
        "low",
        "A device's battery is at 12 %, limit 15 %.",
        onset_t=now - 2000,
        stage="settled",
        kind="technical",
    )


def signals(told: list[Record]) -> Iterator[Record]:
    """What was done about them: one is acknowledged, one put off, one waits and has escalated, the others are on."""
    onsets: dict[str, Record] = {}
    for record in told:
        body = record[2]
        if body is not None and body["transition"] == "onset":
            onsets.setdefault(body["id"], record)
    for record in onsets.values():
        body = record[2] or {}
        t, patient, rule = body["onset_t"] + 0.5, body["patient"], body["rule"]
        yield signal(record, "condition_onset", "on", 1, t=t)
        if (patient, rule) == (SICK, "news2-emergency"):
            yield signal(record, "escalation_due", "on", 2, t=t + 60, escalation=1)
            yield signal(record, "acknowledge", "acknowledged", 3, t=t + 95, actor="N. Okafor", reason="at the bedside")
        if patient == "p-5b17":
            until = t + 4000
            yield signal(
                *(record, "alarm_off", "alarm_off", 2),
                t=t + 400,
                actor="Dr. Brandt",
                reason="probe at the next round",
                until=until,
            )


def past(now: float) -> Iterator[Record]:
    """The last quarter of an hour of the sick patient, with a gap where the strap came off."""
    for second in range(900, 0, -1):
        if not 700 > second > 640:
            yield sick_twin(now - second)


def in_japanese(records: Iterable[Record]) -> Iterator[Record]:
    """The same alerts with their sentence in Japanese beside the English one."""
    for record in records:
        body = record[2]
        if body is not None:
            body["message_ja"] = JAPANESE[body["rule"]]
        yield record


def on_call(now: float) -> Iterator[Record]:
    """Who has which role, and what became of the notifications of the sick patient's alert."""
    for role, holder, until in (
        ("ward-nurse-3-west", ACCOUNT, now + 5 * 3600),
        ("charge-nurse-3-west", "lead-1", None),
        ("physician-on-duty", "", None),
    ):
        act = "take_role" if holder else "release_role"
        shift = {
            "holder": holder,
            "since": now - 9000,
            "received_at": now,
            "author": ACCOUNT,
            "command": "c",
            "act": act,
        }
        yield ON_CALL, role, {"role": role, "shifts": [shift | ({"until": until} if until else {})]}


def receipts(told: list[Record]) -> Iterator[Record]:
    for _, patient, body in told:
        if body is None or (body["rule"], body["transition"], body["stage"]) != ("news2-emergency", "onset", "settled"):
            continue
        step = {name: body[name] for name in ("patient", "transition", "stage", "sequence")} | {"alert": body["id"]}
        for place, state in enumerate(("queued", "sent", "delivered", "read")):
            step |= {"channel": "mqtt", "subscription": "ward-3-west", "state": state, "t": body["t"] + 0.5 + place}
            yield ALERT_RECEIPTS, patient, dict(step)


async def photograph(page: Page, url: str, file: Path) -> None:
    await page.goto(url)
    await page.wait_for_selector("body[data-connection=live]")
    await page.wait_for_timeout(1500)
    picture = await page.screenshot(path=file, animations="disabled")
    if len(picture) > MAX_BYTES:
        raise SystemExit(f"{file} has {len(picture)} bytes, more than {MAX_BYTES}")
    print(file, len(picture))


async def every_page(console: Console, browser: SignedIn, folder: Path) -> None:
    """Every page whole, in each language, as at a desk and as on a telephone; dialogs and evidence open too."""
    await asyncio.to_thread(console.sign_in, "auditor-1", "auditor", AUDITOR)
    pages = {"login": "/login", "ward": "/", "inbox": "/inbox", "on-call": "/on-call", "patient": f"/patients/{SICK}"}
    for locale in ("en-GB", "ja-JP"):
        for width, height in ((1440, 900), (390, 844)):
            for name, path in {**pages, "audit": "/audit"}.items():
                cookie = {"login": "", "audit": AUDITOR}.get(name, SESSION)
                size: Any = {"width": width, "height": height}
                page = await browser.new_page(locale=locale, viewport=size, cookie=cookie)
                await page.goto(console.url + path)
                if cookie == SESSION:
                    await page.wait_for_selector("body[data-connection=live]")
                await page.wait_for_timeout(1200)
                file = f"{locale[:2]}-{width}-{name}"
                if name == "patient":
                    await page.wait_for_selector("#active .alert-card")
                    for summary in await page.locator("#active .alert-card").first.locator("summary").all():
                        await summary.click()
                    await page.wait_for_timeout(300)
                    await page.evaluate("scrollTo(0, 0)")
                await page.screenshot(path=folder / f"{file}.png", animations="disabled", full_page=True)
                if name == "patient":
                    await page.locator("#limits-open").click()
                    await page.screenshot(path=folder / f"{file}-limits.png", animations="disabled")
                await page.close()
            print(folder, locale, width)


async def make(folder: Path, *, every: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        broker = Broker(work / "kafka")
        broker.start()
        try:
            await create_topics(broker.bootstrap, Configuration(kafka=Kafka(bootstrap=broker.bootstrap)))
            async with running_console(work, broker.bootstrap) as console, chromium() as browser:
                directory = Directory(console.directory)
                for pseudonym, name, bed, age_band in PEOPLE:
                    directory.put(Entry(pseudonym, name, "3 West", bed, age_band))
                now = time.time()
                await write(broker.bootstrap, past(now))
                told = list(in_japanese(alerts(now)))
                await write(broker.bootstrap, [*told, *signals(told), *on_call(now), *receipts(told)])
                beating = asyncio.create_task(beat(broker.bootstrap))
                if every:
                    await every_page(console, browser, folder)
                for scheme in ("light", "dark"):
                    page = await browser.new_page(color_scheme=scheme, viewport={"width": 1440, "height": 900})
                    await photograph(page, console.url, folder / f"console-ward-{scheme}.png")
                    await photograph(page, f"{console.url}/patients/{SICK}", folder / f"console-patient-{scheme}.png")
                    await page.close()
                page = await browser.new_page(viewport={"width": 1440, "height": 1000})
                await page.goto(f"{console.url}/patients/{SICK}")
                for title in ("Evidence", "Who did what"):
                    await page.locator("#active .alert-card").first.locator("summary", has_text=title).click()
                await page.locator("#active").screenshot(path=folder / "console-evidence.png", animations="disabled")
                japanese = await browser.new_page(locale="ja-JP", viewport={"width": 1440, "height": 900})
                await photograph(japanese, f"{console.url}/patients/{SICK}", folder / "console-patient-ja.png")
                await photograph(japanese, f"{console.url}/inbox", folder / "console-inbox-ja.png")
                narrow = await browser.new_page(viewport={"width": 360, "height": 780})
                await photograph(narrow, console.url, folder / "console-ward-narrow.png")
                await photograph(narrow, f"{console.url}/patients/{SICK}", folder / "console-patient-narrow.png")
                wide = await browser.new_page(viewport={"width": 1440, "height": 900})
                await photograph(wide, console.url, folder / "console-ward-lost.png")
                await console.kill()
                await wide.wait_for_selector("body[data-connection=lost]")
                await wide.screenshot(path=folder / "console-ward-lost.png", animations="disabled")
                beating.cancel()
        finally:
            broker.stop()


async def beat(bootstrap: str) -> None:
    while True:
        await write(bootstrap, ward(time.time()))
        await asyncio.sleep(1)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(make(target, every=len(sys.argv) > 1))
