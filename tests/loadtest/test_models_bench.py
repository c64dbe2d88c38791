"""The workload of every model: readings that ingest could have written, and that leave no model without work."""

from __future__ import annotations

from contracts.configuration import Configuration
from loadtest.models_bench import FIRST_SECOND, readings
from stream.processor import LoggedRecord
from stream.processors import processors


def test_its_readings_are_taken_and_every_estimator_has_something_to_say() -> None:
    processor = processors(Configuration(), FIRST_SECOND).twin(0)
    records = [
        LoggedRecord(offset, b"p%05d" % patient, value)
        for offset, (patient, value) in enumerate(readings(patients=3, seconds=200))
    ]
    output = processor.process(records, FIRST_SECOND)
    assert not [one for one in output if "quarantine" in one.topic]
    assert processor.store.rows == 3
    columns = processor.store.columns
    assert (columns.estimates[:3] != 0.0).sum(axis=1).min() > 800
