"""A twin as a record of topic `twin`: what a person or a program reads of a row."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.canonical import PROVENANCE, canonical_bytes
from contracts.identity import condition_identity, identity_text
from stream.estimates import estimates
from stream.evidence import UNSIGNED, missing_inputs
from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.columns import (
    ANNOUNCED_COUNT,
    ANNOUNCED_OPENED_BY,
    ANNOUNCED_RULE,
    CLOCK,
    FENCE,
    LAST_READING,
    LAST_RECEIVED,
    SILENT_SINCE,
)
from twin_state.configuration import TwinConfiguration
from twin_state.models import news2, patient
from twin_state.pauses import PENDING, PRESENT
from twin_state.rules import LIMITS
from twin_state.store import Store

TWIN_SCHEMA = 1
LIVE = "live"
"""Key of what is not settled yet: of the signals only those that differ from the settled ones. It depends on the order
of arrival, so canonical twins leave it out."""


RECEIVED_AT = "received_at"
"""Key of a value's arrival time: the run's, not the patient's, so canonical twins leave it out too."""


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
        settled = self._view(name, s.settled[row], s.settled_identities[row], {})
        document.update(settled)
        told = estimates(self._configuration, s.estimates[row], settled["t"])
        if told:
            document["estimates"] = told
        live = self._view(name, s.live[row], s.live_identities[row], settled["signals"])
        live["conditions"] += self._told_by_ticks(name, store, row)
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

    def _view(self, name: str, row: Float, row_identities: Int, said: dict[str, Any]) -> dict[str, Any]:
        """One row in words; a signal that `said` has with the same reading is left out."""
        # Plain lists: picking single numbers out of an array costs ten times as much.
        f: list[float] = row.tolist()
        i: list[int] = row_identities.tolist()
        at = self._places
        layout = self._configuration.layout
        view: dict[str, Any] = {"t": f[at["patient", "t"] + patient.T]}
        signals: dict[str, Any] = {}
        value, t, quality = at["latest", "value"], at["latest", "t"], at["latest", "quality"]
        received = at["latest", "received_at"]
        reading = at["latest", "reading"]
        mean, scale, count = (at.get(("baseline", field), -1) for field in ("mean", "scale", "count"))
        for n, signal in enumerate(layout.signals):
            if f[t + n] <= 0.0:
                continue
            identity = identity_text(i[reading + n] & UNSIGNED)
            if signal in said and said[signal]["reading"] == identity:
                continue
            entry: dict[str, Any] = {
                "value": f[value + n],
                "t": f[t + n],
                "quality": f[quality + n],
                "reading": identity,
                RECEIVED_AT: f[received + n],
            }
            if mean >= 0 and f[count + n] > 0.0:
                entry["baseline"] = {"mean": f[mean + n], "scale": f[scale + n], "count": int(f[count + n])}
            signals[signal] = entry
        view["signals"] = signals
        if ("news2", "missing") in at:
            view["news2"] = self._news2(f)
        active = f[at["patient", "session_active"]] > 0.0
        view["session"] = {"active": active}
        if active:
            view["session"]["start_t"] = f[at["patient", "session_start_t"]]
        limits = at["patient", "limits"]
        expires = f[at["patient", "limits_expire_t"]]
        in_force = expires <= 0.0 or view["t"] <= expires
        view["limits"] = {limit: f[limits + n] for n, limit in enumerate(LIMITS) if in_force and f[limits + n] > 0.0}
        view["conditions"] = self._conditions(name, f, i)
        if f[at["patient", "admission"]] == patient.DISCHARGED:
            view["discharged"] = True
        return view

    def _news2(self, f: list[float]) -> dict[str, Any]:
        at = self._places
        missing = at["news2", "missing"]
        reason = int(f[at["news2", "applicable"]])
        scored: dict[str, Any] = {"applicable": reason == news2.APPLICABLE}
        if reason != news2.APPLICABLE:
            scored["reason"] = news2.REASONS[reason]
            return scored
        if f[at["channels", "t"] + len(self._configuration.layout.signals)] <= 0.0:
            scored["missing"] = list(news2.INPUTS)
            return scored
        scored["low"], scored["high"] = int(f[at["news2", "least"]]), int(f[at["news2", "greatest"]])
        single = at["channels", "value"] + len(self._configuration.layout.signals) + c.NEWS2_SINGLE
        scored["single"] = int(f[single])
        scored["missing"] = missing_inputs(int(f[missing]))
        return scored

    def _conditions(self, name: str, f: list[float], i: list[int]) -> list[dict[str, Any]]:
        at = self._places
        phase, onset, opened_by = at["rules", "phase"], at["rules", "onset_t"], at["rules", "opened_by"]
        return [
            {
                "rule": rule.id,
                "priority": rule.priority,
                "onset_t": f[onset + n],
                "id": condition_identity(name, rule.id, i[opened_by + n] & UNSIGNED),
            }
            for n, rule in enumerate(self._configuration.rules)
            if f[phase + n] >= PRESENT
        ]

    def _told_by_ticks(self, name: str, store: Store, row: int) -> list[dict[str, Any]]:
        """Conditions whose delay ran out on a tick: they stand as notices, and not in the live row before a reading."""
        s = store.columns
        at = self._places
        f, i = s.live[row], s.live_identities[row]
        told = []
        for n in range(s.row_number[row, ANNOUNCED_COUNT]):
            rule, opened_by = (int(number) for number in s.announced[row, n, [ANNOUNCED_RULE, ANNOUNCED_OPENED_BY]])
            if f[at["rules", "phase"] + rule] == PENDING and i[at["rules", "opened_by"] + rule] == opened_by:
                spec = self._configuration.rules[rule]
                told.append(
                    {
                        "rule": spec.id,
                        "priority": spec.priority,
                        "onset_t": float(s.announced_t[row, n]),
                        "id": condition_identity(name, spec.id, opened_by & UNSIGNED),
                    }
                )
        return told


def canonical_twin(record: dict[str, Any]) -> bytes:
    """The settled part of a twin record in canonical form: the same after any crash and any order of arrival."""
    settled = {key: value for key, value in record.items() if key != LIVE}
    settled["signals"] = {
        name: {key: value for key, value in entry.items() if key != RECEIVED_AT}
        for name, entry in record["signals"].items()
    }
    return canonical_bytes(settled)
