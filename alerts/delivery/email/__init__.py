"""Alerts by e-mail, collected into digests. Not a safety channel: mail comes late, or never, and nobody is told."""
