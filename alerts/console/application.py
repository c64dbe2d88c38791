"""The console's web application: pages, JSON and event streams over one ward in memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from alerts.console.alert_book import shown
from alerts.console.event_stream import EventStreamResponse, Source, Streams
from alerts.console.security import COOKIE, SESSION_S, Gate, Guard, Sessions, same
from alerts.console.trend import Point, thin
from alerts.console.ward import Ward
from alerts.on_call import ends_at, shift_at
from contracts.signals import default_registry

STATIC = Path(str(files("alerts.console") / "static"))
MAX_TREND_MINUTES = 7 * 24 * 60
TREND_POINTS = 600
MAX_LOGIN_BYTES = 4096
FAILED_LOGIN_S = 0.5

History = Callable[[str, str, float, float], Iterable[tuple[float, float, float, float]]]
"""history(patient, signal, from, until) gives (t, value, quality, received_at) in order of t; times in s. May block."""


def create_console(
    ward: Ward,
    source: Source,
    streams: Streams,
    *,
    token: str = "",
    check_host: bool = True,
    routes: Sequence[BaseRoute] = (),
    history: History | None = None,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """The application.

    `routes` are served beside its own and see to their own authentication. `check_host` admits only loopback names;
    it stands for a console that listens on loopback without a token.
    """
    api = _Api(ward, source, streams, history, clock)
    guard = [Middleware(Guard, token=token)]
    page_guard = [Middleware(Guard, token=token, page=True)]
    return Starlette(
        routes=[
            Route("/", partial(_page, "ward.html"), middleware=page_guard),
            Route("/inbox", partial(_page, "inbox.html"), middleware=page_guard),
            Route("/on-call", partial(_page, "on-call.html"), middleware=page_guard),
            Route("/patients/{patient}", partial(_page, "patient.html"), middleware=page_guard),
            Route("/login", partial(_page, "login.html")),
            Route("/login", partial(_login, token), methods=["POST"]),
            Route("/logout", _logout, methods=["POST"]),
            Route("/events", api.events, middleware=guard),
            Route("/api/ward", api.ward, middleware=guard),
            Route("/api/alerts/{alert}/receipts", api.receipts, middleware=guard),
            Route("/api/oncall", api.on_call, middleware=guard),
            Route("/api/signals", api.signals, middleware=guard),
            Route("/api/patients/{patient}", api.patient, middleware=guard),
            Route("/api/patients/{patient}/trend", api.trend, middleware=guard),
            *routes,
            Mount("/static", _Assets(directory=STATIC)),
        ],
        middleware=[Middleware(Gate, check_host=check_host)],
    )


class _Assets(StaticFiles):
    """Static files that a browser asks for again after an update."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Api:
    def __init__(
        self, ward: Ward, source: Source, streams: Streams, history: History | None, clock: Callable[[], float]
    ) -> None:
        self._ward = ward
        self._source = source
        self._streams = streams
        self._history = history
        self._clock = clock

    async def events(self, request: Request) -> EventStreamResponse:
        """GET /events?patient=&only=alerts&station=: server-sent events. `after` stands in for a missing Last-Event-ID;
        `station` names the place of a console that is missed when it is gone."""
        query = request.query_params
        last_id = request.headers.get("last-event-id") or query.get("after", "")
        return EventStreamResponse(
            self._streams.events(
                last_id,
                query.get("patient", ""),
                rows=query.get("only") != "alerts",
                station=query.get("station", ""),
            )
        )

    async def ward(self, _request: Request) -> Response:
        """GET /api/ward: every row, the most urgent first."""
        return _json({**self._state(), "rows": [orjson.Fragment(row) for row in self._ward.rows()]})

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
        """GET /api/signals: the registry, as far as a page needs it."""
        fields = ("name", "ucum", "period_s", "validity_s", "shape", "codes")
        rows = [{field: getattr(signal, field) for field in fields} for signal in default_registry().signals]
        return _json({"signals": rows})

    async def patient(self, request: Request) -> Response:
        """GET /api/patients/{patient}: the row, and every known alert with evidence and transitions."""
        patient = self._ward.patients.get(request.path_params["patient"])
        if patient is None:
            return _json({"error": "no such patient"}, 404)
        alerts = [
            shown(patient.alerts, life, complete=True)
            | {"receipts": self._ward.receipts.shown(life.newest.id, *filter(None, [life.replaces]))}
            for life in patient.alerts.all()
        ]
        return _json(
            {**self._state(), "row": self._ward.row(patient), "alerts": alerts, "trends": sorted(patient.trends)}
        )

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


async def _login(token: str, request: Request) -> Response:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_LOGIN_BYTES:
            return Response("too long\n", 413)
    given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
    if not token or not same(given, token):
        await asyncio.sleep(FAILED_LOGIN_S)
        return RedirectResponse("/login?refused", status_code=303)
    response = RedirectResponse("/", status_code=303)
    response.set_cookie(
        COOKIE,
        Sessions(token).issue(),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


async def _logout(_request: Request) -> Response:
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response
