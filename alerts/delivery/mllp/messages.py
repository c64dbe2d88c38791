"""Alerts as PCD-04 messages, and what comes back. Pure.

Sources: IHE Devices Technical Framework, volume 2 (PCD TF-2, 2019), 3.4 Report Alert [PCD-04] and 3.5 Report Alert
Status [PCD-05]: message ORU^R40^ORU_R40 with the structure of ORU_R01, HL7 v2.6, one OBX a facet in OBX-4; MSH-21
`IHE_PCD_ACM_001`. Codes of the facets: ISO/IEEE 11073-10101. Priority (PH, PM, PL, PN) and kind (SP, ST, SA) are OBX-8
codes of the same profile, 3.4.4.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from hl7apy.core import Message
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_segment

from alerts.delivery.notification import Notification, NotificationKey
from alerts.delivery.receipts import AnswerState
from contracts.condition import Alert, AlertState, ConditionState, Kind, Priority
from contracts.signals import default_registry

PROFILE = "IHE_PCD_ACM_001^IHE PCD^1.3.6.1.4.1.19376.1.6.4.4^ISO"
ALARM = "196616^MDC_EVT_ALARM^MDC"

PRIORITIES: dict[Priority, str] = {"high": "PH", "medium": "PM", "low": "PL", "none": "PN"}
"""Facet 6 and OBX-8: PH, PM, PL, PN are high, medium, low and no alarm."""

KINDS: dict[Kind, str] = {"physiological": "SP", "technical": "ST", "advisory": "SA"}
"""Facet 7 and OBX-8: SP, ST, SA are physiological, technical and advisory."""

STANDING: frozenset[AlertState] = frozenset({"active", "suppressed"})
INACTIVATION: dict[AlertState, str] = {"suppressed": "alarm-off"}
"""IHE ACM alarm inactivation state; a kept back alert's condition stands and its alarm is off."""

PHASES: dict[ConditionState, str] = {"onset": "start", "update": "continue", "clear": "end", "withdrawn": "end"}
"""Facet 3. A withdrawal ends the alert, too; its text says that it should not have been."""

STATUSES: dict[str, AnswerState] = {
    "undeliverable": "failed",
    "delivered": "delivered",
    "read": "read",
    "accepted": "accepted",
    "acceptedpositive": "accepted",
    "acceptednotrelevant": "accepted",
    "acceptedfalse": "accepted",
    "rejected": "declined",
}
"""Words of the dissemination status (PCD-07), which PCD-05 hands on, in lower case. Cancelled and callback say nothing
of whether somebody took the alert, and are left out."""

ACKNOWLEDGING = "AAP"
"""HL7 table 0912: a participant who acknowledged the alert (Alert Acknowledging Provider)."""

_ESCAPES = str.maketrans(
    dict.fromkeys(map(chr, (*range(32), 127)), " ")
    | {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
)
"""Separators as HL7 v2 writes them in text (chapter 2, 2.7); control characters, which frame messages, are blanks."""


class Acknowledgement(NamedTuple):
    """MSA: which message it is about, and whether that was taken. AA and CA take; AE, AR, CE and CR refuse.

    The receiver's text is left out: it may name the patient.
    """

    control_id: str
    code: Literal["AA", "AE", "AR", "CA", "CE", "CR"]

    @property
    def takes(self) -> bool:
        return self.code in {"AA", "CA"}


class Received(NamedTuple):
    """A message that came: its own control id, whom it acknowledges, and the states it reports of that alert.

    `is_status` is true for PCD-05 (ORA^R41), which wants an acknowledgement of its own.
    """

    control_id: str
    acknowledgement: Acknowledgement
    is_status: bool
    states: tuple[AnswerState, ...]


def control_id(key: NotificationKey) -> str:
    """MSH-10, the same in every repeat: 20 characters, as many as older receivers take."""
    return blake2b(str(key).encode(), digest_size=10).hexdigest()


def report_alert(notification: Notification, site: str, now: float) -> bytes:
    """The PCD-04 message in UTF-8; `now` in s since the epoch."""
    alert = notification.alert
    message = Message("ORU_R01", version="2.6")
    header = message.msh
    header.msh_3 = "BIOTWIN"
    header.msh_4 = site
    header.msh_7 = _dtm(now)
    header.msh_9 = "ORU^R40^ORU_R40"
    header.msh_10 = control_id(notification.key)
    header.msh_11 = "P"
    header.msh_15 = "AL"
    header.msh_16 = "NE"
    header.msh_18 = "UNICODE UTF-8"
    header.msh_21 = PROFILE
    result = message.add_group("ORU_R01_PATIENT_RESULT")
    if alert.patient:
        patient = result.add_group("ORU_R01_PATIENT").add_segment("PID")
        patient.pid_3 = f"{_text(alert.patient)}^^^{site}^PI"
        patient.pid_5 = "^^^^^^S"
    order = result.add_group("ORU_R01_ORDER_OBSERVATION")
    request = order.add_segment("OBR")
    request.obr_1 = "1"
    request.obr_3 = f"{alert.id}^BIOTWIN"
    request.obr_4 = ALARM
    request.obr_7 = _dtm(alert.t)
    if alert.transition != "onset":
        request.obr_29 = f"^{alert.id}&BIOTWIN"
    for number, facet in enumerate(_facets(alert), 1):
        _observation(order, number, facet, alert)
    encoded: bytes = message.to_er7().encode()
    return encoded if encoded.endswith(b"\r") else encoded + b"\r"


class _Facet(NamedTuple):
    """One OBX: its number in OBX-4, what OBX-3 names, type and value."""

    facet: int
    code: str
    type: str
    value: str


def _facets(alert: Alert) -> list[_Facet]:
    text = alert.message if alert.stage == "settled" else f"{alert.message} (provisional)"
    facets = [_Facet(1, ALARM, "CWE", f"0^{_text(alert.rule)}^BIOTWIN^^^^^^{_text(text)}")]
    if alert.evidence is not None:
        facets.append(_Facet(2, _channel(alert.evidence.channel), "NM", f"{alert.evidence.value:g}"))
    return [
        *facets,
        _Facet(3, "68481^MDC_ATTR_EVENT_PHASE^MDC", "ST", PHASES[alert.transition]),
        _Facet(4, "68482^MDC_ATTR_ALARM_STATE^MDC", "ST", "active" if alert.state in STANDING else "inactive"),
        _Facet(5, "68483^MDC_ATTR_ALARM_INACTIVATION_STATE^MDC", "ST", INACTIVATION.get(alert.state, "enabled")),
        _Facet(6, "68484^MDC_ATTR_ALARM_PRIORITY^MDC", "ST", PRIORITIES[alert.priority]),
        _Facet(7, "68485^MDC_ATTR_ALERT_TYPE^MDC", "ST", KINDS[alert.kind]),
    ]


def _observation(order: Any, number: int, facet: _Facet, alert: Alert) -> None:
    observation = order.add_group("ORU_R01_OBSERVATION").add_segment("OBX")
    observation.obx_1 = str(number)
    observation.obx_2 = facet.type
    observation.obx_3 = facet.code
    observation.obx_4 = f"1.0.0.0.{facet.facet}"
    observation.obx_5 = facet.value
    if facet.facet == 1:
        for code in (PRIORITIES[alert.priority], KINDS[alert.kind]):
            observation.add_field("obx_8").value = code
    observation.obx_11 = "F" if alert.stage == "settled" else "P"
    observation.obx_14 = _dtm(alert.t)


def _channel(name: str) -> str:
    """OBX-3 of the value that the rule looked at: its MDC code where it is a signal that has one."""
    registry = default_registry()
    mdc = registry[name].mdc if name in registry else None
    return f"{mdc}^{_text(name)}^MDC" if mdc else f"0^{_text(name)}^BIOTWIN"


def understand(data: bytes) -> Received | None:
    """An acknowledgement (ACK or ORA with MSA), or a PCD-05 with the states it reports; None for anything else.

    PCD-05 is ORA^R41^ORA_R41. Its status is read from PRT-3, the reason of each participation; a participant
    with role AAP and no status there has accepted. PRT came with HL7 v2.7, so that segments are parsed one by
    one, whatever version the message claims.
    """
    segments: dict[str, list[Any]] = {}
    try:
        for line in data.decode().replace("\n", "\r").split("\r"):
            if line[:3] in {"MSH", "MSA", "PRT"}:
                segments.setdefault(line[:3], []).append(parse_segment(line, version="2.8"))
        header, msa = segments["MSH"][0], segments["MSA"][0]
        code = str(msa.msa_1.value)
        if code not in {"AA", "AE", "AR", "CA", "CE", "CR"}:
            return None
        said = Acknowledgement(str(msa.msa_2.value), code)  # type: ignore[arg-type]
        is_status = str(header.msh_9.value or "").startswith("ORA^R41") and "PRT" in segments
        states = tuple(state for part in segments.get("PRT", []) if (state := _status(part)) is not None)
        return Received(str(header.msh_10.value or ""), said, is_status, states if is_status else ())
    except (HL7apyException, UnicodeDecodeError, KeyError, IndexError, AttributeError):
        return None


def _status(part: Any) -> AnswerState | None:
    words = str(part.prt_3.value or "").split("^")
    for word in words:
        if word.lower() in STATUSES:
            return STATUSES[word.lower()]
    role = str(part.prt_4.value or "").partition("^")[0]
    return "accepted" if role == ACKNOWLEDGING and not any(words) else None


def acknowledge(received: Received, site: str, now: float) -> bytes:
    """The ACK that a PCD-05 wants: AA."""
    message = Message("ACK", version="2.6")
    message.msh.msh_3 = "BIOTWIN"
    message.msh.msh_4 = site
    message.msh.msh_7 = _dtm(now)
    message.msh.msh_9 = "ACK^R41^ACK"
    message.msh.msh_10 = blake2b(f"ack {received.control_id}".encode(), digest_size=10).hexdigest()
    message.msh.msh_11 = "P"
    message.msa.msa_1 = "AA"
    message.msa.msa_2 = _text(received.control_id)
    encoded: bytes = message.to_er7().encode()
    return encoded if encoded.endswith(b"\r") else encoded + b"\r"


def _text(text: str) -> str:
    """Text whose characters HL7 does not take for separators."""
    return text.translate(_ESCAPES)


def _dtm(t: float) -> str:
    """HL7's DTM in UTC with milliseconds."""
    try:
        moment = datetime.fromtimestamp(t, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return f"{moment:%Y%m%d%H%M%S}.{moment.microsecond // 1000:03d}+0000"
