"""A twin as a record of topic `twin`: what a person or a program reads of a row."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.canonical import PROVENANCE, canonical_bytes
from contracts.identity import condition_identity, identity_text
from stream.evidence import UNSIGNED, missing_inputs
from twin_state.batch import Float, Int
from twin_state.columns import CLOCK, FENCE, LAST_READING, LAST_RECEIVED, SILENT_SINCE
from twin_state.conditions import PRESENT
from twin_state.configuration import TwinConfiguration
from twin_state.models import news2, patient
from twin_state.rules import LIMITS
from twin_state.store import Store

TWIN_SCHEMA = 1
LIVE = "live"
"""Key of what is not settled yet. It depends on the order of arrival, so canonical twins leave it out."""


class TwinWriter:
    """Writes twin records for one partition."""

    def __init__(self, configuration: TwinConfiguration, partition: int) -> None:
        self._configuration = configuration
        self._partition = partition
        layout = configuration.layout
        self._places = {key: place[1] for key, place in layout.places.items()}

    def record(self, store: Store, row: int, now: float) -> bytes:
        """The row's record; `now` (s) is the processing clock and goes into provenance alone."""
        s = store.columns
        name = store.keys[row].decode()
        document: dict[str, Any] = {"patient": name, "schema": TWIN_SCHEMA}
        document.update(self._view(name, s.settled[row], s.settled_identities[row]))
        live = self._view(name, s.live[row], s.live_identities[row])
        silent = float(s.row_time[row, SILENT_SINCE])
        rule = self._configuration.constants.silence_rule
        if silent > 0.0 and rule >= 0:
            spec = self._configuration.rules[rule]
            opened_by = int(s.row_number[row, LAST_READING]) & UNSIGNED
            live["conditions"].append(
                {
                    "rule": spec.id,
                    "priority": spec.priority,
                    "onset_t": silent,
                    "id": condition_identity(name, spec.id, opened_by),
                }
            )
        document[LIVE] = live
        received = float(s.row_time[row, LAST_RECEIVED])
        document[PROVENANCE] = {
            "partition": self._partition,
            "offset": int(s.row_number[row, FENCE]) - 1,
            "received_at": received if received > 0.0 else None,
            "clock": max(float(s.row_time[row, CLOCK]), 0.0),
            "applied_at": now,
        }
        return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)

    def _view(self, name: str, f: Float, i: Int) -> dict[str, Any]:
        at = self._places
        layout = self._configuration.layout
        view: dict[str, Any] = {"t": float(f[at["patient", "t"] + patient.T])}
        signals: dict[str, Any] = {}
        measured = f[at["latest", "t"] : at["latest", "t"] + len(layout.signals)]
        for signal in (measured > 0.0).nonzero()[0]:
            entry: dict[str, Any] = {
                "value": float(f[at["latest", "value"] + signal]),
                "t": float(measured[signal]),
                "quality": float(f[at["latest", "quality"] + signal]),
                "reading": identity_text(int(i[at["latest", "reading"] + signal]) & UNSIGNED),
            }
            if ("baseline", "mean") in at and f[at["baseline", "count"] + signal] > 0.0:
                entry["baseline"] = {
                    "mean": float(f[at["baseline", "mean"] + signal]),
                    "scale": float(f[at["baseline", "scale"] + signal]),
                    "count": int(f[at["baseline", "count"] + signal]),
                }
            signals[layout.signals[signal]] = entry
        view["signals"] = signals
        if ("news2", "missing") in at:
            view["news2"] = self._news2(f)
        active = bool(f[at["patient", "session_active"]])
        view["session"] = {"active": active}
        if active:
            view["session"]["start_t"] = float(f[at["patient", "session_start_t"]])
        limits = f[at["patient", "limits"] : at["patient", "limits"] + len(LIMITS)]
        expires = float(f[at["patient", "limits_expire_t"]])
        in_force = expires <= 0.0 or view["t"] <= expires
        view["limits"] = {limit: float(limits[n]) for n, limit in enumerate(LIMITS) if in_force and limits[n] > 0.0}
        view["conditions"] = self._conditions(name, f, i)
        return view

    def _news2(self, f: Float) -> dict[str, Any]:
        at = self._places
        layout = self._configuration.layout
        reason = int(f[at["news2", "missing"] + 1])
        scored: dict[str, Any] = {"applicable": reason == news2.APPLICABLE}
        if reason != news2.APPLICABLE:
            scored["reason"] = news2.REASONS[reason]
            return scored
        first_derived = len(layout.signals)
        value = at["channels", "value"] + first_derived
        t = at["channels", "t"] + first_derived
        for n, key in enumerate(("low", "high", "single")):
            if f[t + n] > 0.0:
                scored[key] = int(f[value + n])
        scored["missing"] = missing_inputs(int(f[at["news2", "missing"]])) if "low" in scored else list(news2.INPUTS)
        return scored

    def _conditions(self, name: str, f: Float, i: Int) -> list[dict[str, Any]]:
        at = self._places
        rules = self._configuration.rules
        phases = f[at["rules", "phase"] : at["rules", "phase"] + len(rules)]
        return [
            {
                "rule": rules[n].id,
                "priority": rules[n].priority,
                "onset_t": float(f[at["rules", "onset_t"] + n]),
                "id": condition_identity(name, rules[n].id, int(i[at["rules", "opened_by"] + n]) & UNSIGNED),
            }
            for n in (phases >= PRESENT).nonzero()[0]
        ]


def canonical_twin(record: dict[str, Any]) -> bytes:
    """The settled part of a twin record in canonical form: the same after any crash and any order of arrival."""
    return canonical_bytes({key: value for key, value in record.items() if key != LIVE})
