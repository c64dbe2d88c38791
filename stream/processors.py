"""The product's own processors under one configuration: what a worker, `biotwin replay` and the tests all run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from alerts.rules import RuleSet, default_rules, parse_rules
from contracts.configuration import Configuration
from stream.alert_processor import AlertProcessor
from stream.model_sets import ModelSet, model_set
from stream.twin_processor import TwinProcessor, twin_configuration


class Processors(NamedTuple):
    """Makers of the processors of one partition, all under one configuration and one rule set: `rules`."""

    twin: Callable[[int], TwinProcessor]
    alerts: Callable[[int], AlertProcessor]
    rules: RuleSet


def processors(configuration: Configuration, at: float) -> Processors:
    """Processors under the rules in force at `at` (s since the epoch).

    Raises `alerts.rules.RuleError` for a rule file that cannot be used and `ValueError` for an unknown model set.
    """
    return processors_under(configuration, alert_rules(configuration, model_set(configuration.worker.model_set), at))


def processors_under(configuration: Configuration, rules: RuleSet) -> Processors:
    """Processors under one rule set. Raises `ValueError` for an unknown model set."""
    chosen = model_set(configuration.worker.model_set)
    twin = twin_configuration(chosen, rules)
    return Processors(
        lambda partition: TwinProcessor(configuration, partition, chosen, rules, twin),
        lambda partition: AlertProcessor(configuration, partition, rules),
        rules,
    )


def alert_rules(configuration: Configuration, chosen: ModelSet, at: float) -> RuleSet:
    """The rules in force at `at`: the configured file's, else the model set's own, else those that are shipped."""
    if configuration.worker.rules:
        file = Path(configuration.worker.rules)
        return parse_rules(file.read_bytes(), at, file.name)
    if chosen.rules is not None:
        return parse_rules(chosen.rules, at, chosen.name, channels=None)
    return default_rules(at)
