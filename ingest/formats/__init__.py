"""Payload formats, one folder each. A payload is recognised by its content alone, here and nowhere else.

A new format is a folder with `recognise` and `parse`, its golden payloads, and one row below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ingest.draft import Context, Draft
from ingest.formats import native, senml


class Format(NamedTuple):
    """`recognise` looks at a payload's first object; `parse` turns the payload's objects into drafts, one a reading.

    Neither raises, whatever the objects hold. `parse` gets the items of an array, or a single object as one item.
    """

    name: str
    recognise: Callable[[dict[str, Any]], bool]
    parse: Callable[[list[Any], Context], list[Draft]]


FORMATS: tuple[Format, ...] = (
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
