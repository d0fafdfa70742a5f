"""Imports point downward, adapters do not know each other, and every library is used in one place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "release"

LAYERS = (
    {"ahead", "asked", "clock", "errors", "lean", "log", "program", "retry", "settings"},
    {"heroku", "database", "child", "output", "web", "witness"},
    {"run"},
    {"app", "protected", "notify", "record"},
    {"probes"},
    {"steps"},
    {"phase"},
    {"edge", "commands", "cli", "__main__"},
)
"""From the ground up: modules and packages."""

ADAPTERS = LAYERS[1]

PLACES = {
    "click": {"commands"},
    "heroku3": {"heroku"},
    "http": {"heroku", "web"},  # of the standard library
    "msgspec": None,  # the types of facts, everywhere
    "psycopg": {"database"},
    "requests": {"heroku"},
    "rich": {"output"},
    "scramp": {"witness"},
    "structlog": {"log"},
    "tenacity": {"retry"},
    "trustme": {"witness"},
    "urllib3": {"heroku"},
}


PATHS = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
MODULES = {module: ast.parse(path.read_text()) for module, path in PATHS.items()}
SANDBOX = [ast.parse(path.read_text()) for path in sorted((PACKAGE.parent / "heroku_sandbox").rglob("*.py"))]


def _imported(module: str) -> Iterator[str]:
    """Absolute names of what a module imports, wherever in it, for type checkers only or not."""
    folder = ["release", *PATHS[module].parent.relative_to(PACKAGE).parts]
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1] if node.level else []
            found = ".".join([*start, *filter(None, [node.module])])
            # `from release import fence` names modules, `from release.clock import Clock` does not.
            yield from (f"{found}.{alias.name}" for alias in node.names) if found == "release" else (found,)


def _own(module: str) -> list[str]:
    """The package's modules among them, less `release.`."""
    own = {name.removeprefix("release.") for name in _imported(module) if name.startswith("release.")}
    return sorted(own - {"__version__"})


def _place(module: str) -> str:
    """The layer's member a module belongs to."""
    return module.split(".", maxsplit=1)[0]


def _height(place: str) -> int:
    return next(height for height, layer in enumerate(LAYERS) if place in layer)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_is_below_or_beside_it_and_an_adapter_no_other(module: str) -> None:
    here = _place(module)
    for other in _own(module):
        there = _place(other)
        assert _height(there) <= _height(here), f"{module} imports {other}, which is above it"
        assert here not in ADAPTERS or there in {here, *LAYERS[0]}, f"the adapters {module} and {other} know each other"


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert list(TopologicalSorter({module: _own(module) for module in MODULES}).static_order())


@pytest.mark.parametrize("module", MODULES)
def test_a_library_is_used_in_its_place_only(module: str) -> None:
    free = {"release", *sys.stdlib_module_names} - set(PLACES)
    for library in {name.split(".")[0] for name in _imported(module)} - free:
        places = PLACES[library]
        assert places is None or _place(module) in places, f"{module} imports {library}"


@pytest.mark.parametrize("module", MODULES)
def test_the_hook_imports_nothing_from_the_sandbox(module: str) -> None:
    assert [name for name in _imported(module) if name.split(".")[0] == "heroku_sandbox"] == []


def test_the_sandbox_imports_nothing_from_the_hook_but_how_people_read_its_log() -> None:
    imported = {
        node.module or ""
        for module in SANDBOX
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert "heroku_sandbox.state" in imported
    assert {name for name in imported if name.split(".")[0] == "release"} == {
        "release.output.live",
        "release.output.lines",
    }


@pytest.mark.parametrize("module", MODULES)
def test_facts_are_structs_and_no_dataclasses(module: str) -> None:
    """A dataclass is generated anew at every start; see CONTRIBUTING.md."""
    assert "dataclasses" not in _imported(module)


def test_the_layers_name_all_there_is_and_nothing_else() -> None:
    assert set().union(*LAYERS) == {_place(name) for name in MODULES}
