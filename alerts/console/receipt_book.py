"""What became of the notifications of each alert, as the console shows it. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from contracts.escalation import Call, Escalated
from contracts.receipt import Receipt

ALERTS_KEPT = 5_000
"""Alerts of which receipts are kept: the newest to be told of."""

STEPS_KEPT = 200
"""Receipts kept of one alert: the newest."""


class ReceiptBook:
    """Receipts and calls by alert id, whichever comes first; repeats change nothing."""

    def __init__(self) -> None:
        self._receipts: OrderedDict[str, dict[tuple[Any, ...], Receipt]] = OrderedDict()
        self._calls: dict[str, dict[str, Escalated]] = {}

    def take_receipt(self, receipt: Receipt) -> None:
        """One record of `alerts.receipts`."""
        steps = self._of(receipt.alert)
        name = (receipt.subscription, receipt.call, receipt.state, receipt.transition, receipt.stage)
        key = (*name, receipt.sequence, receipt.attempt, receipt.detail)
        if key not in steps:
            steps[key] = receipt
            if len(steps) > STEPS_KEPT:
                del steps[next(iter(steps))]

    def take_call(self, call: Call) -> None:
        """One record of `alerts.calls`."""
        self._of(call.id)
        self._calls.setdefault(call.id, {}).setdefault(call.escalated.name, call.escalated)

    def shown(self, *alerts: str) -> list[dict[str, Any]]:
        """The steps of one alert's notifications, oldest first, under all the ids it had: what the system did and what
        receivers said. `role`, `holder`, `step` and `because` are there for those of an escalation."""
        steps = []
        for alert in alerts:
            calls = self._calls.get(alert, {})
            steps += [_shown(receipt, calls.get(receipt.call)) for receipt in self._receipts.get(alert, {}).values()]
        return sorted(steps, key=lambda step: step["t"])

    def _of(self, alert: str) -> dict[tuple[Any, ...], Receipt]:
        steps = self._receipts.setdefault(alert, {})
        self._receipts.move_to_end(alert)
        if len(self._receipts) > ALERTS_KEPT:
            oldest, _ = self._receipts.popitem(last=False)
            self._calls.pop(oldest, None)
        return steps


def _shown(receipt: Receipt, escalated: Escalated | None) -> dict[str, Any]:
    step: dict[str, Any] = {
        "t": receipt.t,
        "subscription": receipt.subscription,
        "channel": receipt.channel,
        "state": receipt.state,
        "attempt": receipt.attempt,
        "detail": receipt.detail,
        "transition": "call" if receipt.call else receipt.transition,
        "call": receipt.call,
    }
    if escalated is not None:
        step |= {
            "chain": escalated.chain,
            "step": escalated.step,
            "role": escalated.role,
            "holder": escalated.holder,
            "because": escalated.because,
        }
    return step
