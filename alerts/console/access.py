"""Who asks, whether the role may, and the audit record before anything is shown or done.

People sign in with an account of the site or through OIDC and hold a session cookie that scripts cannot read;
systems show a named token as `Authorization: Bearer`. A request that changes something and rides on a cookie must come
from one of the console's own pages.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from secrets import token_urlsafe
from urllib.parse import urlsplit

import structlog
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.console.accounts import NAME, Accounts
from alerts.console.audit import AuditJournal, Outcome
from alerts.console.roles import MACHINE, May, Principal

COOKIE = "biotwin_session"
FREE_FAILURES = 5
LONGEST_WAIT_S = 300.0
FORGET_S = 900.0
REMEMBERED = 10_000
HASHED_AT_ONCE = 2

UNKNOWN = "sign in, or give a token known here as Authorization: Bearer"
NOT_WRITTEN = "The audit journal cannot be written: nothing is shown and nothing is done until it can."

_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
"""What is written down as a pseudonym or an id; other text, which may say anything, stands nowhere."""

_log = structlog.get_logger(__name__)


class Throttle:
    """Failures by key: after `FREE_FAILURES` each one doubles a wait, up to `LONGEST_WAIT_S`. `clock` gives s."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def waits(self, key: str) -> bool:
        """Whether a further try is refused unseen."""
        count, at = self._failures.get(key, (0, 0.0))
        wait = min(LONGEST_WAIT_S, 2.0 ** min(count - FREE_FAILURES, 20)) if count >= FREE_FAILURES else 0.0
        return self._clock() < at + wait

    def failed(self, key: str) -> None:
        """Counts a failure; one after `FORGET_S` of quiet is the first again."""
        count, at = self._failures.pop(key, (0, 0.0))
        now = self._clock()
        self._failures[key] = (1 if now > at + FORGET_S else count + 1, now)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forgets the failures."""
        self._failures.pop(key, None)


class Access:
    """Finds out who asks, signs people in and out, and keeps the audit journal.

    `tokens` maps a machine's token to its holder. `public_url` is the console's address as browsers see it, empty
    where that is the Host they name. `clock` gives s and only has to go forward.
    """

    def __init__(
        self,
        accounts: Accounts,
        audit: AuditJournal,
        *,
        tokens: Mapping[str, str],
        public_url: str = "",
        clock: Callable[[], float],
    ) -> None:
        self.accounts = accounts
        self.audit = audit
        self._holders = [(sha256(token.encode()).digest(), name) for token, name in tokens.items()]
        self._public = urlsplit(public_url).netloc
        self._throttle = Throttle(clock)
        self._hashing = asyncio.Semaphore(HASHED_AT_ONCE)

    async def who(self, connection: HTTPConnection) -> Principal | None:
        """The token's holder, or whose session the cookie is. Raises `sqlite3.Error` and `OSError`."""
        header = connection.headers.get("authorization", "")
        if header:
            return self._machine(header)
        return await asyncio.to_thread(self.accounts.holder, connection.cookies.get(COOKIE, ""))

    def comes_from_here(self, connection: HTTPConnection) -> bool:
        """Whether a page of this console sent the request: by Sec-Fetch-Site, else by Origin."""
        site = connection.headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        origin = urlsplit(connection.headers.get("origin", "")).netloc
        return bool(origin) and origin in {self._public, connection.headers.get("host", "")}

    async def sign_in(self, request: Request, name: str, password: str) -> Principal | None:
        """Who name and password belong to; None, after as much time, where to nobody or after too many tries."""
        keys = [f"name {sha256(name.encode()).hexdigest()}", f"from {request.client.host if request.client else ''}"]
        if any(self._throttle.waits(key) for key in keys):
            await self._write(await self._named(name), "sign-in", "password", "refused")
            return None
        async with self._hashing:
            principal = await asyncio.to_thread(self.accounts.check, name, password)
        for key in keys:
            if principal is None:
                self._throttle.failed(key)
            else:
                self._throttle.succeeded(key)
        await self._write(
            principal or await self._named(name), "sign-in", "password", "allowed" if principal else "refused"
        )
        return principal

    async def sign_in_by_link(self, secret: str) -> Principal | None:
        """Who the one-time link was made for."""
        principal = await asyncio.to_thread(self.accounts.take_link, secret)
        await self._write(
            principal or Principal("", "", "link"), "sign-in", "link", "allowed" if principal else "refused"
        )
        return principal

    async def sign_in_by_oidc(self, principal: Principal | None) -> None:
        """Writes down that the provider has said who somebody is, or that it was not accepted."""
        await self._write(
            principal or Principal("", "", "oidc"), "sign-in", "oidc", "allowed" if principal else "refused"
        )

    async def signed_in(self, request: Request, principal: Principal, response: Response) -> Response:
        """The response with a new session's cookie."""
        cookie = token_urlsafe(32)
        await asyncio.to_thread(self.accounts.open_session, cookie, principal)
        response.set_cookie(
            COOKIE, cookie, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
        return response

    async def sign_out(self, request: Request) -> None:
        """Ends the session of the request's cookie."""
        cookie = request.cookies.get(COOKIE, "")
        principal = await asyncio.to_thread(self.accounts.holder, cookie)
        await asyncio.to_thread(self.accounts.close_session, cookie)
        if principal is not None:
            await self._write(principal, "sign-out", principal.via, "allowed")

    async def record(
        self,
        principal: Principal,
        what: str,
        target: str,
        outcome: Outcome,
        *,
        patient: str = "",
        alert: str = "",
        command: str = "",
    ) -> None:
        """Writes an audit record; raises `OSError` where it cannot be written."""
        await asyncio.to_thread(
            self.audit.append,
            account=principal.account,
            role=principal.role,
            via=principal.via,
            what=what,
            target=target,
            outcome=outcome,
            patient=patient if _IDENTITY.fullmatch(patient) else "",
            alert=alert if _IDENTITY.fullmatch(alert) else "",
            command=command if _IDENTITY.fullmatch(command) else "",
            names=what == "view" and outcome == "allowed" and principal.may(May.SEE_NAMES),
        )

    async def _write(self, principal: Principal, what: str, via: str, outcome: Outcome) -> None:
        await asyncio.to_thread(
            self.audit.append,
            account=principal.account,
            role=principal.role,
            via=via,
            what=what,
            target="/login",
            outcome=outcome,
        )

    async def _named(self, name: str) -> Principal:
        """For the journal: a name only where it is an account's; a password typed in its place stands nowhere."""
        known = bool(NAME.fullmatch(name)) and await asyncio.to_thread(self.accounts.knows, name)
        return Principal(name if known else "", "", "password")

    def _machine(self, header: str) -> Principal | None:
        """The holder of the token in the header. Every known token is compared, each in constant time."""
        scheme, _, token = header.partition(" ")
        given = sha256(token.strip().encode("utf-8", "replace")).digest()
        found = None
        for known, name in self._holders:
            if compare_digest(known, given):
                found = name
        return Principal(found, MACHINE, "token") if found is not None and scheme.lower() == "bearer" else None


Answer = Callable[[int, str, Mapping[str, str]], Response]
"""answer(status, text, headers) makes a refusal in the words of an interface."""


def json_answer(status: int, text: str, headers: Mapping[str, str]) -> Response:
    """A refusal as the console's own interface has it."""
    return JSONResponse({"error": text}, status, headers)


def asked_patient(connection: HTTPConnection) -> str:
    """The pseudonym in a request's path, or in its query where a stream may be of one patient; empty where neither."""
    patient: str = connection.path_params.get("patient") or connection.query_params.get("patient", "")
    return patient


class Guard:
    """Middleware around one route: lets through who has the permission, after the view stands in the audit journal.

    `may` None asks only who it is; `audited` False is for what is about no patient, and for acts, which write their
    own record. `patient_of` says whose data a request asks for, and `answer` makes what is said to who may not have it.
    The principal stands in `scope["state"]["principal"]`. Pages lead to the login form, the rest gets 401.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        may: May | None = May.VIEW,
        audited: bool = True,
        page: bool = False,
        patient_of: Callable[[HTTPConnection], str] = asked_patient,
        answer: Answer = json_answer,
    ) -> None:
        self._app = app
        self._access = access
        self._may = may
        self._audited = audited
        self._page = page
        self._patient_of = patient_of
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            refusal = await self._refusal(scope)
        except (OSError, sqlite3.Error) as error:
            _log.error("access_not_decided", reason=str(error))
            refusal = self._refused(503, NOT_WRITTEN if isinstance(error, OSError) else "The accounts cannot be read.")
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        connection = HTTPConnection(scope)
        principal = await self._access.who(connection)
        if principal is None:
            if self._page:
                return RedirectResponse("/login", status_code=303)
            return self._answer(401, UNKNOWN, {"WWW-Authenticate": 'Bearer realm="biotwin"'})
        rides_on_cookie = scope["method"] not in {"GET", "HEAD"} and principal.via != "token"
        if rides_on_cookie and not self._access.comes_from_here(connection):
            return self._refused(403, "This may only be sent by a page of this console.")
        scope.setdefault("state", {})["principal"] = principal
        allowed = self._may is None or principal.may(self._may)
        if not allowed and scope["path"] == "/" and principal.may(May.READ_AUDIT):
            return RedirectResponse("/audit", status_code=303)  # where an auditor begins
        if self._audited or not allowed:
            route = _route(scope)
            patient = self._patient_of(connection)
            alert = scope["path_params"].get("alert", "")
            outcome: Outcome = "allowed" if allowed else "refused"
            await self._access.record(principal, "view", route, outcome, patient=patient, alert=alert)
        if not allowed:
            return self._refused(403, f"The role {principal.role} may not see this.")
        return None

    def _refused(self, status: int, text: str) -> Response:
        return PlainTextResponse(f"{text}\n", status) if self._page else self._answer(status, text, {})


def principal_of(request: HTTPConnection) -> Principal:
    """Who the guard let through."""
    principal: Principal = request.state.principal
    return principal


def _route(scope: Scope) -> str:
    """The path with what identifies somebody replaced by its kind."""
    words = scope["path"].split("/")
    kinds = {value: f"{{{name}}}" for name, value in scope["path_params"].items()}
    return "/".join(kinds.get(word, word) for word in words)
