"""The audit journal: chained, verified, kept by several at once, read from the command line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from alerts.console.audit import AuditJournal
from alerts.console.roles import COMMANDS, MACHINE, ROLES, May, Principal
from contracts.configuration import Role
from deploy.api.commands import KINDS
from deploy.cli import app


def view(journal: AuditJournal, account: str = "dr-2") -> None:
    journal.append(account=account, role="clinician", via="password", what="view", target="/", outcome="allowed")


def test_whatever_is_changed_removed_or_added_in_between_breaks_the_chain(tmp_path: Path) -> None:
    journal = AuditJournal(tmp_path / "deep" / "audit.jsonl")
    for number in range(5):
        view(journal, f"dr-{number}")
    assert journal.path.stat().st_mode & 0o777 == 0o600
    whole = journal.verify()
    assert (whole.records, whole.fault) == (5, "")
    lines = journal.path.read_bytes().splitlines(keepends=True)
    for changed in (
        [*lines[:2], lines[2].replace(b"dr-2", b"dr-9"), *lines[3:]],
        [*lines[:2], *lines[3:]],
        lines[1:],
        [lines[1], lines[0], *lines[2:]],
        [*lines[:3], lines[1], *lines[3:]],
        [*lines[:2], b"no record\n", *lines[3:]],
    ):
        journal.path.write_bytes(b"".join(changed))
        assert journal.verify().fault
    journal.path.write_bytes(b"".join(lines[:4]))
    assert journal.verify().fault == ""
    assert whole.head in journal.verify(whole.head).fault  # the end is missed by who noted its hash


def test_a_line_cut_short_by_a_crash_is_passed_over_and_counted(tmp_path: Path) -> None:
    journal = AuditJournal(tmp_path / "audit.jsonl")
    view(journal)
    with journal.path.open("ab") as file:
        file.write(b'{"previous":"12')
    view(journal)
    verdict = journal.verify()
    assert (verdict.records, verdict.torn, verdict.fault) == (2, 1, "")
    assert len(journal.newest(10)) == 2


def test_several_write_at_once(tmp_path: Path) -> None:
    journals = [AuditJournal(tmp_path / "audit.jsonl") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: view(journals[number % 4]), range(80)))
    assert (journals[0].verify().records, journals[0].verify().fault) == (80, "")


def test_every_command_and_role_stands_in_the_table_and_watchers_never_act() -> None:
    assert set(COMMANDS) == set(KINDS)
    assert set(ROLES) == {*get_args(Role), MACHINE}
    for role, permissions in ROLES.items():
        if May.READ_AUDIT in permissions:
            assert permissions == {May.READ_AUDIT}
        assert Principal("x", role, "password").may(May.VIEW) == (May.VIEW in permissions)
    assert not {May.ACT, May.SEE_NAMES, May.SEE_PHYSIOLOGY} & ROLES["operator"]


def test_accounts_are_kept_from_the_command_line_and_that_is_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOTWIN_CONSOLE__ACCOUNTS", str(tmp_path / "accounts.sqlite"))
    monkeypatch.setenv("BIOTWIN_CONSOLE__AUDIT", str(tmp_path / "audit.jsonl"))

    def invoke(*words: str, said: str = "") -> str:
        result = CliRunner().invoke(app, list(words), input=said)
        return f"{result.exit_code} {result.output}{result.exception or ''}"

    assert invoke("account", "add", "dr-2", "--role", "clinician", said="correct horse battery\n").startswith("0 ")
    assert invoke("account", "add", "dr-2", "--role", "clinician", said="correct horse battery\n").startswith("1 ")
    assert "10 to 256" in invoke("account", "password", "dr-2", said="short\n")
    assert invoke("account", "disable", "dr-2").startswith("0 ")
    assert "disabled" in invoke("account", "list")
    assert invoke("account", "disable", "dr-3").startswith("1 ")
    assert "add dr-2" in invoke("audit", "list")
    verified = invoke("audit", "verify")
    assert "the chain holds" in verified
    assert invoke("audit", "verify", "--head", "0").startswith("1 ")
    assert "correct horse" not in (tmp_path / "audit.jsonl").read_text()
