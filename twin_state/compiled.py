"""How kernels are compiled: without the interpreter's lock, and without anything that could change a result's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., object])


# _nrt: kernels allocate nothing and borrow every array from their caller, so counting references at each attribute
# access buys nothing; it cost six times the arithmetic (docs/benchmarks.md). The option has no public name: the version
# of numba is locked, and tests/twin_state/test_compiled.py holds it.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": False, "error_model": "numpy", "_nrt": False}


def compiled(kernel: Kernel) -> Kernel:
    """Compile with strict IEEE arithmetic (no fastmath, no parallel sums), so that one build on one type of processor
    gives the same bits however the stream is cut into batches. A kernel may not allocate an array."""
    return cast("Kernel", njit(**_OPTIONS)(kernel))


def inlined(kernel: Kernel) -> Kernel:
    """The same for small kernels called for every value: passing the columns would cost more than the work."""
    return cast("Kernel", njit(forceinline=True, **_OPTIONS)(kernel))
