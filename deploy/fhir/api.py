"""Latest values as FHIR R4 Observations, from the console's ward in memory.

GET /fhir/R4/Observation?patient={pseudonym}[&category=vital-signs][&code=8867-4], a searchset; GET /fhir/R4/metadata.
The caller proves who it is as for everything of the console: by a named token, or signed in with a role that sees
values. Each search stands in the audit journal. What the server can do is told to everybody: it is about no patient.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from alerts.console.access import Access, Guard
from alerts.console.event_stream import Source
from alerts.console.records import TwinRecord
from alerts.console.roles import May
from alerts.console.ward import Ward
from alerts.fhir.observations import Measured, observations
from alerts.fhir.r4 import FHIR_VERSION, full_url, instant, r4

MEDIA_TYPE = "application/fhir+json"
PATIENT_SYSTEM = "urn:biotwin:patient"
PARAMETERS: Mapping[str, tuple[str, str]] = {
    "patient": ("reference", "pseudonym of the patient; needed"),
    "category": ("token", "category, as in vital-signs"),
    "code": ("token", "LOINC, MDC or urn:biotwin:signal code, with or without its system"),
}
IGNORED = frozenset({"_format", "_pretty"})


class SearchError(ValueError):
    """A search that is not answered."""


def fhir_routes(access: Access, ward: Ward, source: Source, clock: Callable[[], float] = time.time) -> list[Route]:
    """The routes, for the console's application to mount."""
    api = _FhirApi(ward, source, clock)
    guard = Middleware(Guard, access=access, may=May.SEE_PHYSIOLOGY, patient_of=_patient_of, answer=_not_let_in)
    return [
        Route("/fhir/R4/metadata", api.metadata, methods=["GET"]),
        Route("/fhir/R4/Observation", api.search, methods=["GET"], middleware=[guard]),
    ]


class _FhirApi:
    def __init__(self, ward: Ward, source: Source, clock: Callable[[], float]) -> None:
        self._ward = ward
        self._source = source
        self._clock = clock
        self._started_at = clock()

    async def metadata(self, _request: Request) -> Response:
        """GET /fhir/R4/metadata: what this server can do; nobody needs a token for it."""
        return _answer(r4(capabilities(self._started_at)))

    async def search(self, request: Request) -> Response:
        """GET /fhir/R4/Observation: a searchset of latest values, or an OperationOutcome with 400, 401, 403 or 503."""
        if not self._source.loaded:
            return _refusal(503, "transient", "the twins are still being read", {"Retry-After": "1"})
        try:
            query = _query(request)
        except SearchError as error:
            return _refusal(400, "not-supported", str(error))
        patient = self._ward.patients.get(query["patient"])
        record = patient.record if patient is not None else None
        now = self._clock()
        found = [] if record is None else observations(query["patient"], latest(record), now)
        matching = [one for one in found if _matches(one, query)]
        return _answer(r4(searchset(matching, query, now, fresh=self._source.up)))


def latest(record: TwinRecord) -> Iterator[Measured]:
    """The newest value of each signal of a twin; what settling may still change is said to be so."""
    for name, shown in record.shown_signals().items():
        if not isinstance(shown.value, (int, float)) or not shown.reading:
            continue
        settled = record.signals.get(name)
        yield Measured(
            name,
            float(shown.value),
            shown.t,
            1.0 if shown.quality is None else shown.quality,
            shown.reading,
            shown.received_at,
            settled is not None and settled.reading == shown.reading,
        )


def searchset(found: list[dict[str, Any]], query: Mapping[str, str], now: float, *, fresh: bool) -> dict[str, Any]:
    """The Bundle that answers a search; one that is not fresh says that nothing newer can be known at the moment."""
    entries: list[dict[str, Any]] = [
        {"fullUrl": full_url("Observation", one["id"]), "resource": one, "search": {"mode": "match"}} for one in found
    ]
    if not fresh:
        outcome = _outcome("warning", "incomplete", "Kafka is away: there may be newer values")
        url = full_url("OperationOutcome", instant(now))
        entries.append({"fullUrl": url, "resource": outcome, "search": {"mode": "outcome"}})
    bundle: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "timestamp": instant(now),
        "total": len(found),
        "link": [{"relation": "self", "url": f"/fhir/R4/Observation?{urlencode(query)}"}],
    }
    return bundle | ({"entry": entries} if entries else {})


def capabilities(since: float) -> dict[str, Any]:
    """The CapabilityStatement; `since` is when the process began, in s since the epoch."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(since),
        "kind": "instance",
        "software": {"name": "BioTwin", "version": version("biotwin")},
        "implementation": {"description": "Latest values of a real-time twin of each patient. Not a medical device."},
        "fhirVersion": FHIR_VERSION,
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "description": "A named token as Authorization: Bearer, or the session of who is signed in."
                },
                "resource": [
                    {
                        "type": "Observation",
                        "interaction": [{"code": "search-type"}],
                        "searchParam": [
                            {"name": name, "type": kind, "documentation": text}
                            for name, (kind, text) in PARAMETERS.items()
                        ],
                    }
                ],
            }
        ],
    }


def _query(request: Request) -> dict[str, str]:
    """The parameters, each once. One that is not known is refused: without a filter the answer would be another."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name not in IGNORED]
    names = [name for name, _ in given]
    unknown = sorted(set(names) - set(PARAMETERS))
    if unknown or len(names) != len(set(names)):
        raise SearchError(f"each of {', '.join(PARAMETERS)} once, and no other parameter")
    query = dict(given)
    patient = _pseudonym(query.get("patient", ""))
    if not patient:
        raise SearchError("the parameter patient is needed")
    return query | {"patient": patient}


def _patient_of(connection: HTTPConnection) -> str:
    return _pseudonym(connection.query_params.get("patient", ""))


def _pseudonym(reference: str) -> str:
    return reference.removeprefix("Patient/").removeprefix(f"{PATIENT_SYSTEM}|")


def _matches(observation: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    categories = [coding for concept in observation["category"] for coding in concept["coding"]]
    parts = [observation, *observation.get("component", [])]
    codes = [coding for part in parts for coding in part["code"]["coding"]]
    return all(_has(codings, query.get(name)) for name, codings in (("category", categories), ("code", codes)))


def _has(codings: list[dict[str, str]], wanted: str | None) -> bool:
    """Whether one of several tokens ("code" or "system|code", joined by commas: any of them) is among the codings."""
    if wanted is None:
        return True
    return any(
        token in {coding["code"], f"{coding['system']}|{coding['code']}"}
        for token in wanted.split(",")
        for coding in codings
    )


def _outcome(severity: str, code: str, text: str) -> dict[str, Any]:
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": severity, "code": code, "diagnostics": text}],
    }


def _not_let_in(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return _refusal(status, {401: "login", 403: "forbidden"}.get(status, "transient"), text, headers)


def _refusal(status: int, code: str, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return _answer(r4(_outcome("error", code, text)), status, headers)


def _answer(resource: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(resource), status, headers, media_type=MEDIA_TYPE)
