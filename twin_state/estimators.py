"""The estimators: models that follow a patient's readings in the settled order alone, each value once.

What must raise an alarm at once is folded into the live row too and again where a reading comes out of order
(`twin_state.models.latest` and those beside it). An estimator has time: it sees a value when it settles, some seconds
after it was measured, keeps windows that would be too long to fold again, and costs each reading once.

An estimator is a module of `twin_state.models` that declares `FIELDS` as (name, number of columns); its kernels take
the row's estimates and its first column there. Modules are found by that declaration: what is not wired in
`twin_state.estimate` fails a test.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

import twin_state.models
from twin_state.constants import MODEL_NAMES


class Estimator(NamedTuple):
    """`fields` are (name, number of columns), in the order of its columns; `parameters` is how many population
    parameters its kernels take."""

    name: str
    fields: tuple[tuple[str, int], ...]
    parameters: int

    @property
    def width(self) -> int:
        """Columns of a row."""
        return sum(size for _, size in self.fields)


def _found() -> tuple[Estimator, ...]:
    estimators = []
    for name in sorted(module.name for module in iter_modules(twin_state.models.__path__)):
        module = import_module(f"twin_state.models.{name}")
        fields = getattr(module, "FIELDS", None)
        if fields is not None:
            estimators.append(Estimator(name, fields, getattr(module, "PARAMETERS", 0)))
    return tuple(estimators)


ESTIMATORS: tuple[Estimator, ...] = _found()


def number_of(name: str) -> int:
    """The estimator's row in `Constants.models`. Raises KeyError for one that does not exist."""
    names = [estimator.name for estimator in ESTIMATORS]
    if name not in names:
        raise KeyError(name)
    return len(MODEL_NAMES) + names.index(name)
