"""What the two distributions promise: the hook to the app that it is installed into, the sandbox to a developer."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HOOK, SANDBOX = ROOT / "release", ROOT / "heroku_sandbox"
METADATA = {HOOK: tomllib.loads((ROOT / "pyproject.toml").read_text())}
METADATA[SANDBOX] = tomllib.loads((SANDBOX / "pyproject.toml").read_text())
PROJECTS = {package: metadata["project"] for package, metadata in METADATA.items()}
DEPENDENCIES = {package: [Requirement(text) for text in PROJECTS[package]["dependencies"]] for package in PROJECTS}
each_package = pytest.mark.parametrize("package", PROJECTS, ids=lambda package: str(package.name))


@pytest.mark.parametrize("dependency", [*DEPENDENCIES[HOOK], *DEPENDENCIES[SANDBOX]], ids=str)
def test_a_dependency_is_a_range_that_has_a_beginning(dependency: Requirement) -> None:
    operators = {each.operator for each in dependency.specifier}
    assert ">=" in operators
    assert operators <= {">=", "<"}


def test_where_both_need_the_same_library_they_need_the_same_range() -> None:
    hooks, sandboxes = ({str(each) for each in DEPENDENCIES[package]} for package in (HOOK, SANDBOX))
    names = [{Requirement(each).name for each in ranges} for ranges in (hooks, sandboxes)]
    assert {Requirement(each).name for each in hooks & sandboxes} == names[0] & names[1] != set()


@each_package
def test_all_addresses_are_of_the_repository_that_the_readme_installs_from(package: Path) -> None:
    source = re.search(r"git\+(https://\S+?)@", (ROOT / "README.md").read_text())
    assert source
    assert [url for url in PROJECTS[package]["urls"].values() if not url.startswith(source[1])] == []


@each_package
def test_the_workflow_tests_every_python_that_the_package_names(package: Path) -> None:
    project = PROJECTS[package]
    named = [each.rpartition(" ")[2] for each in project["classifiers"] if re.search(r":: 3\.\d+$", each)]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    matrix = re.search(r"python: \[(.*)\]", workflow)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == named
    assert project["requires-python"] == f">={named[0]}"


@each_package
def test_the_package_says_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECTS[package]["classifiers"]


def test_the_sandbox_has_the_hooks_version_and_license_and_never_the_hook() -> None:
    hook, sandbox = PROJECTS[HOOK], PROJECTS[SANDBOX]
    assert [sandbox[name] for name in ("version", "license")] == [hook[name] for name in ("version", "license")]
    assert (SANDBOX / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert hook["name"] not in {each.name for each in DEPENDENCIES[SANDBOX]}


def test_the_sandbox_declares_every_library_that_it_imports_and_no_other() -> None:
    trees = [ast.parse(path.read_text()) for path in SANDBOX.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    libraries = {name.partition(".")[0] for name in names} - {SANDBOX.name, HOOK.name, *sys.stdlib_module_names}
    assert libraries == {each.name.replace("-", "_") for each in DEPENDENCIES[SANDBOX]}


def test_the_sandboxs_wheel_has_room_for_all_of_its_files() -> None:
    how = METADATA[SANDBOX]["tool"]["setuptools"]
    patterns = ["*.py", *how["package-data"][SANDBOX.name], *how["script-files"]]
    patterns += ["pyproject.toml", PROJECTS[SANDBOX]["readme"], *PROJECTS[SANDBOX]["license-files"]]
    files = subprocess.run(["git", "ls-files", "."], cwd=SANDBOX, check=True, capture_output=True, text=True).stdout
    assert [name for name in files.split() if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert "/" not in files  # a folder in it would be a package of its own, which has to be named


@pytest.mark.parametrize("code", [0, 7])
def test_the_sandboxs_script_starts_it_isolated_also_through_a_link(tmp_path: Path, code: int) -> None:
    place = tmp_path / "venv" / "bin"
    place.mkdir(parents=True)
    [script] = METADATA[SANDBOX]["tool"]["setuptools"]["script-files"]
    shutil.copy(SANDBOX / script, place)
    (place / "python").write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    (place / "python").chmod(0o755)
    link = tmp_path / script
    link.symlink_to(place / script)
    done = subprocess.run([link, "config", "a b"], check=False, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("-I -m heroku_sandbox config a b\n", code)
