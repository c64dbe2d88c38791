"""What the console serves beside its own pages: commands, and latest values as FHIR."""

from __future__ import annotations

from starlette.routing import Route

from alerts.console.access import Access
from alerts.console.event_stream import Source
from alerts.console.ward import Ward
from contracts.configuration import Configuration
from deploy.api.http import command_routes
from deploy.fhir.api import fhir_routes


def further_routes(configuration: Configuration, access: Access, ward: Ward, source: Source) -> list[Route]:
    """The routes, each behind a guard or about no patient."""
    return [*command_routes(configuration, access), *fhir_routes(access, ward, source)]
