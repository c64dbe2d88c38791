"""Every route of the console, by who may use it: one that stands in no table here fails."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import cycle
from pathlib import Path

import httpx
import orjson
import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from alerts.console.access import COOKIE, Access
from alerts.console.accounts import Accounts
from alerts.console.application import create_console
from alerts.console.audit import AuditJournal
from alerts.console.event_stream import Streams
from alerts.console.records import decode_twin
from alerts.console.roles import COMMANDS, MACHINE, ROLES, Principal
from alerts.console.ward import Ward
from contracts.configuration import Configuration, Console, Kafka
from contracts.metrics import ProcessMetrics
from deploy.api.routes import further_routes
from tests.console.console_harness import twin

TOKEN = "a-token-of-this-site"
PATIENT = "p-001"

OPEN = {"GET /login", "POST /login", "POST /logout", "GET /static", "GET /fhir/R4/metadata"}
"""Signing in and out, the pages' own files, and what a FHIR server says about itself: nothing about a patient."""

EVERYBODY = frozenset(ROLES)
WARD = frozenset({"clinician", "charge_nurse", "operator", MACHINE})
VALUES = WARD - {"operator"}
AUDIT = frozenset({"auditor"})

MAY = {
    "GET /": WARD,
    "GET /inbox": WARD,
    "GET /on-call": WARD,
    "GET /patients/{patient}": WARD,
    "GET /audit": AUDIT,
    "GET /events": WARD,
    "GET /api/ward": WARD,
    "GET /api/alerts/{alert}/receipts": VALUES,
    "GET /api/oncall": WARD,
    "GET /api/signals": EVERYBODY,
    "GET /api/session": EVERYBODY,
    "GET /api/audit": AUDIT,
    "GET /api/patients/{patient}": WARD,
    "GET /api/patients/{patient}/trend": VALUES,
    "GET /api/commands": EVERYBODY,
    "GET /fhir/R4/Observation": VALUES,
}
"""Who may use what; commands have a table of their own."""

ABOUT_NO_PATIENT = {"GET /api/signals", "GET /api/session", "GET /api/commands"}
"""Not in the audit journal."""


class Ended:
    """A feed that has read everything; its streams have ended, so that a request for one is answered at once."""

    up = True
    loaded = True


class Site:
    def __init__(self, folder: Path) -> None:
        self.audit = AuditJournal(folder / "audit.jsonl")
        accounts = Accounts(folder / "accounts.sqlite")
        access = Access(accounts, self.audit, tokens={TOKEN: "ehr"}, clock=time.monotonic)
        for role in ROLES:
            if role != MACHINE:
                accounts.add(f"the-{role}", role, None)
                accounts.open_session(role, Principal(f"the-{role}", role, "link"))
        ward, source = Ward(), Ended()
        ward.apply_twin(decode_twin(orjson.dumps(twin(PATIENT, time.time(), {"heart_rate": 71.5})[2])))
        streams = Streams(ward, source, ProcessMetrics())
        streams.close()
        configuration = Configuration(
            kafka=Kafka(bootstrap="127.0.0.1:1"), console=Console(directory=str(folder / "directory.sqlite"))
        )
        routes = further_routes(configuration, access, ward, source)
        self.application = create_console(ward, source, streams, access=access, routes=routes)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(site.application)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as opened:
        yield opened


def every_route(application: Starlette) -> list[str]:
    """ "METHOD /path" of everything that the application answers, whatever is mounted where."""

    def found(routes: Iterable[BaseRoute], prefix: str) -> Iterator[str]:
        for route in routes:
            if isinstance(route, Route):
                yield from (f"{method} {prefix}{route.path}" for method in (route.methods or {"GET"}) - {"HEAD"})
            elif isinstance(route, Mount):
                yield from found(route.routes, prefix + route.path) if route.routes else [f"GET {prefix}{route.path}"]
            else:
                raise AssertionError(f"a kind of route that this test does not know: {route!r}")

    return sorted(found(application.routes, ""))


def credentials(role: str) -> dict[str, str]:
    if role == MACHINE:
        return {"Authorization": f"Bearer {TOKEN}"}
    return {"Cookie": f"{COOKIE}={role}", "Sec-Fetch-Site": "same-origin"}


async def ask(client: httpx.AsyncClient, route: str, headers: dict[str, str]) -> httpx.Response:
    method, path = route.replace("{patient}", PATIENT).replace("{alert}", "a1").split(" ")
    query = {"patient": PATIENT} if "/fhir/" in path else {}
    return await client.request(method, path, params=query, headers=headers)


async def test_nobody_reaches_anything_who_is_not_signed_in(site: Site, client: httpx.AsyncClient) -> None:
    closed = [route for route in every_route(site.application) if route not in OPEN]
    assert len(closed) > len(MAY)
    for route in closed:
        for kind in ("acknowledge", "no-such-command") if "{kind}" in route else ("",):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"{COOKIE}=wrong"}):
                answer = await ask(client, route.replace("{kind}", kind), headers | {"Sec-Fetch-Site": "same-origin"})
                led_to_login = (answer.status_code, answer.headers.get("Location")) == (303, "/login")
                assert answer.status_code == 401 or led_to_login, route
                assert not any(said in answer.text for said in (PATIENT, "71.5", "rows", "properties")), route
    assert site.audit.newest(1) == []


async def test_each_role_reaches_what_it_is_for_and_its_views_are_written_down(
    site: Site, client: httpx.AsyncClient
) -> None:
    assert set(every_route(site.application)) == OPEN | set(MAY) | {"POST /api/commands/{kind}"}
    for route, roles in MAY.items():
        for role in sorted(ROLES):
            before = site.audit.verify().records
            answer = await ask(client, route, credentials(role))
            to_their_own = (route, role, answer.status_code) == ("GET /", "auditor", 303)
            assert answer.status_code == (200 if role in roles else 403) or to_their_own, (route, role)
            if route in ABOUT_NO_PATIENT or to_their_own:
                continue
            (view, *_), after = site.audit.newest(1), site.audit.verify().records
            assert after == before + 1, (route, role)
            assert view.account == ("ehr" if role == MACHINE else f"the-{role}")
            assert (view.what, view.outcome) == ("view", "allowed" if role in roles else "refused"), (route, role)
            assert view.target == route.split(" ")[1]
            assert view.patient == (PATIENT if "{patient}" in route or "/fhir/" in route else "")
            assert view.alert == ("a1" if "{alert}" in route else "")


async def test_each_command_is_for_the_roles_of_the_table_and_is_written_down_with_its_account(
    site: Site, client: httpx.AsyncClient
) -> None:
    for (kind, permission), given in zip(COMMANDS.items(), cycle([{}, {"id": "ehr:17"}]), strict=False):
        for role, permissions in ROLES.items():
            # An author in the request changes nothing about who acts: there is no such field.
            act = {"patient": PATIENT, "alert": "a1", "author": "somebody-else"} | given
            answer = await client.post(f"/api/commands/{kind}", json=act, headers=credentials(role))
            assert answer.status_code == (422 if permission in permissions else 403), (kind, role)
            (record,) = site.audit.newest(1)
            assert (record.account, record.role) == ("ehr" if role == MACHINE else f"the-{role}", role)
            assert (record.what, record.target, record.patient, record.alert) == ("act", kind, PATIENT, "a1")
            assert record.outcome == ("allowed" if permission in permissions else "refused")
            assert record.command == given.get("id", record.command) != ""


async def test_a_page_elsewhere_sends_nothing_that_changes_something(site: Site, client: httpx.AsyncClient) -> None:
    changing = [route for route in every_route(site.application) if not route.startswith("GET ")]
    for route in changing:
        for sent in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://other.example"}):
            headers = {"Cookie": f"{COOKIE}=charge_nurse", **sent}
            answer = await ask(client, route.replace("{kind}", "acknowledge"), headers)
            assert answer.status_code == 403, (route, sent)
    assert site.audit.newest(1) == []
    assert (await client.get("/api/session", headers=credentials("charge_nurse"))).status_code == 200


@pytest.mark.parametrize("shows", ["/api/ward", f"/api/patients/{PATIENT}"])
async def test_an_operator_and_a_machine_see_no_more_than_they_are_for(client: httpx.AsyncClient, shows: str) -> None:
    seen = {role: (await client.get(shows, headers=credentials(role))).text for role in sorted(WARD)}
    assert {role for role, text in seen.items() if "71.5" in text} == VALUES
