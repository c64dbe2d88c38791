"""Commands over HTTP: POST /api/commands/{kind} with a named token.

The caller proves who it is by `Authorization: Bearer TOKEN`; the token's holder, as the configuration names it, is the
command's author. Where no token at all is configured and the console listens on loopback, commands about alerts are
taken from whoever states a name (`Biotwin-Author`, percent-encoded UTF-8): whoever is on this machine could send any
command anyway, and no page from elsewhere can set that header. The body is a JSON object of the command's own fields;
`id` and `t` may be left out. `admit` may carry `directory` (display_name, ward, bed, age_band), which goes into this
site's directory and nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any, get_args
from urllib.parse import unquote

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alerts.console.directory import Directory, Entry
from alerts.console.security import is_loopback
from contracts.command import AlertCommand
from contracts.configuration import Configuration
from deploy.api.commands import KINDS, MAX_REASON, CommandError, NotSentError, build, send, tag_of
from deploy.api.schema import command_schema
from deploy.api.tokens import TokenHolders

MAX_BODY_BYTES = 65_536
AUTHOR_HEADER = "biotwin-author"

ALERT_KINDS = frozenset(tag_of(kind) for kind in get_args(AlertCommand))

_log = structlog.get_logger("biotwin.api")


def command_routes(configuration: Configuration, clock: Callable[[], float] = time.time) -> list[Route]:
    """The routes, for the console's application to mount. They bring their own authentication."""
    api = _CommandApi(configuration, clock)
    return [
        Route("/api/author", api.author, methods=["GET"]),
        Route("/api/commands", api.schema, methods=["GET"]),
        Route("/api/commands/{kind}", api.post, methods=["POST"]),
    ]


class DirectoryFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `admit` may say for the site's own directory."""

    display_name: str = ""
    ward: str = ""
    bed: str = ""
    age_band: str = ""


class _CommandApi:
    def __init__(self, configuration: Configuration, clock: Callable[[], float]) -> None:
        self._configuration = configuration
        self._clock = clock
        self._holders = TokenHolders(configuration.tokens)
        console = configuration.console
        self._takes_names = not self._holders and not console.token and is_loopback(console.host)

    async def author(self, request: Request) -> Response:
        """GET /api/author: what a page must ask a person for before it acts ("token", "name" or "nothing": it cannot),
        and who the caller is, if known."""
        asks = "token" if self._holders else "name" if self._takes_names else "nothing"
        return JSONResponse({"asks": asks, "author": self._author(request, alerts=True)})

    async def schema(self, _request: Request) -> Response:
        """GET /api/commands: the JSON Schema of all commands."""
        return JSONResponse(command_schema(), media_type="application/schema+json")

    async def post(self, request: Request) -> Response:
        """POST /api/commands/{kind}: 202 once Kafka has the command; 400, 401, 404, 413, 422 or 503 else."""
        author = self._author(request, alerts=request.path_params["kind"] in ALERT_KINDS)
        if author is None:
            hint = "" if self._holders else "; none is configured (tokens in the configuration, or BIOTWIN_TOKENS)"
            return _error(
                401, f"give a token known here as Authorization: Bearer{hint}", {"WWW-Authenticate": "Bearer"}
            )
        kind = request.path_params["kind"]
        if kind not in KINDS:
            return _error(404, f"there is no such command; there are {', '.join(KINDS)}")
        body = await _body(request)
        if body is None:
            return _error(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        try:
            fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _error(400, "the body is not a JSON object")
        try:
            directory = self._directory_fields(kind, fields)
            command = build(kind, fields, author=author, now=self._clock())
            if directory is not None:
                entry = Entry(pseudonym=str(fields["patient"]), **msgspec.structs.asdict(directory))
                await asyncio.to_thread(Directory(self._configuration.console.directory).put, entry)
        except (CommandError, ValueError) as error:
            return _error(422, str(error))
        except sqlite3.Error as error:
            return _error(503, f"the directory cannot be written: {error}")
        try:
            await send(self._configuration.kafka, [command])
        except NotSentError as error:
            return _error(503, f"{error}; send it again with id {command.id}")
        _log.info("command_accepted", kind=kind, id=command.id, author=author)
        accepted = {"id": command.id, "kind": kind, "t": command.t, "author": author}
        return JSONResponse(accepted, status_code=202)

    def _author(self, request: Request, *, alerts: bool) -> str | None:
        """The holder of the caller's token, or for commands about alerts the name the caller states, where names do."""
        if alerts and self._takes_names:
            name = unquote(request.headers.get(AUTHOR_HEADER, "")).strip()
            return name if name.isprintable() and 0 < len(name) <= MAX_REASON else None
        return self._holders.holder(request.headers.get("authorization", ""))

    @staticmethod
    def _directory_fields(kind: str, fields: dict[str, Any]) -> DirectoryFields | None:
        if kind != "admit" or "directory" not in fields:
            return None
        try:
            return msgspec.convert(fields.pop("directory"), type=DirectoryFields)
        except msgspec.ValidationError as error:
            raise CommandError(f"directory: {error}") from error


async def _body(request: Request) -> bytes | None:
    """The request's body; None when it is too long, without reading the rest."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status_code=status, headers=headers)
