"""What pyproject.toml promises to the app that the hook is installed into."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [Requirement(each) for each in PROJECT["dependencies"]]


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=str)
def test_a_dependency_is_a_range_that_has_a_beginning(dependency: Requirement) -> None:
    operators = {each.operator for each in dependency.specifier}
    assert ">=" in operators
    assert operators <= {">=", "<"}


def test_all_addresses_are_of_the_repository_that_the_readme_installs_from() -> None:
    source = re.search(r"git\+(https://\S+?)@", (ROOT / "README.md").read_text())
    assert source
    assert [url for url in PROJECT["urls"].values() if not url.startswith(source[1])] == []


def test_the_workflow_tests_every_python_that_the_package_names() -> None:
    named = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "release" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]
