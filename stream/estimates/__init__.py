"""What the estimators say of a patient, for a twin's record; one file for each driver. One that abstains is named
without a value; one that has seen nothing is not named."""

from __future__ import annotations

from typing import Any

from stream.estimates import beats, load
from twin_state.batch import Float
from twin_state.configuration import TwinConfiguration


def estimates(configuration: TwinConfiguration, e: Float, t: float) -> dict[str, Any]:
    """By name, as of the patient's clock `t` (s), from the row's estimates `e`."""
    k = configuration.constants
    return {**beats.estimates(k, e, t), **load.estimates(k, e, t)}
