"""A test whose program is missing says so: skipped with the reason on a desk, failed on CI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDY = "tests/deploy/test_prometheus.py::test_every_rule_runs_on_a_real_prometheus"


@pytest.mark.parametrize(("ci", "status", "word"), [("", 0, "SKIPPED"), ("true", 1, "ERROR")])
def test_without_prometheus(ci: str, status: int, word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", NEEDY],
        cwd=REPOSITORY,
        env=os.environ | {"PATH": "/nonexistent", "CI": ci},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == status, done.stdout
    assert word in done.stdout
    assert "no prometheus: sudo apt-get install" in done.stdout
