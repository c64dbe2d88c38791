"""Times as FHIR and Open mHealth write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")


def instant(value: object) -> float | None:
    """A date and time with its zone (RFC 3339) in s since the epoch, None for anything else.

    A date alone, or a time without its zone, could be hours away from when it was: it is none.
    """
    if type(value) is not str or not _INSTANT.fullmatch(value):
        return None
    try:
        # Python 3.11 onwards reads any number of digits; beyond microseconds they are cut.
        moment = datetime.fromisoformat(value)
        return (moment - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        return None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
