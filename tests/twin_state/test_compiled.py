"""The kernels as compiled: the option without a public name is taken, and arithmetic is that of plain Python."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from twin_state import compiled as compilation
from twin_state.compiled import compiled, inlined
from twin_state.configuration import SignalSpec, configure
from twin_state.duplicates import _advance, _check
from twin_state.kernel import apply_records
from twin_state.models import baseline, heart_rate_filter, moments, news2


def test_numba_takes_the_options_kernels_are_compiled_with() -> None:
    assert compilation._OPTIONS == {
        "cache": True,
        "nogil": True,
        "fastmath": False,
        "error_model": "numpy",
        "_nrt": False,
    }
    kernel: Any = apply_records
    for name, value in compilation._OPTIONS.items():
        assert name == "cache" or kernel.targetoptions[name] == value


def test_a_kernel_neither_allocates_nor_counts_references() -> None:
    def first(values: Any) -> Any:
        return values[0]

    def runtime_calls(options: dict[str, Any]) -> int:
        # Code out of the cache cannot be looked into.
        kernel: Any = njit(**{**options, "cache": False})(first)
        assert kernel(np.array([2.5, 1.0])) == 2.5
        return str(next(iter(kernel.inspect_llvm().values()))).count("NRT_")

    assert runtime_calls({}) > 0
    assert runtime_calls(compilation._OPTIONS) == 0

    def double(values: Any) -> Any:
        return np.zeros(values.shape[0])

    with pytest.raises(TypingError, match="Only accept returning of array passed into the function"):
        compiled(double)(np.array([1.0]))


def test_division_by_zero_gives_infinity_as_ieee_has_it_and_raises_nothing() -> None:
    def divide(a: float, b: float) -> float:
        return a / b

    assert inlined(divide)(1.0, 0.0) == math.inf


@pytest.mark.parametrize(
    ("kernel", "points"),
    [
        (news2.respiration_points, [(x,) for x in (0.0, 8.4, 8.5, 20.5, 24.5, 60.0)]),
        (news2.spo2_points, [(x, scale, o) for x in (83.5, 87.5, 92.5, 96.5) for scale in (1, 2) for o in (0, 1)]),
        (news2.systolic_points, [(x,) for x in (90.4, 90.5, 219.5)]),
        (news2.pulse_points, [(x,) for x in (40.5, 90.5, 130.5)]),
        (news2.temperature_points, [(x,) for x in (35.04, 35.05, 38.05, 39.05)]),
    ],
)
def test_compiled_scores_equal_those_of_the_same_source_run_by_python(kernel: Any, points: list[Any]) -> None:
    for arguments in points:
        assert kernel(*arguments) == kernel.py_func(*arguments)


@pytest.mark.parametrize("model", [baseline, moments, heart_rate_filter])
def test_compiled_models_give_the_same_bits_as_the_same_source_run_by_python(model: Any) -> None:
    configuration = configure([SignalSpec("heart_rate", 1, 300, 5.0)], [], ("baseline", "moments", "heart_rate_filter"))
    k, width = configuration.constants, configuration.layout.floats
    one, other, identities = np.zeros(width), np.zeros(width), np.zeros(configuration.layout.identities, np.int64)
    for n in range(200):
        value = 70.0 + 7.0 * math.sin(n) + (90.0 if n % 50 == 49 else 0.0)
        timed = (1e9 + n,) if model is baseline else ()
        model.observe(k, one, identities, 0, value, *timed)
        model.observe.py_func(k, other, identities, 0, value, *timed)
    assert one.tolist() == other.tolist()
    assert one.any()


@pytest.mark.parametrize(
    ("newest", "sequence", "expected"),
    [
        (10, 11, 0),
        (10, 10, 1),
        (1000, 744, 2),
        (-(2**63), 3, 0),
        (-(2**63), 2**63 - 1, 0),
        (2**63 - 1, -(2**63), 2),
        (2**63 - 1, 2**63 - 256, 0),
        (2**63 - 1, -5, 2),
    ],
)
def test_sequence_numbers_at_the_ends_of_their_range(newest: int, sequence: int, expected: int) -> None:
    """Compiled code may not rely on a difference that overflows: it once walked out of the window there."""
    entry, window = np.array([newest], np.int64), np.array([1, 0, 0, 0], np.uint64)
    check: Any = _check
    assert check(entry, window, 0, sequence) == expected
    assert window.any()


@pytest.mark.parametrize("by", [1, 5, 63, 64, 65, 128, 200, 255, 256])
def test_the_window_moves_like_one_number_of_256_bits(by: int) -> None:
    words = [0x8000_0000_0000_0001, 0x1234_5678_9ABC_DEF0, 0xFFFF_FFFF_FFFF_FFFF, 0x0F0F_0F0F_0F0F_0F0F]
    window = np.array(words, np.uint64)
    _advance(window, by)
    whole = sum(word << (64 * n) for n, word in enumerate(words))
    expected = (whole << by) & ((1 << 256) - 1)
    assert sum(int(word) << (64 * n) for n, word in enumerate(window)) == expected
