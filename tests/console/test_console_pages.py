"""Inbox, patient, on call, sound, languages and accessibility: a real Chromium on the console, on a real Kafka."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from alerts.console.application import STATIC
from alerts.console.directory import Directory, Entry
from contracts.configuration import Kafka
from contracts.topics import ALERT_RECEIPTS, COMMANDS, HEARTBEATS, ON_CALL
from deploy.api.reading import read_topic
from deploy.kafka.scratch import ScratchKafka
from tests.console.accessibility import OVERFLOW
from tests.console.console_harness import (
    ACCOUNT,
    Console,
    Record,
    SignedIn,
    alert,
    chromium,
    evidence,
    live,
    running_console,
    signal,
    twin,
    write,
)
from tests.waiting import until

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], "resultTypes": ["violations"]}
PASSWORD = "correct horse battery"


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
    """An alert about SpO2 and its signal, on."""
    why = evidence("spo2", 83, 85, {"spo2": 83}, onset_t)
    why["inputs"][0]["baseline"] = {"mean": 96.0, "scale": 1.0, "count": 400}
    told = alert(
        *(patient, f"spo2-{priority}", priority, "SpO2 is 83 %, below 85 %."),
        onset_t=onset_t,
        stage="settled",
        evidence=why,
        message_ja="SpO2は83 %で、85 %を下回っています。",
    )
    return [told, signal(told, "condition_onset", "on", 1, t=onset_t)]


async def opened(browser: SignedIn, url: str, locale: str = "en-GB", cookie: str | None = None) -> Page:
    held = {} if cookie is None else {"cookie": cookie}
    page = await browser.new_page(locale=locale, bypass_csp=True, **held)
    await page.goto(url)
    await live(page)
    return page


async def commands_in(kafka: ScratchKafka) -> list[dict[str, Any]]:
    return [orjson.loads(record.value) for record in await read_topic(Kafka(bootstrap=kafka.bootstrap), COMMANDS)]


@pytest.mark.kafka
@pytest.mark.browser
async def test_the_inbox_puts_the_most_urgent_first_filters_acts_and_opens_by_keyboard(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    medium, high = ringing("p-1", "medium", now - 5), ringing("p-2", "high", now - 60)
    await write(kafka.bootstrap, medium + high)
    page = await opened(browser, f"{console.url}/inbox")
    rows = page.locator(".inbox-row")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("Bela Roth")
    await expect(rows.nth(0)).to_contain_text("Not acknowledged")
    for label, choice, found in (("Priority", "medium", "Ada Quill"), ("Rule", "spo2-high", "Bela Roth")):
        await page.get_by_label(label, exact=True).select_option(choice)
        await expect(rows).to_have_text(re.compile(found))
        await page.get_by_label(label, exact=True).select_option("")
    await page.get_by_label("Ward", exact=True).select_option("3 West")
    await expect(rows).to_have_text(re.compile("Ada Quill"))
    await page.get_by_label("Ward", exact=True).select_option("")
    await page.locator("#list").focus()
    await page.keyboard.press("Tab")
    assert await page.locator(":focus").evaluate("row => getComputedStyle(row).outlineStyle") == "solid"
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(":focus")).to_contain_text("Ada Quill")
    await page.get_by_role("button", name="Acknowledge: bed 9, Ada Quill").click()
    (command,) = await until(lambda: commands_in(kafka))
    assert (command["kind"], command["patient"], command["author"]) == ("acknowledge", "p-1", ACCOUNT)
    await write(kafka.bootstrap, [signal(medium[0], "acknowledge", "acknowledged", 2, t=now, actor=ACCOUNT)])
    await page.get_by_label("Mine only").check()
    await expect(rows).to_have_text(re.compile(f"Ada Quill.*Acknowledged by {ACCOUNT}"))
    await page.get_by_label("Mine only").uncheck()
    await page.get_by_label("Not acknowledged only").check()
    await expect(rows).to_have_text(re.compile("Bela Roth"))
    await rows.first.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/patients/p-2")
    await expect(page.locator("#active .alert-card .signal")).to_be_visible()
    await console.stop()
    await expect(page.locator("#banner")).to_contain_text("Connection lost.")
    await page.get_by_role("button", name="Acknowledge").click()
    await expect(page.locator(".act-refused")).to_have_text("Not done: the console does not answer")


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
async def test_the_patient_page_marks_the_onset_and_shows_why_and_to_whom_it_went(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    high = ringing("p-2", "high", now - 60)
    assert high[0][2] is not None
    receipt = {name: high[0][2][name] for name in ("patient", "transition", "stage", "sequence")}
    receipt |= {"alert": high[0][2]["id"], "channel": "mqtt", "subscription": "ward-4-east", "t": now - 59}
    steps: list[Record] = [(ALERT_RECEIPTS, "p-2", {**receipt, "state": state}) for state in ("queued", "sent")]
    await write(kafka.bootstrap, [twin("p-2", now - 70, {"spo2": 90}), twin("p-2", now, {"spo2": 83}), *high, *steps])
    page = await opened(browser, f"{console.url}/patients/p-2")
    chart = page.locator("[data-chart=spo2]")
    await expect(chart.locator("line.onset-high")).to_have_count(1)
    box, line = await chart.locator("svg.chart").bounding_box(), await chart.locator("line.onset").bounding_box()
    assert box is not None
    assert line is not None
    assert box["x"] + box["width"] / 2 < line["x"] < box["x"] + box["width"]  # a minute ago, in a quarter of an hour
    await expect(chart.locator("svg.chart")).to_have_attribute(
        "aria-label", re.compile("onset of High priority alert at")
    )
    await expect(page.locator("[data-chart=heart_rate] line.onset")).to_have_count(0)
    card = page.locator("#active .alert-card")
    await card.locator("summary", has_text="Evidence").click()
    await expect(card.locator(".decision")).to_contain_text("83 %")
    await expect(card.locator(".decision")).to_contain_text("85 %, of the rule")
    await expect(card.locator(".inputs tbody tr")).to_have_text(re.compile("SpO₂83 %.*0 s96 %96 ± 2"))
    await card.locator("summary", has_text="Deliveries, 2 entries").click()
    await expect(card.locator("[data-state=sent]")).to_contain_text("mqtt · ward-4-east")
    await write(kafka.bootstrap, [(ALERT_RECEIPTS, "p-2", {**receipt, "state": "delivered", "t": now})])
    await card.locator("summary", has_text="Deliveries").click()
    await card.locator("summary", has_text="Deliveries").click()
    await expect(card.locator("summary", has_text="Deliveries, 3 entries")).to_be_visible()
    await page.get_by_label("Language").select_option("日本語")
    await expect(page.locator("#active .message").first).to_have_text(re.compile("下回っています"))


@pytest.mark.kafka
@pytest.mark.browser
@pytest.mark.parametrize(
    ("locale", "words"), [("en-GB", "joined spo2 high"), ("ja-JP", "spo2 high に合流")], ids=["en", "ja"]
)
async def test_an_alert_that_joined_another_is_shown_with_it_and_calls_nobody(
    console: Console, browser: SignedIn, kafka: ScratchKafka, locale: str, words: str
) -> None:
    now = time.time()
    lead, sounding = ringing("p-2", "high", now - 60)
    joined = alert(
        *(
            "p-2",
            "deterioration",
            "medium",
            "Several signs worsen.",
        ),
        onset_t=now - 20,
        stage="settled",
        message_ja="複数の徴候が悪化しています。",
        joins=lead,
    )
    await write(kafka.bootstrap, [twin("p-2", now, {"spo2": 83}), lead, sounding, joined])
    page = await opened(browser, f"{console.url}/inbox", locale)
    await expect(page.locator(".inbox-row")).to_have_count(1)
    await page.goto(console.url)
    await expect(page.locator("tr[data-patient=p-2] .row-alert")).to_have_count(1)
    await page.goto(f"{console.url}/patients/p-2")
    cards = page.locator("#active .alert-card")
    await expect(cards).to_have_count(2)
    card = page.locator("#active .alert-card.suppressed")
    await expect(card.locator("header")).to_contain_text(words)
    await expect(card.locator(".since [data-onset]")).to_have_count(1)
    await expect(card.locator(".signal")).to_have_count(0)
    ended = alert(
        *(
            "p-2",
            "deterioration",
            "medium",
            "Several signs have passed.",
        ),
        onset_t=now - 20,
        t=now,
        stage="settled",
        transition="clear",
        sequence=2,
        joins=lead,
    )
    await write(kafka.bootstrap, [ended])
    await expect(cards).to_have_count(1)
    await expect(page.locator("#earlier .alert-card")).to_have_count(1)


@pytest.mark.kafka
@pytest.mark.browser
async def test_limits_need_a_reason_an_end_and_a_role_and_a_refusal_says_why(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    await write(kafka.bootstrap, [twin("p-2", now, {"heart_rate": 80}, limits={"heart_rate_high": 120})])
    page = await opened(browser, f"{console.url}/patients/p-2", "ja-JP")
    await page.get_by_role("button", name="限界値を変更").click()
    dialog = page.get_by_role("dialog")
    low, high = dialog.get_by_label("心拍数の下限"), dialog.get_by_label("心拍数の上限")
    await expect(high).to_have_value("120")
    await low.fill("150")
    take = dialog.get_by_role("button", name="限界値を設定")
    await take.click()
    await expect(dialog).to_be_visible()
    assert await commands_in(kafka) == []
    await dialog.get_by_label("理由").fill("beta blocker")
    await dialog.get_by_label("期間").select_option("4時間")
    await take.click()
    await expect(dialog.get_by_role("alert")).to_contain_text("心拍数の下限は心拍数の上限より低くしてください")
    await low.fill("45")
    await take.click()
    await expect(dialog).to_be_hidden()
    (command,) = await commands_in(kafka)
    assert (command["kind"], command["author"], command["reason"]) == ("limits", ACCOUNT, "beta blocker")
    assert (command["heart_rate_low"], command["heart_rate_high"]) == (45, 120)
    assert abs(command["expires_at"] - command["t"] - 14_400) < 30
    await asyncio.to_thread(console.sign_in, "dr-1", "clinician", "cookie-of-clinician")
    other = await opened(browser, f"{console.url}/patients/p-2", cookie="cookie-of-clinician")
    await expect(other.locator("#limits-change")).to_have_text("Your role does not change limits.")


@pytest.mark.kafka
@pytest.mark.browser
async def test_roles_are_taken_and_handed_over_and_a_browser_says_where_it_stands(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    page = await opened(browser, f"{console.url}/on-call?station=3-west")
    await page.get_by_label("Role", exact=True).fill("ward-nurse")
    await page.locator("#take").get_by_role("button", name="Take over").click()
    await expect(page.locator("#take-said")).to_have_text("Sent.")
    (command,) = await commands_in(kafka)
    assert (command["kind"], command["role"], command["author"]) == ("take_role", "ward-nurse", ACCOUNT)
    assert abs(command["until"] - command["t"] - 8 * 3600) < 30
    await write(kafka.bootstrap, [on_call("ward-nurse", ACCOUNT, time.time(), "take_role")])
    role = page.locator("[data-role=ward-nurse]")
    await expect(role.locator(".holder")).to_have_text(ACCOUNT)
    await role.get_by_label("Hand over to").fill("two words")
    await role.get_by_role("button", name="Hand over").click()
    await expect(role.get_by_role("status")).to_contain_text("Not done: ")
    await role.get_by_label("Hand over to").fill("nurse-2")
    await role.get_by_role("button", name="Hand over").click()
    await expect(role.get_by_role("status")).to_have_text("Sent.")
    handed = (await commands_in(kafka))[-1]
    assert (handed["kind"], handed["to"]) == ("hand_over_role", "nurse-2")
    await write(kafka.bootstrap, [on_call("ward-nurse", "nurse-2", time.time(), "hand_over_role")])
    await expect(role.locator(".holder")).to_have_text("nurse-2")
    async with page.expect_request(re.compile(r"/events\?station=3-west$")):
        await page.goto(console.url)
    topic = Kafka(bootstrap=kafka.bootstrap)
    await until(lambda: _keys(topic, HEARTBEATS))
    assert await _keys(topic, HEARTBEATS) == {b"console:3-west"}
    await asyncio.to_thread(console.sign_in, "dr-1", "clinician", "cookie-of-clinician")
    other = await opened(browser, f"{console.url}/on-call", cookie="cookie-of-clinician")
    await expect(other.locator("[data-role=ward-nurse]")).to_contain_text("nurse-2")
    await expect(other.get_by_role("button", name=re.compile("Take over|Hand over"))).to_have_count(0)


async def _keys(kafka: Kafka, topic: str) -> set[bytes]:
    return {record.key for record in await read_topic(kafka, topic)}


def on_call(role: str, holder: str, since: float, act: str) -> Record:
    """A record of topic `oncall`."""
    shift = {"holder": holder, "since": since, "received_at": since, "author": ACCOUNT, "command": "c", "act": act}
    return ON_CALL, role, {"role": role, "shifts": [shift]}


async def tab_to(page: Page, name: str) -> None:
    """Presses Tab until the control of that name has the focus, and sees that one sees it."""
    for _ in range(80):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(
            """() => { const e = document.activeElement, s = getComputedStyle(e);
            const name = e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent;
            const box = e.getBoundingClientRect();
            return { name: name.trim(), visible: s.outlineStyle === "solid" && parseFloat(s.outlineWidth) >= 2 &&
                     box.width > 0 && box.bottom > 0 && box.top < innerHeight }; }"""
        )
        if focused["name"].startswith(name):
            assert focused["visible"], focused
            return
    raise AssertionError(f"Tab does not reach {name}")


@pytest.mark.kafka
@pytest.mark.browser
async def test_a_whole_round_is_done_by_keyboard_alone(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    now = time.time()
    await asyncio.to_thread(console.accounts.add, "lead-1", "charge_nurse", PASSWORD)
    high = ringing("p-2", "high", now - 60)
    await write(kafka.bootstrap, [twin("p-2", now, {"spo2": 83}), *high])
    page = await browser.new_page(cookie="", locale="en-GB")
    await page.goto(console.url)
    await expect(page.get_by_label("Account")).to_be_focused()
    await page.keyboard.type("lead-1")
    await tab_to(page, "Password")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await live(page)
    await expect(page.locator("tr[data-patient=p-2] .row-alert")).to_have_count(1)
    await tab_to(page, "Bela Roth")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/patients/p-2")
    await expect(page.locator("#active .alert-card .signal")).to_be_visible()
    await tab_to(page, "Acknowledge: bed 10, Bela Roth")
    await page.keyboard.press("Enter")
    await expect(page.locator("#say-later")).to_contain_text("Acknowledged by lead-1: sent.")
    await write(kafka.bootstrap, [signal(high[0], "acknowledge", "acknowledged", 2, t=now, actor="lead-1")])
    await expect(page.locator("#active .signal-words")).to_contain_text("Acknowledged by lead-1")
    await write(kafka.bootstrap, [signal(high[0], "re_alarm_due", "on", 3, t=now + 1)])
    await expect(page.locator("#active .signal-words")).to_have_text("Not acknowledged")
    await tab_to(page, "Pause audio")
    await page.keyboard.press("Space")
    await expect(page.locator("#say-later")).to_contain_text("Audio paused by lead-1: sent.")
    await tab_to(page, "Change the limits")
    await page.keyboard.press("Enter")
    for field, text in (("SpO₂, floor", "88"), ("Reason", "COPD"), ("For", "4")):
        await tab_to(page, field)
        await page.keyboard.type(text)
    await tab_to(page, "Set the limits")
    await page.keyboard.press("Enter")
    await expect(page.locator("#say-later")).to_contain_text("New limits: sent.")
    await expect(page.get_by_role("button", name="Change the limits")).to_be_focused()
    await tab_to(page, "Sign out")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("You are signed out.")
    done = [(command["kind"], command["author"]) for command in await commands_in(kafka)]
    assert done == [(kind, "lead-1") for kind in ("acknowledge", "audio_pause", "limits")]


ENGLISH = """() => {
  // Words of English that a reader of the Japanese page meets, seen or read aloud. Names, units and ids are left out.
  const found = new Set();
  const left = (text) => /[a-z]{3}/.test(text.replace(/BioTwin|English|Enter|mmHg|[/]min|3-west|ward-nurse/g, ""));
  const known = ".names, .who, .inbox-text strong, .patient-name, .pseudonym, [lang=en], .audit tbody, .hashes, " +
    "code, script, .holder, .role h2, time, option, .message, #verdict, #author-text, .signal-words, .decision dd";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!element.closest(known) && left(text)) found.add(text);
  }
  for (const name of ["aria-label", "title", "placeholder", "aria-valuetext"])
    for (const element of document.querySelectorAll(`[${name}]`)) {
      const text = element.getAttribute(name).replace(/Bela Roth|Ada Quill|\\b[0-9a-f]{16}\\b/g, "");
      if (left(text)) found.add(text);
    }
  return [...found];
}"""


@pytest.mark.kafka
@pytest.mark.browser
async def test_axe_finds_nothing_on_any_page_and_no_english_is_left_in_japanese(
    console: Console, browser: SignedIn, kafka: ScratchKafka
) -> None:
    await asyncio.to_thread(console.sign_in, "au-1", "auditor", "cookie-of-auditor")
    now = time.time()
    told = [twin("p-2", now, {"spo2": 83, "symptom": 1}, limits={"spo2_floor": 88}), *ringing("p-2", "high", now - 60)]
    await write(
        kafka.bootstrap, [*told, *ringing("p-1", "medium", now), on_call("ward-nurse", ACCOUNT, now, "take_role")]
    )
    wrong = []
    for locale in ("en-GB", "ja-JP"):
        page = await browser.new_page(locale=locale, bypass_csp=True)
        for path in ("/", "/inbox", "/on-call", "/patients/p-9", "/patients/p-2"):
            await page.goto(console.url + path)
            await live(page)
            if path in {"/", "/inbox", "/patients/p-2"}:
                wanted = "下回っています" if locale == "ja-JP" else "below 85"
                await expect(page.locator("main")).to_contain_text(wanted)
            for summary in await page.locator("#active summary").all():
                await summary.click()
            wrong += await wrong_on(page, path, locale)
        await page.locator("#limits-open").click()
        wrong += await wrong_on(page, "limits", locale)
        await page.close()
        for path, cookie in (("/login?refused", ""), ("/audit", "cookie-of-auditor")):
            page = await browser.new_page(locale=locale, bypass_csp=True, cookie=cookie)
            await page.goto(console.url + path)
            await expect(page.locator("#refused, #records tr").first).not_to_be_empty()
            wrong += await wrong_on(page, path, locale)
            await page.close()
    assert wrong == []


async def wrong_on(page: Page, where: str, locale: str) -> list[str]:
    found = (await Axe().run(page, options=WCAG)).response["violations"]
    wrong = [f"{where} {one['id']}: {one['nodes'][0]['html'][:160]}" for one in found]
    await page.set_viewport_size({"width": 320, "height": 640})
    wrong += [f"{where} is too wide at 320 px: {one}" for one in await page.evaluate(OVERFLOW)]
    await page.set_viewport_size({"width": 1280, "height": 720})
    if await page.locator("html").get_attribute("lang") != locale[:2]:
        wrong.append(f"{where} is not in {locale}")
    if locale == "ja-JP":
        wrong += [f"{where} in English: {text[:80]}" for text in await page.evaluate(ENGLISH)]
    return wrong


class _Texts(HTMLParser):
    """What a page's file says: its texts, and the attributes that are read out or shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {text for name, text in attrs if name in {"aria-label", "placeholder", "title", "alt"} and text}

    def handle_data(self, data: str) -> None:
        self.found |= {part.strip() for part in data.split(" · ")}


LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"')
COMMENT = re.compile(r"^\s*(//|\*|/\*).*$", re.MULTILINE)
PHRASE = re.compile(r"[A-Z][a-z]+$|[A-Z]\S*,? [a-z]|[A-Z][a-z]+[ .:…]|[a-z]{2,} [a-z]{2,} [a-z]")
SAME = {"BioTwin", "English", "/min", "mmHg", "%", "°C", "biotwin audit list", "Enter", "!", "←"}


def test_every_text_of_every_page_and_script_is_there_in_japanese() -> None:
    japanese = orjson.loads((STATIC / "words.ja.json").read_bytes())
    asked: set[str] = set()
    for page in STATIC.glob("*.html"):
        texts = _Texts()
        texts.feed(page.read_text())
        asked |= texts.found
    for script in STATIC.glob("*.js"):
        source = COMMENT.sub("", script.read_text())
        literals = {orjson.loads(text) for text in LITERAL.findall(source)}
        asked |= {text for text in literals if PHRASE.match(text)}
        asked |= {orjson.loads(text) for text in re.findall(r'\b(?:t|words)\(("(?:[^"\\]|\\.)*")', source)}
    assert asked - japanese.keys() - SAME - {""} == set()
    for english, text in japanese.items():
        assert sorted(re.findall(r"\{\w+\}", english)) == sorted(re.findall(r"\{\w+\}", text)), english
