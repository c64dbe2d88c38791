"""What became of an alert's notifications, as it is kept for those who ask."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.console import receipt_book
from alerts.console.receipt_book import ReceiptBook
from contracts.escalation import Call, Escalated
from contracts.receipt import Receipt, ReceiptState
from tests.alerts.delivery_harness import alert


def receipt(state: ReceiptState, t: float, alert_id: str = "a", **fields: object) -> Receipt:
    made = Receipt(
        alert=alert_id,
        patient="p1",
        transition="onset",
        stage="settled",
        sequence=1,
        channel="webhook",
        subscription="paging",
        state=state,
        t=t,
    )
    return msgspec.structs.replace(made, **fields)


def call(alert_id: str = "a", step: int = 1) -> Call:
    escalated = Escalated("high", 1, step, "phone", "nobody answered in time", 50.0, role="nurse", holder="nurse-a")
    fields = {name: getattr(alert(1), name) for name in alert(1).__struct_fields__}
    return Call(**(fields | {"id": alert_id}), escalated=escalated)


def states(book: ReceiptBook, *alerts: str) -> list[str]:
    return [step["state"] for step in book.shown(*alerts)]


def test_the_steps_of_an_alert_are_told_in_order_and_those_of_no_other() -> None:
    book = ReceiptBook()
    for one in (receipt("delivered", 3.0), receipt("queued", 1.0), receipt("sent", 2.0, attempt=1)):
        book.take_receipt(one)
    book.take_receipt(receipt("queued", 1.0, "b"))
    assert states(book, "a") == ["queued", "sent", "delivered"]
    assert states(book, "a", "b") == ["queued", "queued", "sent", "delivered"]
    assert states(book, "unknown") == []


@pytest.mark.parametrize("called_first", [True, False])
def test_a_call_says_who_was_called_and_why_whichever_comes_first(called_first: bool) -> None:
    book = ReceiptBook()
    if called_first:
        book.take_call(call())
    book.take_receipt(receipt("delivered", 51.0, call="1-1", subscription="phone"))
    book.take_receipt(receipt("delivered", 2.0))
    book.take_call(call())
    notification, called = book.shown("a")
    assert "holder" not in notification
    assert {name: called[name] for name in ("transition", "step", "role", "holder", "because")} == {
        "transition": "call",
        "step": 1,
        "role": "nurse",
        "holder": "nurse-a",
        "because": "nobody answered in time",
    }


@given(st.permutations([(state, n) for n, state in enumerate(("queued", "sent", "delivered", "read", "accepted"))]))
def test_order_and_repeats_change_nothing(order: list[tuple[ReceiptState, int]]) -> None:
    book = ReceiptBook()
    for state, t in [*order, *order]:
        book.take_receipt(receipt(state, float(t)))
    assert states(book, "a") == ["queued", "sent", "delivered", "read", "accepted"]


def test_memory_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_book, "ALERTS_KEPT", 3)
    monkeypatch.setattr(receipt_book, "STEPS_KEPT", 4)
    book = ReceiptBook()
    book.take_call(call("a0"))
    for number in range(5):
        book.take_receipt(receipt("queued", 1.0, f"a{number}"))
    assert [len(book.shown(f"a{number}")) for number in range(5)] == [0, 0, 1, 1, 1]
    for attempt in range(6):
        book.take_receipt(receipt("sent", float(attempt), "a4", attempt=attempt))
    assert [step["t"] for step in book.shown("a4")] == [2.0, 3.0, 4.0, 5.0]
    book.take_receipt(receipt("delivered", 9.0, "a0", call="1-1"))
    assert "holder" not in book.shown("a0")[0], "what was forgotten of an alert is forgotten with its calls"
