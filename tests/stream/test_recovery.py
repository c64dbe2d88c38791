"""What a changelog partition says, and where reading goes on, whatever a late writer left in it."""

from __future__ import annotations

import pytest

from stream.checkpoint import ChangelogError, Manifest, block_record, interval_s, manifest_record
from stream.processor import Block, OutputRecord
from stream.recovery import Plan, plan_recovery


def block(number: int, position: int, payload: bytes = b"rows", checkpoint: int = 1) -> OutputRecord:
    return block_record("twin.changelog", 2, checkpoint, position, Block(number, 0, payload))


def manifest(position: int, blocks: dict[int, int], checkpoint: int = 1) -> OutputRecord:
    return manifest_record("twin.changelog", 2, Manifest(checkpoint, position, blocks))


def plan(*records: OutputRecord) -> Plan:
    newest: dict[bytes, bytes] = {}
    for record in records:
        assert record.key is not None
        assert record.value is not None
        assert record.partition == 2
        newest[record.key] = record.value
    return plan_recovery(2, newest)


def test_an_empty_changelog_is_no_state() -> None:
    assert plan() == Plan([], None, None, [])


def test_a_closed_checkpoint_goes_on_at_its_position() -> None:
    found = plan(block(0, 50, b"a\nb"), block(1, 80), manifest(80, {0: 50, 1: 80}))
    assert (found.start, found.stale) == (80, [])
    assert [stored.payload for stored in found.blocks] == [b"a\nb", b"rows"]


def test_blocks_newer_than_the_manifest_are_fine() -> None:
    found = plan(block(0, 50), manifest(80, {0: 50}), block(0, 95, b"newer"), block(1, 95))
    assert (found.start, found.stale) == (80, [])


def test_an_older_block_sends_the_source_back_to_where_it_stands() -> None:
    """A worker that was thought dead wrote block 0 after its successor's checkpoint."""
    found = plan(block(0, 90), block(1, 70), manifest(90, {0: 90, 1: 70}), block(0, 60, b"late"))
    assert (found.start, found.stale) == (60, [0])
    assert found.blocks[0].payload == b"late"


def test_a_late_manifest_sends_the_source_back_to_its_own_position() -> None:
    found = plan(block(0, 90), manifest(90, {0: 90}), block(0, 60), manifest(60, {0: 60}))
    assert (found.start, found.stale) == (60, [])


def test_a_missing_block_sends_the_source_back_to_its_beginning() -> None:
    found = plan(block(1, 90), manifest(90, {0: 40, 1: 90}))
    assert (found.start, found.stale) == (0, [0])


def test_blocks_without_a_manifest_send_the_source_back_to_its_beginning() -> None:
    found = plan(block(0, 30))
    assert (found.start, len(found.blocks)) == (0, 1)


def test_other_partitions_records_are_left_alone() -> None:
    other = block_record("twin.changelog", 1, 1, 5, Block(0, 0, b"x"))
    assert other.key is not None
    assert other.value is not None
    assert plan_recovery(2, {other.key: other.value}).blocks == []


@pytest.mark.parametrize(
    "value",
    [b"", b"no header", b'{"format":1}\nx', b'{"format":9,"checkpoint":1,"position":1,"fence":1}\nx', b"\xff\n"],
)
def test_a_record_that_this_build_cannot_read_is_said_to_be_one(value: bytes) -> None:
    with pytest.raises(ChangelogError):
        plan_recovery(2, {b"2/0": value})


def test_the_beat_follows_the_bytes_within_its_bounds() -> None:
    budget = {"bytes_per_s": 1000.0, "min_s": 1.0, "max_s": 60.0}
    assert interval_s(10, 1, **budget) == 1.0
    assert interval_s(5000, 1, **budget) == 5.0
    assert interval_s(5000, 4, **budget) == 20.0
    assert interval_s(10**9, 4, **budget) == 60.0
    assert interval_s(0, 4, **budget) == 60.0
