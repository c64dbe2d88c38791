"""The inbox, who is on call, the alarm sound and the languages: a real Chromium on the console, on a real Kafka."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from alerts.console.application import STATIC
from alerts.console.directory import Directory, Entry
from deploy.kafka.scratch import ScratchKafka
from tests.console.console_harness import Console, Record, SignedIn, alert, chromium, running_console, signal, write

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
PAGES = ("/", "/inbox", "/on-call", "/patients/p-2")


@pytest.fixture
async def console(kafka: ScratchKafka, tmp_path: Path) -> AsyncIterator[Console]:
    await kafka.wipe()
    await kafka.create()
    async with running_console(tmp_path, kafka.bootstrap) as started:
        directory = Directory(started.directory)
        for pseudonym, name, ward, bed in (("p-1", "Ada Quill", "3 West", "9"), ("p-2", "Bela Roth", "4 East", "10")):
            await asyncio.to_thread(directory.put, Entry(pseudonym, name, ward, bed, "60-69"))
        yield started


@pytest.fixture
async def browser() -> AsyncIterator[SignedIn]:
    async with chromium() as started:
        yield started


def ringing(patient: str, priority: str, onset_t: float) -> list[Record]:
    told = alert(patient, f"spo2-{priority}", priority, "SpO2 is 83 %, below 85 %.", onset_t=onset_t, stage="settled")
    assert told[2] is not None
    told[2]["message_ja"] = "SpO2は83 %で、85 %を下回っています。"
    return [told, signal(told, "condition_onset", "on", 1, t=onset_t)]


async def opened(browser: SignedIn, url: str, locale: str = "en-GB") -> Page:
    page = await browser.new_page(locale=locale, bypass_csp=True)
    await page.goto(url)
    await page.wait_for_selector("body[data-connection=live]", timeout=20_000)
    return page


@pytest.mark.kafka
@pytest.mark.browser
async def test_the_inbox_puts_the_most_urgent_first_and_opens_by_keyboard(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    medium, high = ringing("p-1", "medium", now - 5), ringing("p-2", "high", now - 60)
    await write(kafka.bootstrap, medium + high)
    page = await opened(browser, f"{console.url}/inbox")
    rows = page.locator(".inbox-row")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("Bela Roth")
    await expect(rows.nth(0)).to_contain_text("not acknowledged")
    await page.get_by_label("Priority").select_option("medium")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Priority").select_option("")
    await page.get_by_label("Ward", exact=True).select_option("3 West")
    await expect(rows).to_have_text(re.compile("Ada Quill"))
    await page.get_by_label("Ward", exact=True).select_option("")
    await page.locator("#list").focus()
    await page.keyboard.press("Tab")
    assert await page.locator(":focus").evaluate("row => getComputedStyle(row).outlineStyle") == "solid"
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(":focus")).to_contain_text("Ada Quill")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/patients/p-2")


@pytest.mark.kafka
@pytest.mark.browser
async def test_the_highest_alert_that_nobody_answered_is_heard_and_falls_silent_when_answered(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    medium, high = ringing("p-1", "medium", now - 5), ringing("p-2", "high", now - 60)
    await write(kafka.bootstrap, medium + high)
    page = await opened(browser, f"{console.url}/inbox")
    state = page.locator("#sound")
    await expect(state).to_have_attribute("data-heard", "high")
    await expect(state).to_have_attribute("data-sound", "blocked")
    await expect(page.locator("#sound-status")).to_be_visible()
    await page.locator("h1").click()
    await expect(state).to_have_attribute("data-played", "high")
    await expect(state).to_have_attribute("data-pulses", "10")
    await write(kafka.bootstrap, [signal(high[0], "acknowledge", "acknowledged", 2, t=now, actor="nurse-a")])
    await expect(state).to_have_attribute("data-played", "medium")
    await expect(state).to_have_attribute("data-pulses", "3")
    await write(kafka.bootstrap, [signal(medium[0], "acknowledge", "acknowledged", 2, t=now, actor="nurse-a")])
    await expect(state).to_have_attribute("data-heard", "")
    await page.get_by_role("button", name="Test the alarm sound").click()
    await expect(page.locator("#sound-tested")).to_contain_text("3 pulses")
    await page.get_by_role("button", name="Switch sound off").click()
    await expect(page.locator("#sound-status")).to_have_text("Sound is switched off here")


@pytest.mark.kafka
@pytest.mark.browser
@pytest.mark.parametrize("locale", ["en-GB", "ja-JP"])
async def test_axe_finds_nothing_on_any_page(
    console: Console, browser: SignedIn, kafka: ScratchKafka, locale: str
) -> None:
    wrong = []
    for alarming in (False, True):
        if alarming:
            await write(kafka.bootstrap, ringing("p-2", "high", time.time()))
        for path in PAGES:
            page = await opened(browser, console.url + path, locale)
            if alarming and path != "/on-call":
                wanted = "下回っています" if locale == "ja-JP" else "below 85"
                await expect(page.locator("main")).to_contain_text(wanted)
            assert await page.locator("html").get_attribute("lang") == locale[:2]
            found = await Axe().run(page, options=WCAG)
            wrong += [f"{path} {one['id']}: {one['nodes'][0]['html'][:120]}" for one in found.response["violations"]]
            await page.close()
    assert wrong == []


def test_every_text_that_the_pages_ask_for_is_there_in_japanese() -> None:
    japanese = orjson.loads((STATIC / "words.ja.json").read_bytes())
    asked = {
        orjson.loads(text)
        for script in STATIC.glob("*.js")
        for text in re.findall(r'\bt\(("(?:[^"\\]|\\.)*")', script.read_text())
    }
    assert asked - japanese.keys() == set()
    for english, text in japanese.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", text)), english
