"""Who is on call: shifts begin, end and are handed over, in whatever order the commands come."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.on_call import OnCallTable, changed, ends_at, shift_at
from contracts.command import HandOverRole, ReleaseRole, RoleCommand, TakeRole
from contracts.on_call import OnCall
from contracts.topics import ON_CALL
from deploy.api.commands import CommandError, build, key_of
from ingest.bindings import BindingTable
from stream.processor import OutputRecord
from stream.router import RouterProcessor


class Sent(NamedTuple):
    offset: int
    key: bytes
    value: bytes
    timestamp: int


ROLE = "ward-nurse-3-west"


def take(number: int, t: float, author: str = "nurse-a", until: float | None = None) -> TakeRole:
    return TakeRole(id=f"c{number}", t=t, author=author, role=ROLE, until=until)


def holder(on_call: OnCall, t: float) -> str:
    shift = shift_at(on_call, t)
    return shift.holder if shift else ""


def after(*commands: RoleCommand) -> OnCall:
    on_call = OnCall(ROLE)
    for command in commands:
        on_call = changed(on_call, command, command.t)
    return on_call


def test_a_role_is_taken_handed_over_and_released() -> None:
    on_call = after(
        take(1, 100.0),
        HandOverRole(id="c2", t=200.0, author="nurse-a", role=ROLE, to="nurse-b"),
        ReleaseRole(id="c3", t=300.0, author="charge-nurse", role=ROLE),
    )
    assert [holder(on_call, t) for t in (99.9, 100.0, 199.9, 200.0, 299.9, 300.0)] == [
        *("", "nurse-a", "nurse-a", "nurse-b", "nurse-b", ""),
    ]
    assert [shift.author for shift in on_call.shifts] == ["nurse-a", "nurse-a", "charge-nurse"]
    assert ends_at(on_call, on_call.shifts[0]) == 200.0
    assert ends_at(on_call, on_call.shifts[2]) is None


def test_a_roster_entered_ahead_ends_an_open_shift() -> None:
    tonight = HandOverRole(id="c1", t=2000.0, author="charge", role=ROLE, to="nurse-night", until=3000.0)
    on_call = after(tonight, take(2, 1000.0))
    assert [holder(on_call, t) for t in (1500.0, 2500.0, 3000.0)] == ["nurse-a", "nurse-night", ""]


COMMANDS = st.lists(
    st.builds(
        TakeRole,
        id=st.uuids().map(str),
        t=st.integers(0, 5).map(float),
        author=st.sampled_from(["a", "b", "c"]),
        role=st.just(ROLE),
        until=st.none() | st.integers(6, 9).map(float),
    )
    | st.builds(
        ReleaseRole,
        id=st.uuids().map(str),
        t=st.integers(0, 5).map(float),
        author=st.just("a"),
        role=st.just(ROLE),
    ),
    max_size=6,
    unique_by=lambda command: command.id,
)


@given(COMMANDS, st.randoms())
def test_order_and_repeats_change_nothing(commands: list[RoleCommand], chance: object) -> None:
    shuffled = [*commands, *commands]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    table, other = OnCallTable(), OnCallTable()
    for command in commands:
        table.apply(command, 1.0)
    for command in shuffled:
        other.apply(command, 1.0)
    assert table.roles() == other.roles()


@given(COMMANDS, st.integers(0, 6))
def test_a_router_that_starts_anew_goes_on_where_the_last_one_stood(commands: list[RoleCommand], cut: int) -> None:
    records = [Sent(n, ROLE.encode(), msgspec.json.encode(command), 5_000) for n, command in enumerate(commands)]
    whole = RouterProcessor(BindingTable()).process(records, 9.0)
    first = RouterProcessor(BindingTable()).process(records[:cut], 9.0)
    known = OnCallTable()
    for output in first:
        known.load(output.key or b"", output.value)
    # The cut commands come once more: their offsets were not committed.
    second = RouterProcessor(BindingTable(), on_call=known).process(records[max(0, cut - 2) :], 9.0)
    assert newest(first + second) == newest(whole)


def newest(outputs: list[OutputRecord]) -> dict[bytes | None, bytes | None]:
    assert {output.topic for output in outputs} <= {ON_CALL}
    return {output.key: output.value for output in outputs}


def test_nobody_is_on_call_by_a_name() -> None:
    for fields in ({"to": "Jane Doe"}, {"to": ""}):
        with pytest.raises(CommandError, match="to:"):
            build("hand_over_role", {"role": ROLE, **fields}, author="nurse-a", now=1.7e9)
    with pytest.raises(CommandError, match="author:"):
        build("take_role", {"role": ROLE}, author="Jane Doe", now=1.7e9)
    taken = build("take_role", {"role": ROLE}, author="nurse-a", now=1.7e9)
    assert key_of(taken) == ROLE.encode()


def test_a_broken_record_keeps_no_other_from_being_read() -> None:
    table = OnCallTable()
    assert table.load(b"x", b"rubbish") is None
    value = table.apply(take(1, 1.0), 2.0)
    other = OnCallTable()
    assert other.load(ROLE.encode(), value) == ROLE
    assert other.roles() == table.roles()
    assert other.load(ROLE.encode(), None) == ROLE
    assert other.holders_at(1.0) == {}
