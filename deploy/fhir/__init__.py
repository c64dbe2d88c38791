"""FHIR R4: the offline validator, and the latest vitals over HTTP."""
