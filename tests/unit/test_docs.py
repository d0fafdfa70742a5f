"""What is written for people is what the code does: README, app.json, requirements, the map."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
from packaging.requirements import Requirement

import release
from release.errors import MISCONFIGURED_EXIT_CODE, Outcome, Reason
from release.log import Event
from release.people.commands import cli
from release.settings import VARIABLES, description
from tests.docs import FACTS, README, documented, tables, written

ROOT = Path(__file__).parents[2]
SETTABLE = sorted(set(VARIABLES) - FACTS)


def _section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {heading!r}"
    return found[1]


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table rows below a heading, without heads and rules."""
    lines = re.findall(r"^\|(.*)\|$", _section(heading), re.MULTILINE)
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]
    return [row for row, after in zip(rows, [*rows[1:], [""]], strict=True) if not {row[0], after[0]} & {"---"}]


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# README.


def test_the_tables_that_are_made_from_the_code_are_up_to_date() -> None:
    text = README.read_text()
    assert re.findall(r"<!-- table: (\w+) -->", text) == list(tables())
    assert written(text) == text, "run `python -m tests.docs`"


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    rows = {_names(row[0])[0]: row for row in _rows("Settings")}
    assert sorted(rows) == SETTABLE
    for name, row in rows.items():
        default = VARIABLES[name].default
        shown = [f"{default:g}" if isinstance(default, int | float) else str(default)] if default else []
        assert _names(row[1]) == shown, name


def test_every_outcome_and_reason_stands_in_the_readme_and_no_other() -> None:
    rows = _rows("When a release fails")
    named = [name for row in rows for name in _names(row[0])]
    assert sorted(named) == sorted([*Outcome, *(reason.slug for reason in Reason)])
    exit_codes = {"".join(_names(row[0])): row[1] for row in rows if row[1].isdigit()}
    assert exit_codes == {
        "": str(MISCONFIGURED_EXIT_CODE),  # no outcome: nothing was started
        **{str(outcome): str(outcome.exit_code) for outcome in Outcome},
    }


def _logged() -> dict[str, set[str]]:
    """Each event with the fields that the code gives it by name; what comes by `**` is seen when it is logged."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "release").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]).startswith("Event."):
                event = getattr(Event, ast.unparse(node.args[0]).removeprefix("Event."))
                found[event] |= {keyword.arg for keyword in node.keywords if keyword.arg} - {"exc_info"}
    return found


def test_every_event_stands_in_the_readme_and_is_logged_somewhere() -> None:
    assert sorted(documented()) == sorted(Event)
    assert set(Event) - set(_logged()) <= {Event.COMMAND_OUTPUT}  # which has a method of its own


def test_the_fields_of_every_event_stand_in_the_readme_and_no_invented_ones() -> None:
    words = {
        word
        for path in (ROOT / "release").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for word in (node.arg if isinstance(node, ast.keyword) else getattr(node, "value", None),)
        if isinstance(word, str)
    }
    for event, fields in documented().items():
        assert _logged()[Event(event)] <= fields, event
        assert fields - {"exception"} <= words, event  # which structlog makes of `exc_info`


def test_every_command_stands_in_the_readme_and_every_one_named_there_exists() -> None:
    assert isinstance(cli, click.Group)
    commands = set(cli.list_commands(click.Context(cli)))
    text = README.read_text()
    assert commands <= set(re.findall(r"bin/release ([a-z]+)", text))
    assert set(re.findall(r"`(?:heroku run )?bin/release ([a-z]+)", text)) <= commands


def test_every_path_that_the_readme_and_the_map_name_exists() -> None:
    text = README.read_text() + (ROOT / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"`((?:bin|release|tests)/[\w/.]+)", text))
    assert paths >= {"bin/demo", "bin/test"}
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


def test_the_packages_own_map_names_what_there_is() -> None:
    names = re.findall(r"(\w+\.py|\w+/)", release.__doc__ or "")
    assert {"phase.py", "heroku/", "database/", "sandbox/"} <= set(names)
    assert [name for name in names if not (ROOT / "release" / name).exists()] == []


# app.json.

TEXT = {"type": "string", "minLength": 1}
ADDONS = {
    "type": "array",
    "items": {
        "anyOf": [TEXT, {"type": "object", "required": ["plan"], "properties": {"plan": TEXT, "as": TEXT}}],
    },
}
FORMATION = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["quantity"],
        "properties": {"quantity": {"type": "integer", "minimum": 0}, "size": TEXT},
        "additionalProperties": False,
    },
}
ENV = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["description"],
        "properties": {
            "description": TEXT,
            "value": {"type": "string"},
            "required": {"type": "boolean"},
            "generator": {"const": "secret"},
        },
        "additionalProperties": False,
    },
}
BUILDPACKS = {"type": "array", "items": {"type": "object", "required": ["url"], "properties": {"url": TEXT}}}
MANIFEST = {
    # https://devcenter.heroku.com/articles/app-json-schema
    "type": "object",
    "required": ["name", "description", "addons", "env", "formation", "environments"],
    "properties": {
        "name": {"type": "string", "minLength": 3, "maxLength": 30},
        "description": TEXT,
        "keywords": {"type": "array", "items": TEXT},
        "stack": {"enum": ["heroku-22", "heroku-24"]},
        "buildpacks": BUILDPACKS,
        "addons": ADDONS,
        "formation": FORMATION,
        "env": ENV,
        "environments": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"addons": ADDONS, "formation": FORMATION, "env": ENV, "buildpacks": BUILDPACKS},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def manifest() -> Any:
    return json.loads((ROOT / "app.json").read_text())


def test_app_json_has_herokus_shape(manifest: Any) -> None:
    jsonschema.validate(manifest, MANIFEST)
    procfile = (ROOT / "Procfile").read_text()
    assert set(manifest["formation"]) <= set(re.findall(r"^(\w+):", procfile, re.MULTILINE))


def test_every_setting_stands_in_app_json_as_the_code_describes_it(manifest: Any) -> None:
    own = {name: entry["description"] for name, entry in manifest["env"].items() if name in VARIABLES}
    assert own == {name: description(VARIABLES[name]) for name in SETTABLE}
    assert set(manifest["env"]) - set(own) == {"SECRET_KEY"}  # the sample app's
    assert set(manifest["environments"]["review"]["env"]) <= set(SETTABLE)


# Requirements.

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEV = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.txt", [*PROJECT["dependencies"], *EXTRAS["app"]]),
        ("requirements-dev.txt", [*PROJECT["dependencies"], *EXTRAS["app"], *EXTRAS["sandbox"], *DEV]),
    ],
)
def test_requirements_are_in_step_with_the_project(name: str, wanted: list[str]) -> None:
    pins = _pins(ROOT / name)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_what_a_dyno_installs_is_neither_the_sandbox_nor_for_development() -> None:
    pins = _pins(ROOT / "requirements.txt")
    names = {Requirement(each).name for each in [*EXTRAS["sandbox"], *DEV]}
    assert names & set(pins) == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes_and_no_index_is_named(path: Path) -> None:
    entries = [entry for entry in re.split(r"\n(?=\S)", path.read_text()) if not entry.startswith("#")]
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+( ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry.split("\n")[0]
    assert "://" not in path.read_text()


# Nothing of the machine it was made on.

ADDRESS = re.compile(
    r"--(?:extra-)?index-url|--find-links|--trusted-host|pypi[.]org|pythonhosted[.]org|npmjs[.]org|rubygems[.]org"
    r"|(?:artifactory|nexus|codeartifact|devpi)[.\w-]*/|https?://[^\s/]+/(?:[^\s/]+/)*simple\b"
)


def _texts() -> Iterator[Path]:
    """The project's files, without what is made while it is worked on."""
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        made = any(part.startswith(".") and part != ".ci" for part in parts[:-1]) or "__pycache__" in parts
        if not made and path.is_file() and path != Path(__file__) and path.stat().st_size < 1_000_000:
            yield path


def test_no_file_names_a_registry() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in _texts()
        for match in ADDRESS.finditer(path.read_text(errors="replace"))
    ]
    assert found == []
