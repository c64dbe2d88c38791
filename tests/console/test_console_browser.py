"""What a clinician sees: a real Chromium on the console, on a real Kafka."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from playwright.async_api import Page, expect

from alerts.console.directory import Directory, Entry
from contracts.configuration import Kafka
from contracts.topics import COMMANDS
from deploy.api.reading import read_topic
from deploy.kafka.scratch import ScratchKafka
from tests.console.accessibility import CONTRAST, LABELS, OVERFLOW
from tests.console.console_harness import (
    Console,
    Record,
    SignedIn,
    alert,
    chromium,
    evidence,
    identity,
    live,
    running_console,
    score,
    signal,
    signed_in_client,
    twin,
    write,
)
from tests.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.browser]


PEOPLE = {"p-1": ("Ada Quill", "9"), "p-2": ("Bela Roth", "10"), "p-3": ("Cem Usta", "11")}


@pytest.fixture
async def bootstrap(kafka: ScratchKafka) -> str:
    """A Kafka with empty topics."""
    await kafka.wipe()
    await kafka.create()
    return kafka.bootstrap


@pytest.fixture
async def console(bootstrap: str, tmp_path: Path) -> AsyncIterator[Console]:
    async with running_console(tmp_path, bootstrap) as started:
        directory = Directory(started.directory)
        for pseudonym, (name, bed) in PEOPLE.items():
            await asyncio.to_thread(directory.put, Entry(pseudonym, name, "3 West", bed, "60-69"))
        yield started


@pytest.fixture
async def browser() -> AsyncIterator[SignedIn]:
    async with chromium() as started:
        yield started


@pytest.fixture
async def page(browser: SignedIn, console: Console) -> AsyncIterator[Page]:
    """The ward list, live, with all of `PEOPLE`. Fails on script errors and on what the page's policy blocked."""
    opened = await browser.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda message: trouble.append(message.text) if "Content Security" in message.text else None)
    await opened.goto(console.url)
    await live(opened)
    await expect(opened.locator("tbody tr")).to_have_count(len(PEOPLE))
    yield opened
    assert trouble == []


async def order(page: Page) -> list[str]:
    found: list[str] = await page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.patient)")
    return found


async def shows(page: Page, patients: list[str]) -> None:
    """Wait until the list has these patients in this order."""
    await until(lambda: _is(order(page), patients))


def low_saturation(patient: str, at: float, priority: str = "high", **more: Any) -> Record:
    return alert(patient, "spo2", priority, "SpO2 is 83 %, below 85 %.", onset_t=at, **more)


async def test_the_list_is_sorted_by_urgency_and_names_stand_beside_pseudonyms(page: Page, bootstrap: str) -> None:
    now = time.time()
    await shows(page, ["p-1", "p-2", "p-3"])
    await write(bootstrap, [twin("p-3", now, {"heart_rate": 70}, news2=score(1, 6, ["spo2"])), twin("p-9", now, {})])
    await shows(page, ["p-3", "p-1", "p-2", "p-9"])
    await write(bootstrap, [low_saturation("p-2", now, "medium"), low_saturation("p-9", now)])
    await shows(page, ["p-9", "p-2", "p-3", "p-1"])
    second = page.locator("[data-patient=p-2]")
    await expect(second.locator("th")).to_contain_text("Medium priority")
    await expect(second.locator(".bed")).to_have_text("10")
    await expect(second.locator(".patient-name")).to_have_text("Bela Roth")
    await expect(second.locator(".pseudonym")).to_contain_text("p-2")
    await expect(page.locator("[data-patient=p-3] .news2")).to_contain_text("1–6")
    await expect(page.locator("[data-patient=p-3] .news2")).to_contain_text("without SpO₂")
    await expect(page).to_have_title("(1 high) Ward · BioTwin")


async def _is(found: Any, wanted: object) -> bool:
    return bool(await found == wanted)


async def test_ages_tick_and_old_values_are_never_passed_off_as_new(page: Page, bootstrap: str) -> None:
    now = time.time()
    values = {"heart_rate": 72, "spo2": 97, "respiratory_rate": 14, "body_temperature": 36.5}
    ages = {"spo2": 120, "respiratory_rate": 7200}
    await write(bootstrap, [twin("p-1", now, values, ages=ages, qualities={"heart_rate": 0.3})])
    cell = page.locator("[data-patient=p-1] .c-heart_rate .value")
    await expect(cell.locator(".number")).to_have_text("72")
    await expect(cell).to_contain_text("poor signal")
    await expect(cell).to_have_attribute("title", re.compile(r"Measured .*, received by .*"))
    await expect(cell).to_have_attribute("data-state", "fresh")
    age = cell.locator(".age")
    first = await age.inner_text()
    await until(lambda: _is_not(age.inner_text(), first))
    spo2 = page.locator("[data-patient=p-1] .c-spo2 .value")
    await expect(spo2).to_have_attribute("data-state", "stale")
    await expect(spo2).to_contain_text("2 min old")
    assert await _colour(spo2.locator(".number")) != await _colour(cell.locator(".number"))
    breathing = page.locator("[data-patient=p-1] .c-respiratory_rate .value")
    await expect(breathing).to_have_attribute("data-state", "expired")
    await expect(breathing.locator(".number")).to_have_text("–")
    await expect(breathing).to_contain_text("last 14, 2 h old")
    await expect(page.locator("[data-patient=p-1] .c-pressure")).to_contain_text("none yet")
    await expect(cell).to_have_attribute("data-state", "stale", timeout=25_000)


async def _is_not(found: Any, unwanted: object) -> bool:
    return bool(await found != unwanted)


async def _colour(locator: Any) -> str:
    return str(await locator.evaluate("element => getComputedStyle(element).color"))


async def test_an_alert_is_provisional_then_confirmed_then_cleared(page: Page, bootstrap: str) -> None:
    now = time.time()
    row = page.locator("[data-patient=p-2]")
    await write(bootstrap, [low_saturation("p-2", now)])
    await expect(row.locator(".row-alert")).to_contain_text("SpO2 is 83 %, below 85 %.")
    await expect(row.locator(".tag-provisional")).to_have_text("provisional")
    await expect(page.locator("#say-now")).to_contain_text("High priority, bed 10, Bela Roth. SpO2 is 83 %")
    await write(bootstrap, [low_saturation("p-2", now, stage="settled")])
    await expect(row.locator(".tag-provisional")).to_have_count(0)
    await expect(row.locator(".row-alert")).to_have_count(1)
    cleared = low_saturation("p-2", now, stage="settled", transition="clear", t=now + 40, sequence=2)
    await write(bootstrap, [cleared, low_saturation("p-1", now, "low")])
    await expect(row.locator(".row-alerts")).to_have_text("None")
    await expect(page.locator("#say-later")).to_contain_text("Cleared")
    await expect(page.locator("#say-later")).to_contain_text("Low priority, bed 9, Ada Quill")
    await expect(page.locator("#say-now p", has_text="High priority")).to_have_count(1)


async def test_a_withdrawn_notice_goes_and_stays_in_the_history(page: Page, bootstrap: str) -> None:
    now = time.time()
    await write(bootstrap, [low_saturation("p-2", now)])
    await expect(page.locator("[data-patient=p-2] .row-alert")).to_have_count(1)
    await page.locator("[data-patient=p-2] .patient-name").click()
    await live(page)
    assert page.url.endswith("/patients/p-2")
    await expect(page.locator("#active .alert-card")).to_contain_text("provisional")
    await write(bootstrap, [low_saturation("p-2", now, stage="settled", transition="withdrawn", t=now + 5)])
    await expect(page.locator("#active")).to_have_text("No active alert.")
    earlier = page.locator("#earlier .alert-card")
    await expect(earlier).to_contain_text("withdrawn")
    await earlier.locator("summary", has_text="History").click()
    await expect(earlier.locator(".history li strong")).to_have_text(["Raised, provisional", "Withdrawn"])
    await expect(page.locator("#say-later")).to_contain_text("Withdrawn: SpO2 is 83 %")


async def test_technical_conditions_stand_apart_and_so_does_the_system(page: Page, bootstrap: str) -> None:
    now = time.time()
    silent = alert("p-1", "device-silent", "low", "No vital sign has arrived.", onset_t=now, kind="technical")
    system = alert("", "ticks-stopped", "high", "The arrival clock stands still.", onset_t=now, kind="technical")
    await write(bootstrap, [silent, system])
    apart = page.locator("#technical li")
    await expect(apart).to_have_count(2)
    await expect(apart.nth(0)).to_contain_text("System")
    await expect(apart.nth(1)).to_contain_text("Bed 9, Ada Quill")
    await expect(page.locator("[data-patient=p-1] .row-alert")).to_contain_text("Technical")
    await expect(page.locator("tbody tr")).to_have_count(len(PEOPLE))
    await page.goto(page.url + "patients/p-3")
    await expect(page.locator("#system")).to_contain_text("The arrival clock stands still.")


async def test_a_lost_connection_is_unmistakable_and_nothing_is_missed(
    page: Page, console: Console, bootstrap: str
) -> None:
    now = time.time()
    await write(bootstrap, [twin("p-1", now, {"heart_rate": 72}), low_saturation("p-1", now)])
    await expect(page.locator("[data-patient=p-1] .row-alert")).to_have_count(1)
    await console.kill()
    await expect(page.locator("#banner-text")).to_contain_text("Connection lost. What you see is as of")
    await expect(page.locator("#connection-text")).to_contain_text("Reconnecting, data as of")
    assert await page.locator("main").evaluate("main => getComputedStyle(main).filter") == "grayscale(1)"
    await expect(page).to_have_title("Not live · (1 high) Ward · BioTwin")
    await write(bootstrap, [low_saturation("p-2", now, "low"), low_saturation("p-1", now, stage="settled")])
    await console.start()
    await live(page)
    await expect(page.locator("#banner")).to_be_hidden()
    await expect(page.locator("[data-patient=p-2] .row-alert")).to_contain_text("SpO2 is 83 %")
    await expect(page.locator("[data-patient=p-1] .tag-provisional")).to_have_count(0)
    await expect(page.locator("#say-later")).to_contain_text("Low priority, bed 10, Bela Roth")
    await expect(page.locator("#say-now p", has_text="High priority")).to_have_count(1)


async def test_a_restarted_console_resumes_a_stream_by_its_last_id(console: Console, bootstrap: str) -> None:
    now = time.time()
    await write(bootstrap, [low_saturation("p-1", now)])
    async with signed_in_client() as client:

        async def known() -> bool:
            answer = await client.get(console.url + "/api/patients/p-1")
            return bool(answer.json().get("alerts"))

        await until(known)
        last_id = (await _ids(client, console.url, "", "reset"))[-1]
        await console.stop()
        await write(bootstrap, [low_saturation("p-2", now), low_saturation("p-3", now)])
        await console.start()
        async with client.stream("GET", console.url + "/events", headers={"Last-Event-ID": last_id}) as stream:
            text = ""
            async for chunk in stream.aiter_text():
                text += chunk
                if text.count("event: alert") == 2:
                    break
    assert text.index("event: reset") < text.index("event: alert")
    assert identity("p-1", "spo2", now) not in text.split("event: alert", 1)[1]


async def _ids(client: httpx.AsyncClient, url: str, last_id: str, until_kind: str) -> list[str]:
    async with client.stream("GET", url + "/events", headers={"Last-Event-ID": last_id}) as stream:
        text = ""
        async for chunk in stream.aiter_text():
            text += chunk
            if f"event: {until_kind}" in text and text.endswith("\n\n"):
                return re.findall(r"^id: (.+)$", text, re.MULTILINE)
    return []


async def test_the_patient_page_shows_the_reason_and_every_time(page: Page, console: Console, bootstrap: str) -> None:
    now = time.time()
    why = evidence(
        "news2_low", 7, 7, {"heart_rate": 122, "spo2": 91}, now - 9, low=7, high=10, missing=["body_temperature"]
    )
    personal = evidence("heart_rate", 122, 120, {"heart_rate": 122}, now - 9, limit_from="patient")
    readings = [
        twin("p-1", now - second, {"heart_rate": 80 + second % 7}, baselines={"heart_rate": (82.0, 4.0)})
        for second in range(300, 0, -2)
        if not 100 < second < 200
    ]
    limits = {"heart_rate_high": 120.0}
    newest = twin(
        "p-1", now, {"heart_rate": 122, "battery_pct": 55}, baselines={"heart_rate": (82.0, 4.0)}, limits=limits
    )
    raised = alert("p-1", "news2", "high", "NEWS2 is 7.", onset_t=now - 9, evidence=why, source="RCP 2017")
    settled = alert(
        "p-1", "news2", "high", "NEWS2 is 7.", onset_t=now - 9, evidence=why, source="RCP 2017", stage="settled"
    )
    by_order = alert("p-1", "hr", "medium", "Heart rate is 122/min.", onset_t=now - 9, evidence=personal)
    await write(bootstrap, [*readings, newest, raised, settled, by_order])
    await page.goto(f"{console.url}/patients/p-1")
    await live(page)
    await expect(page.locator("h1")).to_have_text("Ada Quill")
    await expect(page.locator("#facts")).to_contain_text("p-1 · Ward 3 West")
    card = page.locator("#active .alert-card").nth(0)
    await expect(card).to_contain_text("confirmed")
    await expect(card).to_contain_text(
        re.compile(r"Onset measured \d\d:\d\d:\d\d · newest evidence received \d\d:\d\d:\d\d")
    )
    await card.locator("summary", has_text="Evidence").click()
    for text in ("7 (possible 7 to 10)", "7, of the rule", "Temperature", "RCP 2017"):
        await expect(card.locator(".decision")).to_contain_text(text)
    await expect(card.locator(".inputs tbody tr")).to_have_count(2)
    await expect(card.locator(".inputs tbody tr").nth(1)).to_contain_text(re.compile(r"SpO₂91 %\d\d:\d\d:\d\d0 s93 %"))
    await card.locator("summary", has_text="History").click()
    await expect(card.locator(".history li strong")).to_have_text(["Raised, provisional", "Confirmed"])
    second = page.locator("#active .alert-card").nth(1)
    await second.locator("summary", has_text="Evidence").click()
    await expect(second.locator(".decision")).to_contain_text("120 /min, set for this patient")
    await expect(page.locator("#limits")).to_contain_text("Heart rate, upper limit120 /min")
    await expect(page.locator("#others")).to_contain_text("Battery")
    chart = page.locator("[data-chart=heart_rate]")
    await expect(chart.locator(".now .number")).to_have_text("122")
    await expect(chart).to_contain_text("usual 82 ± 8")
    await expect(chart.locator("path.line")).to_have_count(2)  # the gap is a gap
    await expect(chart.locator(".limit-text")).to_have_text("upper limit 120")
    await expect(chart.locator(".baseline")).to_have_count(1)
    await chart.locator("svg.chart").focus()
    await page.keyboard.press("Home")
    await expect(chart.locator(".readout")).to_contain_text(
        re.compile(r"/min · measured .* · received .* · good signal")
    )
    first = await chart.locator(".readout").inner_text()
    await page.keyboard.press("ArrowRight")
    await expect(chart.locator(".readout")).not_to_have_text(first)
    await expect(chart.locator("svg.chart")).to_have_attribute("aria-valuetext", re.compile("measured"))
    await page.get_by_label("12 h").check()
    await expect(chart.locator("svg.chart")).to_have_attribute("aria-label", re.compile("Heart rate /min, "))


async def test_estimates_have_an_interval_and_an_age_and_abstentions_are_told(
    page: Page, console: Console, bootstrap: str
) -> None:
    now = time.time()
    told = {
        "atrial_fibrillation_probability": {"t": now - 8, "unit": "1", "valid_s": 86_400, "value": 0.93, "sd": 0.26},
        "rmssd": {"t": now - 8, "unit": "ms", "valid_s": 86_400, "value": 42.0, "sd": 2.0},
        "mean_nn": {"t": now - 300, "unit": "ms", "valid_s": 60, "value": 800.0, "sd": 2.0},
        "dfa_alpha1": {"t": now - 8, "unit": "1", "valid_s": 60},
    }
    await write(bootstrap, [twin("p-1", now, {"heart_rate": 75}, estimates=told)])
    await page.goto(f"{console.url}/patients/p-1")
    await live(page)
    found = page.locator("#estimates [data-estimate]")
    await expect(found).to_have_count(4)
    await expect(found.nth(0)).to_contain_text(re.compile(r"Probability of atrial fibrillation93\s%\d+ s$"))
    await expect(found.nth(1)).to_contain_text(re.compile(r"\(NN\)–last 800\sms, 5 min old$"))
    await expect(found.nth(2)).to_contain_text(re.compile(r"RMSSD42\sms\(39 to 45\)\d+ s$"))
    await expect(found.nth(3)).to_contain_text("DFA-alpha1–abstains: too few or too poor values")
    await write(bootstrap, [twin("p-1", now + 1, {"heart_rate": 75})])
    await expect(page.locator("#estimates")).to_contain_text("None: no device has sent intervals")


async def test_everything_is_reached_by_keyboard(page: Page, bootstrap: str) -> None:
    now = time.time()
    await write(bootstrap, [low_saturation("p-2", now)])
    await shows(page, ["p-2", "p-1", "p-3"])
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to the patients")
    assert await page.locator(":focus").evaluate("link => link.getBoundingClientRect().top") >= 0
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Bela Roth")
    assert await page.locator(":focus").evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(":focus")).to_have_text("Ada Quill")
    await write(bootstrap, [low_saturation("p-3", now), low_saturation("p-3", now, stage="settled")])
    await shows(page, ["p-2", "p-3", "p-1"])
    await expect(page.locator(":focus")).to_have_text("Ada Quill")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/patients/p-1")
    await live(page)
    reached = set()
    for _ in range(30):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.tagName.toLowerCase()"))
    assert {"a", "input", "svg"} <= reached


async def test_the_filter_finds_by_bed_name_and_pseudonym(page: Page) -> None:
    for text, found in (
        ("bela", ["p-2"]),
        ("11", ["p-3"]),
        ("P-1", ["p-1"]),
        ("nobody", []),
        ("", ["p-1", "p-2", "p-3"]),
    ):
        await page.get_by_label("Find").fill(text)
        await shows(page, found)
    await page.get_by_label("Find").fill("nobody")
    await expect(page.locator("#empty")).to_have_text("No patient fits the filter.")
    await page.get_by_label("Find").fill("")
    await page.get_by_label("Ward").select_option("3 West")
    await shows(page, ["p-1", "p-2", "p-3"])


async def test_names_stand_in_no_address(page: Page, console: Console, bootstrap: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await write(bootstrap, [low_saturation("p-1", time.time())])
    await page.reload()
    await live(page)
    await page.locator("[data-patient=p-1] .patient-name").click()
    await live(page)
    assert len(asked) > 5
    assert all(address.startswith(console.url) for address in asked)
    assert not any(word in address for address in asked for word in ("Ada", "Quill", "West"))
    assert "Quill" not in (console.folder / "console.log").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_is_legible_labelled_and_fits(
    browser: SignedIn, console: Console, bootstrap: str, scheme: Any
) -> None:
    now = time.time()
    why = evidence("spo2", 83, 85, {"spo2": 83}, now)
    records = [
        twin(
            "p-1",
            now,
            {"heart_rate": 72, "spo2": 83},
            ages={"heart_rate": 90},
            qualities={"spo2": 0.4},
            news2=score(7, 9),
        ),
        twin("p-2", now, {"body_temperature": 37.0}, ages={"body_temperature": 90_000}, news2=score(5), session=True),
        twin("p-3", now, {"systolic_pressure": 120, "diastolic_pressure": 70}, news2=score(0, 17, ["spo2"])),
        low_saturation("p-1", now, evidence=why),
        low_saturation("p-2", now, "medium", stage="settled"),
        low_saturation("p-3", now, "low"),
        alert("p-3", "device-silent", "low", "Silent.", onset_t=now, kind="technical"),
        low_saturation("p-1", now, "medium", transition="clear", stage="settled", opened_by="earlier"),
    ]
    high, medium, low = records[3:6]
    signals = [
        signal(high, "escalation_due", "on", 2, t=now, escalation=1),
        signal(medium, "acknowledge", "acknowledged", 2, t=now, actor="nurse-1", reason="on my way"),
        signal(low, "alarm_off", "alarm_off", 2, t=now, actor="nurse-1", reason="suction", until=now + 900),
    ]
    await write(bootstrap, [*records, *signals])
    for width in (360, 1440):
        page = await browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
        for address in ("/", "/patients/p-1", "/login"):
            await page.goto(console.url + address)
            if address != "/login":
                await live(page)
                await expect(page.locator("[data-alert]").first).to_be_visible()
                for summary in await page.locator("#active summary").all():
                    await summary.click()
            assert await page.evaluate(OVERFLOW) == [], (address, width)
            assert await page.evaluate(CONTRAST) == [], (address, width)
            assert await page.evaluate(LABELS) == [], (address, width)
        await page.close()


async def test_motion_stops_for_those_who_ask(browser: SignedIn, console: Console, bootstrap: str) -> None:
    await write(bootstrap, [low_saturation("p-1", time.time())])
    for wanted, animation in (("no-preference", "flash"), ("reduce", "none")):
        page = await browser.new_page(reduced_motion=wanted)
        await page.goto(console.url)
        mark = page.locator("[data-patient=p-1] .mark-high")
        await expect(mark).to_be_visible()
        assert await mark.evaluate("mark => getComputedStyle(mark).animationName") == animation
        await page.close()


async def test_one_signs_in_and_out_with_an_account(browser: SignedIn, console: Console, bootstrap: str) -> None:
    await asyncio.to_thread(console.accounts.add, "dr-2", "clinician", "correct horse battery")
    page = await browser.new_page(cookie="")
    await page.goto(console.url)
    assert page.url.endswith("/login")
    await page.get_by_label("Account").fill("dr-2")
    await page.get_by_label("Password").fill("a wrong guess")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("That was not accepted.")
    await page.get_by_label("Account").fill("dr-2")
    await page.get_by_label("Password").fill("correct horse battery")
    await page.get_by_role("button", name="Sign in").click()
    await live(page)
    assert page.url == f"{console.url}/"
    assert await page.evaluate("document.cookie") == ""
    await expect(page.locator("#author-text")).to_have_text("Acting as dr-2")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("alert")).to_have_text("You are signed out.")
    await page.goto(console.url)
    assert page.url.endswith("/login")


async def test_a_one_time_link_signs_in_once_and_stands_in_no_address(browser: SignedIn, console: Console) -> None:
    await asyncio.to_thread(console.accounts.add_link, "nurse-1", "a-secret-for-once")
    for accepted in (True, False):
        page = await browser.new_page(cookie="")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))  # noqa: B023
        await page.goto(f"{console.url}/login#link=a-secret-for-once")
        if accepted:
            await live(page)
        else:
            await expect(page.get_by_role("alert")).to_contain_text("That was not accepted.")
        assert not any("a-secret" in url.partition("#")[0] for url in asked)
        assert "a-secret" not in page.url
        await page.close()


async def test_an_operator_sees_technical_alarms_without_names_and_the_auditor_the_journal(
    browser: SignedIn, console: Console, bootstrap: str
) -> None:
    now = time.time()
    await write(
        bootstrap,
        [
            twin("p-1", now, {"spo2": 83}),
            low_saturation("p-1", now),
            alert("p-1", "device-silent", "low", "Nothing comes from the sensor.", onset_t=now, kind="technical"),
        ],
    )
    for account, role in (("op-1", "operator"), ("au-1", "auditor")):
        await asyncio.to_thread(console.sign_in, account, role, f"cookie of {role}".replace(" ", "-"))
    page = await browser.new_page(cookie="cookie-of-operator")
    await page.goto(console.url)
    await live(page)
    row = page.locator("tr[data-patient=p-1]")
    await expect(row).to_contain_text("Nothing comes from the sensor.")
    await expect(row).not_to_contain_text("SpO2 is")
    await expect(page.locator("#main")).not_to_contain_text("Ada Quill")
    audit = await browser.new_page(cookie="cookie-of-auditor")
    await audit.goto(console.url)
    assert audit.url.endswith("/audit")
    await expect(audit.locator("#verdict")).to_contain_text("The chain holds")
    await expect(audit.locator("#records tr", has_text="op-1").first).to_contain_text("allowed")


async def test_alerts_reach_a_page_quickly_and_are_measured(console: Console, bootstrap: str) -> None:
    async with (
        signed_in_client() as client,
        client.stream("GET", console.url + "/events?only=alerts") as stream,
    ):
        chunks = stream.aiter_text()
        async for chunk in chunks:
            if "event: reset" in chunk:
                break
        now = time.time()
        await write(bootstrap, [low_saturation("p-1", now)])
        async for chunk in chunks:
            if "event: alert" in chunk:
                break
        assert time.time() - now < 2
        log = await console.logged("serving_metrics")
        metrics = re.search(r"http://127\.0\.0\.1:\d+/metrics", log)
        assert metrics is not None
        body = (await client.get(metrics[0])).text
    assert "biotwin_console_clients 1.0" in body
    assert 'biotwin_alerts_delivered_total{channel="sse"} 1.0' in body
    assert 'biotwin_alert_to_delivered_seconds_count{channel="sse"} 1.0' in body


async def commands_in(bootstrap: str) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in await read_topic(Kafka(bootstrap=bootstrap), COMMANDS)]


async def test_one_acknowledges_under_a_name_by_keyboard_and_others_see_who_has_it(page: Page, bootstrap: str) -> None:
    now = time.time()
    raised = low_saturation("p-2", now)
    await write(bootstrap, [raised, signal(raised, "condition_onset", "on", 1, t=now)])
    row = page.locator("tr[data-patient=p-2]")
    await expect(row.locator(".signal-words")).to_have_text("not acknowledged")
    button = row.get_by_role("button", name="Acknowledge: bed 10, Bela Roth")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#author-text")).to_have_text("Acting as nurse-1")
    await expect(page.locator("#say-later")).to_contain_text("Acknowledged by nurse-1: sent.")
    (command,) = await commands_in(bootstrap)
    assert (command["kind"], command["patient"], command["author"]) == ("acknowledge", "p-2", "nurse-1")
    assert command["alert"] == identity("p-2", "spo2", now)
    await expect(button).to_be_focused()
    taken = signal(raised, "acknowledge", "acknowledged", 2, t=now + 3, actor="nurse-1")
    await write(bootstrap, [taken, taken])
    await expect(row.locator(".signal-words")).to_have_text(re.compile(r"acknowledged by nurse-1, \d\d:\d\d$"))
    await expect(button).to_have_count(0)
    await expect(page.locator("#say-later")).to_contain_text("acknowledged by nurse-1")
    again = signal(raised, "re_alarm_due", "on", 3, t=now + 200)
    await write(bootstrap, [again])
    await expect(row.locator(".signal-words")).to_have_text("not acknowledged")
    await expect(page.locator("#say-now")).to_contain_text("Bela Roth. SpO2 is 83 %, below 85 %. not acknowledged.")
    await page.reload()
    await live(page)
    await expect(page.locator("#author-text")).to_have_text("Acting as nurse-1")


async def test_unanswered_alerts_stand_before_answered_ones_and_latched_ones_stay(page: Page, bootstrap: str) -> None:
    now = time.time()
    first, second = low_saturation("p-1", now), low_saturation("p-2", now)
    await write(
        bootstrap,
        [
            first,
            second,
            signal(first, "condition_onset", "on", 1, t=now),
            signal(second, "condition_onset", "on", 1, t=now),
            signal(first, "acknowledge", "acknowledged", 2, t=now + 1, actor="nurse-1"),
        ],
    )
    await shows(page, ["p-2", "p-1", "p-3"])
    cleared = low_saturation("p-2", now, stage="settled", transition="clear", t=now + 40, sequence=2)
    over = signal(second, "condition_cleared", "latched", 2, t=now + 41, escalation=2)
    await write(bootstrap, [over, cleared])
    row = page.locator("tr[data-patient=p-2]")
    await expect(row.locator(".signal-words")).to_have_text("over, nobody has answered, escalated 2×")
    assert await order(page) == ["p-2", "p-1", "p-3"]
    await write(bootstrap, [signal(second, "acknowledge", "inactive", 3, t=now + 60, actor="nurse-1")])
    await expect(row.locator(".row-alerts")).to_have_text("None")


async def test_an_alert_is_put_off_for_a_reason_and_everything_done_is_told(
    page: Page, console: Console, bootstrap: str
) -> None:
    now = time.time()
    raised = low_saturation("p-1", now)
    await write(bootstrap, [raised, signal(raised, "condition_onset", "on", 1, t=now)])
    await page.goto(f"{console.url}/patients/p-1")
    await live(page)
    card = page.locator("#active .alert-card")
    await expect(card.locator(".signal-words")).to_have_text("Not acknowledged")
    await expect(page.locator("#author-text")).to_have_text("Acting as nurse-1")
    await card.get_by_role("button", name="Off").click()
    dialog = page.get_by_role("dialog", name="Put the alert off")
    await expect(dialog).to_contain_text("SpO2 is 83 %")
    assert await dialog.locator("option").all_inner_texts() == ["15 min", "30 min", "1 h"]  # high priority
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    assert await commands_in(bootstrap) == []
    await card.get_by_role("button", name="Off").click()
    await dialog.get_by_label("Reason").fill("suction")
    await dialog.get_by_label("For").select_option("30 min")
    await dialog.get_by_role("button", name="Put off").click()
    await expect(page.locator("#say-later")).to_contain_text("Put off by nurse-1: sent.")
    (command,) = await commands_in(bootstrap)
    assert (command["kind"], command["reason"], command["author"]) == ("alarm_off", "suction", "nurse-1")
    assert abs(command["expires_at"] - command["t"] - 1800) < 30
    await card.get_by_role("button", name="Pause audio").click()
    await until(lambda: _is(_kinds(bootstrap), ["alarm_off", "audio_pause"]))
    off = signal(
        *(raised, "alarm_off", "alarm_off", 2),
        t=now + 5,
        actor="nurse-1",
        reason="suction",
        until=now + 1800,
    )
    await write(bootstrap, [off])
    await expect(card.locator(".signal-words")).to_have_text(
        re.compile(r"^Off by nurse-1 until \d\d:\d\d:\d\d: suction$")
    )
    await expect(card.locator(".signal").get_by_role("button")).to_have_text(["Resume", "Acknowledge"])
    await card.locator("summary", has_text="Who did what, 2 entries").click()
    await expect(card.locator(".history li strong").last).to_have_text(re.compile("^Put off by nurse-1 until"))


async def test_one_tap_says_whether_an_alert_was_useful(page: Page, console: Console, bootstrap: str) -> None:
    now = time.time()
    raised = low_saturation("p-1", now)
    await write(bootstrap, [raised, signal(raised, "condition_onset", "on", 1, t=now)])
    await page.goto(f"{console.url}/patients/p-1")
    await live(page)
    card = page.locator("#active .alert-card")
    await card.get_by_role("button", name="Not useful").click()
    await expect(page.locator("#say-later")).to_contain_text("Found not useful by nurse-1: sent.")
    (command,) = await commands_in(bootstrap)
    assert (command["kind"], command["useful"], command["author"]) == ("feedback", False, "nurse-1")
    said = signal(raised, "marked_not_useful", "on", 2, t=now + 3, actor="nurse-1")
    await write(bootstrap, [said])
    await card.locator("summary", has_text="Who did what, 2 entries").click()
    await expect(card.locator(".history li strong").last).to_have_text("Found not useful by nurse-1")
    await expect(card.locator(".signal-words")).to_have_text("Not acknowledged")
    await card.get_by_role("button", name=re.compile("^Useful")).click()
    await until(lambda: _is(_kinds(bootstrap), ["feedback", "feedback"]))


async def _kinds(bootstrap: str) -> list[str]:
    return [command["kind"] for command in await commands_in(bootstrap)]
