"""The documents say what is true of the code: links, commands, options, reasons, alarms, packages, decisions."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from contracts.quarantine import Reason
from contracts.topics import TOPICS
from deploy.cli import COMMANDS, load_command
from deploy.configuration_document import configuration_document
from deploy.jars import FHIR_VALIDATOR, KAFKA, locked_jars

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
WRITTEN = {page.relative_to(REPOSITORY).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:home|Users|work|root|mnt|tmp|opt|farm)/")
IN_CODE = re.compile(r"```(?:bash|sh)?\n(.*?)```|`([^`\n]+)`", re.DOTALL)
WORD = re.compile(r"--[a-z][a-z0-9-]*|[a-z][a-z0-9-]*")
GLOBAL_OPTIONS = {"--config", "--set", "--kafka", "--mqtt", "--help"}


def anchors(text: str) -> set[str]:
    """The fragments under which GitHub offers a page's headings."""
    titles = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in HEADING.findall(FENCE.sub("", text))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", WRITTEN)
def test_relative_links_lead_somewhere(name: str) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", WRITTEN[name])):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, fragment = target.partition("#")
        found = ((REPOSITORY / name).parent / path).resolve() if path else REPOSITORY / name
        missing = not found.exists() or REPOSITORY not in [found, *found.parents]
        if missing or (
            fragment and found.suffix == ".md" and fragment not in anchors(found.read_text(encoding="utf-8"))
        ):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", WRITTEN)
def test_pages_name_no_machine_path(name: str) -> None:
    assert [line for line in WRITTEN[name].splitlines() if MACHINE_PATH.search(line)] == []


def commands_in(text: str) -> Iterator[str]:
    """What stands behind `biotwin` in code: the rest of the line, comments cut off."""
    for block, inline in IN_CODE.findall(text):
        for line in (block or inline).replace("\\\n", " ").splitlines():
            call = line.partition(" #")[0]
            if found := re.search(r"(?:^|[\s'=]|\.venv/bin/)biotwin ((?!is )\S.*)$", call):
                yield found[1]


def problem(call: str) -> str:
    """What the command line would not understand of a call; nothing where it fits."""
    words = [word.strip("`,.;)'") for word in call.split()]
    while words and words[0] in GLOBAL_OPTIONS - {"--help"}:
        words = words[2:]
    if not words or not WORD.fullmatch(words[0]):
        return "" if words and words[0].startswith("<") else f"biotwin {call}: names no command"
    if words[0] not in COMMANDS:
        return f"biotwin {call}: there is no command {words[0]}"
    command: Any = load_command(words[0])
    rest = words[1:]
    if isinstance(command, TyperGroup) and rest and not rest[0].startswith("--") and WORD.fullmatch(rest[0]):
        if rest[0] not in command.commands:
            return f"biotwin {call}: {words[0]} has no {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = GLOBAL_OPTIONS | {
        name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"biotwin {call}: unknown {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("name", WRITTEN)
def test_commands_in_the_pages_exist(name: str) -> None:
    assert [said for call in commands_in(WRITTEN[name]) if (said := problem(call))] == []


def test_the_check_of_commands_sees_what_is_wrong() -> None:
    assert list(commands_in("```\nbiotwin kafka up # x\n```\n`biotwin nothing`")) == ["kafka up", "nothing"]
    assert problem("nothing") != ""
    assert problem("kafka sideways") != ""
    assert problem("kafka up --sideways") != ""
    assert problem("kafka up --heap-mb 512") == ""


def test_the_readme_shows_the_two_commands_and_what_this_is_not() -> None:
    readme = WRITTEN["README.md"]
    assert "make demo" in readme
    assert "make test" in readme
    assert "not a medical device" in readme


def test_the_readme_names_the_packages_it_is_built_on() -> None:
    readme = " ".join(WRITTEN["README.md"].split())
    named = "aiokafka, faust-streaming, numpy, river, orjson and prometheus-client"
    assert f"{named}; asyncio-mqtt lives on as aiomqtt (asyncio-mqtt itself is retired upstream)" in readme


def test_the_subscriber_takes_ten_lines() -> None:
    text = (DOCS / "examples" / "subscribe_alerts.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree, clean=False) or ""
    code = [line for line in text.replace(f'"""{docstring}"""', "").splitlines() if line.strip()]
    assert len(code) <= 10
    assert "\n".join(code) in "\n".join(line for line in WRITTEN["README.md"].splitlines() if line.strip())


def test_the_configuration_page_is_current() -> None:
    assert WRITTEN["docs/configuration.md"] == configuration_document(), "run `make docs`"


def test_every_variable_of_the_environment_is_documented() -> None:
    named = {
        name
        for package in ("alerts", "contracts", "deploy", "ingest", "loadtest", "stream", "twin_state")
        for path in (REPOSITORY / package).rglob("*.py")
        for name in re.findall(r'"(BIOTWIN_[A-Z]+(?:_[A-Z]+)*)"', path.read_text(encoding="utf-8"))
    }
    assert {"BIOTWIN_AUTHOR", "BIOTWIN_LOG_LEVEL", "BIOTWIN_MAVEN_URL"} <= named
    assert [name for name in sorted(named) if f"`{name}`" not in WRITTEN["docs/configuration.md"]] == []


def test_every_reason_of_quarantine_is_explained() -> None:
    explained = re.findall(r"^\| `([a-z0-9_]+)` \|", WRITTEN["docs/quarantine.md"], re.MULTILINE)
    assert sorted(explained) == sorted(reason.value for reason in Reason)


def test_every_alarm_has_its_place_in_the_runbook() -> None:
    rules = (REPOSITORY / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    alarms = re.findall(r"- alert: (\w+)", rules)
    assert alarms
    assert re.findall(r"^### (Biotwin\w+)$", WRITTEN["docs/operations.md"], re.MULTILINE) == alarms


def test_every_topic_is_described() -> None:
    for page in ("docs/architecture.md", "docs/contracts.md"):
        missing = [topic.name for topic in TOPICS if f"`{topic.name}`" not in WRITTEN[page]]
        assert missing == [], page


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [item for items in project["project"]["optional-dependencies"].values() for item in items]
    wanted = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"]]
    page = WRITTEN["docs/dependencies.md"]
    names = [re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in wanted]
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", page)] == []
    for program in (KAFKA, FHIR_VALIDATOR):
        jars = locked_jars(program)
        size = sum(jar.size for jar in jars) / 1e6
        assert f"{program.title} {program.version} | {len(jars)} jars, {size:.0f} MB" in page


def test_every_decision_is_listed_and_complete() -> None:
    listed = WRITTEN["docs/decisions/README.md"]
    for page in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        text = page.read_text(encoding="utf-8")
        assert f"]({page.name})" in listed, page.name
        for part in ("Context", "Decision", "Evidence", "Consequence"):
            assert f"**{part}.**" in text, f"{page.name} lacks {part}"


def test_pages_that_the_code_refers_to_exist() -> None:
    missing = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for package in ("alerts", "contracts", "deploy", "ingest", "loadtest", "stream", "twin_state")
        for path in sorted((REPOSITORY / package).rglob("*"))
        if path.suffix in {".py", ".toml", ".yml"}
        for name in re.findall(r"docs/[\w/-]+\.(?:md|json)", path.read_text(encoding="utf-8"))
        if not (REPOSITORY / name).exists()
    ]
    assert missing == []
