"""Model sets: which signals, models and payload decoder a twin agent runs on. `worker.model_set` names one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from contracts.signals import Registry, default_registry
from stream.decode import Decoder, ReadingDecoder
from twin_state.configuration import CLINICAL_MODELS


@dataclass(frozen=True, slots=True)
class ModelSet:
    """`decoder` makes the adapter that turns Kafka values into columns; `rules` is a rule file's text, None for the
    configured or default rules."""

    name: str
    registry: Registry
    models: tuple[str, ...]
    decoder: Callable[[Registry], Decoder]
    rules: bytes | None = None


def model_set(name: str) -> ModelSet:
    """The model set of that name: "clinical", or "package.module:ATTRIBUTE" of one defined elsewhere.

    Raises `ValueError` with what was looked for.
    """
    if name == "clinical":
        return ModelSet(name, default_registry(), CLINICAL_MODELS, ReadingDecoder)
    module, _, attribute = name.partition(":")
    if not attribute:
        raise ValueError(f'unknown model set {name!r}: "clinical" or "package.module:ATTRIBUTE" is wanted')
    found = getattr(import_module(module), attribute, None)
    if not isinstance(found, ModelSet):
        raise ValueError(f"{name} is not a ModelSet")
    return found
