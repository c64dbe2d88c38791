"""Checkpoints: what stands in a changelog topic, and when the next one is due.

A changelog partition holds, by key, the newest version of each block (`{partition}/{block}`) and one manifest
(`{partition}/manifest`). Each value is one line of JSON (the header), a newline, and the payload.

A header's `position` is the offset up to which every source record is applied: block and manifest say "all records
below it, none from it on" (rows that have seen more say so by their own fence). The manifest lists for each block the
position of its newest version, and is written only after those blocks are delivered. State is a function of the log, so
that two blocks of one position are equal, whoever wrote them: a worker that was thought dead can do no harm beyond what
`stream.recovery` notices and repairs by reading the source again.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from stream.processor import Block, OutputRecord

FORMAT = 1
MANIFEST = b"manifest"
MISSING = -1


class ChangelogError(Exception):
    """A changelog record that this build cannot read."""


class Header(msgspec.Struct, frozen=True):
    """First line of a changelog value. `fence` is the block's own statement of its lowest next offset; a manifest has
    its position there."""

    format: int
    checkpoint: int
    position: int
    fence: int


class StoredBlock(NamedTuple):
    number: int
    header: Header
    payload: bytes


class Manifest(NamedTuple):
    """`blocks[i]` is the position of the newest version of block i, or MISSING."""

    checkpoint: int
    position: int
    blocks: dict[int, int]


def block_record(topic: str, partition: int, checkpoint: int, position: int, block: Block) -> OutputRecord:
    """The changelog record of one changed block."""
    header = msgspec.json.encode(Header(FORMAT, checkpoint, position, block.fence))
    return OutputRecord(topic, b"%d/%d" % (partition, block.number), header + b"\n" + block.payload, partition)


def manifest_record(topic: str, partition: int, manifest: Manifest) -> OutputRecord:
    """The changelog record that closes a checkpoint: block positions by block number, little-endian 64-bit numbers."""
    header = msgspec.json.encode(Header(FORMAT, manifest.checkpoint, manifest.position, manifest.position))
    positions = np.full(max(manifest.blocks, default=-1) + 1, MISSING, dtype="<i8")
    for number, position in manifest.blocks.items():
        positions[number] = position
    return OutputRecord(topic, b"%d/%s" % (partition, MANIFEST), header + b"\n" + positions.tobytes(), partition)


def parse_value(value: bytes) -> tuple[Header, bytes]:
    """Header and payload of a changelog value; raises `ChangelogError`."""
    line, newline, payload = value.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise ChangelogError(f"changelog record has no readable header: {error}") from error
    if not newline or header.format != FORMAT:
        raise ChangelogError(f"changelog record has format {header.format}; this build reads {FORMAT}")
    return header, payload


def parse_manifest(value: bytes) -> Manifest:
    """The manifest in a changelog value; raises `ChangelogError`."""
    header, payload = parse_value(value)
    positions = np.frombuffer(payload, dtype="<i8")
    blocks = {number: int(position) for number, position in enumerate(positions) if position != MISSING}
    return Manifest(header.checkpoint, header.position, blocks)


def interval_s(changed_bytes: int, partitions: int, bytes_per_s: float, min_s: float, max_s: float) -> float:
    """Time between two checkpoints of a partition, when `partitions` of them share the budget and `changed_bytes` would
    be written now. Nothing to write: the longest time, since only the offset would move."""
    if changed_bytes <= 0:
        return max_s
    return min(max(changed_bytes * max(partitions, 1) / bytes_per_s, min_s), max_s)
