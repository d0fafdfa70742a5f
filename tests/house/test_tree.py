"""Where a module's tests are: `tests/unit` has the folders and names of `release/`, CONTRIBUTING.md says the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "release"
UNIT = ROOT / "tests" / "unit"
TESTS = sorted(UNIT.rglob("test_*.py"))


def _subjects(test: Path) -> list[Path]:
    """The modules and folders that a test is about: those in its place whose name its own begins with."""
    name = test.stem.removeprefix("test_")
    room = PACKAGE / test.parent.relative_to(UNIT)
    found = [*room.glob("*.py"), *(each.parent for each in room.glob("*/__init__.py"))]
    return [each for each in found if name == each.stem or name.startswith(f"{each.stem}_")]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: str(test.relative_to(UNIT)))
def test_a_unit_test_has_the_place_and_the_name_of_what_it_is_about(test: Path) -> None:
    assert _subjects(test)


def test_what_has_no_unit_test_is_in_the_table_of_where_it_is_tried() -> None:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## The tests\n")[2].partition("\n## ")[0]
    cells = "".join(re.findall(r"^\|.*?\|", section, re.MULTILINE))
    rooms = [ROOT / name for name in re.findall(r"`(release/[\w/.]+)`", cells)]
    subjects = [each for test in TESTS for each in _subjects(test)]
    modules = [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "__init__"]
    alone = [path for path in modules if not {path, *path.parents} & set(subjects)]
    assert len(alone) < len(modules)
    assert [str(path) for path in alone if not {path, *path.parents} & set(rooms)] == []
    assert [str(room) for room in rooms if not any({path, *path.parents} & {room} for path in alone)] == []
