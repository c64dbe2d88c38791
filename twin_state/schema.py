"""The declared schema of a row: which model owns which columns, so that bytes can be read by a later build.

A row is one vector of floats, one of 64-bit identities, and one of floats that the estimators keep, which follow the
settled order alone (`twin_state.estimators`). Fields are per row, per signal, per channel or per rule; stored rows name
them, and `twin_state.blocks` carries a row over to another layout by those names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from twin_state import constants as c
from twin_state.batch import Int, Small
from twin_state.estimators import ESTIMATORS

SCHEMA_VERSION = 3
"""2: a buffered reading names its device. 3: a row has estimates."""

Per = Literal["row", "signal", "channel", "rule"]

FLOATS, IDENTITIES, ESTIMATES = range(3)
"""The vectors of a row. A stored place names its vector by this number."""


@dataclass(frozen=True, slots=True)
class Field:
    """`size` columns a row, or one column a signal, channel or rule."""

    name: str
    per: Per = "row"
    size: int = 1
    identity: bool = False


PATIENT_FIELDS: tuple[str, ...] = (
    "t",
    "admission",
    "age_known",
    "age_years",
    "pregnant",
    "spinal_injury",
    "spo2_scale",
    "session_active",
    "session_start_t",
    "session_rest_heart_rate",
    "limits_expire_t",
)
"""Columns of the patient's own facts, in order; `twin_state.models.patient` numbers them."""

STEADY_FIELDS: tuple[str, ...] = (
    "centre",
    "scatter",
    "fast",
    "unrest",
    "trend",
    "span",
    "t",
    "usual",
    "usual_span",
)
"""Columns of `twin_state.models.steady`, one for each of its three vital signs."""

FIELDS: dict[int, tuple[Field, ...]] = {
    c.LATEST: (
        Field("value", "signal"),
        Field("t", "signal"),
        Field("quality", "signal"),
        Field("trusted_quality", "signal"),
        Field("received_at", "signal"),
        Field("reading", "signal", identity=True),
    ),
    c.CHANNELS: (Field("value", "channel"), Field("t", "channel"), Field("reading", "channel", identity=True)),
    c.RULES: (
        Field("phase", "rule"),
        Field("since_t", "rule"),
        Field("onset_t", "rule"),
        Field("worst", "rule"),
        Field("opened_by", "rule", identity=True),
    ),
    c.PATIENT: (*(Field(name) for name in PATIENT_FIELDS), Field("limits", size=9)),
    c.BASELINE: (Field("mean", "signal"), Field("scale", "signal"), Field("count", "signal"), Field("t", "signal")),
    c.NEWS2_MODEL: (
        Field("missing"),
        Field("applicable"),
        Field("least"),
        Field("greatest"),
        Field("held_total"),
        Field("held_single"),
    ),
    c.REHABILITATION: (Field("highest_systolic"), Field("power_at_highest_systolic")),
    c.MOMENTS: (Field("mean", "signal"), Field("variance", "signal"), Field("z", "signal"), Field("count", "signal")),
    c.HEART_RATE_FILTER: (Field("mean"), Field("variance")),
    c.STEADY: (
        *(Field(name, size=3) for name in STEADY_FIELDS),
        Field("held_total"),
        Field("held_deterioration"),
        Field("missing"),
        Field("greatest"),
    ),
    c.DEVICES: (Field("status_t"), Field("offline_t", size=8), Field("offline", size=8, identity=True)),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each field of the enabled models lies. `floats`, `identities` and `estimates` are the vectors' widths."""

    signals: tuple[str, ...]
    channels: tuple[str, ...]
    rules: tuple[str, ...]
    enabled: Small
    base: Int
    identity_base: Int
    floats: int
    identities: int
    estimates: int
    places: dict[tuple[str, str], tuple[int, int, Per, int]]
    """(model, field) -> (vector, first column, per, number of columns)."""

    @property
    def widths(self) -> tuple[int, int, int]:
        """Of the three vectors of a row, in the order of their numbers."""
        return self.floats, self.identities, self.estimates

    def place(self, model: str, field: str) -> slice:
        """The columns of a field; raises `KeyError` where its model is not enabled."""
        _, first, _, size = self.places[model, field]
        return slice(first, first + size)


def lay_out(signals: tuple[str, ...], rules: tuple[str, ...], models: tuple[str, ...]) -> Layout:
    """The layout of a row with these signals, rules and enabled models; latest, channels, rules and patient always are.

    Raises `ValueError` for a model that does not exist.
    """
    known = (*c.MODEL_NAMES, *(estimator.name for estimator in ESTIMATORS))
    unknown = set(models) - set(known)
    if unknown:
        raise ValueError(f"unknown models: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    always = {"latest", "channels", "rules", "patient"}
    channels = signals + c.DERIVED_CHANNELS
    sizes: dict[Per, int] = {"row": 1, "signal": len(signals), "channel": len(channels), "rule": len(rules)}
    enabled = np.zeros(len(known), np.int8)
    base = np.full(len(known), -1, np.int64)
    identity_base = np.full(len(known), -1, np.int64)
    places: dict[tuple[str, str], tuple[int, int, Per, int]] = {}
    widths = [0, 0, 0]
    for number, name in enumerate(c.MODEL_NAMES):
        if name not in always and name not in models:
            continue
        enabled[number] = 1
        base[number], identity_base[number] = widths[FLOATS], widths[IDENTITIES]
        for field in FIELDS[number]:
            size = field.size if field.per == "row" else sizes[field.per]
            vector = IDENTITIES if field.identity else FLOATS
            places[name, field.name] = (vector, widths[vector], field.per, size)
            widths[vector] += size
    for number, estimator in enumerate(ESTIMATORS, start=len(c.MODEL_NAMES)):
        if estimator.name not in models:
            continue
        enabled[number] = 1
        base[number] = widths[ESTIMATES]
        for name, size in estimator.fields:
            places[estimator.name, name] = (ESTIMATES, widths[ESTIMATES], "row", size)
            widths[ESTIMATES] += size
    floats, identities, estimates = widths
    return Layout(signals, channels, rules, enabled, base, identity_base, floats, identities, estimates, places)
