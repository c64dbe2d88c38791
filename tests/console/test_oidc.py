"""Signing in through a real, small OpenID Connect provider on loopback."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deploy.children import free_ports
from tests.console.console_harness import Console, running_console
from tests.waiting import until

SECRET = "the-client-secret"


class Provider:
    """Logs everybody in who comes, with the claims set on it; keeps to the code flow with PKCE."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.port = port
        self.key = RSAKey.generate_key(2048, {"kid": "k1"})
        self.signs_with = self.key
        self.claims: dict[str, Any] = {}
        self.asked: dict[str, dict[str, str]] = {}

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/jwks", self.jwks),
            ]
        )

    async def discovery(self, _request: Request) -> Response:
        ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
        return JSONResponse({"issuer": self.issuer, **{name: self.issuer + path for name, path in ends.items()}})

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert "openid" in query["scope"].split()
        code = token_urlsafe(16)
        self.asked[code] = query
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}", 303)

    async def token(self, request: Request) -> Response:
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.asked.pop(given["code"], None)
        basic = "Basic " + base64.b64encode(f"biotwin:{SECRET}".encode()).decode()
        digest = base64.urlsafe_b64encode(sha256(given["code_verifier"].encode()).digest()).decode().rstrip("=")
        if (
            asked is None
            or request.headers.get("authorization") != basic
            or asked["code_challenge"] != digest
            or asked["redirect_uri"] != given["redirect_uri"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "s", "aud": "biotwin", "iat": now, "exp": now + 60}
        claims |= {"nonce": asked["nonce"], **self.claims}
        id_token = jwt.encode({"alg": "RS256", "kid": "k1"}, claims, self.signs_with)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id_token})

    async def jwks(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})


@asynccontextmanager
async def served(provider: Provider) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(provider.application(), port=provider.port, log_level="critical", lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: _true(server.started))
        yield
    finally:
        server.should_exit = True
        await serving


async def _true(value: bool) -> bool:
    return value


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    started = Provider(free_ports(1)[0])
    async with served(started):
        yield started


@pytest.fixture
async def console(provider: Provider, tmp_path: Path) -> AsyncIterator[Console]:
    port, nowhere = free_ports(2)
    settings = {
        "BIOTWIN_CONSOLE__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BIOTWIN_OIDC__CLIENT_ID": "biotwin",
        "BIOTWIN_OIDC__CLIENT_SECRET": SECRET,
        "BIOTWIN_OIDC__ROLES": '{"ward-3": "clinician", "it": "operator"}',
        "BIOTWIN_OIDC__ISSUER": provider.issuer,
    }
    async with running_console(tmp_path, f"127.0.0.1:{nowhere}", port=port, settings=settings) as started:
        yield started


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60, follow_redirects=True)


async def test_one_signs_in_at_the_provider_with_the_role_of_a_claim(provider: Provider, console: Console) -> None:
    provider.claims = {"preferred_username": "dr-5", "groups": ["everybody", "ward-3"]}
    async with client() as browser:
        landed = await browser.get(console.url + "/")
        assert (landed.status_code, "url=/" in landed.text) == (200, True)
        session = (await browser.get(console.url + "/api/session")).json()
        assert (session["account"], session["role"]) == ("dr-5", "clinician")
        assert (await browser.post(console.url + "/login", headers={"Origin": console.url})).status_code == 405
        assert (await browser.post(console.url + "/logout", headers={"Origin": console.url})).status_code == 200
        assert (await browser.get(console.url + "/api/session")).status_code == 401
    assert [r.outcome for r in console.audit.newest(9) if r.what == "sign-in"] == ["allowed"]
    assert SECRET not in (console.folder / "console.log").read_text()


@pytest.mark.parametrize(
    "claims",
    [
        {"groups": ["everybody"]},
        {"groups": ["ward-3", "it"]},
        {"preferred_username": "Jane Doe"},
        {"nonce": "of another sign-in"},
        {"aud": "another client"},
        {"iss": "https://other.example"},
        {"exp": 1_000_000_000},
    ],
)
async def test_what_the_provider_says_is_checked(provider: Provider, console: Console, claims: dict[str, Any]) -> None:
    provider.claims = {"preferred_username": "dr-5", "groups": ["ward-3"]} | claims
    async with client() as browser:
        assert (await browser.get(console.url + "/")).status_code == 403
        assert (await browser.get(console.url + "/api/session")).status_code == 401


async def test_a_foreign_key_a_foreign_state_and_a_code_twice_are_refused(provider: Provider, console: Console) -> None:
    provider.claims = {"preferred_username": "dr-5", "groups": "ward-3"}
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "k1"})
    async with client() as browser:
        assert (await browser.get(console.url + "/")).status_code == 403
    provider.signs_with = provider.key
    async with httpx.AsyncClient(timeout=60) as browser, client() as victim:
        begun = (await browser.get(console.url + "/login")).headers["Location"]
        assert urlsplit(begun).port == provider.port
        back = (await browser.get(begun)).headers["Location"]
        assert (await victim.get(back)).status_code == 403  # a link sent to somebody else
        assert (await browser.get(back)).status_code == 200
        assert (await browser.get(back)).status_code == 403
