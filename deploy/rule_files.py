"""Rule files as commands read them: what is wrong with one is said in the same words everywhere."""

from __future__ import annotations

from pathlib import Path

from alerts.rules import RuleError, RuleSet, default_rules, parse_rules
from contracts.configuration import Configuration
from deploy.errors import UserError
from stream.model_sets import model_set
from stream.processors import alert_rules


def present_rules(configuration: Configuration, at: float) -> RuleSet:
    """The rules that a worker with this configuration goes by at `at` (s since the epoch). Raises `UserError`."""
    try:
        return alert_rules(configuration, model_set(configuration.worker.model_set), at)
    except (OSError, RuleError, ValueError) as error:
        raise UserError(str(error)) from error


def read_rules(file: Path | None, at: float) -> RuleSet:
    """The rules of a file, or the shipped ones, that are in force at `at` (s since the epoch). Raises `UserError`."""
    try:
        return default_rules(at) if file is None else parse_rules(file.read_bytes(), at, str(file))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except RuleError as error:
        raise UserError(str(error)) from error
