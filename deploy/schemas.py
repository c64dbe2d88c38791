"""JSON Schemas of what stands in Kafka, generated from the types: `python -m deploy.schemas docs/schemas`.

The schema of commands is `deploy.api.schema`'s, which HTTP serves too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from contracts.alert_signal import SignalTransition
from contracts.condition import Alert, Condition
from contracts.escalation import Call
from contracts.on_call import OnCall
from contracts.quarantine import Quarantined
from contracts.reading import DeviceStatus, LoggedCommand, Reading, Tick
from contracts.receipt import Receipt
from contracts.topics import ALERT_RECEIPTS, ALERTS, CALLS, CONDITIONS, JOURNAL, ON_CALL, QUARANTINE, TELEMETRY, TWIN
from contracts.twin import Twin
from deploy.api.schema import json_schema


class Schema(NamedTuple):
    """One kind of record. `version` rises when a record of the old type could no longer be read as the new one."""

    type: Any
    version: int
    topic: str
    meaning: str


SCHEMAS: dict[str, Schema] = {
    "reading": Schema(Reading, 1, TELEMETRY, "One validated reading."),
    "device-status": Schema(DeviceStatus, 1, TELEMETRY, "What is known of a device's connection."),
    "tick": Schema(Tick, 1, TELEMETRY, "The arrival clock of one partition."),
    "logged-command": Schema(LoggedCommand, 1, TELEMETRY, "A command about a patient, as the router copied it."),
    "condition": Schema(Condition, 1, CONDITIONS, "One transition of a condition."),
    "alert": Schema(Alert, 1, ALERTS, "One transition of an alert; also the MQTT payload."),
    "signal-transition": Schema(SignalTransition, 1, JOURNAL, "One transition of an alert's signal."),
    "receipt": Schema(Receipt, 1, ALERT_RECEIPTS, "One step of one notification of an alert."),
    "call": Schema(Call, 1, CALLS, "An alert about which somebody is called."),
    "quarantined": Schema(Quarantined, 1, QUARANTINE, "What was refused or waits for a binding."),
    "on-call": Schema(OnCall, 1, ON_CALL, "The shifts of one role."),
    "twin": Schema(Twin, 1, TWIN, "Latest state of one patient's twin."),
}
"""Every kind of record by the name of its file."""


def schema(name: str) -> dict[str, Any]:
    """JSON Schema 2020-12 of one kind of record."""
    entry = SCHEMAS[name]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"biotwin:{name}:{entry.version}",
        "title": f"BioTwin {name.replace('-', ' ')}",
        "$comment": f"Topic {entry.topic}: {entry.meaning}",
        **json_schema(entry.type),
    }


def schema_bytes(name: str) -> bytes:
    """The schema as it is kept in `docs/schemas/`."""
    return orjson.dumps(schema(name), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write_schemas(folder: Path) -> None:
    """Write every schema to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / f"{name}.json").write_bytes(schema_bytes(name))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
