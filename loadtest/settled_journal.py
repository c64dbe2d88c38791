"""What must be the same after any disturbance: settled alerts and settled twins, however the stream was taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import orjson

from contracts.configuration import Configuration
from loadtest.replay import replay_through_core
from loadtest.replay_output import KeyedValue, journal_lines
from loadtest.simulation import Simulation, SimulationPlan, replay_lines

KILL_RULES = frozenset({"silence", "device-silent", "device-silent-session", "ticks-stopped"})
"""Technical alarms about the parts that were killed, or that follow from times of arrival: they tell of the run, not of
the patients."""


def through_core(
    configuration: Configuration, simulated: SimulationPlan, folder: Path
) -> tuple[list[bytes], list[bytes]]:
    """Settled alerts and twins of a simulated stream by `biotwin replay`'s core; `folder` takes the files."""
    file = folder / "stream.jsonl"
    with file.open("wb") as out:
        out.writelines(replay_lines(Simulation(simulated)))
    replay_through_core(configuration, [file], folder / "out")
    alerts = (folder / "out" / "alerts.jsonl").read_bytes().splitlines()
    twins = (folder / "out" / "twins.jsonl").read_bytes().splitlines()
    return settled_alerts((None, line) for line in alerts), twins


def settled_alerts(values: Iterable[KeyedValue]) -> list[bytes]:
    """Canonical settled alerts without technical alarms about the run."""
    kept = []
    for line in journal_lines(values):
        record = orjson.loads(line)
        if record["stage"] == "settled" and record["rule"] not in KILL_RULES:
            kept.append(line)
    return kept


def contradictions(values: Iterable[KeyedValue]) -> int:
    """Settled transitions that were said twice in different words: same alert, same number, other content."""
    said: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for line in settled_alerts(values):
        record = orjson.loads(line)
        said[record["id"], record["sequence"]].add(line)
    return sum(len(lines) - 1 for lines in said.values())


def differences(one: list[bytes], other: list[bytes], most: int = 3) -> list[str]:
    """The first lines that stand in one of the two only, shortened."""
    only = sorted(set(one) ^ set(other))
    return [line.decode()[:400] for line in only[:most]]
