"""The table of an alert's signal: state, event and whether it latches, to the next state and what follows. Pure data.

IEC 60601-1-8:2006+A1+A2 keeps the alarm condition (`alerts.step`) apart from the alarm signal, which tells people about
it; ISO/IEEE 11073-10207 has AlertCondition and AlertSignal. The states are theirs:

    state                  11073-10207 presence, activation   IEC 60601-1-8
    inactive               Off, On                            no alarm signal
    on                     On, On                             alarm signal generated
    acknowledged           Ack, On                            acknowledged
    audio_paused           On, Psd                            audio paused
    alarm_off              Off, Off                           alarm off
    latched                Latch, On                          latching alarm signal, its condition over
    latched_audio_paused   Latch, Psd                         the same, audio paused
"""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple, get_args

from contracts.alert_signal import SignalEffect, SignalEvent, SignalState

SIGNAL_STATES: tuple[SignalState, ...] = get_args(SignalState)
SIGNAL_EVENTS: tuple[SignalEvent, ...] = get_args(SignalEvent)


class Cell(NamedTuple):
    """What one event does to a signal in one state."""

    state: SignalState
    effects: tuple[SignalEffect, ...] = ()


ANEW = Cell("on", ("annunciate", "await_acknowledgement"))
"""Announced as if for the first time: escalation begins anew."""

_LATCHED_ANEW = Cell("latched", ("annunciate",))
_TAKEN = Cell("acknowledged", ("silence", "remind_later"))
_OFF = Cell("alarm_off", ("silence", "expire_later"))
_ENDED = Cell("inactive", ("end",))
_ESCALATED = Cell("on", ("escalate", "await_acknowledgement"))
_ESCALATED_ALOUD = Cell("on", ("annunciate", "escalate", "await_acknowledgement"))


def _nothing(state: SignalState) -> Cell:
    return Cell(state)


def _refused(state: SignalState) -> Cell:
    return Cell(state, ("refuse",))


_NON_LATCHING: dict[tuple[SignalState, SignalEvent], Cell] = {
    # No signal. Whoever acts on an alert that is over hears that it is.
    ("inactive", "condition_onset"): ANEW,
    ("inactive", "priority_raised"): _nothing("inactive"),
    ("inactive", "priority_lowered"): _nothing("inactive"),
    ("inactive", "condition_cleared"): _nothing("inactive"),
    ("inactive", "condition_withdrawn"): _nothing("inactive"),
    ("inactive", "condition_recurred"): _nothing("inactive"),
    ("inactive", "condition_renamed"): _nothing("inactive"),
    ("inactive", "acknowledge"): _refused("inactive"),
    ("inactive", "audio_pause"): _refused("inactive"),
    ("inactive", "alarm_off"): _refused("inactive"),
    ("inactive", "alarm_resume"): _refused("inactive"),
    ("inactive", "inactivation_expired"): _nothing("inactive"),
    ("inactive", "re_alarm_due"): _nothing("inactive"),
    ("inactive", "escalation_due"): _nothing("inactive"),
    # Heard and seen, and answered by nobody.
    ("on", "condition_onset"): _nothing("on"),
    ("on", "priority_raised"): ANEW,
    ("on", "priority_lowered"): Cell("on", ("await_acknowledgement",)),
    ("on", "condition_cleared"): _ENDED,
    ("on", "condition_withdrawn"): _ENDED,
    ("on", "condition_recurred"): _nothing("on"),
    ("on", "condition_renamed"): Cell("on", ("rename",)),
    ("on", "acknowledge"): _TAKEN,
    ("on", "audio_pause"): Cell("audio_paused", ("silence", "expire_later")),
    ("on", "alarm_off"): _OFF,
    ("on", "alarm_resume"): _refused("on"),
    ("on", "inactivation_expired"): _nothing("on"),
    ("on", "re_alarm_due"): _nothing("on"),
    ("on", "escalation_due"): _ESCALATED,
    # Somebody sees to it. A rise of the priority is news; so is a condition that is still there when they should be
    # done.
    ("acknowledged", "condition_onset"): _nothing("acknowledged"),
    ("acknowledged", "priority_raised"): ANEW,
    ("acknowledged", "priority_lowered"): Cell("acknowledged", ("remind_later",)),
    ("acknowledged", "condition_cleared"): _ENDED,
    ("acknowledged", "condition_withdrawn"): _ENDED,
    ("acknowledged", "condition_recurred"): _nothing("acknowledged"),
    ("acknowledged", "condition_renamed"): Cell("acknowledged", ("rename",)),
    ("acknowledged", "acknowledge"): Cell("acknowledged", ("remind_later",)),
    ("acknowledged", "audio_pause"): _refused("acknowledged"),
    ("acknowledged", "alarm_off"): _OFF,
    ("acknowledged", "alarm_resume"): ANEW,
    ("acknowledged", "inactivation_expired"): _nothing("acknowledged"),
    ("acknowledged", "re_alarm_due"): ANEW,
    ("acknowledged", "escalation_due"): _nothing("acknowledged"),
    # Seen and not heard for a moment. That answers nothing: escalation goes on, and ends the pause.
    ("audio_paused", "condition_onset"): _nothing("audio_paused"),
    ("audio_paused", "priority_raised"): ANEW,
    ("audio_paused", "priority_lowered"): Cell("audio_paused", ("await_acknowledgement",)),
    ("audio_paused", "condition_cleared"): _ENDED,
    ("audio_paused", "condition_withdrawn"): _ENDED,
    ("audio_paused", "condition_recurred"): _nothing("audio_paused"),
    ("audio_paused", "condition_renamed"): Cell("audio_paused", ("rename",)),
    ("audio_paused", "acknowledge"): _TAKEN,
    ("audio_paused", "audio_pause"): Cell("audio_paused", ("expire_later",)),
    ("audio_paused", "alarm_off"): _OFF,
    ("audio_paused", "alarm_resume"): Cell("on", ("annunciate",)),
    ("audio_paused", "inactivation_expired"): Cell("on", ("annunciate",)),
    ("audio_paused", "re_alarm_due"): _nothing("audio_paused"),
    ("audio_paused", "escalation_due"): _ESCALATED_ALOUD,
    # Held off by somebody, for a reason, until a time.
    ("alarm_off", "condition_onset"): _nothing("alarm_off"),
    ("alarm_off", "priority_raised"): ANEW,
    ("alarm_off", "priority_lowered"): _nothing("alarm_off"),
    ("alarm_off", "condition_cleared"): _ENDED,
    ("alarm_off", "condition_withdrawn"): _ENDED,
    ("alarm_off", "condition_recurred"): _nothing("alarm_off"),
    ("alarm_off", "condition_renamed"): Cell("alarm_off", ("rename",)),
    ("alarm_off", "acknowledge"): Cell("acknowledged", ("remind_later",)),
    ("alarm_off", "audio_pause"): _refused("alarm_off"),
    ("alarm_off", "alarm_off"): Cell("alarm_off", ("expire_later",)),
    ("alarm_off", "alarm_resume"): ANEW,
    ("alarm_off", "inactivation_expired"): ANEW,
    ("alarm_off", "re_alarm_due"): _nothing("alarm_off"),
    ("alarm_off", "escalation_due"): _nothing("alarm_off"),
    # The condition is over and nobody has seen it: it stays until somebody has, or until it comes again.
    ("latched", "condition_onset"): ANEW,
    ("latched", "priority_raised"): _nothing("latched"),
    ("latched", "priority_lowered"): _nothing("latched"),
    ("latched", "condition_cleared"): _nothing("latched"),
    ("latched", "condition_withdrawn"): _nothing("latched"),
    ("latched", "condition_recurred"): _ENDED,
    ("latched", "condition_renamed"): _nothing("latched"),
    ("latched", "acknowledge"): _ENDED,
    ("latched", "audio_pause"): Cell("latched_audio_paused", ("silence", "expire_later")),
    ("latched", "alarm_off"): _refused("latched"),
    ("latched", "alarm_resume"): _refused("latched"),
    ("latched", "inactivation_expired"): _nothing("latched"),
    ("latched", "re_alarm_due"): _nothing("latched"),
    ("latched", "escalation_due"): Cell("latched", ("escalate", "await_acknowledgement")),
    ("latched_audio_paused", "condition_onset"): ANEW,
    ("latched_audio_paused", "priority_raised"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "priority_lowered"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "condition_cleared"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "condition_withdrawn"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "condition_recurred"): _ENDED,
    ("latched_audio_paused", "condition_renamed"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "acknowledge"): _ENDED,
    ("latched_audio_paused", "audio_pause"): Cell("latched_audio_paused", ("expire_later",)),
    ("latched_audio_paused", "alarm_off"): _refused("latched_audio_paused"),
    ("latched_audio_paused", "alarm_resume"): _LATCHED_ANEW,
    ("latched_audio_paused", "inactivation_expired"): _LATCHED_ANEW,
    ("latched_audio_paused", "re_alarm_due"): _nothing("latched_audio_paused"),
    ("latched_audio_paused", "escalation_due"): Cell("latched", ("annunciate", "escalate", "await_acknowledgement")),
}

_LATCHING: dict[tuple[SignalState, SignalEvent], Cell] = {
    ("on", "condition_cleared"): _nothing("latched"),
    ("audio_paused", "condition_cleared"): _nothing("latched_audio_paused"),
}
"""Where a latching signal differs. One that somebody acknowledged or put off ends with its condition all the same: the
deliberate act that latching asks for has taken place."""

ANSWERS: frozenset[SignalEvent] = frozenset({"acknowledge", "alarm_off"})
"""Acts by which somebody answers an alert."""

FEEDBACK: frozenset[SignalEvent] = frozenset({"marked_useful", "marked_not_useful"})
"""What somebody says of an alert afterwards. It is journalled in every state and changes none."""

_FEEDBACK = {(state, event): Cell(state, ("record",)) for state, event in product(SIGNAL_STATES, FEEDBACK)}

TABLE: dict[tuple[SignalState, SignalEvent, bool], Cell] = {
    (state, event, latching): (_LATCHING if latching else {}).get(
        (state, event), (_NON_LATCHING | _FEEDBACK)[state, event]
    )
    for state, event, latching in product(SIGNAL_STATES, SIGNAL_EVENTS, (False, True))
}
"""(state, event, latching) to what follows: the whole logic."""

Timer = Literal["expires_at", "re_alarm_at", "escalate_at"]

TIMERS: dict[SignalState, frozenset[Timer]] = {
    "inactive": frozenset(),
    "on": frozenset({"escalate_at"}),
    "acknowledged": frozenset({"re_alarm_at"}),
    "audio_paused": frozenset({"expires_at", "escalate_at"}),
    "alarm_off": frozenset({"expires_at"}),
    "latched": frozenset({"escalate_at"}),
    "latched_audio_paused": frozenset({"expires_at", "escalate_at"}),
}
"""Which timers may run in a state; entering another state stops those that are not its own."""

TIMER_EVENTS: dict[Timer, SignalEvent] = {
    "expires_at": "inactivation_expired",
    "re_alarm_at": "re_alarm_due",
    "escalate_at": "escalation_due",
}

HELD: frozenset[SignalState] = frozenset({"acknowledged", "audio_paused", "alarm_off", "latched_audio_paused"})
"""States in which a person's act holds the signal back; that person is the signal's holder."""

LATCHED: frozenset[SignalState] = frozenset({"latched", "latched_audio_paused"})

ANSWERED: frozenset[SignalState] = frozenset({"inactive", "acknowledged", "alarm_off"})
"""States in which nobody is waited for."""
