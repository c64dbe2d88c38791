"""One validator for all tests of FHIR: it is slow to start and quick to ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.fhir.validator import FhirValidator


@pytest.fixture(scope="session")
def validator() -> Iterator[FhirValidator]:
    """HAPI's validator for R4 4.0.1, running."""
    with FhirValidator() as running:
        yield running
