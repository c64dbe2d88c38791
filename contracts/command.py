"""Commands: what people decide about patients and devices. Sent by `biotwin device|patient` and by HTTP.

Every command carries the name of its author and its effective event time `t`; `id` makes sending it twice harmless.
Times are seconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Pseudonym = str

AUDIO_PAUSE_MAX_S = 120.0
"""Longest audio pause. IEC 60601-1-8 wants it limited; bedside monitors end it after 90 to 120 s (Welch Allyn 408: 90
s)."""

ALARM_OFF_MAX_S = 86_400.0
"""Longest time that one command may hold an alert's signal off: nobody decides today about tomorrow's shift."""

ALARM_OFF_HIGH_MAX_S = 3_600.0
"""The same for an alert of high priority, which asks for an immediate response."""


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
    """Personal limits, replacing those given before; a field that is absent falls back to the rule's own limit. Who
    sets one says why (`reason`) and until when (`expires_at`); without any, the rules' own limits apply again.

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

    def missing(self) -> str:
        """What a new order of limits lacks: "reason", "expires_at" or nothing (""). A log of before it was asked for
        may hold orders without."""
        given = (
            *(self.heart_rate_low, self.heart_rate_high, self.heart_rate_maximum, self.zone_low, self.zone_high),
            *(self.spo2_floor, self.systolic_low, self.systolic_high, self.diastolic_high),
        )
        if all(limit is None for limit in given):
            return ""
        if not self.reason.strip():
            return "reason"
        return "expires_at" if self.expires_at is None else ""


class News2(_Command, frozen=True, tag="news2"):
    """Which SpO2 scale NEWS2 uses. Scale 2 only by a clinician's explicit order (hypercapnic respiratory failure)."""

    patient: Pseudonym
    spo2_scale: Literal[1, 2]
    reason: str = ""


class Session(_Command, frozen=True, tag="session"):
    """An exercise session starts or ends at `t`; during one NEWS2 is suspended and the session's limits apply."""

    patient: Pseudonym
    phase: Literal["start", "end"]


class Acknowledge(_Command, frozen=True, tag="acknowledge"):
    """The author has taken note of the alert and sees to it: its signal stops while the condition lasts, until a
    reminder is due or the priority rises. `alert` is the alert's id. Takes effect when it arrives."""

    patient: Pseudonym
    alert: str
    reason: str = ""


class AudioPause(_Command, frozen=True, tag="audio_pause"):
    """The audible signal stops for `duration_s` (s); the visual one stays and escalation goes on. Without `alert`, that
    of every alert which the patient has now; one that comes later is heard. Takes effect when it arrives."""

    patient: Pseudonym
    duration_s: Annotated[float, msgspec.Meta(gt=0.0, le=AUDIO_PAUSE_MAX_S)] = AUDIO_PAUSE_MAX_S
    alert: str = ""
    reason: str = ""


class AlarmOff(_Command, frozen=True, tag="alarm_off"):
    """No signal at all of this alert until `expires_at` (s), for a stated reason. It ends sooner with the condition,
    and after `ALARM_OFF_HIGH_MAX_S` where the priority is high. Takes effect when it arrives."""

    patient: Pseudonym
    alert: str
    expires_at: float
    reason: Annotated[str, msgspec.Meta(min_length=1)]


class AlarmResume(_Command, frozen=True, tag="alarm_resume"):
    """Whatever holds the alert's signal back (an acknowledgement, a pause, off) ends now, and it is heard again."""

    patient: Pseudonym
    alert: str
    reason: str = ""


class Feedback(_Command, frozen=True, tag="feedback"):
    """The author says whether the alert was worth the interruption. It changes nothing about the alert's signal; of
    what one author says of one alert, the last counts. Takes effect when it arrives, also after the alert is over."""

    patient: Pseudonym
    alert: Annotated[str, msgspec.Meta(min_length=1)]
    useful: bool
    reason: str = ""


class TakeRole(_Command, frozen=True, tag="take_role"):
    """From `t` on the author is on call as `role`, until `until` (s) or the next shift."""

    role: str
    until: float | None = None


class HandOverRole(_Command, frozen=True, tag="hand_over_role"):
    """From `t` on the holder of the account `to` is on call as `role`, until `until` (s) or the next shift."""

    role: str
    to: str
    until: float | None = None


class ReleaseRole(_Command, frozen=True, tag="release_role"):
    """From `t` on nobody is on call as `role`: escalation passes it over."""

    role: str


PatientCommand = Admit | Discharge | Limits | News2 | Session
"""Commands that change a twin."""

AlertCommand = Acknowledge | AudioPause | AlarmOff | AlarmResume | Feedback
"""Commands about the signal of an alert. They change no twin: the twin agent passes them on to `conditions`, where the
alert agent meets them in one order with the conditions."""

RoleCommand = TakeRole | HandOverRole | ReleaseRole
"""Commands about who is on call. They concern no patient: the router keeps topic `oncall` from them."""

Command = Bind | Unbind | PatientCommand | AlertCommand | RoleCommand
"""The router copies what concerns a patient into `telemetry`, keyed by patient."""
