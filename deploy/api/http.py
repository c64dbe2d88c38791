"""Commands over HTTP: POST /api/commands/{kind}.

The author is whoever is signed in, or the holder of the named token that a system shows; the role must have the
command's permission. What was asked stands in the audit journal before it is done. The body is a JSON object of the
command's own fields; `id` and `t` may be left out. `admit` may carry `directory` (display_name, ward, bed, age_band),
which goes into this site's directory and nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alerts.console.access import NOT_WRITTEN, Access, Guard, principal_of
from alerts.console.directory import Directory, Entry
from alerts.console.roles import COMMANDS
from contracts.configuration import Configuration
from deploy.api.commands import KINDS, CommandError, NotSentError, build, new_id, send
from deploy.api.schema import command_schema

MAX_BODY_BYTES = 65_536
AUDITED = {"patient": "patient", "alert": "alert", "command": "id"}
"""Fields of the audit record, and of a command, that say what an act was about."""

_log = structlog.get_logger("biotwin.api")


def command_routes(configuration: Configuration, access: Access, clock: Callable[[], float] = time.time) -> list[Route]:
    """The routes, for the console's application to mount, behind a guard."""
    api = _CommandApi(configuration, access, clock)
    guard = [Middleware(Guard, access=access, may=None, audited=False)]
    return [
        Route("/api/commands", api.schema, methods=["GET"], middleware=guard),
        Route("/api/commands/{kind}", api.post, methods=["POST"], middleware=guard),
    ]


class DirectoryFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `admit` may say for the site's own directory."""

    display_name: str = ""
    ward: str = ""
    bed: str = ""
    age_band: str = ""


class _CommandApi:
    def __init__(self, configuration: Configuration, access: Access, clock: Callable[[], float]) -> None:
        self._configuration = configuration
        self._access = access
        self._clock = clock

    async def schema(self, _request: Request) -> Response:
        """GET /api/commands: the JSON Schema of all commands."""
        return JSONResponse(command_schema(), media_type="application/schema+json")

    async def post(self, request: Request) -> Response:
        """POST /api/commands/{kind}: 202 once Kafka has the command; 400, 401, 403, 404, 413, 422 or 503 else."""
        principal = principal_of(request)
        author = principal.account
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
        if fields.get("id") is None:
            fields["id"] = new_id()
        allowed = principal.may(COMMANDS[kind])
        try:
            await self._access.record(
                principal,
                "act",
                kind,
                "allowed" if allowed else "refused",
                **{name: str(fields.get(field, "")) for name, field in AUDITED.items()},
            )
        except OSError as error:
            _log.error("audit_not_written", reason=str(error))
            return _error(503, NOT_WRITTEN)
        if not allowed:
            return _error(403, f"the role {principal.role} may not {kind.replace('_', ' ')}")
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


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
