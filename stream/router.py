"""The router: from `commands` to where each command takes effect.

`bind` and `unbind` become the device's new value in the compacted topic `bindings`, and the patient who had the device
before is told in `telemetry` that it is unbound, so that nobody waits for it there; commands about a patient are copied
into `telemetry` under the patient's key, so that the twin meets them in the one ordered log. Commands about who is on
call become the role's new value in the compacted topic `oncall`. All are idempotent by the command's id. The router has
no state of its own: these two topics are its state, read again at each assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from alerts.on_call import OnCallTable
from contracts import topics
from contracts.command import Bind, Command, Limits, RoleCommand, Unbind
from contracts.identity import identity_text, text_identity
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.reading import DeviceStatus, LoggedCommand
from ingest.bindings import BindingError, BindingTable
from stream.processor import Block, OutputRecord, SourceRecord
from stream.recovery import Recovered, partitions_of, read_newest

log = structlog.get_logger("stream.router")

RECEIVED_AT_HEADER = "received_at"
"""Header with the command's arrival time, where its sender states one (a replay); else Kafka's own timestamp counts."""


class UnfoundedError(ValueError):
    """An order that does not say why, or until when."""


class RouterProcessor:
    """Routes the commands of one partition. `telemetry` is the topic that the twin agent reads."""

    def __init__(
        self, table: BindingTable, telemetry: str = topics.TELEMETRY, on_call: OnCallTable | None = None
    ) -> None:
        self._table = table
        self._on_call = on_call or OnCallTable()
        self._telemetry = telemetry
        self._records = 0
        self._quarantined = 0

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:
        outputs: list[OutputRecord] = []
        for record in records:
            self._records += 1
            value = record.value or b""
            received_at = _received_at(record, now)
            try:
                command = msgspec.json.decode(value, type=Command)
                outputs.extend(self._route(command, value, received_at))
            except (msgspec.DecodeError, BindingError, UnfoundedError, UnicodeDecodeError) as error:
                self._quarantined += 1
                outputs.append(_refused(record, value, str(error), received_at))
        return outputs

    def _route(self, command: Command, value: bytes, received_at: float) -> list[OutputRecord]:
        if isinstance(command, Bind | Unbind):
            former = self._table.former_patient(command)
            bindings = self._table.apply(command)
            outputs = []
            if bindings is not None:
                outputs.append(OutputRecord(topics.BINDINGS, command.device.encode(), bindings))
            # Not before its arrival: what the device said of itself until then went to the former patient.
            t = max(command.t, received_at)
            if former is not None and former != self._table.lookup(command.device, t):
                unbound = DeviceStatus(command.device, "unbound", t, received_at)
                outputs.append(OutputRecord(self._telemetry, former.encode(), msgspec.json.encode(unbound)))
            return outputs
        if isinstance(command, RoleCommand):
            roles = self._on_call.apply(command, received_at)
            return [] if roles is None else [OutputRecord(topics.ON_CALL, command.role.encode(), roles)]
        if isinstance(command, Limits) and command.missing():
            raise UnfoundedError(f"personal limits without {command.missing()}")
        logged = LoggedCommand(received_at, msgspec.Raw(value))
        return [OutputRecord(self._telemetry, command.patient.encode(), msgspec.json.encode(logged))]

    def flush(self, now: float) -> list[OutputRecord]:  # noqa: ARG002
        return []

    def changed_blocks(self) -> list[Block]:
        return []

    def load_block(self, number: int, payload: bytes) -> None:
        raise NotImplementedError("the router has no blocks")

    def changed_bytes(self) -> int:
        return 1  # offsets are worth committing at the shortest beat

    def counters(self) -> dict[str, int]:
        return {"records": self._records, "quarantined": self._quarantined}


def _received_at(record: Any, now: float) -> float:
    """When the command arrived: the same each time the record is read."""
    for name, value in getattr(record, "headers", ()):
        if name == RECEIVED_AT_HEADER:
            return float(value)
    timestamp_ms = getattr(record, "timestamp", None)
    return now if timestamp_ms is None else timestamp_ms / 1000.0


def _refused(record: SourceRecord, value: bytes, detail: str, received_at: float) -> OutputRecord:
    identity = identity_text(text_identity(topics.COMMANDS, str(record.offset), value.decode("latin-1")))
    quarantined = Quarantined(
        id=identity,
        reason=Reason.BAD_COMMAND,
        detail=detail,
        topic=topics.COMMANDS,
        received_at=received_at,
        raw=encode_raw(value),
    )
    return OutputRecord(topics.QUARANTINE, record.key, msgspec.json.encode(quarantined))


async def restore_router(bootstrap: str, telemetry: str, partition: int, progress: Callable[[int], None]) -> Recovered:  # noqa: ARG001
    """A router that knows every binding there is; it goes on at the committed offset."""
    table, on_call = BindingTable(), OnCallTable()
    for bindings_partition in await partitions_of(bootstrap, topics.BINDINGS):
        for key, value in (await read_newest(bootstrap, topics.BINDINGS, bindings_partition, progress)).items():
            table.load(key, value)
    for on_call_partition in await partitions_of(bootstrap, topics.ON_CALL):
        for key, value in (await read_newest(bootstrap, topics.ON_CALL, on_call_partition, progress)).items():
            on_call.load(key, value)
    return Recovered(RouterProcessor(table, telemetry, on_call), None, 0, {})
