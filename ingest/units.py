"""Units: from what devices write (UCUM, or the SenML names of RFC 8428 and RFC 8798) to the registry's UCUM unit."""

from __future__ import annotations

from typing import NamedTuple


class Conversion(NamedTuple):
    """value in the registry's unit = value as sent * `scale` + `offset`."""

    scale: float
    offset: float = 0.0


_SAME = Conversion(1.0)

_PER_MINUTE = {
    "/min": 1.0,
    "1/min": 1.0,
    "beat/min": 1.0,
    "{beats}/min": 1.0,
    "{beat}/min": 1.0,
    "{breaths}/min": 1.0,
    "{breath}/min": 1.0,
    "{rev}/min": 1.0,
    "/s": 60.0,
    "1/s": 60.0,
    "Hz": 60.0,
}

_SCALES: dict[str, dict[str, float]] = {
    "/min": _PER_MINUTE,
    "%": {"%": 1.0, "/": 100.0, "1": 100.0},
    # 1 mm[Hg] = 133.322387415 Pa in UCUM.
    "mm[Hg]": {
        "mm[Hg]": 1.0,
        "Pa": 1 / 133.322387415,
        "hPa": 100 / 133.322387415,
        "kPa": 1000 / 133.322387415,
    },
    "ms": {"ms": 1.0, "s": 1000.0, "us": 0.001},
    "W": {"W": 1.0, "kW": 1000.0},
    "m/s": {"m/s": 1.0, "km/h": 1 / 3.6},
    "kg": {"kg": 1.0, "g": 0.001, "[lb_av]": 0.45359237},
    "uS": {"uS": 1.0, "S": 1e6, "mS": 1000.0},
    # The molar mass of glucose is 180.156 g/mol.
    "mg/dL": {"mg/dL": 1.0, "mmol/L": 18.0156, "g/L": 100.0},
    "mV": {"mV": 1.0, "V": 1000.0, "uV": 0.001},
    # Standard gravity, 9.80665 m/s2.
    "m[g]": {"m[g]": 1.0, "[g]": 1000.0, "m/s2": 1000 / 9.80665},
    "1": {"1": 1.0, "/": 1.0},
    "{score}": {"{score}": 1.0, "1": 1.0, "count": 1.0},
    "{steps}": {"{steps}": 1.0, "1": 1.0, "count": 1.0},
}

_TABLE: dict[tuple[str, str], Conversion] = {
    (sent, ucum): Conversion(scale) for ucum, row in _SCALES.items() for sent, scale in row.items()
} | {
    ("Cel", "Cel"): _SAME,
    ("K", "Cel"): Conversion(1.0, -273.15),
    ("[degF]", "Cel"): Conversion(5 / 9, -160 / 9),
}


def conversion(sent: str, ucum: str) -> Conversion | None:
    """How to turn a value sent in unit `sent` into unit `ucum`; None when the two do not measure the same.

    Kinds are kept apart where the arithmetic would allow more: relative humidity (`%RH`) is no oxygen saturation.
    """
    return _SAME if sent == ucum else _TABLE.get((sent, ucum))
