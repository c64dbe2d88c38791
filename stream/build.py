"""Which build on which type of processor this is: bit equality of results is promised for one of them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

from llvmlite import binding


@cache
def build_name() -> str:
    """Versions of what makes the compiled kernels, and the processor they are made for:
    "biotwin-0.1.0 numba-0.60.0 numpy-2.1.3 znver3"."""
    parts = [f"{package}-{version(package)}" for package in ("biotwin", "numba", "numpy")]
    return " ".join((*parts, binding.get_host_cpu_name()))
