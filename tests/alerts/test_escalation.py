"""Whom an escalation calls, when, and that neither order nor restarts make a difference to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.escalation import Escalations, Exhausted, decode_call
from alerts.delivery.notification import Notification, is_wanted
from alerts.delivery.receipts import decode_reference, encode_reference, reference_of
from alerts.delivery.system_alarms import CONSOLE_LOST, SUBSCRIBER_LOST, SystemAlarms, Wanted
from contracts.alert_signal import SignalEffect, SignalTransition
from contracts.condition import Alert
from contracts.configuration import EscalationChain, EscalationStep, WebhookSubscription
from contracts.escalation import Call
from contracts.on_call import Shift
from contracts.receipt import Receipt
from tests.alerts.delivery_harness import alert

SECRET = "a secret of some length"


def hook(name: str, **fields: Any) -> WebhookSubscription:
    return WebhookSubscription(name=name, url="https://h.example/", secret=SECRET, **fields)


SUBSCRIPTIONS = [
    hook("desk", receipt_within_s=10.0),
    hook("nurse-phone", role="nurse", only_escalated=True, receipt_within_s=5.0),
    hook("dr-b-pager", account="dr-b", only_escalated=True),
    hook("security", only_escalated=True),
]
CHAIN = EscalationChain(
    name="high",
    steps=[
        EscalationStep(role="nurse", within_s=60.0),
        EscalationStep(role="physician", within_s=90.0),
        EscalationStep(subscription="security", within_s=30.0),
    ],
)
ALERT = alert(1)
EVERYBODY = {"nurse": "nurse-a", "physician": "dr-b"}


def signal(sequence: int, t: float, event: str, to: str, *effects: SignalEffect, **fields: Any) -> SignalTransition:
    values = {
        "id": ALERT.id,
        "patient": "p1",
        "rule": ALERT.rule,
        "kind": "physiological",
        "priority": "high",
        "from": "on",
        "event": event,
        "to": to,
        "effects": effects,
        "t": t,
        "sequence": sequence,
    }
    return msgspec.convert(values | fields, SignalTransition)


ANNOUNCED = signal(1, 100.0, "condition_onset", "on", "annunciate", "await_acknowledgement")
ESCALATED = signal(2, 160.0, "escalation_due", "on", "escalate", "await_acknowledgement")
ACKNOWLEDGED = signal(3, 170.0, "acknowledge", "acknowledged", "silence", "remind_later", actor="nurse-a")


def receipt(subscription: str, state: str, t: float, call: str = "") -> Receipt:
    return Receipt(ALERT.id, "p1", "onset", "settled", 1, "webhook", subscription, state, t, call=call)  # type: ignore[arg-type]


DELIVERED = receipt("desk", "delivered", 100.5)


def escalations(on_call: dict[str, str] = EVERYBODY, wards: dict[str, str] | None = None) -> Escalations:
    def shift_at(role: str, _t: float) -> Shift | None:
        who = on_call.get(role)
        return Shift(who, 0.0, 0.0, "charge", f"c-{role}", "take_role") if who else None

    return Escalations([CHAIN], SUBSCRIPTIONS, (wards or {}).get, shift_at)


Record = Alert | SignalTransition | Receipt


def take(known: Escalations, record: Record) -> None:
    match record:
        case Call():
            known.take_call(record)
        case Alert():
            known.take_alert(record, 100.1)
        case SignalTransition():
            known.take_signal(record)
        case Receipt():
            known.take_receipt(record)


def told(records: Sequence[Record], **options: Any) -> Escalations:
    known = escalations(**options)
    for record in records:
        take(known, record)
    return known


def called(known: Escalations, now: float) -> tuple[int, str, str] | None:
    calls = known.due(now)
    return (calls[0].escalated.step, calls[0].escalated.subscription, calls[0].escalated.because) if calls else None


def test_nobody_answers_and_the_chain_is_called_to_its_end() -> None:
    known = told([ALERT, ANNOUNCED, DELIVERED])
    assert known.due(159.9) == []
    known.take_signal(ESCALATED)
    (first,) = known.due(160.2)
    assert first.escalated.role == "nurse"
    assert first.escalated.holder == "nurse-a"
    assert first.escalated.subscription == "nurse-phone"
    assert first.message == "Escalated, step 1, because nobody answered in time: SpO2 is 82 %, below 85 %."
    known.take_call(first)
    known.take_receipt(receipt("nurse-phone", "delivered", 160.5, "1-1"))
    assert known.due(220.1) == []
    (second,) = known.due(220.2)
    assert (second.escalated.step, second.escalated.subscription) == (2, "dr-b-pager")
    assert second.escalated.because == "nobody answered step 1 within 60 s"
    known.take_call(second)
    (third,) = known.due(310.3)
    assert (third.escalated.step, third.escalated.subscription) == (3, "security")
    known.take_call(third)
    assert known.exhausted(340.2) == []
    assert known.exhausted(340.4) == [Exhausted(ALERT.id, 1, "high")]
    assert known.due(9999.0) == []
    known.take_signal(ACKNOWLEDGED)
    assert known.exhausted(9999.0) == []


def test_no_receipt_in_time_and_a_refusal_escalate_at_once() -> None:
    without = told([ALERT, ANNOUNCED, receipt("desk", "sent", 100.5)])
    assert called(without, 110.0) is None
    assert called(without, 110.2) == (1, "nurse-phone", "desk gave no receipt within 10 s")
    declined = told([ALERT, ANNOUNCED, DELIVERED, receipt("desk", "declined", 101.0)])
    assert called(declined, 101.1) == (1, "nurse-phone", "desk declined it")
    expired = told([ALERT, ANNOUNCED, receipt("desk", "expired", 101.0)])
    assert called(expired, 101.1) == (1, "nurse-phone", "it did not reach desk")
    accepted = told([ALERT, ANNOUNCED, receipt("desk", "declined", 101.0), receipt("desk", "accepted", 102.0)])
    assert called(accepted, 999.0) is None


def test_a_call_that_is_declined_or_not_received_goes_on_to_the_next() -> None:
    known = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED])
    (first,) = known.due(160.0)
    known.take_call(first)
    assert called(known, 164.9) is None
    assert called(known, 165.0) == (2, "dr-b-pager", "nurse-phone gave no receipt within 5 s")
    known.take_receipt(receipt("nurse-phone", "read", 161.0, "1-1"))
    assert called(known, 165.0) is None
    known.take_receipt(receipt("nurse-phone", "declined", 162.0, "1-1"))
    assert called(known, 162.1) == (2, "dr-b-pager", "nurse-phone declined it")
    known.take_receipt(receipt("nurse-phone", "accepted", 163.0, "1-1"))
    assert called(known, 999.0) is None


def test_a_role_that_nobody_has_is_passed_over() -> None:
    known = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED], on_call={"physician": "dr-b"})
    assert called(known, 160.0) == (2, "dr-b-pager", "nobody can be called as nurse")
    nobody = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED], on_call={})
    assert called(nobody, 160.0) == (3, "security", "nobody can be called as physician")


def test_a_reminder_begins_the_chain_anew() -> None:
    reminded = signal(4, 400.0, "re_alarm_due", "on", "annunciate", "await_acknowledgement")
    again = signal(5, 460.0, "escalation_due", "on", "escalate", "await_acknowledgement")
    known = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED])
    known.take_call(known.due(160.0)[0])
    known.take_receipt(receipt("nurse-phone", "accepted", 161.0, "1-1"))
    for record in (ACKNOWLEDGED, reminded):
        known.take_signal(record)
    assert known.due(459.0) == []
    known.take_signal(again)
    (call,) = known.due(460.0)
    assert call.escalated.name == "4-1"


def test_another_ward_or_priority_has_no_chain() -> None:
    medium = told([msgspec.structs.replace(ALERT, priority="medium"), signal(1, 100.0, "condition_onset", "on",
        "annunciate", "await_acknowledgement", priority="medium"), receipt("desk", "declined", 101.0)])  # fmt: skip
    assert medium.due(999.0) == []


def test_settling_that_renames_an_alert_goes_on_with_its_calls() -> None:
    known = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED])
    (first,) = known.due(160.0)
    known.take_call(first)
    renamed = signal(3, 161.0, "condition_renamed", "on", "rename", id="other", replaces=ALERT.id)
    known.take_signal(renamed)
    known.take_alert(msgspec.structs.replace(ALERT, id="other"), 161.0)
    known.take_receipt(receipt("nurse-phone", "delivered", 161.2, "1-1"))  # about the former id
    assert known.due(219.0) == []
    (second,) = known.due(220.0)
    assert (second.id, second.escalated.name) == ("other", "1-2")


def test_a_call_has_a_name_of_its_own_in_receipts_and_goes_to_its_step_alone() -> None:
    (call,) = told([ALERT, ANNOUNCED, DELIVERED, ESCALATED]).due(160.0)
    assert decode_call(msgspec.json.encode(call)) == call
    notification = Notification(call, b"", 0.0)
    assert str(notification.key) == f"{ALERT.id}-call-1-1"
    about = decode_reference(encode_reference(reference_of(notification)))
    assert (about.alert, about.call) == (ALERT.id, "1-1")
    assert [one.name for one in SUBSCRIPTIONS if is_wanted(one, call, None)] == ["nurse-phone"]
    assert [one.name for one in SUBSCRIPTIONS if is_wanted(one, ALERT, None)] == ["desk"]


# Laws

STATES = ("queued", "sent", "delivered", "read", "declined", "failed", "expired", "accepted")
RECEIPTS = st.lists(
    st.builds(
        receipt,
        st.sampled_from(["desk", "nurse-phone", "dr-b-pager", "security"]),
        st.sampled_from(STATES),
        st.integers(100, 400).map(float),
        st.sampled_from(["", "1-1", "1-2", "1-3"]),
    ),
    max_size=8,
)
SIGNALS = st.integers(0, 3).map(lambda count: [ANNOUNCED, ESCALATED, ACKNOWLEDGED][:count])


def interleaved(topics: list[list[Record]], chance: random.Random) -> list[Record]:
    """Records of several topics in some order, each topic in its own, some read twice from an earlier point."""
    rest = [[*topic[: chance.randrange(len(topic) + 1)], *topic] if topic else [] for topic in topics]
    order: list[Record] = []
    while any(rest):
        topic = chance.choice([one for one in rest if one])
        order.append(topic.pop(0))
    return order


@given(SIGNALS, RECEIPTS, st.integers(0, 500), st.randoms(use_true_random=False))
def test_order_and_repeats_make_no_difference(
    signals: list[Record], receipts: list[Record], at: int, chance: random.Random
) -> None:
    now = 100.0 + at
    plain = told([ALERT, *signals, *receipts])
    calls: list[Record] = []
    for _ in range(3):
        for call in plain.due(now):
            plain.take_call(call)
            calls.append(call)
    other = told(interleaved([[ALERT], signals, receipts, calls], chance))
    for t in (now, now + 30.0, now + 1000.0):
        assert other.due(t) == plain.due(t)
        assert other.exhausted(t) == plain.exhausted(t)


@given(st.lists(RECEIPTS, min_size=12, max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 11))
def test_every_alert_is_answered_or_called_to_the_end_whatever_dies(
    arriving: list[list[Receipt]], deaths: set[int], acknowledged_at: int
) -> None:
    """A life in steps of 40 s; in some of them the process dies, with or without having written its call."""
    log: list[Record] = [ALERT, ANNOUNCED, DELIVERED]
    known = told(log)
    for number, receipts in enumerate(arriving):
        now = 160.0 + 40.0 * number
        fresh: list[Record] = [*receipts, *([ESCALATED] if number == 0 else [])]
        fresh += [msgspec.structs.replace(ACKNOWLEDGED, t=now)] if number == acknowledged_at > 6 else []
        log += fresh
        for record in fresh:
            take(known, record)
        for call in known.due(now):
            log.append(call)
            if number not in deaths:
                known.take_call(call)
        if number in deaths:
            known = told(log)
    now = 2000.0
    while calls := told(log).due(now):
        log += calls
        now += 100.0
    calls_made = [record for record in log if isinstance(record, Call)]
    names = [call.escalated.name for call in calls_made]
    assert len(names) == len(set(names))
    assert [call.escalated.step for call in calls_made] == list(range(1, len(names) + 1))
    accepted = any(isinstance(record, Receipt) and record.state == "accepted" for record in log)
    answered = accepted or any(isinstance(record, SignalTransition) and record.sequence == 3 for record in log)
    assert answered or told(log).exhausted(now + 1000.0) == [Exhausted(ALERT.id, 1, "high")]


def lost(subject: str = "3-west", rule: str = CONSOLE_LOST) -> dict[tuple[str, str], Wanted]:
    return {(rule, subject): Wanted(0, "The console 3-west is away.")}


def after(alarms: SystemAlarms, *steps: Callable[[SystemAlarms], list[Any]]) -> list[str]:
    """The transitions that follow; each is taken in as it would come back from the topic."""
    found = []
    for step in steps:
        for written in step(alarms):
            alarms.take(written.alert, written.partition)
            found.append(written.alert.transition)
    return found


def test_an_alarm_about_delivery_stands_as_long_as_its_cause_and_across_restarts() -> None:
    alarms = SystemAlarms()
    (onset,) = alarms.changes(lost(), (), 100.0)
    assert (onset.alert.patient, onset.alert.kind, onset.alert.state) == ("", "technical", "active")
    restarted = SystemAlarms()
    restarted.take(onset.alert, 0)
    assert restarted.changes(lost(), (), 101.0) == []
    assert restarted.changes({}, [(CONSOLE_LOST, "3-west")], 101.0) == []  # not known yet: leave it
    assert after(restarted, lambda one: one.changes({}, (), 102.0), lambda one: one.changes({}, (), 103.0)) == ["clear"]
    again = [lambda one: one.changes(lost(), (), 200.0), lambda one: one.changes(lost(), (), 200.0 + 7 * 3600.0)]
    assert after(restarted, *again) == ["onset", "update"]
    assert len(restarted.changes(lost(rule=SUBSCRIBER_LOST), (), 300.0)) == 2
