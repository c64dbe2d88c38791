"""Alerts and latest values as FHIR R4 resources: pure, plain JSON types. `docs/fhir.md` says what maps to what."""
