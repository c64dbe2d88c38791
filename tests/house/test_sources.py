"""Habits of the house that a linter does not hold: docstrings, lengths, no leftovers, nothing that names a machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def _tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    names = done.stdout.decode().split("\0")
    if done.returncode or not any(names):  # a release without its history
        return [path for path in REPOSITORY.rglob("*") if path.is_file() and not {".venv", ".git"} & set(path.parts)]
    return [path for name in names if name and (path := REPOSITORY / name).is_file()]


TRACKED = _tracked()
PYTHON = {str(path.relative_to(REPOSITORY)): path for path in TRACKED if path.suffix == ".py"}
TEXTS = {
    str(path.relative_to(REPOSITORY)): path
    for path in TRACKED
    if path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".conf", ".html", ".js", ".css", ".json"}
    or path.name in {"Makefile", "run"}
}
MACHINE_PATH = re.compile(r"/(?:home|Users|work|root|mnt)/[\w.-]+/|\.\./shared/(?!data)")
MOST_LINES = 500
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b|pytest\.mark\.skip\b|@unittest\.skip")


def test_every_module_says_what_it_is_for() -> None:
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PYTHON.items()}
    assert [name for name, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_leftovers_and_no_machine_paths() -> None:
    wrong = [
        f"{name}:{number}: {line.strip()}"
        for name, path in TEXTS.items()
        if name != "tests/house/test_sources.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line) or UNFINISHED.search(line)
    ]
    assert wrong == []


def test_modules_stay_small() -> None:
    lengths = {
        name: path.read_text(encoding="utf-8").count("\n")
        for name, path in PYTHON.items()
        if not name.startswith("tests/")
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for name, path in PYTHON.items() if name.startswith("tests/") and path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_every_dependency_is_locked_with_hashes() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").lower()
    extras = [item for items in project["project"].get("optional-dependencies", {}).values() for item in items]
    for requirement in [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]:
        name = re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower())
        entry = re.search(rf"^{re.escape(name)}==[^\n]*\\\n\s+--hash=sha256:", lock, re.MULTILINE)
        assert entry, f"{name} is not in requirements.lock: make lock"
