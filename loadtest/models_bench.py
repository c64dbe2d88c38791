"""`biotwin bench twin --models all`: the clinical twin with every model on, at vitals of 1 Hz with intervals.

A reading a second for each patient, as ingest writes it: three vital signs and the intervals of the beats since the
last one. One worker beside the plain drain, as for workload W1, and the kernels alone on the same readings.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from contracts.configuration import Configuration
from contracts.signals import default_registry
from deploy.kafka.scratch import ScratchKafka
from loadtest.w1_bench import drain, load, work
from stream.decode import ReadingDecoder
from stream.processor import LoggedRecord
from stream.processors import processors
from twin_state.apply import apply

FIRST_SECOND = 1_700_000_000
ALONE_PATIENTS = 500
ALONE_SECONDS = 200
ROW_VECTORS = ("settled", "live", "settled_identities", "live_identities", "estimates")


def readings(patients: int, seconds: int, seed: int = 7) -> Iterator[tuple[int, bytes]]:
    """Second by second, patients in a shuffled order: (number of the patient, value)."""
    rng = np.random.default_rng(seed)
    rate = rng.uniform(55.0, 95.0, patients)
    left_s = rng.uniform(0.0, 1.0, patients)
    for second in range(seconds):
        t = FIRST_SECOND + second
        swing = 1.0 + 0.04 * np.sin(2.0 * np.pi * second / 4.0)
        vitals = np.round(
            np.stack([rate, np.full(patients, 97.0), np.full(patients, 15.0)]) + rng.normal(0, 1, (3, patients))
        )
        for patient in rng.permutation(patients).tolist():
            interval_s = 60.0 / rate[patient] * swing
            rr_ms = []
            left_s[patient] += 1.0
            while left_s[patient] >= interval_s:
                left_s[patient] -= interval_s
                rr_ms.append(round(1000.0 * (interval_s + rng.normal(0.0, 0.01))))
            heart_rate, spo2, respiratory_rate = vitals[:, patient].tolist()
            values: dict[str, Any] = {
                "heart_rate": heart_rate,
                "spo2": min(spo2, 100.0),
                "respiratory_rate": respiratory_rate,
            }
            if rr_ms:
                values["rr_ms"] = rr_ms
            document = {
                "kind": "reading",
                "device": "monitor",
                "stream": "vitals",
                "session": "bench",
                "seq": second,
                "t": float(t),
                "received_at": t + 0.2,
                "v": values,
            }
            yield patient, orjson.dumps(document)


def alone() -> dict[str, float]:
    """CPU of the kernels alone, and what a row weighs in memory and in a checkpoint, on fewer readings."""
    processor = processors(Configuration(), FIRST_SECOND).twin(0)
    records = [
        LoggedRecord(offset, b"p%05d" % patient, value)
        for offset, (patient, value) in enumerate(readings(ALONE_PATIENTS, ALONE_SECONDS))
    ]
    warm = ALONE_PATIENTS * 10
    processor.process(records[:warm], FIRST_SECOND)
    decoder = ReadingDecoder(default_registry())
    batch, _ = decoder.decode(records[warm:], processor.store)
    began = time.process_time()
    apply(processor.store, batch)
    cpu_s = time.process_time() - began
    columns = processor.store.columns
    written = sum(len(block.payload) for block in processor.changed_blocks())
    return {
        "kernel_us_per_reading": round(cpu_s / (len(records) - warm) * 1e6, 2),
        "row_bytes": float(sum(getattr(columns, name)[0].nbytes for name in ROW_VECTORS)),
        "estimates_bytes": float(columns.estimates[0].nbytes),
        "checkpoint_bytes_per_patient": round(written / ALONE_PATIENTS),
    }


async def run(records: int, patients: int, say: Callable[[str], None], partitions: int = 4) -> dict[str, Any]:
    """Load, drain and work. `say` is told how far it is."""
    seconds = max(2, records // patients)
    with TemporaryDirectory(prefix="biotwin-bench-") as folder:
        kafka = ScratchKafka(Path(folder) / "kafka")
        kafka.start()
        try:
            configuration = await kafka.create(partitions=partitions)
            say(f"writing {seconds * patients} readings")
            written = await load(kafka.bootstrap, patients, readings(patients, seconds), partitions)
            say("plain drain")
            drained = await asyncio.to_thread(drain, kafka.bootstrap)
            say("worker")
            worked, memory_mb = await asyncio.to_thread(
                work, configuration, written, Path(folder), "bench-models", "clinical"
            )
        finally:
            kafka.stop()
    say("kernels alone")
    return {
        "records": written,
        "patients": patients,
        "records_per_s": round(worked.records_per_s),
        "cpu_s_per_million": round(worked.cpu_s_per_million, 3),
        "drain_records_per_s": round(drained.records_per_s),
        "drain_cpu_s_per_million": round(drained.cpu_s_per_million, 3),
        "rate_of_drain": round(worked.records_per_s / drained.records_per_s, 3),
        "cpu_of_drain": round(worked.cpu_s_per_million / drained.cpu_s_per_million, 3),
        "rss_mb": round(memory_mb, 1),
        **await asyncio.to_thread(alone),
        "python": platform.python_version(),
    }
