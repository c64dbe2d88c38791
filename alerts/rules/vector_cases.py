"""Test vectors of rules: values of a rule's channel over time, and when its condition comes and goes. Pure.

A vector file `vectors/<rule id>.toml` holds cases. Each is run through the twin's own kernel, with the rule on a
channel of its own that takes the values as they stand: what is tested is the rule, not the model that makes its
channel.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np

from alerts.rules.rule_set import Rule, RuleError
from contracts.signals import default_registry
from twin_state import batch as b
from twin_state.apply import apply
from twin_state.batch import Batch
from twin_state.configuration import DERIVED_VALIDITY_S, ENDING_CHANNELS, SignalSpec, configure
from twin_state.models.patient import ARGUMENT_ACTIVE
from twin_state.rules import LIMITS
from twin_state.store import Store

START_T = 1_764_000_000.0
SILENCE = "silence_s"
DERIVED_VALID_S = 300.0
LEAST_CASES = 3
"""A rule wants a case in which it comes up, and two in which it does not: just below its limit, and too short."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One course. `values` are (s, value): each repeats every `every_s` until the next, the last until `end_s`; NaN
    means that nothing is measured from then on. `onsets` and `clears` are when the condition comes and goes, in s, to
    the tenth. `limits` are the patient's personal ones; `session` whether he exercises."""

    name: str
    values: tuple[tuple[float, float], ...]
    end_s: float
    onsets: tuple[float, ...] = ()
    clears: tuple[float, ...] = ()
    every_s: float = 1.0
    session: bool = False
    limits: dict[str, float] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    case: tuple[Case, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What a case gave, beside what it wants."""

    case: Case
    onsets: tuple[float, ...]
    clears: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether it gave what it wants."""
        return (self.onsets, self.clears) == (self.case.onsets, self.case.clears)


def parse_vectors(toml: bytes, name: str) -> tuple[Case, ...]:
    """The cases of a vector file; raises `RuleError`, which names the file."""
    try:
        return msgspec.convert(tomllib.loads(toml.decode()), _File).case
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RuleError(f"{name}: {error}") from error


@cache
def default_vectors(rule_id: str) -> tuple[Case, ...]:
    """The vectors shipped for a rule of that id; none where there is no file."""
    found = files("alerts.rules") / "vectors" / f"{rule_id}.toml"
    return parse_vectors(found.read_bytes(), found.name) if found.is_file() else ()


def run_vectors(rule: Rule, cases: Sequence[Case]) -> list[Outcome]:
    """Each case through the kernel under that rule alone."""
    return [_run(rule, case) for case in cases]


def _run(rule: Rule, case: Case) -> Outcome:
    watched = rule.condition_rule()
    if rule.channel != SILENCE:
        watched = replace(watched, channel="watched")
    store = Store(configure([_signal(rule.channel)], [watched], ()))
    for name in case.limits:
        if name not in LIMITS:
            raise RuleError(f'case "{case.name}": unknown personal limit "{name}"')
    found: dict[int, list[float]] = {b.ONSET: [], b.CLEAR: []}
    for part in apply(store, _log(case, store.row_of(b"p"))).transitions:
        for number, measure in zip(part.number, part.measure, strict=True):
            if number[b.STAGE] == b.SETTLED and int(number[b.WHAT]) in found:
                found[int(number[b.WHAT])].append(round(float(measure[b.T]) - START_T, 1))
    return Outcome(case, tuple(found[b.ONSET]), tuple(found[b.CLEAR]))


def _signal(channel: str) -> SignalSpec:
    registry = default_registry()
    if channel in registry:
        signal = registry[channel]
        return SignalSpec("watched", signal.period_s, signal.validity_s, signal.lateness_s, baselined=False)
    valid = DERIVED_VALIDITY_S.get(channel, DERIVED_VALID_S)
    held = valid if channel in ENDING_CHANNELS else valid / 3.0
    return SignalSpec("watched", held, valid, 5.0, baselined=False)


def _log(case: Case, row: int) -> Batch:
    """Commands first, then readings and a tick a second in order of time, and the end of the log."""
    rows: list[tuple[float, int, tuple[tuple[int, float], ...]]] = []
    if case.session:
        rows.append((-2.0, b.SESSION, ((ARGUMENT_ACTIVE, 1.0),)))
    if case.limits:
        rows.append((-1.0, b.LIMITS, tuple((LIMITS.index(name), value) for name, value in case.limits.items())))
    ends = [*(t for t, _ in case.values[1:]), case.end_s]
    for (begin, value), end in zip(case.values, ends, strict=True):
        if not np.isnan(value):
            rows += [(float(t), b.READING, ((0, value),)) for t in np.arange(begin, end, case.every_s)]
    rows += [(t + 0.5, b.TICK, ()) for t in np.arange(0.0, case.end_s)]
    rows.sort(key=lambda entry: entry[0])
    rows.append((case.end_s + 1.0, b.CLOSING, ()))
    n = len(rows)
    t = START_T + np.array([entry[0] for entry in rows])
    number = np.arange(1, n + 1)
    counts = np.array([len(entry[2]) for entry in rows])
    values = [value for entry in rows for value in entry[2]]
    kinds = np.array([entry[1] for entry in rows], np.int8)
    source = np.where((kinds == b.READING)[:, None], 7, 0) * np.ones((1, 2), np.int64)
    source[(kinds >= b.LIMITS), b.STREAM] = 1
    return Batch(
        kind=kinds,
        row=np.full(n, row),
        offset=number - 1,
        t=t,
        received_at=t,
        source=source.astype(np.int64),
        session=np.full(n, 3),
        sequence=number,
        reading=number,
        hashed=(kinds >= b.LIMITS).astype(np.int8),
        first=np.cumsum(counts) - counts,
        values=counts,
        signal=np.array([signal for signal, _ in values], np.int64),
        value=np.array([value for _, value in values], np.float64),
        quality=np.ones(len(values)),
    )
