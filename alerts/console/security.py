"""Who may look: loopback only, or a token; and what a page may do.

Without a token the console listens on loopback and answers only requests that name it by a loopback name, so that no
web page can reach it by a name that resolves here (DNS rebinding). With a token every request but the login page, its
style and the injected routes (which ask for tokens of their own) needs it: as `Authorization: Bearer`, or through the
login form, which sets a cookie that scripts cannot read. The token stands in no URL and no cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "biotwin_console"
SESSION_S = 12 * 3600

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""Only what this server sends; no inline script or style, no frame, nothing from elsewhere."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class ExposureError(ValueError):
    """The console would be open to others without a token."""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or a host name of a request, is this machine alone."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, token: str) -> None:
    """Raises `ExposureError` where `host` is not loopback and there is no token."""
    if not token and not is_loopback(host):
        raise ExposureError(
            f"the console would listen on {host or 'every address'} without a token; "
            "set BIOTWIN_TOKEN or --token, or listen on 127.0.0.1"
        )


class Sessions:
    """Login cookies: an expiry and its signature under the token. They outlive a restart and die with the token."""

    def __init__(self, token: str, clock: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"biotwin console session\0" + token.encode()).digest()
        self._clock = clock

    def issue(self) -> str:
        """A cookie that holds for `SESSION_S`."""
        expiry = str(int(self._clock()) + SESSION_S)
        return f"{expiry}.{self._signature(expiry)}"

    def valid(self, cookie: str) -> bool:
        """Whether the cookie was issued under this token and holds still."""
        expiry, _, signature = cookie.partition(".")
        if not (expiry.isascii() and expiry.isdecimal() and len(expiry) < 16):
            return False
        return same(signature, self._signature(expiry)) and int(expiry) > self._clock()

    def _signature(self, expiry: str) -> str:
        return hmac.new(self._key, expiry.encode(), hashlib.sha256).hexdigest()


def same(given: str, wanted: str) -> bool:
    """Comparison in constant time."""
    return hmac.compare_digest(given.encode(), wanted.encode())


class Gate:
    """Middleware around everything: refuses foreign host names and sets the headers of `HEADERS`."""

    def __init__(self, app: ASGIApp, *, check_host: bool) -> None:
        self._app = app
        self._check_host = check_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if self._check_host and not is_loopback(host_name(Headers(scope=scope).get("host", ""))):
            refusal = PlainTextResponse("This console answers only on a loopback address.\n", status_code=421)
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


class Guard:
    """Middleware around one route: lets through who has the token. Pages lead to the login form, the rest gets 401."""

    def __init__(self, app: ASGIApp, *, token: str, page: bool = False) -> None:
        self._app = app
        self._token = token
        self._page = page
        self._sessions = Sessions(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        if not self._token or self._has_token(connection):
            await self._app(scope, receive, send)
            return
        response: Response
        if self._page:
            response = RedirectResponse("/login", status_code=303)
        else:
            response = JSONResponse(
                {"error": "a token is needed"}, status_code=401, headers={"WWW-Authenticate": 'Bearer realm="biotwin"'}
            )
        await response(scope, receive, send)

    def _has_token(self, connection: HTTPConnection) -> bool:
        scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return same(credentials.strip(), self._token)
        return self._sessions.valid(connection.cookies.get(COOKIE, ""))
