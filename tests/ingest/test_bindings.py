"""Which patient a device measures: binding, ending, coming again."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.command import Bind, Unbind
from ingest.bindings import BindingError, BindingTable


def bind(command_id: str, t: float, patient: str, until: float | None = None) -> Bind:
    return Bind(id=command_id, t=t, author="nurse", device="d1", patient=patient, until=until)


def unbind(command_id: str, t: float) -> Unbind:
    return Unbind(id=command_id, t=t, author="nurse", device="d1")


def patients(table: BindingTable, *times: float) -> list[str | None]:
    return [table.lookup("d1", t) for t in times]


def test_bind_ends_the_former_binding_and_unbind_the_present_one() -> None:
    table = BindingTable()
    for command in (bind("1", 10, "a"), bind("2", 20, "b"), unbind("3", 30)):
        assert table.apply(command) is not None
    assert patients(table, 9.9, 10, 19.9, 20, 29.9, 30) == [None, "a", "a", "b", "b", None]


def test_binding_with_an_end() -> None:
    table = BindingTable()
    table.apply(bind("1", 10, "a", until=15))
    assert patients(table, 14.9, 15) == ["a", None]
    with pytest.raises(BindingError):
        table.apply(bind("2", 10, "a", until=10))


def test_backdated_binding_gives_way_to_the_later_one() -> None:
    table = BindingTable()
    table.apply(bind("1", 30, "b"))
    table.apply(bind("2", 10, "a"))
    assert patients(table, 10, 29.9, 30) == ["a", "a", "b"]


def test_same_start_replaces() -> None:
    table = BindingTable()
    table.apply(bind("1", 10, "wrong"))
    table.apply(bind("2", 10, "right"))
    assert patients(table, 10, 99) == ["right", "right"]


def test_value_has_the_documented_form_and_a_tombstone_forgets() -> None:
    table = BindingTable()
    value = table.apply(bind("1", 10, "a"))
    assert value is not None
    assert orjson.loads(value) == {
        "device": "d1",
        "intervals": [{"patient": "a", "from": 10.0, "until": None}],
        "commands": ["1"],
    }
    other = BindingTable()
    assert other.load(b"d1", value) == "d1"
    assert other.lookup("d1", 11) == "a"
    assert other.load(b"d1", b"broken") is None
    assert other.lookup("d1", 11) == "a"
    other.load(b"d1", None)
    assert other.lookup("d1", 11) is None


COMMANDS = st.lists(
    st.builds(
        lambda i, t, patient, length: bind(f"c{i}", float(t), patient, None if length is None else float(t + length)),
        st.integers(0, 8),
        st.integers(0, 50),
        st.sampled_from("abc"),
        st.none() | st.integers(1, 20),
    )
    | st.builds(lambda i, t: unbind(f"u{i}", float(t)), st.integers(0, 8), st.integers(0, 50)),
    max_size=12,
)


@given(COMMANDS, COMMANDS)
def test_intervals_never_overlap_and_commands_coming_again_change_nothing(
    first: list[Bind | Unbind], second: list[Bind | Unbind]
) -> None:
    table, restarted = BindingTable(), BindingTable()
    for command in first:
        value = table.apply(command)
        if value is not None:
            restarted.load(b"d1", value)
    before = table.devices()
    for command in first:
        if isinstance(command, Bind):
            assert table.apply(command) is None
    assert table.devices() == restarted.devices() == before
    for command in second:
        assert table.apply(command) == restarted.apply(command)
    for bindings in table.devices():
        for former, latter in zip(bindings.intervals, bindings.intervals[1:], strict=False):
            assert former.until is not None
            assert former.from_ < former.until <= latter.from_
