"""How long a session holds, what guessing leads to, and what happens to an open stream: on clocks of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from alerts.console import event_stream
from alerts.console.access import COOKIE, Access
from alerts.console.accounts import Accounts
from alerts.console.application import create_console
from alerts.console.audit import AuditJournal
from alerts.console.event_stream import Streams
from alerts.console.ward import Ward
from contracts.metrics import ProcessMetrics
from tests.waiting import until

PASSWORD = "correct horse battery"
HERE = {"Sec-Fetch-Site": "same-origin"}


class Clock:
    def __init__(self) -> None:
        self.t = 1_763_900_000.0

    def __call__(self) -> float:
        return self.t


class Loaded:
    up = True
    loaded = True


class Site:
    """A console without a network, with one clinician, whose sessions hold 30 min, at most 12 h."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.accounts = Accounts(folder / "accounts.sqlite", clock=self.clock)
        self.accounts.add("dr-2", "clinician", PASSWORD)
        self.audit = AuditJournal(folder / "audit.jsonl")
        access = Access(self.accounts, self.audit, tokens={}, clock=self.clock)
        ward, source = Ward(), Loaded()
        self.streams = Streams(ward, source, ProcessMetrics())
        self.application = create_console(ward, source, self.streams, access=access)

    async def sign_in(self, client: httpx.AsyncClient, password: str = PASSWORD) -> bool:
        form = {"account": "dr-2", "password": password}
        answer = await client.post("/login", data=form, headers=HERE)
        return answer.headers["Location"] == "/"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(site.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as opened:
        yield opened


async def status(client: httpx.AsyncClient) -> int:
    return (await client.get("/api/ward")).status_code


async def test_after_too_many_wrong_tries_the_right_password_has_to_wait(site: Site, client: httpx.AsyncClient) -> None:
    for _ in range(5):
        assert not await site.sign_in(client, "a wrong guess")
    assert not await site.sign_in(client)
    assert [record.outcome for record in site.audit.newest(9)] == ["refused"] * 6
    site.clock.t += 1.5
    assert await site.sign_in(client)
    assert site.audit.newest(1)[0].account == "dr-2"


async def test_a_session_ends_unused_and_after_a_shift_however_much_it_is_used(
    site: Site, client: httpx.AsyncClient
) -> None:
    assert await site.sign_in(client)
    site.clock.t += 29 * 60
    assert await status(client) == 200
    site.clock.t += 31 * 60
    assert await status(client) == 401
    assert (await client.get("/")).headers["Location"] == "/login"
    assert await site.sign_in(client)
    for _ in range(28):
        site.clock.t += 25 * 60
        assert await status(client) == 200
    site.clock.t += 25 * 60
    assert await status(client) == 401


async def test_who_signs_out_is_out_everywhere_the_cookie_is_kept(site: Site, client: httpx.AsyncClient) -> None:
    assert await site.sign_in(client)
    kept = dict(client.cookies)
    await client.post("/logout", headers=HERE)
    assert await status(client) == 401
    client.cookies.update(kept)
    assert await status(client) == 401
    assert site.audit.newest(1)[0].what == "sign-out"


async def test_each_sign_in_has_a_cookie_of_its_own_and_takes_none_that_was_given(
    site: Site, client: httpx.AsyncClient
) -> None:
    client.cookies.set(COOKIE, "planted-by-somebody-else", domain="127.0.0.1", path="/")
    assert await site.sign_in(client)
    client.cookies.clear()
    client.cookies.set(COOKIE, "planted-by-somebody-else", domain="127.0.0.1", path="/")
    assert await status(client) == 401


async def test_an_open_stream_ends_with_the_account(
    site: Site, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HELD_INTERVAL_S", 0.0)
    assert await site.sign_in(client)
    reading = asyncio.create_task(client.get("/events", timeout=20))

    async def opened() -> bool:
        return site.audit.newest(1)[0].target == "/events"

    await until(opened)
    site.accounts.disable("dr-2")
    site.streams.changed()
    async with asyncio.timeout(10):
        assert b"event: reset" in (await reading).content
