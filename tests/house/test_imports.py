"""Imports point inward, and what decides about patients touches neither clock, network nor disk."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("alerts", "contracts", "deploy", "federation", "ingest", "loadtest", "stream", "twin_state")

MAY_IMPORT: dict[str, set[str]] = {
    "contracts": set(),
    "twin_state": set(),
    "ingest": {"contracts"},
    "alerts": {"contracts", "twin_state"},
    "federation": {"contracts", "twin_state"},
    "stream": {"contracts", "twin_state", "alerts", "ingest"},
    "deploy": set(PACKAGES),
    "loadtest": set(PACKAGES),
}
"""Which of our packages each of them may import, besides itself."""

SHELL = ("alerts.delivery", "alerts.console")
"""Parts of `alerts` that talk to the network; the rest of it is pure."""

IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "shutil", "signal"),
    *("socket", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
    *(
        "aiokafka",
        "aiomqtt",
        "aiosmtplib",
        "faust",
        "httpx",
        "mode",
        "paho",
        "prometheus_client",
        "psutil",
        "starlette",
        "structlog",
        "uvicorn",
    ),
}
"""Modules that pure code does not import."""

CLOCKS = {"now", "today", "utcnow", "time", "time_ns", "monotonic", "perf_counter"}
"""Calls that read a clock: `datetime.now()`, `time.time()` and their kin."""


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    for package in packages:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


def is_pure(name: str) -> bool:
    package = name.partition(".")[0]
    return package == "twin_state" or (package == "alerts" and not name.startswith(SHELL))


ALL = dict(modules(*PACKAGES))
PURE = {name: path for name, path in ALL.items() if is_pure(name)}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def test_imports_point_inward() -> None:
    wrong = [
        f"{name}:{line} imports {module}"
        for name, path in ALL.items()
        for line, module in imported(path)
        if (top := module.partition(".")[0]) in PACKAGES
        and top not in MAY_IMPORT[name.partition(".")[0]] | {name.partition(".")[0]}
    ]
    assert wrong == []


def test_pure_modules_touch_nothing() -> None:
    wrong = [
        f"{name}:{line} imports {module}"
        for name, path in PURE.items()
        for line, module in imported(path)
        if module.partition(".")[0] in IMPURE or module.startswith(SHELL)
    ]
    assert wrong == []


def test_pure_modules_read_no_clock() -> None:
    wrong = [
        f"{name}:{node.lineno} calls {ast.unparse(node.func)}"
        for name, path in PURE.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
        and ast.unparse(node.func.value).rpartition(".")[2] in {"datetime", "date", "time"}
    ]
    assert wrong == []


def test_the_rules_see_the_modules_they_are_about() -> None:
    assert {"twin_state.rules", "alerts", "contracts.topics"} <= set(ALL)
    assert "twin_state.rules" in PURE
    assert not any(name.startswith(SHELL) for name in PURE)


def test_relative_imports_are_not_used() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in ALL.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert wrong == []
