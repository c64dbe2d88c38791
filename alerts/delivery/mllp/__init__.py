"""Alerts as IHE ACM transactions, HL7 v2 over MLLP: Report Alert (PCD-04) out, Report Alert Status (PCD-05) back."""
