"""Writes predictions as a table: one row each, Parquet or CSV by the file's name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from loadtest.evaluation.result import Prediction

COLUMNS = tuple(field.name for field in msgspec.structs.fields(Prediction))


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """Raises ValueError where the name ends in neither `.parquet` nor `.csv`."""
    table = pa.table({name: [getattr(row, name) for row in predictions] for name in COLUMNS})
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        raise ValueError(f"{path.name}: predictions are written as .parquet or .csv")
