"""BioTwin's own payload.

`{"session": "b3f1", "seq": 1812, "t": 1763900000.250, "v": {"heart_rate": 72, "spo2": 97}, "q": {"spo2": 0.9}}`

`session` is chosen at each boot of the device, `seq` counts on from there; `t` in s since the epoch; `v` maps signal to
value. Optional: `q`, quality in 0..1 by signal; `hz`, sampling rate of a waveform; `u`, UCUM unit by signal where it is
not the registry's. On a gateway's batch topic each reading also names its `device` and `stream`; elsewhere these two
may stand too and must then agree with the topic. Fields that are not named here are ignored.
"""

from __future__ import annotations

from typing import Any

from contracts.quarantine import Reason
from ingest.draft import Context, Draft, Refusal, shown


def recognise(item: dict[str, Any]) -> bool:
    """An object with the values, the session or the counter of a reading."""
    return "v" in item or "seq" in item or "session" in item


def parse(items: list[Any], context: Context) -> list[Draft]:
    """One draft per item."""
    return [_draft(item, context) for item in items]


def _draft(item: Any, context: Context) -> Draft:
    if type(item) is not dict:
        return Draft(item, refusal=Refusal(Reason.BAD_FIELD, f"a reading is an object, not {shown(item)}"))
    get = item.get
    device = get("device", context.device)
    stream = get("stream", context.stream)
    if context.device is not None and (device != context.device or stream != context.stream):
        refusal = Refusal(Reason.BAD_FIELD, f"reading of {shown(device)} on another device's or stream's topic")
        return Draft(item, refusal=refusal)
    for name in ("session", "seq"):
        if item.get(name) is None:
            return Draft(item, device, stream, refusal=Refusal(Reason.BAD_FIELD, f"{name} is missing"))
    return Draft(
        item,
        device,
        stream,
        item["session"],
        item["seq"],
        get("t"),
        get("v"),
        get("q"),
        get("hz"),
        get("hashed"),
        get("u"),
    )
