"""The labelled ward as it stands in the log: the JSON of every reading, command and tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
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
        for n, kind in enumerate(sent.kind.tolist()):
            patient = int(sent.patient[n])
            key: bytes | None = pseudonym(patient).encode()
            document: dict[str, Any] = {"received_at": float(sent.received_at[n])}
            if kind in (b.TICK, b.CLOSING):
                key = None
                document = {"kind": "tick", "t": float(sent.t[n]), "closing": kind == b.CLOSING}
            elif kind == b.READING:
                known = np.flatnonzero(sent.signal[n] >= 0)
                names = {int(place): self._signals[sent.signal[n, place]].name for place in known}
                device = int(sent.device[n])
                document |= {
                    "kind": "reading",
                    "device": device_name(device, patient),
                    "stream": DEVICES[device][1],
                    "session": SESSION,
                    "seq": int(sent.sequence[n]),
                    "t": float(sent.t[n]),
                    "v": {name: float(sent.value[n, place]) for place, name in names.items()},
                    "q": {name: float(sent.quality[n, place]) for place, name in names.items()},
                }
            else:
                command = self._commands[int(sent.sequence[n])]
                document |= {"kind": "command", "command": msgspec.to_builtins(command)}
            yield key, orjson.dumps(document)
