"""The signal registry: what each signal is called, coded and measured in, and which values are possible."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

Shape = Literal["scalar", "code", "beats", "waveform"]

MAX_LATENESS_S = 30.0
"""Longest lateness bound that a signal may declare: what waits for it is held in memory."""


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the registry. `ucum` is the unit in which the value stands in Kafka."""

    name: str
    loinc: str
    mdc: int
    ucum: str
    low: float
    high: float
    period_s: float
    validity_s: float
    lateness_s: float = 5.0
    shape: Shape = "scalar"
    codes: dict[str, int] = {}

    def __post_init__(self) -> None:
        if not 0.0 < self.lateness_s <= MAX_LATENESS_S:
            raise ValueError(
                f"signal {self.name}: lateness_s must lie in (0, {MAX_LATENESS_S:g}], got {self.lateness_s:g}"
            )
        if not self.low < self.high:
            raise ValueError(f"signal {self.name}: low must be below high")
        if (self.shape == "code") != bool(self.codes):
            raise ValueError(f'signal {self.name}: `codes` goes with shape "code" and only with it')


class Registry:
    """Signals in the order of the file; a signal's index is its identity in a twin's columns."""

    def __init__(self, signals: tuple[Signal, ...]) -> None:
        self.signals = signals
        self.index: dict[str, int] = {signal.name: i for i, signal in enumerate(signals)}
        if len(self.index) != len(signals):
            raise ValueError("a signal name stands twice in the registry")

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, name: str) -> Signal:
        return self.signals[self.index[name]]

    def __contains__(self, name: str) -> bool:
        return name in self.index

    @property
    def settling_s(self) -> float:
        """How long the settled row waits behind a patient's clock: the longest lateness bound of any signal."""
        return max(signal.lateness_s for signal in self.signals)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    signal: list[Signal]


def parse_registry(toml: bytes) -> Registry:
    """A registry from its TOML text; raises `msgspec.ValidationError` naming the row that is wrong."""
    return Registry(tuple(msgspec.toml.decode(toml, type=_Document).signal))


@cache
def default_registry() -> Registry:
    """The registry shipped beside this module."""
    return parse_registry((files("contracts") / "signals.toml").read_bytes())
