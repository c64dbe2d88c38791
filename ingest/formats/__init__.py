"""Payload formats, one folder each. A payload is recognised by its content alone, here and nowhere else.

A new format is a folder with `recognise` and `parse`, its golden payloads, and one row below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from ingest.draft import Context, Draft
from ingest.formats import fhir, native, openmhealth, senml


class Format(NamedTuple):
    """`recognise` looks at a payload's first object; `parse` turns the payload's objects into drafts, one a reading.

    Neither raises, whatever the objects hold. `parse` gets the items of an array, or a single object as one item.
    `scrub` is there for a format whose objects may name a person: it leaves the parts that `parse` reads.
    """

    name: str
    recognise: Callable[[dict[str, Any]], bool]
    parse: Callable[[list[Any], Context], list[Draft]]
    scrub: Callable[[dict[str, Any]], dict[str, Any]] | None = None


FORMATS: tuple[Format, ...] = (
    Format("fhir", fhir.recognise, fhir.parse, fhir.scrub),
    Format("openmhealth", openmhealth.recognise, openmhealth.parse, openmhealth.scrub),
    Format("senml", senml.recognise, senml.parse),
    Format("native", native.recognise, native.parse),
)


def recognise(items: list[Any]) -> Format | None:
    """The format of a payload: the first that knows any of its objects, None for none."""
    for item in items:
        if type(item) is dict:
            for known in FORMATS:
                if known.recognise(item):
                    return known
    return None


_MARKS = (b"resourceType", b"header", b"\\u00")
"""What stands in every payload that may name a person; an escape could hide the others."""

_MAX_DEPTH = 100


def without_persons(raw: bytes) -> bytes:
    """Bytes as they may stand in quarantine: as they came, but of objects that may name a person only what is read.

    Where that cannot be told apart, because such bytes are no JSON, are cut off or nested too deeply, nothing is kept.
    """
    if not any(mark in raw for mark in _MARKS):
        # Any other encoding of text than UTF-8 has zeros in it.
        return b"" if b"\0" in raw and without_persons(raw.replace(b"\0", b"")) != raw.replace(b"\0", b"") else raw
    try:
        document = orjson.loads(raw)
        scrubbed = _scrubbed(document, _MAX_DEPTH)
        return raw if scrubbed is document else orjson.dumps(scrubbed)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return b""


def _scrubbed(value: Any, depth: int) -> Any:
    """The value itself where nothing in it may name a person. Raises `RecursionError` below `depth`."""
    if type(value) not in (dict, list):
        return value
    if depth == 0:
        raise RecursionError
    if type(value) is list:
        items = [_scrubbed(item, depth - 1) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    for known in FORMATS:
        if known.scrub is not None and known.recognise(value):
            scrubbed = known.scrub(value)
            return value if scrubbed == value else scrubbed
    fields = {name: _scrubbed(item, depth - 1) for name, item in value.items()}
    return value if all(fields[name] is value[name] for name in value) else fields
