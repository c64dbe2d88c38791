"""Seeded faults between a device and the broker: what goes wrong with readings on real wards, as probabilities."""

from __future__ import annotations

from random import Random

import msgspec


class Faults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Probability of each fault for one reading, and the sizes.

    `loss` never leaves the device, though its sequence number is used up. `duplicates` is sent twice, the copy up
    to 2 s later. `reordering` is held back by up to `reordering_max_s`. `nan` carries a NaN instead of its first value.
    `garbage` arrives as broken bytes. `reboot` makes the device choose a new session and count from 0. `skew_s` is the
    standard deviation of the devices' clock error (at most 3 times that).
    """

    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    reordering_max_s: float = 3.0
    nan: float = 0.0
    garbage: float = 0.0
    reboot: float = 0.0
    skew_s: float = 0.0


PRESETS: dict[str, Faults] = {
    "none": Faults(),
    "mild": Faults(
        loss=0.002, duplicates=0.005, reordering=0.005, nan=0.0005, garbage=0.0005, reboot=0.0002, skew_s=0.15
    ),
    "harsh": Faults(loss=0.05, duplicates=0.05, reordering=0.05, nan=0.005, garbage=0.005, reboot=0.002, skew_s=0.6),
}


def parse_faults(text: str) -> Faults:
    """A preset's name, or settings as in `loss=0.01,skew_s=0.5`, on top of a preset as in `mild,loss=0.1`.

    Raises `ValueError` saying what there is to choose from.
    """
    faults = Faults()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            if name not in PRESETS:
                raise ValueError(f"no fault preset {name!r}; there are {', '.join(PRESETS)}")
            faults = PRESETS[name]
            continue
        if name not in Faults.__struct_fields__:
            raise ValueError(f"no fault {name!r}; there are {', '.join(Faults.__struct_fields__)}")
        try:
            number = float(value)
        except ValueError as error:
            raise ValueError(f"fault {name} takes a number, not {value!r}") from error
        if not 0.0 <= number <= (1.0 if not name.endswith("_s") else 3600.0):
            raise ValueError(f"fault {name}={value} lies outside what makes sense")
        faults = msgspec.structs.replace(faults, **{name: number})
    return faults


def clock_error_s(faults: Faults, rng: Random) -> float:
    """One device's clock error in s, to the millisecond."""
    if faults.skew_s == 0.0:
        return 0.0
    limit = 3.0 * faults.skew_s
    return round(min(max(rng.gauss(0.0, faults.skew_s), -limit), limit), 3)


def broken_bytes(payload: bytes, rng: Random) -> bytes:
    """Bytes that no format can read: cut off in the middle, or noise that is not UTF-8."""
    if rng.random() < 0.5:
        return payload[: rng.randrange(1, len(payload))]
    return b"\xff" + rng.randbytes(rng.randrange(8, 64))
