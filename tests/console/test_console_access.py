"""Who may look, what a page may do, and how the console starts and stops: its own process, without any Kafka."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.console.access import COOKIE, Throttle
from alerts.console.accounts import AccountError, Accounts
from alerts.console.directory import Directory, Entry
from alerts.console.security import is_loopback
from deploy.children import free_ports
from tests.console.console_harness import SESSION, Console, running_console, signed_in_client
from tests.waiting import until

TOKEN = "a-token-of-this-site"
PASSWORD = "correct horse battery"


@pytest.fixture
def nowhere() -> str:
    """An address where no Kafka listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with signed_in_client() as opened:
        yield opened


async def test_on_loopback_it_answers_only_under_loopback_names(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    public = {"BIOTWIN_CONSOLE__PUBLIC_URL": "https://ward.example"}
    async with running_console(tmp_path, nowhere, settings=public) as console:
        port = console.url.rsplit(":", 1)[1]
        for host, status in {
            f"127.0.0.1:{port}": 200,
            f"localhost:{port}": 200,
            f"[::1]:{port}": 200,
            "ward.example": 200,
            "rebound.example": 421,
            f"rebound.example:{port}": 421,
            "127.0.0.1.rebound.example": 421,
            "": 421,
        }.items():
            for path in ("/", "/api/ward", "/static/style.css", "/api/commands"):
                cookie = {"Cookie": f"{COOKIE}={SESSION}"}
                answer = await client.get(console.url + path, headers={"Host": host, **cookie})
                assert answer.status_code == status, (host, path)


async def test_nobody_looks_who_is_not_signed_in_and_machines_show_a_named_token(tmp_path: Path, nowhere: str) -> None:
    async with (
        running_console(tmp_path, nowhere, tokens={TOKEN: "ehr"}) as console,
        httpx.AsyncClient(timeout=60) as client,
    ):
        await asyncio.to_thread(Directory(console.directory).put, Entry("p-1", "Ada", "W", "3"))
        url = console.url
        closed = ("/api/ward", "/api/signals", "/api/patients/p-1", "/api/patients/p-1/trend", "/events", "/api/audit")
        for path in closed:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": TOKEN},
                {"Cookie": f"{COOKIE}=9.9"},
            ):
                answer = await client.get(url + path, headers=headers)
                assert answer.status_code == 401, (path, headers)
            assert (await client.get(f"{url}{path}?token={TOKEN}")).status_code == 401
        for page in ("/", "/patients/p-1", "/audit"):
            assert (await client.get(url + page)).headers["Location"] == "/login"
        bearer = {"Authorization": f"Bearer {TOKEN}"}

        async def rows() -> Any:
            return (await client.get(url + "/api/ward", headers=bearer)).json()["rows"]

        (row,) = await until(rows)
        assert (row["name"], row["bed"]) == ("", "3")
        assert (await client.get(url + "/api/audit", headers=bearer)).status_code == 403


async def test_one_signs_in_with_name_and_password_and_the_cookie_ends(tmp_path: Path, nowhere: str) -> None:
    async with running_console(tmp_path, nowhere) as console, httpx.AsyncClient(timeout=60) as client:
        await asyncio.to_thread(console.accounts.add, "dr-2", "clinician", PASSWORD)
        here = {"Origin": console.url}
        right = {"account": "dr-2", "password": PASSWORD}
        foreign = await client.post(console.url + "/login", data=right, headers={"Origin": "http://other.example"})
        assert (foreign.status_code, "Set-Cookie" in foreign.headers) == (403, False)
        for wrong in ({"account": "dr-2", "password": "no"}, {"account": "dr-9", "password": PASSWORD}, {}):
            answer = await client.post(console.url + "/login", data=wrong, headers=here)
            assert (answer.status_code, answer.headers["Location"]) == (303, "/login?refused")
            assert "Set-Cookie" not in answer.headers
        answer = await client.post(console.url + "/login", data=right, headers=here)
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert "secure" not in cookie.lower()
        assert (await client.get(console.url + "/api/ward")).status_code == 200
        assert (await client.post(console.url + "/login", content=b"x" * 5000, headers=here)).status_code == 413
        act = {"patient": "p-1", "alert": "a"}
        for headers, status in (({}, 403), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403)):
            answer = await client.post(console.url + "/api/commands/acknowledge", json=act, headers=headers)
            assert answer.status_code == status
        limits = await client.post(console.url + "/api/commands/limits", json={"patient": "p-1"}, headers=here)
        assert limits.status_code == 403
        assert (await client.post(console.url + "/logout", headers=here)).status_code == 303
        reused = {"Cookie": cookie.partition(";")[0]}
        assert (await client.get(console.url + "/api/ward", headers=reused)).status_code == 401
        proxied = await client.post(console.url + "/login", data=right, headers=here | {"X-Forwarded-Proto": "https"})
        assert "secure" in proxied.headers["Set-Cookie"].lower()
        said = [(r.account, r.what, r.target, r.outcome) for r in console.audit.newest(100)]
        assert ("dr-2", "sign-in", "/login", "refused") in said
        assert ("", "sign-in", "/login", "refused") in said
        assert ("dr-2", "act", "limits", "refused") in said
        assert ("dr-2", "view", "/api/ward", "allowed") in said
        assert "dr-9" not in console.audit.path.read_text()
        assert console.audit.verify().fault == ""
    assert PASSWORD not in (tmp_path / "console.log").read_text()


async def test_guessing_is_slowed_down_alike_for_known_and_unknown_names(tmp_path: Path) -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for name in ("dr-2", "nobody"):
        for _ in range(5):
            assert not throttle.waits(name)
            throttle.failed(name)
        assert throttle.waits(name)
    now[0] = 1.5
    assert not throttle.waits("dr-2")
    for _ in range(20):
        throttle.failed("dr-2")
    now[0] += 299
    assert throttle.waits("dr-2")
    now[0] += 2
    assert not throttle.waits("dr-2")
    accounts = Accounts(tmp_path / "accounts.sqlite")
    accounts.add("dr-2", "clinician", PASSWORD)
    spent = {}
    for name in ("dr-2", "nobody"):
        began = time.process_time()
        for _ in range(3):
            assert accounts.check(name, "a wrong guess") is None
        spent[name] = time.process_time() - began
    assert 0.2 < spent["nobody"] / spent["dr-2"] < 5.0, "a name that is not known takes the same work"


def test_a_session_ends_when_idle_or_old_and_with_its_account(tmp_path: Path) -> None:
    now = [1000.0]
    accounts = Accounts(tmp_path / "a" / "accounts.sqlite", idle_s=100, longest_s=1000, clock=lambda: now[0])
    accounts.add("dr-2", "clinician", PASSWORD)
    principal = accounts.check("dr-2", PASSWORD)
    assert principal is not None
    for cookie in ("idle", "used"):
        accounts.open_session(cookie, principal)
    for _ in range(11):
        now[0] += 90
        assert accounts.holder("used") == principal
    assert accounts.holder("idle") is None
    now[0] += 20
    assert accounts.holder("used") is None
    accounts.open_session("again", principal)
    accounts.disable("dr-2")
    assert accounts.holder("again") is None
    assert accounts.check("dr-2", PASSWORD) is None
    accounts.set_password("dr-2", PASSWORD + "!")
    assert accounts.check("dr-2", PASSWORD + "!") == principal
    assert accounts.path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD.encode() not in accounts.path.read_bytes()
    for name, role, password in (
        ("Jane Doe", "clinician", PASSWORD),
        ("x", "machine", PASSWORD),
        ("x", "clinician", "short"),
    ):
        with pytest.raises(AccountError):
            accounts.add(name, role, password)


async def test_without_an_audit_journal_nothing_is_shown_or_done(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere) as console:
        assert (await client.get(console.url + "/api/ward")).status_code == 200
        console.audit.path.unlink()
        console.audit.path.mkdir()
        for path in ("/", "/api/ward", "/api/patients/p-1", "/events"):
            answer = await client.get(console.url + path)
            assert (answer.status_code, "audit journal cannot be written" in answer.text) == (503, True), path
        act = await client.post(console.url + "/api/commands/acknowledge", json={"patient": "p-1", "alert": "a"})
        assert (act.status_code, "nothing is done" in act.text) == (503, True)


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST."))
    assert not any(is_loopback(host) for host in ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "1.2.3.4"))  # noqa: S104


async def test_pages_may_run_nothing_but_the_consoles_own_files(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere) as console:
        for path in ("/", "/patients/p-1", "/login", "/static/ward.js", "/api/ward", "/no/such/page"):
            answer = await client.get(console.url + path)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                assert "http://" not in answer.text
                assert "https://" not in answer.text
                assert "<style" not in answer.text
        assert (await client.get(console.url + "/api/ward")).headers["Cache-Control"] == "no-store"
        for path in ("/static/../application.py", "/static/%2e%2e/application.py", "/static/"):
            assert (await client.get(console.url + path)).status_code == 404


async def test_without_kafka_it_starts_says_so_and_shows_the_directory(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere) as console:
        assert (await client.get(console.url + "/api/ward")).json()["kafka"] is False
        await asyncio.to_thread(Directory(console.directory).put, Entry("p-1", "Ada", "W", "3"))

        async def rows() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await client.get(console.url + "/api/ward")).json()["rows"]
            return found

        (row,) = await until(rows)
        assert (row["name"], row["bed"]) == ("Ada", "3")
        log = await console.logged("kafka_unreachable")
        assert "Ada" not in log


async def test_a_directory_that_cannot_be_read_leaves_pseudonyms(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    (tmp_path / "directory.sqlite").write_bytes(b"no database " * 200)
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(tmp_path / "directory.sqlite").execute("SELECT * FROM patient")
    async with running_console(tmp_path, nowhere) as console:
        assert (await client.get(console.url + "/api/ward")).status_code == 200
        await console.logged("directory_unreadable")


async def test_it_ends_promptly_while_streams_are_open(tmp_path: Path, nowhere: str, client: httpx.AsyncClient) -> None:
    async with (
        running_console(tmp_path, nowhere) as console,
        client.stream("GET", console.url + "/events") as stream,
    ):
        assert b"event: status" in await anext(stream.aiter_bytes())
        assert await console.stop() == 0


async def test_a_taken_port_is_one_clear_line(tmp_path: Path, nowhere: str) -> None:
    async with running_console(tmp_path, nowhere) as console:
        with pytest.raises(RuntimeError, match="cannot listen on") as raised:
            await Console(tmp_path, nowhere, port=int(console.url.rsplit(":", 1)[1])).start()
        assert "Traceback" not in str(raised.value)


async def test_bad_questions_get_a_reason(tmp_path: Path, nowhere: str, client: httpx.AsyncClient) -> None:
    async with running_console(tmp_path, nowhere) as console:
        assert (await client.get(console.url + "/api/patients/nobody")).status_code == 404
        assert (await client.get(console.url + "/api/patients/nobody/trend?signal=spo2")).status_code == 404
        assert (await client.post(console.url + "/api/commands/admit", json={})).status_code == 422
