"""The pure part of delivery: who is told, when again, what stands, what a message says."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hl7apy.parser import parse_message
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.delivery.email.digest import WARNING, digest
from alerts.delivery.mllp.messages import KINDS, PHASES, PRIORITIES, control_id, report_alert, understand
from alerts.delivery.notification import Notification, is_expired, is_wanted
from alerts.delivery.receipts import RANK, decode_reference, encode_reference, receipt, reference_of, standing
from alerts.delivery.retry import LONGEST_ASKED_S, Backoff
from alerts.delivery.webhook.request import SIGNATURE, asked_s, headers, signature
from alerts.delivery.window import Window
from contracts.condition import Alert, Evidence
from contracts.configuration import EmailSubscription, WebhookSubscription
from contracts.receipt import ReceiptState
from deploy.configuration import ConfigurationError, load_configuration, shown
from tests.alerts.delivery_harness import alert, value_of

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "verify_webhook.py"
SECRET = "a secret of some length"

TEXT = st.text(max_size=30)
ALERTS = st.builds(
    Alert,
    id=st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    patient=TEXT,
    rule=TEXT,
    kind=st.sampled_from(sorted(KINDS)),
    priority=st.sampled_from(sorted(PRIORITIES)),
    state=st.sampled_from(["active", "cleared", "withdrawn"]),
    transition=st.sampled_from(sorted(PHASES)),
    stage=st.sampled_from(["provisional", "settled"]),
    t=st.floats(0, 4e9),
    onset_t=st.floats(0, 4e9),
    sequence=st.integers(1, 1000),
    message=TEXT,
    source=TEXT,
)


def notification(one: Alert | None = None, arrived_at: float = 0.0) -> Notification:
    one = one or alert(1)
    return Notification(one, value_of(one), arrived_at)


def webhook(**fields: Any) -> WebhookSubscription:
    return WebhookSubscription(name="one", url="https://receiver.example/alerts", secret=SECRET, **fields)


@pytest.mark.parametrize(
    ("fields", "ward", "wanted"),
    [
        ({}, None, True),
        ({"priorities": ["high", "medium"]}, None, True),
        ({"priorities": ["low"]}, None, False),
        ({"rules": ["spo2-below-85"]}, None, True),
        ({"rules": ["another"]}, None, False),
        ({"patients": ["p1", "p2"]}, None, True),
        ({"patients": ["p2"]}, None, False),
        ({"wards": ["North"]}, "North", True),
        ({"wards": ["North"]}, "South", False),
        ({"wards": ["North"]}, None, True),
        ({"wards": ["North"], "priorities": ["low"]}, "North", False),
    ],
)
def test_a_subscription_gets_what_it_asks_for(fields: dict[str, Any], ward: str | None, wanted: bool) -> None:
    assert is_wanted(webhook(**fields), alert(1), ward) is wanted


def test_what_is_not_settled_can_be_left_out() -> None:
    early = msgspec.structs.replace(alert(1), stage="provisional")
    assert is_wanted(webhook(), early, None)
    assert not is_wanted(webhook(provisional=False), early, None)
    assert is_wanted(webhook(provisional=False), alert(1), None)


@given(ALERTS, st.lists(st.sampled_from(sorted(PRIORITIES))), st.lists(TEXT), st.lists(TEXT), st.none() | TEXT)
def test_every_further_filter_only_takes_away(
    one: Alert, priorities: list[Any], rules: list[str], wards: list[str], ward: str | None
) -> None:
    filtered = webhook(priorities=priorities, rules=rules, wards=wards)
    assert is_wanted(webhook(), one, ward)
    parts = [webhook(priorities=priorities), webhook(rules=rules), webhook(wards=wards)]
    assert is_wanted(filtered, one, ward) == all(is_wanted(part, one, ward) for part in parts)


def test_patience_counts_from_arrival_and_zero_is_endless() -> None:
    assert not is_expired(webhook(expire_after_s=60.0), notification(arrived_at=100.0), 160.0)
    assert is_expired(webhook(expire_after_s=60.0), notification(arrived_at=100.0), 160.1)
    assert not is_expired(webhook(expire_after_s=0.0), notification(arrived_at=0.0), 1e9)


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_waits_are_bounded_and_never_shorter_than_asked(failures: int, chance: float, asked: float | None) -> None:
    delay = Backoff(0.5, 30.0).delay_s(failures, chance, asked)
    assert 0.25 <= delay <= max(30.0, LONGEST_ASKED_S)
    if asked is None:
        assert delay <= 30.0
        assert delay >= min(0.5 * 2.0 ** min(failures - 1, 10), 30.0) / 2
    else:
        assert delay >= min(asked, LONGEST_ASKED_S)


@given(st.lists(st.integers(0, 50), unique=True, min_size=1).map(sorted), st.randoms())
def test_a_position_never_passes_what_is_open(offsets: list[int], chance: Any) -> None:
    window = Window()
    assert window.position is None
    for offset in offsets:
        window.add(offset)
    still_open = set(offsets)
    for offset in chance.sample(offsets, len(offsets)):
        assert window.position == min(still_open)
        window.done(offset)
        still_open.discard(offset)
    assert window.position == offsets[-1] + 1


def test_a_partition_that_is_read_again_is_committed_no_further_than_it_is_through() -> None:
    window = Window()
    window.add(100)
    window.add(50)
    assert window.position == 50
    window.done(50)
    assert window.position == 100


STATES = st.lists(st.sampled_from(sorted(RANK)))


@given(STATES, STATES, st.randoms())
def test_where_a_notification_stands_needs_no_order_and_no_repeats(
    first: list[ReceiptState], second: list[ReceiptState], chance: Any
) -> None:
    both = [*first, *second, *first]
    whole = standing(both)
    chance.shuffle(both)
    assert standing(both) == whole == standing(set(both))
    parts = [state for state in (standing(first), standing(second)) if state is not None]
    assert standing(parts) == whole


def test_states_rise_from_queued_to_accepted() -> None:
    assert standing([]) is None
    assert standing(["queued", "sent", "queued"]) == "sent"
    assert standing(["sent", "expired", "delivered"]) == "delivered"
    assert standing(["delivered", "read", "declined"]) == "declined"
    assert standing(["declined", "accepted", "read"]) == "accepted"


@pytest.mark.parametrize("wrong", [{"patient": "Mrs Smith"}, {"alert": ""}, {"sequence": -1}, {"stage": "final"}])
def test_a_reference_takes_no_text_for_a_pseudonym(wrong: dict[str, Any]) -> None:
    data = msgspec.json.encode(msgspec.to_builtins(reference_of(notification())) | wrong)
    with pytest.raises(msgspec.DecodeError):
        decode_reference(data)


@given(ALERTS, st.from_regex(r"[A-Za-z0-9._-]{0,64}", fullmatch=True))
def test_a_reference_comes_back_as_it_went(one: Alert, patient: str) -> None:
    one = msgspec.structs.replace(one, patient=patient)
    about = reference_of(notification(one))
    assert decode_reference(encode_reference(about)) == about
    written = receipt(webhook(), about, "sent", 1.0, 1, "a\nb" + "x" * 1000)
    assert (written.alert, written.patient, written.channel) == (one.id, one.patient, "webhook")
    assert len(written.detail) <= 200
    assert "\n" not in written.detail


def test_five_lines_verify_a_signature() -> None:
    source = EXAMPLE.read_text()
    page = (EXAMPLE.parents[1] / "delivery-channels.md").read_text()
    body = source[source.index("    fields") :]
    assert len(body.splitlines()) == 5
    assert body in page
    is_genuine: Callable[[str, str, bytes], bool] = runpy.run_path(str(EXAMPLE))["is_genuine"]
    now, value = int(time.time()), value_of(alert(1))
    assert is_genuine(SECRET, signature(SECRET, now, value), value)
    assert not is_genuine(SECRET, signature(SECRET, now, value), value + b" ")
    assert not is_genuine(SECRET, signature("another secret, as long", now, value), value)
    assert not is_genuine(SECRET, signature(SECRET, now - 301, value), value)


def test_a_repeat_differs_in_its_signature_alone() -> None:
    first = headers(notification(), "site", SECRET, 1000.0)
    again = headers(notification(), "site", SECRET, 2000.0)
    assert first.pop(SIGNATURE) != again.pop(SIGNATURE)
    assert first == again
    assert first["Idempotency-Key"] == first["ce-id"] == f"{1:016x}-onset-settled-1"
    assert first["ce-time"] == "1970-01-01T00:01:41.000Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_takes_seconds_and_dates(text: str | None, seconds: float | None) -> None:
    assert asked_s(text, 100.0) == seconds


def test_a_mail_says_what_it_is_and_names_nobody() -> None:
    alerts = [alert(2, "p2", "low"), alert(1, "p1\r\nBcc: x@y.example", "high"), alert(3, "", "none")]
    message = digest([notification(one) for one in alerts], "site", "biotwin@h.example", ["a@h.example"])
    text = message.get_content()
    assert message["Subject"] == "[BioTwin site] 3 alerts, highest priority high"
    assert text.count(WARNING) == 2
    assert text.index("HIGH priority") < text.index("LOW priority") < text.index("NONE priority")
    assert "Patient p1 Bcc: x@y.example: SpO2 is 82 %, below 85 %.\nRule spo2-below-85 (a book)" in text
    assert "The system: SpO2" in text
    same = digest([notification(one) for one in reversed(alerts)], "site", "biotwin@h.example", ["a@h.example"])
    assert same["Message-ID"] == message["Message-ID"]


def facets(message: bytes) -> dict[str, Any]:
    parsed = parse_message(message.decode(), find_groups=False)
    return {obx.obx_4.value.rpartition(".")[2]: obx for obx in parsed.children if obx.name == "OBX"}


@pytest.mark.parametrize(
    ("fields", "phase", "state"),
    [
        ({"transition": "onset", "state": "active"}, "start", "active"),
        ({"transition": "update", "state": "active"}, "continue", "active"),
        ({"transition": "clear", "state": "cleared"}, "end", "inactive"),
        ({"transition": "withdrawn", "state": "withdrawn"}, "end", "inactive"),
    ],
)
def test_an_alert_becomes_a_report_with_its_facets(fields: dict[str, Any], phase: str, state: str) -> None:
    evidence = Evidence("spo2", 82.0, 85.0, "rule", [], "m", "c")
    one = msgspec.structs.replace(alert(1), evidence=evidence, **fields)
    message = report_alert(notification(one), "site", 0.0)
    found = facets(message)
    assert found["1"].obx_3.value == "196616^MDC_EVT_ALARM^MDC"
    assert [code.value for code in found["1"].obx_8] == ["PH", "SP"]
    assert found["2"].obx_3.value == "150456^spo2^MDC"
    assert found["2"].obx_5.value == "82"
    assert [found[number].obx_5.value for number in "34567"] == [phase, state, "enabled", "PH", "SP"]
    header = parse_message(message.decode(), find_groups=False).msh
    assert header.msh_9.value == "ORU^R40^ORU_R40"
    assert header.msh_10.value == control_id(notification(one).key)
    assert header.msh_21.value.startswith("IHE_PCD_ACM_001^")


def test_an_alert_that_joined_another_is_reported_as_standing_with_its_alarm_off() -> None:
    one = msgspec.structs.replace(
        alert(1), state="suppressed", suppressed_by="spo2-below-usual", group_lead=f"{2:016x}"
    )
    found = facets(report_alert(notification(one), "site", 0.0))
    assert [found[number].obx_5.value for number in "3456"] == ["start", "active", "alarm-off", "PH"]


@settings(max_examples=50)
@given(ALERTS)
def test_no_text_breaks_a_report(one: Alert) -> None:
    message = report_alert(notification(one), "site", 0.0)
    lines = message.decode().removesuffix("\r").split("\r")
    assert [line[:3] for line in lines] == ["MSH", *["PID"] * bool(one.patient), "OBR", *["OBX"] * 6]
    assert {line.count("|") for line in lines if line.startswith("OBX|1|")} == {14}
    assert b"\x0b" not in message
    assert b"\x1c" not in message


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("PRT|1|UC|Read|AAP^^HL70912", ("read",)),
        ("PRT|1|UC|^AcceptedPositive|AAP^^HL70912\rPRT|2|UC|Rejected|AAP", ("accepted", "declined")),
        ("PRT|1|UC||AAP^^HL70912", ("accepted",)),
        ("PRT|1|UC|Undeliverable|AAP", ("failed",)),
        ("PRT|1|UC|CallbackStart|AAP", ()),
    ],
)
def test_a_status_report_tells_what_became_of_an_alert(text: str, states: tuple[str, ...]) -> None:
    message = f"MSH|^~\\&|AM||AR||20260101||ORA^R41^ORA_R41|77|P|2.6\rMSA|AA|abc\r{text}\r".encode()
    received = understand(message)
    assert received is not None
    assert received.is_status
    assert received.states == states
    assert received.acknowledgement.control_id == "abc"


NEARLY = TEXT.map(lambda text: f"MSH|^~\\&|{text}\rMSA|AA|{text}".encode())


@settings(max_examples=50)
@given(st.binary(max_size=200) | TEXT.map(str.encode) | NEARLY)
def test_what_comes_over_mllp_may_be_anything(data: bytes) -> None:
    understand(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('channel = "fax"', "Invalid value 'fax' - at `$.subscriptions[0].channel`"),
        ('channel = "webhook"\nurl = "https://h/"', "missing required field `secret` - at `$.subscriptions[0]`"),
        ('channel = "webhook"\nurl = "http://h/"\nsecret = "0123456789abcdef"', "must be https"),
        ('channel = "webhook"\nurl = "https://u:p@h/"\nsecret = "0123456789abcdef"', "no user name or password"),
        ('channel = "email"\nto = ["nobody"]', "at `$.subscriptions[0].to[0]`"),
        ('channel = "mllp"\nhost = "h"\nport = 1\nprioritys = []', "unknown field `prioritys`"),
        ('channel = "mllp"\nhost = "h"\nport = 1\npriorities = ["urgent"]', "Invalid enum value 'urgent'"),
    ],
)
def test_a_wrong_subscription_is_told_where_it_stands(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text(f'[[subscriptions]]\nname = "one"\n{text}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file, environment={})
    assert str(caught.value).startswith(str(file))
    assert said in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_two_subscriptions_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[[subscriptions]]\nname = "a"\nchannel = "mllp"\nhost = "h"\nport = 1\n' * 2)
    with pytest.raises(ConfigurationError, match="two subscriptions are called a"):
        load_configuration(file, environment={})


def test_secrets_of_subscriptions_are_masked_and_never_repeated() -> None:
    one = msgspec.to_builtins(webhook())
    text = msgspec.json.encode([one]).decode()
    configuration = load_configuration(environment={"BIOTWIN_SUBSCRIPTIONS": text, "BIOTWIN_SMTP__PASSWORD": "hunter2"})
    assert configuration.subscriptions == [webhook()]
    said = str(shown(configuration))
    assert SECRET not in said
    assert "hunter2" not in said
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(environment={"BIOTWIN_SUBSCRIPTIONS": text.replace("https", "gopher")})
    assert SECRET not in str(caught.value)


def test_a_password_is_not_sent_in_the_clear(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[smtp]\ntls = "none"\npassword = "hunter2"\n')
    with pytest.raises(ConfigurationError, match="unencrypted"):
        load_configuration(file, environment={})


def test_recipients_are_a_list() -> None:
    assert EmailSubscription(name="one", to=["a@h.example"]).interval_s == 300.0
