"""The console's web application: pages, JSON and event streams over one ward in memory."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from alerts.console.access import Access, Guard, principal_of
from alerts.console.alert_book import shown
from alerts.console.event_stream import EventStreamResponse, Source, Streams
from alerts.console.login import login_routes
from alerts.console.oidc import Oidc
from alerts.console.roles import COMMANDS, May, lens_of
from alerts.console.security import Gate
from alerts.console.trend import Point, thin
from alerts.console.ward import Ward
from alerts.on_call import ends_at, shift_at
from alerts.words import CHANNEL_WORDS, CODE_WORDS, unit_words
from contracts.signals import default_registry

STATIC = Path(str(files("alerts.console") / "static"))
MAX_TREND_MINUTES = 7 * 24 * 60
TREND_POINTS = 600
AUDIT_RECORDS = 500

History = Callable[[str, str, float, float], Iterable[tuple[float, float, float, float]]]
"""history(patient, signal, from, until) gives (t, value, quality, received_at) in order of t; times in s. May block."""


def create_console(
    ward: Ward,
    source: Source,
    streams: Streams,
    *,
    access: Access,
    oidc: Oidc | None = None,
    check_host: bool = True,
    public_url: str = "",
    routes: Sequence[BaseRoute] = (),
    history: History | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The application. With `oidc` people sign in there and nowhere else.

    `routes` are served beside its own and see to their own guard. `check_host` admits only loopback names and that of
    `public_url`.
    """
    api = _Api(ward, source, streams, history, clock, access)
    guard = [Middleware(Guard, access=access)]
    values_guard = [Middleware(Guard, access=access, may=May.SEE_PHYSIOLOGY)]
    page_guard = [Middleware(Guard, access=access, page=True)]
    plain_guard = [Middleware(Guard, access=access, may=None, audited=False)]
    audit_guard = [Middleware(Guard, access=access, may=May.READ_AUDIT)]
    audit_page_guard = [Middleware(Guard, access=access, may=May.READ_AUDIT, page=True)]
    return Starlette(
        routes=[
            Route("/", partial(_page, "ward.html"), middleware=page_guard),
            Route("/inbox", partial(_page, "inbox.html"), middleware=page_guard),
            Route("/on-call", partial(_page, "on-call.html"), middleware=page_guard),
            Route("/patients/{patient}", partial(_page, "patient.html"), middleware=page_guard),
            Route("/audit", partial(_page, "audit.html"), middleware=audit_page_guard),
            *login_routes(access, oidc),
            Route("/events", api.events, middleware=guard),
            Route("/api/ward", api.ward, middleware=guard),
            Route("/api/alerts/{alert}/receipts", api.receipts, middleware=values_guard),
            Route("/api/oncall", api.on_call, middleware=guard),
            Route("/api/signals", api.signals, middleware=plain_guard),
            Route("/api/session", api.session, middleware=plain_guard),
            Route("/api/audit", api.audit, middleware=audit_guard),
            Route("/api/patients/{patient}", api.patient, middleware=guard),
            Route("/api/patients/{patient}/trend", api.trend, middleware=values_guard),
            *routes,
            Mount("/static", _Assets(directory=STATIC)),
        ],
        middleware=[Middleware(Gate, check_host=check_host, public_url=public_url)],
    )


class _Assets(StaticFiles):
    """Static files that a browser asks for again after an update."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Api:
    def __init__(
        self,
        ward: Ward,
        source: Source,
        streams: Streams,
        history: History | None,
        clock: Callable[[], float],
        access: Access,
    ) -> None:
        self._access = access
        self._ward = ward
        self._source = source
        self._streams = streams
        self._history = history
        self._clock = clock

    async def events(self, request: Request) -> EventStreamResponse:
        """GET /events?patient=&only=alerts&station=: server-sent events. `after` stands in for a missing Last-Event-ID;
        `station` names the place of a console that is missed when it is gone, and counts for who is told of alarms."""
        query, lens = request.query_params, lens_of(principal_of(request))
        last_id = request.headers.get("last-event-id") or query.get("after", "")
        return EventStreamResponse(
            self._streams.events(
                last_id,
                query.get("patient", ""),
                rows=query.get("only") != "alerts",
                station=query.get("station", "") if lens.physiology else "",
                lens=lens,
                holds=partial(self._holds, request),
            )
        )

    async def _holds(self, request: Request) -> bool:
        """Whether whoever opened a stream is still signed in; an open stream is a use of the session."""
        try:
            return await self._access.who(request) is not None
        except (sqlite3.Error, OSError):
            return False

    async def session(self, request: Request) -> Response:
        """GET /api/session: who is signed in, and which commands and pages the role may use."""
        principal = principal_of(request)
        return _json(
            {
                "account": principal.account,
                "role": principal.role,
                "commands": [kind for kind, permission in COMMANDS.items() if principal.may(permission)],
                "audit": principal.may(May.READ_AUDIT),
            }
        )

    async def audit(self, _request: Request) -> Response:
        """GET /api/audit: the newest records of the audit journal, newest first, and whether its chain holds."""
        records = await asyncio.to_thread(self._access.audit.newest, AUDIT_RECORDS)
        verdict = await asyncio.to_thread(self._access.audit.verify)
        return _json({"records": msgspec.to_builtins(records), "verdict": msgspec.to_builtins(verdict)})

    async def ward(self, request: Request) -> Response:
        """GET /api/ward: every row, the most urgent first."""
        lens = lens_of(principal_of(request))
        return _json({**self._state(), "rows": [orjson.Fragment(lens.row(row)) for row in self._ward.rows()]})

    async def receipts(self, request: Request) -> Response:
        """GET /api/alerts/{alert}/receipts: what became of each notification of the alert, oldest first."""
        return _json({"now": self._clock(), "receipts": self._ward.receipts.shown(request.path_params["alert"])})

    async def on_call(self, request: Request) -> Response:
        """GET /api/oncall?at=: who holds each role now, or at a time (s), and every shift that is known."""
        try:
            at = float(request.query_params.get("at", self._clock()))
        except ValueError:
            return _json({"error": "at is not a time in s since 1970"}, 400)
        roles = [
            {
                "role": each.role,
                "holder": shift.holder if (shift := shift_at(each, at)) else "",
                "since": shift.since if shift else None,
                "until": ends_at(each, shift) if shift else None,
                "shifts": [{**msgspec.to_builtins(one), "until": ends_at(each, one)} for one in each.shifts],
            }
            for each in self._ward.on_call.roles()
        ]
        return _json({"now": self._clock(), "at": at, "roles": roles})

    async def signals(self, _request: Request) -> Response:
        """GET /api/signals: the registry, as far as a page needs it, and what channels and codes are called in each
        language."""
        fields = ("name", "ucum", "period_s", "validity_s", "shape", "codes")
        rows = [{field: getattr(signal, field) for field in fields} for signal in default_registry().signals]
        channels = {name: {**words, "unit": unit_words(name).strip()} for name, words in CHANNEL_WORDS.items()}
        codes = {f"{signal} {code}": words for (signal, code), words in CODE_WORDS.items()}
        return _json({"signals": rows, "channels": channels, "codes": codes})

    async def patient(self, request: Request) -> Response:
        """GET /api/patients/{patient}: the row, and every known alert with evidence and transitions."""
        patient = self._ward.patients.get(request.path_params["patient"])
        if patient is None:
            return _json({"error": "no such patient"}, 404)
        lens = lens_of(principal_of(request))
        alerts = [
            shown(patient.alerts, life, complete=True)
            | {"receipts": self._ward.receipts.shown(life.newest.id, *filter(None, [life.replaces]))}
            for life in patient.alerts.all()
            if lens.shows(life.newest.kind)
        ]
        row = lens.plain_row(self._ward.row(patient))
        trends = sorted(patient.trends) if lens.physiology else []
        return _json({**self._state(), "row": row, "alerts": alerts, "trends": trends})

    async def trend(self, request: Request) -> Response:
        """GET /api/patients/{patient}/trend?signal=&minutes=: [[t, value, low, high, quality, received_at], …]."""
        pseudonym, signal = request.path_params["patient"], request.query_params.get("signal", "")
        patient = self._ward.patients.get(pseudonym)
        try:
            minutes = float(request.query_params.get("minutes", "60"))
        except ValueError:
            minutes = 0.0
        if patient is None:
            return _json({"error": "no such patient"}, 404)
        if not 0 < minutes <= MAX_TREND_MINUTES:
            return _json({"error": f"minutes must lie above 0 and up to {MAX_TREND_MINUTES}"}, 400)
        now = self._clock()
        begin = now - 60 * minutes
        trend = patient.trends.get(signal)
        points = trend.since(begin) if trend is not None else []
        if self._history is not None:
            until = points[0].t if points else now
            if until > begin:
                older = await asyncio.to_thread(_from_history, self._history, pseudonym, signal, begin, until)
                points = older + points
        step_s = 60 * minutes / TREND_POINTS
        if len(points) > TREND_POINTS:
            points = thin(points, step_s)
        return _json(
            {
                "now": now,
                "signal": signal,
                "from": begin,
                "step_s": step_s if len(points) > TREND_POINTS / 2 else 0.0,
                "points": [_rounded(point) for point in points],
            }
        )

    def _state(self) -> dict[str, Any]:
        return {
            "now": self._clock(),
            "kafka": self._source.up,
            "loaded": self._source.loaded,
            "newest_at": self._ward.newest_at,
        }


def _from_history(history: History, patient: str, signal: str, begin: float, until: float) -> list[Point]:
    return [
        Point(t, value, value, value, quality, received_at - t)
        for t, value, quality, received_at in history(patient, signal, begin, until)
        if begin <= t < until
    ]


def _rounded(point: Point) -> list[float]:
    return [
        round(point.t, 3),
        *(round(number, 3) for number in (point.value, point.low, point.high, point.quality)),
        round(point.t + point.delay_s, 3),
    ]


def _json(body: dict[str, Any], status_code: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code, media_type="application/json")


async def _page(name: str, _request: Request) -> HTMLResponse:
    return HTMLResponse(await asyncio.to_thread((STATIC / name).read_bytes))
