"""The labelled ward as it stands in the log: the JSON of every reading, command and tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson

from contracts.identity import text_identity
from contracts.signals import Registry
from loadtest.labelled_ward import LabelledWard
from loadtest.ward_batches import DEVICES, SESSION, Records, WardRecords, device_name, pseudonym
from stream.decode import signed
from twin_state import batch as b


class WardLogWriter:
    """Writes a ward's records as keys and values; `seed` is that of its `WardRecords`."""

    def __init__(self, ward: LabelledWard, registry: Registry, seed: int) -> None:
        self._signals = registry.signals
        self._commands = {
            signed(text_identity(command.id)): command for command in WardRecords(ward, registry, seed).commands()
        }

    def values(self, sent: Records) -> Iterator[tuple[bytes | None, bytes]]:
        """Key and value of each record, in the order given."""
        columns = (column.tolist() for column in sent)
        for kind, patient, device, sequence, t, received_at, signals, values, quality in zip(*columns, strict=True):
            key: bytes | None = pseudonym(patient).encode()
            document: dict[str, Any] = {"received_at": received_at}
            if kind in (b.TICK, b.CLOSING):
                key = None
                document = {"kind": "tick", "t": t, "closing": kind == b.CLOSING}
            elif kind == b.READING:
                names = {place: self._signals[signal].name for place, signal in enumerate(signals) if signal >= 0}
                document |= {
                    "kind": "reading",
                    "device": device_name(device, patient),
                    "stream": DEVICES[device][1],
                    "session": SESSION,
                    "seq": sequence,
                    "t": t,
                    "v": {name: values[place] for place, name in names.items()},
                    "q": {name: quality[place] for place, name in names.items()},
                }
            else:
                document |= {"kind": "command", "command": msgspec.to_builtins(self._commands[sequence])}
            yield key, orjson.dumps(document)
