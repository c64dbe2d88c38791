"""Latest value of each signal with its measured time and quality, and the channels that rules look at.

A channel is a signal's latest *trusted* value, or an estimate made by a model. A value of poor quality is shown, with
its quality, but starts no alarm and teaches no model. The channel remembers the reading it came from; `trusted_quality`
is that reading's.
"""

from __future__ import annotations

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants


@inlined
def observe(
    k: Constants,
    f: Float,
    i: Int,
    signal: int,
    value: float,
    quality: float,
    t: float,
    received_at: float,
    reading: int,
) -> None:
    """Take in one value measured at `t` that arrived at `received_at` (s)."""
    at = k.models[c.LATEST, c.BASE] + signal
    f[at] = value
    f[at + k.signals] = t
    f[at + 2 * k.signals] = quality
    f[at + 4 * k.signals] = received_at
    i[k.models[c.LATEST, c.IDENTITY_BASE] + signal] = reading
    if quality >= k.quality_floor:
        f[at + 3 * k.signals] = quality
        set_channel(k, f, i, signal, value, t, reading)


@inlined
def set_channel(k: Constants, f: Float, i: Int, channel: int, value: float, t: float, reading: int) -> None:
    """Give a channel its value as of `t`."""
    at = k.models[c.CHANNELS, c.BASE] + channel
    f[at] = value
    f[at + k.channels] = t
    i[k.models[c.CHANNELS, c.IDENTITY_BASE] + channel] = reading


@inlined
def unset_channel(k: Constants, f: Float, channel: int) -> None:
    """Say that a channel has no value: rules on it neither open nor clear."""
    at = k.models[c.CHANNELS, c.BASE] + channel
    f[at] = 0.0
    f[at + k.channels] = 0.0


@inlined
def channel_value(k: Constants, f: Float, channel: int) -> float:
    """The channel's value; meaningless unless `channel_fresh`."""
    return f[k.models[c.CHANNELS, c.BASE] + channel]  # type: ignore[no-any-return]


@inlined
def channel_time(k: Constants, f: Float, channel: int) -> float:
    """Measured time (s) of the channel's value, 0 where it has none."""
    return f[k.models[c.CHANNELS, c.BASE] + k.channels + channel]  # type: ignore[no-any-return]


@inlined
def arrived(k: Constants, i: Int, channel: int, reading: int) -> bool:
    """Whether the channel has its value from this reading; False for a channel that does not exist (-1)."""
    return channel >= 0 and i[k.models[c.CHANNELS, c.IDENTITY_BASE] + channel] == reading


@inlined
def channel_fresh(k: Constants, f: Float, channel: int, t: float) -> bool:
    """Whether the channel has a value that is still valid at `t`: an older one counts as missing, never as carried."""
    measured = f[k.models[c.CHANNELS, c.BASE] + k.channels + channel]
    return measured > 0.0 and t - measured <= k.channel[channel, c.VALIDITY_S]  # type: ignore[no-any-return]
