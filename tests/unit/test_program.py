"""What the program is called: a hint names a command that whoever reads it has."""

from __future__ import annotations

import json
import re
import shutil
import sys
import venv
from pathlib import Path

import pytest

from release.program import NAME, ROOT, is_checkout, name, named
from tests.hook import PATH, run_in

HINT = "Finish it with `release-phase recover`, or `heroku run release-phase recover`."
LINE = "It needs the line `release: release-phase`."


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment as pip leaves it: the package, its console script, and the packages that it needs."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    packages = next((folder / "lib").glob("python3.*")) / "site-packages"
    shutil.copytree(ROOT / "release", packages / "release", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    shutil.copy(ROOT / "bin" / NAME, folder / "bin" / NAME)
    return folder


def _commands(text: str) -> list[str]:
    """The commands of this program in a help: how it is used, and the example."""
    return re.findall(r"^(?:Usage:|  Example:) (.+?) (?:recover|\[OPTIONS\])", text, re.MULTILINE)


# What is put in.


def test_a_text_is_left_as_it_is_where_something_else_runs_than_the_program() -> None:
    assert name() == NAME
    assert named(HINT) == HINT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HINT, "Finish it with `bin/release recover`, or `heroku run bin/release recover`."),
        ("`heroku releases:output | release-phase report`", "`heroku releases:output | bin/release report`"),
        ("Procfile: `release: release-phase`.", "Procfile: `release: bin/release`."),
        ("Example: heroku\n  run release-phase plan", "Example: heroku\n  run bin/release plan"),
        ("pip install heroku-release-phase", "pip install heroku-release-phase"),
        ("`.heroku/release-phase/bin`, a release-phase hook", "`.heroku/release-phase/bin`, a release-phase hook"),
        ("`release-phase-extras`", "`release-phase-extras`"),
    ],
)  # fmt: skip
def test_only_a_command_is_renamed(monkeypatch: pytest.MonkeyPatch, text: str, shown: str) -> None:
    monkeypatch.setattr("release.program.name", lambda: "bin/release")
    assert named(text) == shown


def test_a_path_of_this_machine_is_not_named_as_what_a_dyno_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("release.program.name", lambda: "'/home/me/my code/bin/release'")
    expected = "Finish it with `'/home/me/my code/bin/release' recover`, or `heroku run release-phase recover`."
    assert named(HINT) == expected
    assert named(LINE) == LINE


def test_an_apps_own_file_of_that_name_makes_no_checkout(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "release").touch()
    assert not is_checkout(tmp_path)
    assert is_checkout(ROOT)


# What is there, for each way of having it.


def test_in_a_checkout_it_is_bin_release_there_and_its_whole_path_elsewhere(tmp_path: Path) -> None:
    script = ROOT / "bin" / "release"
    assert _commands(run_in(ROOT, script, "recover", "--help").stdout) == ["bin/release", "heroku run bin/release"]
    elsewhere = run_in(tmp_path, script, "recover", "--help")
    assert _commands(elsewhere.stdout) == [str(script), "heroku run release-phase"]


def test_a_checkout_whose_bin_is_on_path_is_called_as_an_installed_one(tmp_path: Path) -> None:
    result = run_in(tmp_path, NAME, "recover", "--help", PATH=f"{PATH}:{ROOT}/bin")
    assert _commands(result.stdout) == [NAME, f"heroku run {NAME}"]


def test_a_checkout_inside_an_app_is_named_by_its_place_there(tmp_path: Path) -> None:
    for part in ("bin", "release"):
        shutil.copytree(ROOT / part, tmp_path / "vendor" / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "vendor" / ".venv").symlink_to(Path(sys.prefix))
    result = run_in(tmp_path, tmp_path / "vendor" / "bin" / "release", "recover", "--help")
    assert _commands(result.stdout) == ["vendor/bin/release", "heroku run vendor/bin/release"]


def test_installed_it_is_release_phase_on_path_and_the_scripts_path_without(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / NAME
    on_path = run_in(tmp_path, NAME, "recover", "--help", PATH=f"{installed}/bin:{PATH}")
    assert _commands(on_path.stdout) == [NAME, f"heroku run {NAME}"]
    off_path = run_in(tmp_path, script, "recover", "--help")
    assert _commands(off_path.stdout) == [str(script), f"heroku run {NAME}"]


def test_a_module_without_a_script_is_named_with_its_python(installed: Path, tmp_path: Path) -> None:
    python = installed / "bin" / "python"
    shutil.copytree(installed, tmp_path / "bare", symlinks=True)
    (tmp_path / "bare" / "bin" / NAME).unlink()
    bare = tmp_path / "bare" / "bin" / python.name
    result = run_in(tmp_path, bare, "-m", "release", "recover", "--help")
    assert _commands(result.stdout)[0] == f"{bare} -m release"
    assert run_in(tmp_path, bare, "-m", "release", "--version").returncode == 0


@pytest.mark.parametrize("started", ["checkout", "installed"])
def test_the_command_in_a_hint_can_be_typed_by_whoever_reads_it(started: str, installed: Path, tmp_path: Path) -> None:
    folder, program = (ROOT, "bin/release") if started == "checkout" else (tmp_path, NAME)
    path = f"{installed}/bin:{PATH}" if started == "installed" else PATH
    (tmp_path / "empty.log").touch()
    said = run_in(folder, program, "report", tmp_path / "empty.log", PATH=path).stderr
    command = re.findall(r"`heroku releases:output \| (\S+) report`", said)
    assert command == [program]
    assert run_in(folder, "sh", "-c", f"{command[0]} --version", PATH=path).stdout.startswith("release-phase, ")


def test_the_log_of_an_installed_one_never_names_a_checkouts(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("release: release-phase\n")
    run = run_in(tmp_path, NAME, PATH=f"{installed}/bin:{PATH}")
    last = json.loads(run.stdout.splitlines()[-1])
    assert (run.returncode, last["reason"]) == (2, "settings_invalid")
    assert "bin/release" not in run.stdout


# The sandbox, which is another package.


def test_sandbox_in_a_checkout_is_the_checkouts_own() -> None:
    result = run_in(ROOT, ROOT / "bin" / "release", "sandbox", "--help")
    assert (result.returncode, result.stdout.partition(" [")[0]) == (0, "Usage: bin/sandbox")


def test_sandbox_hands_on_every_word_and_the_exit_code(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(installed, folder, symlinks=True)
    script = folder / "bin" / "heroku-sandbox"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    script.chmod(0o755)
    result = run_in(tmp_path, folder / "bin" / NAME, "sandbox", "release", "my app", "--help", "-x")
    assert (result.returncode, result.stdout.splitlines()) == (7, ["release", "my app", "--help", "-x"])


def test_sandbox_says_what_to_install_where_it_is_not(installed: Path, tmp_path: Path) -> None:
    result = run_in(tmp_path, installed / "bin" / NAME, "sandbox", "up", PATH="/usr/bin:/bin")
    assert (result.returncode, result.stdout) == (2, "")
    assert "`pip install heroku-sandbox`" in result.stderr
