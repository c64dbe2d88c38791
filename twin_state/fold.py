"""One reading into one row: timers, models in their order, then the rules."""

from __future__ import annotations

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float, Int, Transitions
from twin_state.columns import (
    KEY_READING,
    NODE_COUNT,
    NODE_DEVICE,
    NODE_KIND,
    NODE_LAST,
    NODE_PART,
    NODE_RECEIVED,
    NODE_T,
    VALUES_PER_NODE,
    Columns,
)
from twin_state.compiled import compiled, inlined
from twin_state.conditions import advance, evaluate
from twin_state.constants import Constants
from twin_state.models import (
    baseline,
    devices,
    heart_rate_filter,
    latest,
    moments,
    news2,
    patient,
    rehabilitation,
    steady,
)

ALL_CHANNELS = -1


@compiled
def fold_node(
    k: Constants, s: Columns, out: Transitions, row: int, f: Float, i: Int, node: int, record: int, fold: int
) -> None:
    """Fold one node of the buffer into the row (f, i). `fold` says why: see `twin_state.conditions`."""
    status = s.node_number[node, NODE_KIND] == b.DEVICE
    if k.models[c.DEVICES, c.ENABLED] and (status or devices.silent(k, f) > 0):
        _fold_devices(k, s, out, row, f, i, node, record, fold)
    if not status:
        _fold(k, s, out, row, f, i, node, record, fold)


@compiled
def _fold_devices(
    k: Constants, s: Columns, out: Transitions, row: int, f: Float, i: Int, node: int, record: int, fold: int
) -> None:
    """What a node says of the patient's devices.

    A status says nothing of the patient: timers and rules on vital signs wait for what measures them. For its time is
    that of its arrival, and readings that are still on their way lie before it.
    """
    t = s.node_time[node, NODE_T]
    kind = s.node_number[node, NODE_KIND]
    reading = s.node_number[node, KEY_READING]
    silent = k.signals + c.DEVICES_SILENT
    if s.node_number[node, NODE_PART] > 0:
        return
    advance(k, s, out, row, f, i, t, silent, record, fold)
    devices.take(k, f, i, kind, s.node_number[node, NODE_DEVICE], s.node_value[node, 0], t, reading)
    if kind == b.DEVICE:
        evaluate(k, s, out, row, f, i, t, reading, silent, record, fold)


@inlined
def _fold(
    k: Constants, s: Columns, out: Transitions, row: int, f: Float, i: Int, node: int, record: int, fold: int
) -> None:
    """A reading or command. The order of the models is part of the state's definition: a model sees what those before
    it made of this value."""
    t = s.node_time[node, NODE_T]
    kind = s.node_number[node, NODE_KIND]
    reading = s.node_number[node, KEY_READING]
    if s.node_number[node, NODE_PART] == 0:
        advance(k, s, out, row, f, i, t, ALL_CHANNELS, record, fold)
        if kind != b.READING:
            patient.begin_command(k, f, i, kind, t)
            if kind == b.ADMIT and k.models[c.STEADY, c.ENABLED]:
                steady.forget_usual(k, f)
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
        if k.models[c.STEADY, c.ENABLED]:
            steady.observe(k, f, i, signal, value, t, reading)
        if k.models[c.MOMENTS, c.ENABLED]:
            moments.observe(k, f, i, signal, value)
        if k.models[c.HEART_RATE_FILTER, c.ENABLED]:
            heart_rate_filter.observe(k, f, i, signal, value)
    if s.node_number[node, NODE_LAST]:
        if k.models[c.NEWS2_MODEL, c.ENABLED]:
            news2.evaluate(k, f, i, t, reading)
        if k.models[c.STEADY, c.ENABLED]:
            steady.evaluate(k, f, i, t, reading)
        if k.models[c.REHABILITATION, c.ENABLED]:
            rehabilitation.evaluate(k, f, i, t, reading)
        evaluate(k, s, out, row, f, i, t, reading, ALL_CHANNELS, record, fold)
        at = k.models[c.PATIENT, c.BASE] + patient.T
        f[at] = max(f[at], t)
