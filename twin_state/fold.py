"""One reading into one row: timers, models in their order, then the rules."""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float, Int, Transitions
from twin_state.columns import (
    KEY_READING,
    NODE_COUNT,
    NODE_KIND,
    NODE_LAST,
    NODE_PART,
    NODE_RECEIVED,
    NODE_T,
    VALUES_PER_NODE,
    Columns,
)
from twin_state.compiled import compiled
from twin_state.conditions import advance, evaluate
from twin_state.constants import Constants
from twin_state.models import baseline, heart_rate_filter, latest, moments, news2, patient, rehabilitation


@compiled
def fold_node(
    k: Constants, s: Columns, out: Transitions, row: int, f: Float, i: Int, node: int, record: int, fold: int
) -> None:
    """Fold one node of the buffer into the row (f, i). `fold` says why: see `twin_state.conditions`.

    The order of the models is part of the state's definition: a model sees what those before it made of this value.
    """
    t = s.node_time[node, NODE_T]
    kind = s.node_number[node, NODE_KIND]
    reading = s.node_number[node, KEY_READING]
    if s.node_number[node, NODE_PART] == 0:
        advance(k, s, out, row, f, i, t, record, fold)
        if kind != b.READING:
            patient.begin_command(k, f, i, kind, t)
    for n in range(s.node_number[node, NODE_COUNT]):
        signal = s.node_signal[node, n]
        value = s.node_value[node, n]
        if kind != b.READING:
            patient.argument(k, f, i, kind, signal, value, t)
            continue
        quality = s.node_value[node, VALUES_PER_NODE + n]
        latest.observe(k, f, i, signal, value, quality, t, s.node_time[node, NODE_RECEIVED], reading)
        if quality < k.quality_floor:
            continue
        if k.models[c.BASELINE, c.ENABLED]:
            baseline.observe(k, f, i, signal, value, t)
        if k.models[c.REHABILITATION, c.ENABLED]:
            rehabilitation.observe(k, f, i, signal, value, t, reading)
        if k.models[c.MOMENTS, c.ENABLED]:
            moments.observe(k, f, i, signal, value)
        if k.models[c.HEART_RATE_FILTER, c.ENABLED]:
            heart_rate_filter.observe(k, f, i, signal, value)
    if s.node_number[node, NODE_LAST]:
        if k.models[c.NEWS2_MODEL, c.ENABLED]:
            news2.evaluate(k, f, i, t, reading)
        if k.models[c.REHABILITATION, c.ENABLED]:
            rehabilitation.evaluate(k, f, i, t, reading)
        evaluate(k, s, out, row, f, i, t, reading, record, fold)
        at = k.models[c.PATIENT, c.BASE] + patient.T
        f[at] = max(f[at], t)
