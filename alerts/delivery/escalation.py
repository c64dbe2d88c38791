"""Whom to call when nobody answers. Pure.

What is known of an alert is a set of records: its transitions, those of its signal, receipts, calls. `due` says what
follows from them at a time, and from nothing else. So it makes no difference in which order the topics were read, what
was read twice, or who read them before a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from alerts.delivery.notification import AnySubscription, is_wanted
from alerts.delivery.receipts import RANK
from alerts.signal_table import ANSWERED
from contracts.alert_signal import SignalTransition
from contracts.condition import Alert
from contracts.configuration import EscalationChain, EscalationStep
from contracts.escalation import Call, Escalated
from contracts.on_call import Shift
from contracts.receipt import Receipt, ReceiptState

KEPT_S = 86_400.0
"""How far back records are read, and how long an alert that is over is remembered."""

REFUSED: frozenset[ReceiptState] = frozenset({"declined", "failed", "expired"})
"""Receipts after which nobody needs to be waited for."""


class Target(NamedTuple):
    """Where a step leads: the subscription, and for a role whoever holds it."""

    subscription: AnySubscription
    role: str = ""
    holder: str = ""


class Exhausted(NamedTuple):
    """A chain that is at its end, for one announcement of an alert."""

    alert: str
    round: int
    chain: str

    @property
    def name(self) -> str:
        return f"{self.alert}-{self.round}"


class _Life:
    """What is known of one alert. `receipts` are by call ("" for the alert itself) and subscription: the highest state,
    and when it was first reached. `owed` is since when a subscription that asked for the alert owes a receipt."""

    def __init__(self) -> None:
        self.alert: Alert | None = None
        self.signal: SignalTransition | None = None
        self.round = 0
        self.round_t = 0.0
        self.escalated_at: float | None = None
        self.owed: dict[str, float] = {}
        self.receipts: dict[tuple[str, str], tuple[ReceiptState, float]] = {}
        self.calls: dict[tuple[int, int], Escalated] = {}

    def take_receipt(self, call: str, subscription: str, state: ReceiptState, t: float) -> None:
        known = self.receipts.get((call, subscription))
        if known is None or (RANK[known[0]], -known[1]) < (RANK[state], -t):
            self.receipts[call, subscription] = state, t

    def take_call(self, call: Escalated) -> None:
        known = self.calls.get((call.round, call.step))
        if known is None or call.t < known.t:
            self.calls[call.round, call.step] = call

    def take_in(self, other: _Life) -> None:
        """Another id under which the same alert was known."""
        if self.alert is None:
            self.alert = other.alert
        if self.signal is None:
            self.signal, self.round, self.round_t = other.signal, other.round, other.round_t
            self.escalated_at = other.escalated_at
        for subscription, t in other.owed.items():
            self.owed[subscription] = min(t, self.owed.get(subscription, t))
        for (call, subscription), (state, t) in other.receipts.items():
            self.take_receipt(call, subscription, state, t)
        for called in other.calls.values():
            self.take_call(called)

    def answered(self) -> bool:
        """Whether somebody has acknowledged it, has put it off or takes care of it, or it is over."""
        accepted = any(state == "accepted" and t >= self.round_t for state, t in self.receipts.values())
        return accepted or (self.signal is not None and self.signal.to in ANSWERED)

    def last_step(self) -> int:
        return max((step for number, step in self.calls if number == self.round), default=0)


class Escalations:
    """Every alert of the last day. `ward_of` gives a patient's ward (None where nobody knows it), `shift_at` who has a
    role at a time."""

    def __init__(
        self,
        chains: Sequence[EscalationChain],
        subscriptions: Sequence[AnySubscription],
        ward_of: Callable[[str], str | None],
        shift_at: Callable[[str, float], Shift | None],
    ) -> None:
        self._chains = chains
        self._subscriptions = {subscription.name: subscription for subscription in subscriptions}
        self._ward_of = ward_of
        self._shift_at = shift_at
        self._lives: dict[str, _Life] = {}
        self._now_called: dict[str, str] = {}

    def take_alert(self, alert: Alert, arrived_at: float) -> None:
        """One record of `alerts`, in their order; `arrived_at` is when Kafka got it (s)."""
        if not alert.patient:
            return
        life = self._life(alert.id)
        life.alert = alert
        if alert.state == "active":
            for name, subscription in self._subscriptions.items():
                asks = subscription.receipt_within_s > 0.0 and not subscription.only_escalated
                if asks and name not in life.owed and is_wanted(subscription, alert, self._ward_of(alert.patient)):
                    life.owed[name] = arrived_at

    def take_signal(self, transition: SignalTransition) -> None:
        """One record of `alerts.journal`, in their order."""
        if transition.replaces and transition.replaces != transition.id:
            self._rename(transition.replaces, transition.id)
        life = self._life(transition.id)
        if life.signal is not None and transition.sequence <= life.signal.sequence:
            return
        life.signal = transition
        effects = transition.effects
        if "escalate" in effects:
            life.escalated_at = transition.t if life.escalated_at is None else life.escalated_at
        elif "annunciate" in effects and "await_acknowledgement" in effects:
            life.round, life.round_t, life.escalated_at = transition.sequence, transition.t, None

    def take_receipt(self, receipt: Receipt) -> None:
        """One record of `alerts.receipts`."""
        if receipt.patient:
            self._life(receipt.alert).take_receipt(receipt.call, receipt.subscription, receipt.state, receipt.t)

    def take_call(self, call: Call) -> None:
        """One record of `alerts.calls`, of this process or another."""
        self._life(call.id).take_call(call.escalated)

    def due(self, now: float) -> list[Call]:
        """The calls to be made at `now` (s), at most one an alert. They are to be taken in once they are written."""
        found = [self._next(alert_id, life, now) for alert_id, life in self._open()]
        return [call for call in found if isinstance(call, Call)]

    def exhausted(self, now: float) -> list[Exhausted]:
        """Alerts whose chain is at its end at `now`, and which nobody has answered."""
        found = [self._next(alert_id, life, now) for alert_id, life in self._open()]
        return [end for end in found if isinstance(end, Exhausted)]

    def waiting(self) -> int:
        """How many alerts have been escalated and are answered by nobody."""
        return sum(life.last_step() > 0 for _, life in self._open())

    def forget(self, now: float) -> None:
        """Leave out alerts that are over and old."""
        for alert_id, life in list(self._lives.items()):
            newest = max(life.alert.t if life.alert else 0.0, life.signal.t if life.signal else 0.0)
            times = [t for _, t in life.receipts.values()]
            if max([newest, *times]) < now - KEPT_S and (life.signal is None or life.answered()):
                del self._lives[alert_id]
        self._now_called = {old: new for old, new in self._now_called.items() if new in self._lives}

    def _life(self, alert_id: str) -> _Life:
        while alert_id in self._now_called:
            alert_id = self._now_called[alert_id]
        return self._lives.setdefault(alert_id, _Life())

    def _rename(self, old: str, new: str) -> None:
        former = self._lives.pop(old, None)
        self._now_called.pop(new, None)
        self._now_called[old] = new
        if former is not None:
            self._life(new).take_in(former)

    def _open(self) -> Iterable[tuple[str, _Life]]:
        for alert_id, life in self._lives.items():
            if life.alert is not None and life.signal is not None and life.round and not life.answered():
                yield alert_id, life

    def _next(self, alert_id: str, life: _Life, now: float) -> Call | Exhausted | None:
        alert = life.alert
        chain = self._chain(life)
        if alert is None or chain is None:
            return None
        step = life.last_step()
        because = self._because(life, chain, step, now)
        if because is None:
            return None
        for number in range(step + 1, len(chain.steps) + 1):
            target = self._target(chain.steps[number - 1], now)
            if target is not None:
                escalated = Escalated(
                    chain=chain.name,
                    round=life.round,
                    step=number,
                    subscription=target.subscription.name,
                    because=because,
                    t=now,
                    role=target.role,
                    holder=target.holder,
                )
                return _call(alert, alert_id, escalated)
            because = f"nobody can be called as {chain.steps[number - 1].role}"
        return Exhausted(alert_id, life.round, chain.name)

    def _chain(self, life: _Life) -> EscalationChain | None:
        """The chain that is under way, else the first that is for such an alert."""
        under_way = life.calls.get((life.round, life.last_step()))
        for chain in self._chains:
            if under_way is not None and chain.name == under_way.chain:
                return chain
        alert, signal = life.alert, life.signal
        if alert is None or signal is None:
            return None
        ward = self._ward_of(alert.patient)
        for chain in self._chains:
            meant = not chain.priorities or signal.priority in chain.priorities
            if meant and (not chain.wards or ward is None or ward in chain.wards):
                return chain
        return None

    def _because(self, life: _Life, chain: EscalationChain, step: int, now: float) -> str | None:
        """Why the step after `step` is to be called now; None where it is not."""
        if step:
            called = life.calls[life.round, step]
            state = life.receipts.get((called.name, called.subscription))
            reason = self._unreceived(called.subscription, state, called.t, now)
            limit_s = chain.steps[min(step, len(chain.steps)) - 1].within_s
            if reason is None and now >= called.t + limit_s:
                reason = f"nobody answered step {step} within {limit_s:g} s"
            return reason
        for (call, subscription), (state_of, t) in sorted(life.receipts.items()):
            if not call and state_of == "declined" and t >= life.round_t:
                return f"{subscription} declined it"
        for subscription, since in sorted(life.owed.items()):
            reason = self._unreceived(subscription, life.receipts.get(("", subscription)), since, now)
            if reason is not None and not self._called_before(life):
                return reason
        return None if life.escalated_at is None else "nobody answered in time"

    @staticmethod
    def _called_before(life: _Life) -> bool:
        """Whether an earlier announcement was escalated: what its notification owed was acted upon then."""
        return any(number < life.round for number, _ in life.calls)

    def _unreceived(
        self, subscription: str, receipt: tuple[ReceiptState, float] | None, since: float, now: float
    ) -> str | None:
        state = receipt[0] if receipt is not None else "queued"
        if state in REFUSED:
            return f"{subscription} declined it" if state == "declined" else f"it did not reach {subscription}"
        known = self._subscriptions.get(subscription)
        limit_s = known.receipt_within_s if known is not None else 0.0
        if limit_s > 0.0 and RANK[state] < RANK["delivered"] and now >= since + limit_s:
            return f"{subscription} gave no receipt within {limit_s:g} s"
        return None

    def _target(self, step: EscalationStep, now: float) -> Target | None:
        """The subscription of a step: that of the account which has the role, else the role's own."""
        if step.subscription:
            known = self._subscriptions.get(step.subscription)
            return None if known is None else Target(known)
        shift = self._shift_at(step.role, now)
        if shift is None:
            return None
        everyone = self._subscriptions.values()
        for subscription in everyone:
            if subscription.account == shift.holder:
                return Target(subscription, step.role, shift.holder)
        for subscription in everyone:
            if subscription.role == step.role:
                return Target(subscription, step.role, shift.holder)
        return None


def _call(alert: Alert, alert_id: str, escalated: Escalated) -> Call:
    fields = {name: getattr(alert, name) for name in alert.__struct_fields__}
    message = f"Escalated, step {escalated.step}, because {escalated.because}: {alert.message}"
    return Call(**(fields | {"id": alert_id, "message": message}), escalated=escalated)


decode_call = msgspec.json.Decoder(Call).decode
