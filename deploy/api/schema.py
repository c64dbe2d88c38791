"""JSON Schema of the commands, generated from their types: `python -m deploy.api.schema > docs/command.schema.json`."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import orjson

from contracts.command import Command


def json_schema(of: Any) -> dict[str, Any]:
    """JSON Schema of a type, the same from every Python: descriptions are docstrings, whose lines carry the source's
    indentation before 3.13."""
    written: dict[str, Any] = _unindented(msgspec.json.schema(of))
    return written


def _unindented(node: Any) -> Any:
    if isinstance(node, list):
        return [_unindented(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    return {
        key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _unindented(value)
        for key, value in node.items()
    }


def command_schema() -> dict[str, Any]:
    """Schema of one command (JSON Schema 2020-12), as it stands in topic `commands`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "biotwin:command:1",
        "title": "BioTwin command",
        **json_schema(Command),
    }


def schema_text() -> bytes:
    """The schema as it is kept in `docs/`."""
    return orjson.dumps(command_schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


if __name__ == "__main__":
    sys.stdout.buffer.write(schema_text())
