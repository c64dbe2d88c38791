"""Signing in through an OpenID Connect provider: discovery, code flow with PKCE, state and nonce, role from a claim."""

from __future__ import annotations

import ssl
import time
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from hmac import compare_digest
from secrets import token_urlsafe
from typing import Any, NamedTuple

import httpx
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from alerts.console.accounts import NAME
from alerts.console.roles import Principal
from contracts import configuration

PENDING_S = 600.0
MOST_PENDING = 1000
TIMEOUT_S = 10.0
LEEWAY_S = 60
ALGORITHMS = ["RS256", "PS256", "ES256"]
"""Signatures taken: never one that the client's own secret could make."""

CALLBACK = "/login/oidc/callback"


class OidcError(Exception):
    """The provider does not answer, or what it says is not accepted; the text says why, without secrets."""


class _Pending(NamedTuple):
    verifier: str
    nonce: str
    until: float


class _Provider(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Oidc:
    """The client of one provider. People are sent back to `public_url` + `CALLBACK`."""

    def __init__(self, settings: configuration.Oidc, public_url: str) -> None:
        self._settings = settings
        self._redirect = public_url + CALLBACK
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    async def begin(self) -> tuple[str, str]:
        """Where to send the browser, and the state that it must bring back. Raises `OidcError`."""
        try:
            async with self._client() as client:
                provider = await self._provider(client)
                verifier, nonce = token_urlsafe(48), token_urlsafe(24)
                url, state = client.create_authorization_url(
                    provider.authorization_endpoint, code_verifier=verifier, nonce=nonce
                )
        except (httpx.HTTPError, ssl.SSLError, OSError, AuthlibBaseError) as error:
            raise OidcError(f"the provider does not answer: {type(error).__name__}") from error
        self._pending[state] = _Pending(verifier, nonce, time.monotonic() + PENDING_S)
        while len(self._pending) > MOST_PENDING:
            self._pending.popitem(last=False)
        return url, state

    async def finish(self, state: str, cookie: str, code: str) -> Principal:
        """Who the provider says it is. Raises `OidcError`."""
        if not state or not compare_digest(state.encode(), cookie.encode()):
            raise OidcError("the state is not the one that this browser was given")
        pending = self._pending.pop(state, None)
        if pending is None or pending.until < time.monotonic():
            raise OidcError("the sign-in was not begun here, or too long ago")
        if not code:
            raise OidcError("the provider gave no code")
        try:
            async with self._client() as client:
                provider = await self._provider(client)
                token = await client.fetch_token(provider.token_endpoint, code=code, code_verifier=pending.verifier)
                keys = KeySet.import_key_set(await _json(client, provider.jwks_uri))
            decoded = jwt.decode(token["id_token"], keys, algorithms=ALGORITHMS)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={"iss": {"value": provider.issuer}, "aud": {"value": self._settings.client_id}},
                params={
                    "nonce": pending.nonce,
                    "client_id": self._settings.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_S)
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise OidcError(f"the provider does not answer: {type(error).__name__}") from error
        except (AuthlibBaseError, JoseError, KeyError, ValueError) as error:
            raise OidcError(f"the provider's answer is not accepted: {type(error).__name__}: {error}") from error
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        account = claims.get(self._settings.account_claim)
        if not isinstance(account, str) or not NAME.fullmatch(account):
            raise OidcError(f"claim {self._settings.account_claim} holds no account name")
        said = claims.get(self._settings.role_claim, [])
        words = {said} if isinstance(said, str) else {word for word in said if isinstance(word, str)}
        roles = {role for word, role in self._settings.roles.items() if word in words}
        if len(roles) != 1:
            raise OidcError(f"claim {self._settings.role_claim} gives {len(roles)} roles; it takes one")
        return Principal(account, roles.pop(), "oidc")

    def _client(self) -> Any:
        with warnings.catch_warnings(action="ignore"):  # authlib announces that it will move on from httpx
            from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415
        settings = self._settings
        verify = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
        return AsyncOAuth2Client(
            settings.client_id,
            settings.client_secret or None,
            scope=settings.scope,
            redirect_uri=self._redirect,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if settings.client_secret else "none",
            timeout=TIMEOUT_S,
            verify=verify,
        )

    async def _provider(self, client: Any) -> _Provider:
        """What discovery says; its issuer must be the one configured."""
        found = await _json(client, self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            provider = msgspec.convert(found, _Provider)
        except msgspec.ValidationError as error:
            raise OidcError(f"the provider's discovery lacks something: {error}") from error
        if provider.issuer != self._settings.issuer:
            raise OidcError("the provider calls itself by another issuer")
        return provider


async def _json(client: Any, url: str) -> Any:
    answer = await client.request("GET", url, withhold_token=True)
    answer.raise_for_status()
    return answer.json()
