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

from alerts.console.directory import Directory, Entry
from alerts.console.security import COOKIE, Sessions, is_loopback
from deploy.children import free_ports
from tests.console.console_harness import Console, running_console, signed_in_client, until

TOKEN = "a-token-of-this-site"


@pytest.fixture
def nowhere() -> str:
    """An address where no Kafka listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with signed_in_client() as opened:
        yield opened


async def test_on_loopback_it_answers_without_a_token_but_only_under_loopback_names(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere) as console:
        port = console.url.rsplit(":", 1)[1]
        for host, status in {
            f"127.0.0.1:{port}": 200,
            f"localhost:{port}": 200,
            f"[::1]:{port}": 200,
            "rebound.example": 421,
            f"rebound.example:{port}": 421,
            "127.0.0.1.rebound.example": 421,
            "": 421,
        }.items():
            for path in ("/", "/api/ward", "/static/style.css", "/api/commands"):
                answer = await client.get(console.url + path, headers={"Host": host})
                assert answer.status_code == status, (host, path)


async def test_it_does_not_start_for_others_without_a_token(tmp_path: Path, nowhere: str) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7"):  # noqa: S104 - what is to be refused
        with pytest.raises(RuntimeError, match="without a token"):
            await Console(tmp_path, nowhere, host=host).start()


async def test_for_others_it_wants_the_token_in_a_header(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere, host="0.0.0.0", token=TOKEN) as started:  # noqa: S104
        url = started.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        closed = ("/api/ward", "/api/signals", "/api/patients/p-1", "/api/patients/p-1/trend", "/events")
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
        for page in ("/", "/patients/p-1"):
            assert (await client.get(url + page)).headers["Location"] == "/login"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.get(url + "/api/ward", headers=bearer)).status_code == 200
        assert (await client.get(url + "/", headers=bearer)).status_code == 200


async def test_the_login_form_sets_a_cookie_without_the_token(
    tmp_path: Path, nowhere: str, client: httpx.AsyncClient
) -> None:
    async with running_console(tmp_path, nowhere, token=TOKEN) as console:
        wrong = await client.post(console.url + "/login", data={"token": "wrong"})
        assert (wrong.status_code, wrong.headers["Location"]) == (303, "/login?refused")
        assert "Set-Cookie" not in wrong.headers
        right = await client.post(console.url + "/login", data={"token": TOKEN})
        cookie = right.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert TOKEN not in cookie
        assert (await client.get(console.url + "/api/ward")).status_code == 200
        assert (await client.post(console.url + "/login", content=b"x" * 5000)).status_code == 413
        port = int(console.url.rsplit(":", 1)[1])
        await console.stop()
        async with running_console(tmp_path, nowhere, token=TOKEN, port=port) as again:
            assert (await client.get(again.url + "/api/ward")).status_code == 200
            await again.stop()
        async with running_console(tmp_path, nowhere, token="another token", port=port) as other:
            assert (await client.get(other.url + "/api/ward")).status_code == 401
    assert TOKEN not in (tmp_path / "console.log").read_text()


def test_a_cookie_ends_and_cannot_be_changed() -> None:
    now = [1000.0]
    sessions = Sessions(TOKEN, lambda: now[0])
    cookie = sessions.issue()
    expiry, signature = cookie.split(".")
    assert sessions.valid(cookie)
    assert not sessions.valid(f"{int(expiry) + 1}.{signature}")
    assert not any(sessions.valid(text) for text in ("", ".", "9", f"{expiry}.", f"-1.{signature}", f"{expiry}.é"))
    now[0] += 12 * 3600 + 1
    assert not sessions.valid(cookie)


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
    async with running_console(tmp_path, nowhere) as console:
        async with client.stream("GET", console.url + "/events") as stream:
            chunks = stream.aiter_bytes()
            assert b"event: status" in await anext(chunks)
            code, took_s = await console.stop()
        assert (code, took_s < 4) == (0, True), took_s


async def test_a_taken_port_is_one_clear_line(tmp_path: Path, nowhere: str) -> None:
    async with running_console(tmp_path, nowhere) as console:
        with pytest.raises(RuntimeError, match="cannot listen on") as raised:
            await Console(tmp_path, nowhere, port=int(console.url.rsplit(":", 1)[1])).start()
        assert "Traceback" not in str(raised.value)


async def test_bad_questions_get_a_reason(tmp_path: Path, nowhere: str, client: httpx.AsyncClient) -> None:
    async with running_console(tmp_path, nowhere) as console:
        assert (await client.get(console.url + "/api/patients/nobody")).status_code == 404
        assert (await client.get(console.url + "/api/patients/nobody/trend?signal=spo2")).status_code == 404
        began = time.monotonic()
        assert (await client.post(console.url + "/api/commands/admit", json={})).status_code == 401
        assert time.monotonic() - began < 5
