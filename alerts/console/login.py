"""Signing in and out: the form, one-time links, the way to an OIDC provider and back."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from alerts.console.access import COOKIE, NOT_WRITTEN, Access
from alerts.console.oidc import CALLBACK, PENDING_S, Oidc, OidcError

FORM = Path(str(files("alerts.console") / "static" / "login.html"))
MAX_BODY_BYTES = 4096
STATE = "biotwin_oidc"


ONWARD = '<!doctype html><html lang="en"><meta http-equiv="refresh" content="0;url=/"><title>BioTwin</title></html>'
"""A page of the console's own leads on: a redirect that began at the provider would not carry a strict cookie."""

_log = structlog.get_logger(__name__)


def login_routes(access: Access, oidc: Oidc | None) -> list[Route]:
    """The routes; with a provider there is no form for passwords."""
    if oidc is None:
        doors = [Route("/login", _form), Route("/login", partial(_sign_in, access), methods=["POST"])]
    else:
        doors = [Route("/login", partial(_to_provider, oidc)), Route(CALLBACK, partial(_from_provider, access, oidc))]
    return [*doors, Route("/logout", partial(_sign_out, access), methods=["POST"])]


async def _form(_request: Request) -> Response:
    return HTMLResponse(await asyncio.to_thread(FORM.read_bytes))


async def _sign_in(access: Access, request: Request) -> Response:
    if not access.comes_from_here(request):
        return PlainTextResponse("This may only be sent by a page of this console.\n", 403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return PlainTextResponse("too long\n", 413)
    fields = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    try:
        if "link" in fields:
            principal = await access.sign_in_by_link(fields["link"])
        else:
            principal = await access.sign_in(request, fields.get("account", ""), fields.get("password", ""))
        if principal is None:
            return RedirectResponse("/login?refused", status_code=303)
        return await access.signed_in(request, principal, RedirectResponse("/", status_code=303))
    except (OSError, sqlite3.Error) as error:
        return _unavailable(error)


async def _sign_out(access: Access, request: Request) -> Response:
    if not access.comes_from_here(request):
        return PlainTextResponse("This may only be sent by a page of this console.\n", 403)
    try:
        await access.sign_out(request)
    except (OSError, sqlite3.Error) as error:
        return _unavailable(error)
    response = RedirectResponse("/login?out", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


async def _to_provider(oidc: Oidc, request: Request) -> Response:
    if "out" in request.query_params:
        return HTMLResponse(SIGNED_OUT)
    try:
        url, state = await oidc.begin()
    except OidcError as error:
        _log.warning("oidc_unreachable", reason=str(error))
        return PlainTextResponse("The sign-in service does not answer. Try again in a moment.\n", 503)
    response = RedirectResponse(url, status_code=303)
    response.set_cookie(
        *(STATE, state, int(PENDING_S)),
        path=CALLBACK,
        httponly=True,
        samesite="lax",  # the provider sends people back from elsewhere
        secure=request.url.scheme == "https",
    )
    return response


SIGNED_OUT = (
    '<!doctype html><html lang="en"><title>BioTwin</title><p>Signed out. <a href="/login">Sign in</a></p></html>'
)


async def _from_provider(access: Access, oidc: Oidc, request: Request) -> Response:
    query = request.query_params
    try:
        principal = await oidc.finish(query.get("state", ""), request.cookies.get(STATE, ""), query.get("code", ""))
    except OidcError as error:
        _log.warning("oidc_refused", reason=str(error))
        principal = None
    try:
        await access.sign_in_by_oidc(principal)
        if principal is None:
            return PlainTextResponse("Signing in was not accepted. Ask for an account and a role.\n", 403)
        response = await access.signed_in(request, principal, HTMLResponse(ONWARD))
    except (OSError, sqlite3.Error) as error:
        return _unavailable(error)
    response.delete_cookie(STATE, path=CALLBACK, httponly=True, samesite="lax")
    return response


def _unavailable(error: OSError | sqlite3.Error) -> Response:
    _log.error("sign_in_unavailable", reason=str(error))
    return PlainTextResponse(f"{NOT_WRITTEN if isinstance(error, OSError) else 'The accounts cannot be read.'}\n", 503)
