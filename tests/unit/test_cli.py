"""The edge, as a real process: usage, help, a crash, and an app whose modules have the hook's names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from release import __version__
from tests.hook import PATH, ROOT, Result

HOOK = str(ROOT / "bin" / "release")
KEY = "HRKU-AAbbCCddEE-ff_00112233445566778899"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The app's folder."""
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


def _run(*argv: str, folder: Path, **environ: str) -> Result:
    done = subprocess.run(argv, cwd=folder, env={"PATH": PATH, **environ}, capture_output=True, check=False, timeout=30)
    return Result(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


# Usage.


def test_the_version_is_printed(folder: Path) -> None:
    assert _run(HOOK, "--version", folder=folder) == Result(
        exit_code=0, stdout=f"release-phase, version {__version__}\n".encode(), stderr=b""
    )


@pytest.mark.parametrize("arguments", [["--help"], ["recover", "--help"]])
def test_help_needs_no_settings_and_says_how_to_use_it(folder: Path, arguments: list[str]) -> None:
    result = _run(HOOK, *arguments, folder=folder)
    assert (result.exit_code, result.stderr) == (0, b"")
    assert result.stdout.startswith(b"Usage: " + HOOK.encode() + b" ")
    assert b"heroku run release-phase" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recovr"], "No such command 'recovr'."),
        (["--resore"], "No such option"),
        (["recover", "--keep", "more"], "Got unexpected extra argument (more)"),
        (["recover", "--run"], "Option '--run' requires an argument."),
    ],
)
def test_a_usage_error_exits_2_and_leaves_stdout_alone(folder: Path, arguments: list[str], words: str) -> None:
    result = _run(HOOK, *arguments, folder=folder)
    assert (result.exit_code, result.stdout) == (2, b"")
    assert words in result.stderr.decode()


def test_help_into_a_closed_pipe_is_no_success(folder: Path) -> None:
    with subprocess.Popen([HOOK, "--help"], cwd=folder, env={"PATH": PATH}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) != 0


# A run that ends at the edge.


def test_wrong_settings_are_the_first_and_the_last_thing_that_is_said(folder: Path) -> None:
    result = _run(HOOK, folder=folder, RELEASE_FENCE="maybe")
    assert [event["event"] for event in result.events] == ["release_finished"]
    assert result.ended == (2, None, "settings_invalid")
    assert result.last["error"].startswith("Settings are wrong: RELEASE_FENCE: expected one of")
    assert result.last["run_id"]
    assert result.stderr == b""


def test_without_a_database_it_is_refused_after_saying_with_which_settings_it_started(folder: Path) -> None:
    result = _run(
        HOOK,
        folder=folder,
        DYNO="release.1234",
        HEROKU_APP_NAME="shop",
        HEROKU_RELEASE_VERSION="v42",
        HEROKU_API_KEY=KEY,
        RELEASE_TIME_LIMIT="60",
    )
    assert result.ended == (3, "refused", "no_database")
    (started, _) = result.events
    assert started == {
        "timestamp": started["timestamp"],
        "level": "info",
        "event": "release_started",
        "run_id": result.last["run_id"],
        "app": "shop",
        "release": "v42",
        "trigger": "release phase",
        "description": None,
        "commit": None,
        "version": __version__,
        "python": sys.version.split()[0],
        "settings": {
            "HEROKU_API_KEY": "[redacted]",
            "HEROKU_APP_NAME": "shop",
            "HEROKU_RELEASE_VERSION": "v42",
            "DYNO": "release.1234",
            "RELEASE_TIME_LIMIT": 60.0,
        },
    }
    assert KEY.encode() not in result.stdout


# A crash.


def _broken(folder: Path, statement: str) -> list[str]:
    """A copy of the hook in which the recipe is broken."""
    copy = folder / "hook" / "release"
    shutil.copytree(ROOT / "release", copy, ignore=shutil.ignore_patterns("sandbox", "__pycache__"))
    (copy / "phase.py").write_text(statement)
    return [sys.executable, "-I", str(copy / "__main__.py")]


READY = {"RELEASE_BACKUP": "off", "DATABASE_URL": "postgres://u7f:p0c4a5d0e1@127.0.0.1:1/d9", "HEROKU_API_KEY": KEY}


LATE = """
class Late:
    def __del__(self):
        raise AttributeError("no attribute 'fp'")

def release_phase(run):
    late = Late()
    late.itself = late  # goes when the garbage is collected
    run.clock.kept = Late()  # goes with the last frame that knows the clock
    raise RuntimeError("a signal came")
"""


def test_objects_left_half_made_say_nothing_however_late_they_go(folder: Path) -> None:
    result = _run(*_broken(folder, LATE), folder=folder, **READY)

    assert (result.exit_code, result.stderr) == (70, b"")


def test_a_crash_exits_70_with_its_traceback_and_the_closing_line_last(folder: Path) -> None:
    hook = _broken(folder, f"raise RuntimeError('a mistake near {KEY}')\n")

    result = _run(*hook, folder=folder, **READY)

    assert result.ended == (70, "crashed", "unexpected_error")
    assert [event["event"] for event in result.events] == ["release_started", "step_failed", "release_finished"]
    (failed,) = result.named("step_failed")
    assert (failed["reason"], failed["error"]) == ("unexpected_error", "RuntimeError('a mistake near [redacted]')")
    assert "Traceback (most recent call last)" in failed["exception"]
    assert KEY.encode() not in result.stdout
    assert result.stderr == b""


@pytest.mark.parametrize("statement", ["raise SystemExit", "raise SystemExit(0)", "raise KeyboardInterrupt"])
def test_nothing_that_a_library_raises_passes_for_a_success(folder: Path, statement: str) -> None:
    result = _run(*_broken(folder, statement), folder=folder, **READY)
    assert result.ended == (70, "crashed", "unexpected_error")


# Nothing installed yet.


@pytest.mark.parametrize("command", ["plan", "--version"])
def test_a_checkout_that_is_not_set_up_says_in_one_sentence_what_to_do(folder: Path, command: str) -> None:
    checkout = folder / "checkout"
    (checkout / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "bin" / "release", checkout / "bin")
    shutil.copytree(ROOT / "release", checkout / "release", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(folder / "bare", symlinks=True)

    result = _run(str(checkout / "bin" / "release"), command, folder=folder, PATH=f"{folder}/bare/bin:/usr/bin:/bin")

    assert (result.exit_code, result.stdout) == (2, b"")
    assert re.match(rb"release-phase cannot start: No module named '\w+' \(Python 3\.", result.stderr)
    assert result.stderr.endswith(b"run bin/setup once; on a dyno, install heroku-release-phase or its buildpack.\n")
    assert result.stderr.count(b"\n") == 1


def test_a_module_of_ours_that_is_missing_is_a_traceback_and_no_advice(folder: Path) -> None:
    hook = _broken(folder, "")
    (folder / "hook" / "release" / "cli.py").unlink()

    result = _run(*hook, folder=folder, **READY)

    assert b"No module named 'release.cli'" in result.stderr
    assert b"bin/setup" not in result.stderr


# An app with modules of any name.


@pytest.fixture
def shadowing(folder: Path) -> Path:
    """An app with its own `json.py`, `release/` and more."""
    for name in ("json.py", "signal.py", "click.py", "psycopg.py", "typing.py", "sitecustomize.py"):
        (folder / name).write_text("raise SystemExit('the app was imported')\n")
    (folder / "release").mkdir()
    for name in ("__init__.py", "__main__.py", "cli.py", "clock.py"):
        (folder / "release" / name).write_text("raise SystemExit('the app was imported')\n")
    return folder


def _console_script(folder: Path) -> str:
    """What pip installs: a virtual environment with the package in it, and the script beside its Python."""
    venv.create(folder, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    lines = [str(ROOT), sysconfig.get_paths()["purelib"]]
    (Path(paths["purelib"]) / "hook.pth").write_text("\n".join(lines) + "\n")
    return str(shutil.copy(ROOT / "bin" / "release-phase", folder / "bin"))


def test_nothing_in_the_apps_folder_is_imported_in_place_of_the_hooks_own(shadowing: Path, tmp_path: Path) -> None:
    script = _console_script(tmp_path / "venv")
    for argv in ([HOOK], [script]):
        result = _run(*argv, folder=shadowing, PYTHONPATH=str(shadowing), **READY, RELEASE_PROBE_TIMEOUT="-1")
        assert result.ended == (2, None, "settings_invalid"), argv
        assert result.stderr == b"", argv


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "a link, as pipx and uv make it"])
def test_the_console_script_is_found_on_the_path(shadowing: Path, tmp_path: Path, *, linked: bool) -> None:
    script = Path(_console_script(tmp_path / "venv"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "release-phase").symlink_to(script)
    path = f"{tmp_path / 'bin' if linked else script.parent}:{PATH}"
    result = _run("release-phase", "--version", folder=shadowing, PATH=path, PYTHONPATH=str(shadowing))
    assert (result.exit_code, result.stdout) == (0, f"release-phase, version {__version__}\n".encode())


def test_python_m_release_runs_isolated_too(tmp_path: Path, folder: Path) -> None:
    _console_script(tmp_path / "venv")
    (folder / "json.py").write_text("raise SystemExit('the app was imported')\n")
    python = str(tmp_path / "venv" / "bin" / "python")
    result = _run(python, "-m", "release", "--version", folder=folder, PYTHONPATH="")
    assert (result.exit_code, result.stderr) == (0, b"")
