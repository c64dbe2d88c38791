"""`docs/metrics.md` from the table of metrics."""

from __future__ import annotations

from contracts.metrics import METRICS, Metric

_HEAD = """\
# Metrics

Written by `make docs` from `contracts/metrics.py`; do not edit.

Every process serves its own registry at `/metrics` on a loopback port that it logs at start and leaves in the run
folder (`var/run/*.json`), beside `/healthz` (it makes progress) and `/readyz` (it takes work). `biotwin metrics
prometheus` writes a Prometheus configuration that finds them all, with alarms about the pipeline. Base units are
seconds and bytes; no label names a patient or a device.

| metric | kind | labels | meaning |
|---|---|---|---|
"""


def metrics_document() -> str:
    """The whole document."""
    return _HEAD + "".join(_row(metric) for metric in METRICS)


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |\n"
