"""Alerts as FHIR R4 notifications. `docs/fhir.md` has the receiver's side."""
