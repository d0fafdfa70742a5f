"""How a one-off dyno starts the hook: as the app's Procfile does, where that needs no shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.steps.handover import hook_command


@pytest.mark.parametrize(
    ("procfile", "command"),
    [
        ("release: bin/release\nweb: gunicorn shop\n", "bin/release"),
        ("web: gunicorn shop\nrelease:   release-phase  \n", "release-phase"),
        ("release: python -m release\r\n", "python -m release"),
        ("release: env 'A=b c' bin/release", "env 'A=b c' bin/release"),
        ("release:\nweb: gunicorn shop\n", "release-phase"),
        ("prerelease: true\n", "release-phase"),
        ("release: bin/release && bin/announce\n", "release-phase"),
        ("release: bin/release; true\n", "release-phase"),
        ('release: sh -c "$HOOK"\n', "release-phase"),
        ("release: $(which release-phase)\n", "release-phase"),
        ("", "release-phase"),
        (None, "release-phase"),
    ],
)  # fmt: skip
def test_the_command_is_the_procfiles_unless_only_a_shell_understands_it(
    tmp_path: Path, procfile: str | None, command: str
) -> None:
    if procfile is not None:
        (tmp_path / "Procfile").write_text(procfile)
    assert hook_command(tmp_path) == command


@pytest.mark.parametrize("procfile", ["release: bin/release | tee log\n", "web: x\n", "release: bin/release 'oops\n"])
def test_a_checkout_has_its_own(tmp_path: Path, procfile: str) -> None:
    (tmp_path / "Procfile").write_text(procfile)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "release").touch()
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "__main__.py").touch()
    assert hook_command(tmp_path) == "bin/release"


def test_a_file_of_the_app_that_is_called_so_is_not_taken_for_the_hook(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "release").touch()
    assert hook_command(tmp_path) == "release-phase"
