"""Whether what was told of an alert is what follows from the log: its canonical lines beside recomputed ones. Pure.

Equal bytes are a match, whatever else is known. Bytes that differ are a mismatch only where they had to be equal; where
not, nothing is judged, and the reasons say why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import orjson

Outcome = Literal["match", "mismatch", "unjudged"]


class Difference(msgspec.Struct, frozen=True):
    """The first place where recorded and recomputed lines part.

    `line` names the line: "settled onset 1". `field` is the path within it, as in "evidence.inputs[0].value", empty
    where the line stands on one side only; then the other side is None. Values are plain JSON types.
    """

    line: str
    field: str
    recorded: Any
    recomputed: Any


class Comparison(msgspec.Struct, frozen=True):
    """What comparing came to. `recorded` and `recomputed` count lines, repeats left out. `extra_notices` counts
    recorded provisional lines that the recomputation does not have although all settled ones match."""

    outcome: Outcome
    recorded: int
    recomputed: int
    extra_notices: int = 0
    difference: Difference | None = None
    reasons: list[str] = []


RESTART = (
    "only provisional lines are recorded, and the recomputation does not give all of them: a worker that restarted may "
    "have sent a notice more"
)


def compare(recorded: Sequence[bytes], recomputed: Sequence[bytes], doubts: Sequence[str] = ()) -> Comparison:
    """Judge two lists of canonical lines, each in the order in which they were written; repeats count once.

    `doubts` say why the two need not be equal (another build, a log that is not whole); with any of them, lines that
    differ are not judged. A worker that restarts may announce a notice that an undisturbed one would not, which also
    moves on the numbers of later provisional lines: where settled lines match and every recomputed notice was recorded,
    that is a match, with `extra_notices`.
    """
    told, found = list(dict.fromkeys(recorded)), list(dict.fromkeys(recomputed))
    if told == found:
        return Comparison("match", len(told), len(found))
    settled, again = [line for line in told if _settled(line)], [line for line in found if _settled(line)]
    extra = [_unnumbered(line) for line in told if not _settled(line)]
    for line in (_unnumbered(line) for line in found if not _settled(line)):
        if line not in extra:
            extra = []
            break
        extra.remove(line)
    difference = next(_differences(told, found))
    if settled == again and extra:
        if settled:
            return Comparison("match", len(told), len(found), len(extra))
        return Comparison("unjudged", len(told), len(found), len(extra), difference, [RESTART, *doubts])
    return Comparison("unjudged" if doubts else "mismatch", len(told), len(found), 0, difference, list(doubts))


def _settled(line: bytes) -> bool:
    """Whether a line belongs to the settled journal and its numbering; a withdrawal takes back a notice."""
    record = orjson.loads(line)
    return bool(record.get("stage") == "settled" and record.get("state") != "withdrawn")


def _unnumbered(line: bytes) -> bytes:
    return orjson.dumps({**orjson.loads(line), "sequence": 0}, option=orjson.OPT_SORT_KEYS)


def _differences(told: Sequence[bytes], found: Sequence[bytes]) -> Iterator[Difference]:
    """Where lines of the same name differ, in the order in which they were recorded, then lines that only the
    recomputation has."""
    left: dict[str, list[bytes]] = {}
    for line in found:
        left.setdefault(_name(orjson.loads(line)), []).append(line)
    for line in told:
        name = _name(orjson.loads(line))
        same = left.get(name)
        if not same:
            yield Difference(name, "", orjson.loads(line), None)
            continue
        if line in same:
            same.remove(line)
            continue
        for path, one, other in _fields("", orjson.loads(line), orjson.loads(same.pop(0))):
            yield Difference(name, path, one, other)
    for name, lines in left.items():
        for line in lines:
            yield Difference(name, "", None, orjson.loads(line))
    yield Difference("the order of lines", "", [_name(orjson.loads(line)) for line in told], None)


def _name(record: dict[str, Any]) -> str:
    return f"{record.get('stage')} {record.get('transition')} {record.get('sequence')}"


def _fields(path: str, one: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Paths below `path` at which two values differ, by name."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _fields(f"{path}.{key}" if path else key, one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _fields(f"{path}[{place}]", mine, theirs)
    elif orjson.dumps(one) != orjson.dumps(other):
        yield path, one, other
