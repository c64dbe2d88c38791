"""Commands: what people decide about patients and devices. Sent by `biotwin device|patient` and by HTTP.

Every command carries the name of its author and its effective event time `t`; `id` makes sending it twice harmless.
Times are seconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Pseudonym = str


class _Command(
    msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    id: str
    t: float
    author: str


class Bind(_Command, frozen=True, tag="bind"):
    """From `t` on (until `until`, or an unbind) what `device` measures belongs to `patient`."""

    device: str
    patient: Pseudonym
    until: float | None = None


class Unbind(_Command, frozen=True, tag="unbind"):
    """The device's current binding ends at `t`."""

    device: str


class Admit(_Command, frozen=True, tag="admit"):
    """The patient is under observation from `t` on. Nothing here names a person: that stays in the site's directory."""

    patient: Pseudonym
    age_years: int | None = None
    pregnant: bool = False
    spinal_injury: bool = False


class Discharge(_Command, frozen=True, tag="discharge"):
    """Observation ends at `t`: no silence is judged after it and open conditions clear."""

    patient: Pseudonym


class Limits(_Command, frozen=True, tag="limits"):
    """Personal limits, replacing those given before; a field that is absent falls back to the rule's own limit.

    Heart rates in 1/min, pressures in mm[Hg], SpO2 in %, `expires_at` in s.
    """

    patient: Pseudonym
    heart_rate_low: float | None = None
    heart_rate_high: float | None = None
    heart_rate_maximum: float | None = None
    zone_low: float | None = None
    zone_high: float | None = None
    spo2_floor: float | None = None
    systolic_low: float | None = None
    systolic_high: float | None = None
    diastolic_high: float | None = None
    reason: str = ""
    expires_at: float | None = None


class News2(_Command, frozen=True, tag="news2"):
    """Which SpO2 scale NEWS2 uses. Scale 2 only by a clinician's explicit order (hypercapnic respiratory failure)."""

    patient: Pseudonym
    spo2_scale: Literal[1, 2]
    reason: str = ""


class Session(_Command, frozen=True, tag="session"):
    """An exercise session starts or ends at `t`; during one NEWS2 is suspended and the session's limits apply."""

    patient: Pseudonym
    phase: Literal["start", "end"]


Command = Bind | Unbind | Admit | Discharge | Limits | News2 | Session

PatientCommand = Admit | Discharge | Limits | News2 | Session
"""Commands that change a twin: the router copies them into `telemetry`, keyed by patient."""
