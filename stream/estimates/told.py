"""An estimate as a twin's record tells it."""

from __future__ import annotations

import math
from typing import Any

OF_NOW_S = 60.0
"""How long an estimate of the last minutes holds, counted from what it rests on: what settles is some seconds old."""
OF_STAY_S = 86_400.0
"""How long what is counted over the stay holds."""


def estimate(t: float, unit: str, valid_s: float, value: float, sd: float) -> dict[str, Any]:
    """One estimate as the twin's record has it: as of `t` (s), of now for `valid_s`; NaN: it abstains, or has no sd."""
    told: dict[str, Any] = {"t": t, "unit": unit, "valid_s": valid_s}
    if not math.isnan(value):
        told["value"] = value
        if not math.isnan(sd):
            told["sd"] = sd
    return told
