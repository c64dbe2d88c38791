"""Test vectors of the shipped rules, and what `biotwin rules explain` and `test` say."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from alerts.rules import Rule, RuleError, default_rules
from alerts.rules.vector_cases import LEAST_CASES, Case, default_vectors, parse_vectors, run_vectors
from deploy.cli.rules import app
from deploy.rule_explanation import explanation

RULES = default_rules(0.0)
SHIPPED = Path(__file__).resolve().parents[2] / "alerts" / "rules"


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_each_shipped_rule_does_what_its_vectors_say(rule: Rule) -> None:
    cases = default_vectors(rule.id)
    assert len(cases) >= LEAST_CASES, f"{rule.id} wants {LEAST_CASES} test vectors"
    assert any(case.onsets for case in cases)
    assert any(not case.onsets for case in cases)
    for outcome in run_vectors(rule, cases):
        assert outcome.passed, outcome


def test_no_vectors_are_left_of_a_rule_that_is_gone() -> None:
    assert {path.stem for path in (SHIPPED / "vectors").glob("*.toml")} <= {rule.id for rule in RULES.rules}


def test_a_case_that_gives_something_else_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes((SHIPPED / "default.toml").read_bytes())
    (tmp_path / "vectors").mkdir()
    for path in (SHIPPED / "vectors").glob("*.toml"):
        (tmp_path / "vectors" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "vectors" / "battery-low.toml").unlink()
    wrong = '[[case]]\nname = "comes up early"\nvalues = [[0, 255]]\nend_s = 60\nonsets = [7]\n'
    (tmp_path / "vectors" / "systolic-250.toml").write_text(wrong)
    result = CliRunner().invoke(app, ["test", str(tmp_path / "rules.toml")])
    assert result.exit_code == 1
    assert "battery-low: has no test vectors" in result.output
    assert "systolic-250: comes up early: wants onsets [7.0] and clears [], got [0.0] and []" in result.output


def test_shipped_rules_pass_by_command() -> None:
    result = CliRunner().invoke(app, ["test"])
    assert result.exit_code == 0, result.output
    assert " 0 failed" in result.output


def test_a_rule_is_explained_in_plain_words() -> None:
    result = CliRunner().invoke(app, ["explain", "spo2-below-usual"])
    assert result.exit_code == 0, result.output
    for said in ("priority medium", "usual for the patient", "while no exercise session runs", "sooner", "Source"):
        assert said in result.output
    assert ": ok" in result.output
    assert "FAILED" not in result.output


@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.id)
def test_every_rule_and_notice_can_be_explained(entry: Rule) -> None:
    assert explanation(entry, RULES).startswith(f"{entry.id}: {entry.kind}")


def test_a_damaged_vector_file_is_named() -> None:
    with pytest.raises(RuleError, match=r"x\.toml"):
        parse_vectors(b"[[case]]\nname = 3\n", "x.toml")


def test_an_unknown_personal_limit_is_refused() -> None:
    case = Case(name="x", values=((0.0, 1.0),), end_s=10.0, limits={"height": 2.0})
    with pytest.raises(RuleError, match="height"):
        run_vectors(RULES.rules[0], [case])
