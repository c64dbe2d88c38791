"""The house's commands agree with each other: make, the commit hooks and CI run the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def commands_of(target: str) -> list[str]:
    # Under `make test` the flags of that make are in the environment.
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--no-print-directory", target],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_commit_hooks_run_what_make_check_runs() -> None:
    text = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    entries = [line.strip().removeprefix("entry: ") for line in text.splitlines() if line.strip().startswith("entry:")]
    commands = commands_of("check")
    assert len(entries) >= 4
    assert [entry for entry in entries if entry not in commands] == []


def test_ci_runs_make_test_which_ends_with_pytest() -> None:
    assert "silent test" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
    steps = "\n".join(commands_of("test"))
    assert steps.index("ruff check") < steps.index("mypy") < steps.index("pytest")


def test_missing_programs_are_named_with_one_command(tmp_path: Path) -> None:
    """Without the right to install, one line says how; a Python without packages is enough."""
    code = "import os, sys; os.geteuid = lambda: 1000; from deploy import system_packages as s; "
    code += "s.is_installed = lambda package: False; sys.exit(s.main(['mosquitto', 'chromium']))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Not installed: mosquitto, chromium" in done.stdout
    assert "install" in done.stdout.splitlines()[1]
    assert "mosquitto chromium" in done.stdout.splitlines()[1]
