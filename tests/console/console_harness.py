"""A console as a process of its own on a real Kafka, records for it, and a real Chromium to look at it."""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import orjson
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, Page, async_playwright, expect

from alerts.console.access import COOKIE
from alerts.console.accounts import Accounts
from alerts.console.audit import AuditJournal
from alerts.console.roles import Principal
from contracts.topics import ALERTS, JOURNAL, TWIN
from tests.waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
ACCOUNT = "nurse-1"
SESSION = "a-session-cookie-of-the-tests"

Record = tuple[str, str, dict[str, Any] | None]
"""(topic, key, value)"""


class Console:
    """A running `biotwin console`; `start` waits until its port is open."""

    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        *,
        port: int = 0,
        host: str = "",
        tokens: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.directory = folder / "directory.sqlite"
        self.accounts = Accounts(folder / "accounts.sqlite")
        self.audit = AuditJournal(folder / "audit.jsonl")
        if not self.accounts.path.exists():
            self.sign_in(ACCOUNT, "charge_nurse", SESSION)
        self.url = ""
        self.output = b""
        self._port = port
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BIOTWIN_")},
            "BIOTWIN_KAFKA__BOOTSTRAP": bootstrap,
            "BIOTWIN_DATA": str(folder),
            "BIOTWIN_CONSOLE__DIRECTORY": str(self.directory),
            "BIOTWIN_HISTORY__DIRECTORY": str(folder / "history"),
            "BIOTWIN_CONSOLE__ACCOUNTS": str(self.accounts.path),
            "BIOTWIN_CONSOLE__AUDIT": str(self.audit.path),
            **(settings or {}),
            **({"BIOTWIN_TOKENS": orjson.dumps(dict(tokens)).decode()} if tokens else {}),
            **({"BIOTWIN_CONSOLE__HOST": host} if host else {}),
        }
        self.process: asyncio.subprocess.Process | None = None

    def sign_in(self, account: str, role: str, cookie: str) -> None:
        """An account without a password, whose session has this cookie."""
        self.accounts.add(account, role, None)
        self.accounts.open_session(cookie, Principal(account, role, "link"))

    async def start(self) -> Console:
        arguments = [sys.executable, "-m", "deploy.cli", "console", "--port", str(self._port)]
        self.process = await asyncio.create_subprocess_exec(
            *arguments,
            cwd=self.folder,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=(self.folder / "console.log").open("ab"),
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = (await self.process.stdout.readline()).decode()
        if " at http" not in line:
            await self.process.wait()
            raise RuntimeError((self.folder / "console.log").read_text())
        self.url = line.split(" at ")[1].split(" ")[0].rstrip("/")
        self._port = int(self.url.rsplit(":", 1)[1])
        return self

    async def logged(self, text: str) -> str:
        """The log so far, once `text` stands in it."""

        async def found() -> str:
            log = await asyncio.to_thread((self.folder / "console.log").read_text)
            return log if text in log else ""

        return str(await until(found))

    async def stop(self) -> int:
        """SIGTERM; the exit code. It ends soon, whatever is open: within half a minute on the slowest machine."""
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def running_console(folder: Path, bootstrap: str, **options: Any) -> AsyncIterator[Console]:
    console = Console(folder, bootstrap, **options)
    try:
        yield await console.start()
    finally:
        await console.kill()


def signed_in_client(cookie: str = SESSION, *, base_url: str = "") -> httpx.AsyncClient:
    """An HTTP client with the session of `ACCOUNT`, or another, that asks as the console's pages do."""
    headers = {"Sec-Fetch-Site": "same-origin"}
    return httpx.AsyncClient(base_url=base_url, timeout=60, cookies={COOKIE: cookie}, headers=headers)


class SignedIn:
    """A browser whose pages have the session of `ACCOUNT`."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def new_page(self, *, cookie: str = SESSION, **options: Any) -> Page:
        context = await self._browser.new_context(**options)
        if cookie:
            held: Any = {"name": COOKIE, "value": cookie, "domain": "127.0.0.1", "path": "/"}
            held |= {"httpOnly": True, "sameSite": "Strict"}
            await context.add_cookies([held])
        return await context.new_page()


@asynccontextmanager
async def chromium() -> AsyncIterator[SignedIn]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        try:
            yield SignedIn(browser)
        finally:
            await browser.close()


async def live(page: Page) -> None:
    """Wait until the page has its data and says that they are live."""
    await expect(page.locator("body")).to_have_attribute("data-connection", "live")


async def write(bootstrap: str, records: Iterable[Record]) -> None:
    """Writes records and waits until Kafka has them."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, key=key.encode() or None, value=None if value is None else orjson.dumps(value))
            for topic, key, value in records
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def identity(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def twin(
    patient: str,
    t: float,
    values: Mapping[str, float],
    *,
    ages: Mapping[str, float] | None = None,
    qualities: Mapping[str, float] | None = None,
    baselines: Mapping[str, tuple[float, float]] | None = None,
    news2: dict[str, Any] | None = None,
    session: bool = False,
    limits: Mapping[str, float] | None = None,
    received_at: float | None = None,
    estimates: Mapping[str, Mapping[str, Any]] | None = None,
) -> Record:
    """A record of topic `twin` as of `t`; `ages` (s) make single values older."""
    signals = {
        name: {
            "value": value,
            "t": t - (ages or {}).get(name, 0.0),
            "quality": (qualities or {}).get(name, 0.97),
            "reading": identity(patient, name, t)[:16],
        }
        for name, value in values.items()
    }
    for name, (mean, scale) in (baselines or {}).items():
        if name in signals:
            signals[name]["baseline"] = {"mean": mean, "scale": scale, "count": 4000}
    view = {
        "t": t,
        "signals": signals,
        "session": {"active": session},
        "limits": dict(limits or {}),
        "conditions": [],
        **({"news2": news2} if news2 else {}),
    }
    received = t + 0.4 if received_at is None else received_at
    value = {
        **view,
        "t": t - 5,
        "patient": patient,
        "schema": 1,
        **({"estimates": dict(estimates)} if estimates else {}),
        "live": view,
        "provenance": {"partition": 0, "offset": 1, "received_at": received, "clock": t, "applied_at": received + 0.03},
    }
    return TWIN, patient, value


def score(low: int, high: int | None = None, missing: Iterable[str] = (), *, single: bool = False) -> dict[str, Any]:
    """NEWS2 in a twin record."""
    return {
        "applicable": True,
        "low": low,
        "high": low if high is None else high,
        "single": int(single),
        "missing": list(missing),
    }


def alert(
    patient: str,
    rule: str,
    priority: str,
    message: str,
    *,
    onset_t: float,
    t: float | None = None,
    transition: str = "onset",
    stage: str = "provisional",
    kind: str = "physiological",
    sequence: int = 1,
    evidence: dict[str, Any] | None = None,
    source: str = "",
    announced_id: str = "",
    opened_by: str = "",
    message_ja: str = "",
    joins: Record | None = None,
) -> Record:
    """A record of topic `alerts`. `opened_by` tells alerts of one rule apart; it calls nobody where it joins the group
    of the alert of another record."""
    t = onset_t if t is None else t
    state = {"clear": "cleared", "withdrawn": "withdrawn"}.get(transition, "active")
    lead = joins[2] if joins is not None else None
    if lead is not None and state == "active":
        state = "suppressed"
    value = {
        "id": identity(patient, rule, opened_by or onset_t),
        "patient": patient,
        "rule": rule,
        "kind": kind,
        "priority": priority,
        "state": state,
        "transition": transition,
        "stage": stage,
        "t": t,
        "onset_t": onset_t,
        "sequence": sequence,
        "message": message,
        **({"message_ja": message_ja} if message_ja else {}),
        **({"suppressed_by": lead["rule"], "group_lead": lead["id"]} if lead is not None else {}),
        "source": source,
        "evidence": evidence,
        "provenance": {
            "partition": 0,
            "offset": 1,
            "received_at": t + 0.4,
            "applied_at": t + 0.46,
            "announced_id": announced_id,
        },
    }
    return ALERTS, patient, value


def signal(
    about: Record,
    event: str,
    to: str,
    sequence: int,
    *,
    t: float,
    actor: str = "system",
    reason: str = "",
    holder: str = "",
    since: float | None = None,
    until: float | None = None,
    escalation: int = 0,
    replaces: str = "",
) -> Record:
    """A record of topic `alerts.journal` about the alert of that record."""
    _, patient, body = about
    assert body is not None
    value = {
        **{name: body[name] for name in ("id", "patient", "rule", "kind", "priority")},
        "from": "on",
        "event": event,
        "to": to,
        "t": t,
        "sequence": sequence,
        "actor": actor,
        "reason": reason,
        "holder": holder or (actor if actor != "system" else ""),
        "since": t if actor != "system" else since,
        "until": until,
        "escalation": escalation,
        "replaces": replaces,
    }
    return JOURNAL, patient, value


def evidence(
    channel: str,
    value: float,
    threshold: float,
    inputs: Mapping[str, float],
    t: float,
    *,
    limit_from: str = "rule",
    low: float | None = None,
    high: float | None = None,
    missing: Iterable[str] = (),
) -> dict[str, Any]:
    """Evidence with inputs of the seconds before `t`."""
    return {
        "channel": channel,
        "value": value,
        "threshold": threshold,
        "limit_from": limit_from,
        "low": low,
        "high": high,
        "missing": list(missing),
        "inputs": [
            {
                "signal": name,
                "value": number,
                "t": t - 0.7 * place,
                "age_s": 0.7 * place,
                "quality": 0.96 - 0.03 * place,
                "reading": identity(channel, name, t)[:16],
            }
            for place, (name, number) in enumerate(inputs.items())
        ],
        "model": identity("model"),
        "configuration": identity("rules"),
    }


def wave(seed: str, t: float, middle: float, swing: float) -> float:
    """A value that wanders as a vital sign does, the same for the same seed and time."""
    noise = random.Random(f"{seed}{int(t)}").gauss(0, swing / 5)
    slow = math.sin(t / 97 + len(seed)) + 0.6 * math.sin(t / 23 + len(seed) * 2)
    return middle + swing * 0.5 * slow + noise
