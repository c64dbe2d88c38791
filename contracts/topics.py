"""Kafka topics: their names, keys and how they are kept. `biotwin kafka init` creates them; nothing auto-creates."""

from __future__ import annotations

import msgspec

TELEMETRY = "telemetry"
QUARANTINE = "telemetry.quarantine"
COMMANDS = "commands"
BINDINGS = "bindings"
CONDITIONS = "conditions"
ALERTS = "alerts"
JOURNAL = "alerts.journal"
ALERT_RECEIPTS = "alerts.receipts"
CALLS = "alerts.calls"
HEARTBEATS = "heartbeats"
ON_CALL = "oncall"
TWIN = "twin"
TWIN_CHANGELOG = "twin.changelog"
ALERT_CHANGELOG = "alerts.changelog"

DAY_MS = 86_400_000

METADATA_MAX_AGE_MS = 10_000
"""How soon a consumer learns of a topic created after its start, where nothing else tells it: aiokafka's own five
minutes are too long for whoever runs `biotwin kafka init` last."""


class Topic(msgspec.Struct, frozen=True):
    """How one topic is kept. `retention_ms` -1 keeps everything; `follows_partitions` takes the configured count,
    so that one patient's records stand in the same partition number of every such topic."""

    name: str
    key: str
    retention_ms: int = -1
    compacted: bool = False
    follows_partitions: bool = True
    meaning: str = ""


TOPICS: tuple[Topic, ...] = (
    Topic(
        TELEMETRY, "patient", 7 * DAY_MS, meaning="the one ordered log: readings, device statuses, commands and ticks"
    ),
    Topic(
        QUARANTINE, "device", 30 * DAY_MS, meaning="what was refused or waits for a binding, with reason and raw bytes"
    ),
    Topic(
        COMMANDS,
        "patient, device or role",
        meaning="what people decided; kept without limit",
    ),
    Topic(
        BINDINGS,
        "device",
        compacted=True,
        follows_partitions=False,
        meaning="device to patient, with validity intervals",
    ),
    Topic(
        ON_CALL,
        "role",
        compacted=True,
        follows_partitions=False,
        meaning="who is on call, by role, with validity intervals",
    ),
    Topic(
        CONDITIONS,
        "patient",
        30 * DAY_MS,
        meaning="onset, update, clear and withdrawal of conditions; commands about alerts, and ticks",
    ),
    Topic(ALERTS, "patient", 365 * DAY_MS, meaning="alerts and their transitions"),
    Topic(JOURNAL, "patient", 365 * DAY_MS, meaning="every transition of an alert's signal: what, who, when and why"),
    Topic(ALERT_RECEIPTS, "patient", 365 * DAY_MS, meaning="what became of each notification of an alert"),
    Topic(CALLS, "patient", 365 * DAY_MS, meaning="whom escalation called, and why"),
    Topic(
        HEARTBEATS,
        "who",
        compacted=True,
        follows_partitions=False,
        meaning="when each watched console and subscriber was last there",
    ),
    Topic(TWIN, "patient", compacted=True, meaning="latest state of each twin"),
    Topic(TWIN_CHANGELOG, "partition and block", compacted=True, meaning="checkpoints of the twin agent"),
    Topic(ALERT_CHANGELOG, "partition and block", compacted=True, meaning="checkpoints of the alert agent"),
)
