"""What the pictures of evaluations have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot


def figure(rows: int, *, height_in: float, title: str, width_in: float = 11.0) -> tuple[Any, list[Any]]:
    """A figure with so many axes below each other, and a title."""
    drawing, axes = pyplot.subplots(
        rows, 1, figsize=(width_in, max(2.5, rows * height_in + 1.2)), squeeze=False, layout="constrained"
    )
    drawing.suptitle(title)
    return drawing, list(axes[:, 0])


def save(drawing: Any, picture: Path) -> None:
    """Write it as PNG."""
    drawing.savefig(picture, dpi=110, format="png")
    pyplot.close(drawing)
