"""How a child is started, and why it was not, in words that help."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandNotStarted(Exception):
    """A command that could not be started: `why` says what is wrong with `command`."""

    def __init__(self, command: str, why: str) -> None:
        super().__init__(f"{command}: {why}")
        self.command = command
        self.why = why


def spawn(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None) -> subprocess.Popen[bytes]:
    """Starts a command in a session of its own: stdin closed, stdout and stderr as pipes. Raises CommandNotStarted."""
    if not argv:
        raise CommandNotStarted("", "the command is empty")
    try:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise CommandNotStarted(argv[0], _why(error, argv[0], env, cwd)) from error


def _why(error: OSError | ValueError, program: str, env: Mapping[str, str], cwd: Path | None) -> str:
    if isinstance(error, ValueError):  # a NUL byte, or "=" in a variable's name
        return f"it cannot be passed to the system ({error})"
    if cwd is not None and not cwd.is_dir():
        return f"its folder {cwd} does not exist"
    file = _find_program(program, env, cwd)
    if file is None:
        return "no such file" if os.sep in program else "not found on the PATH"
    return "it is a directory" if file.is_dir() else _why_not_this_file(error, file)


def _why_not_this_file(error: OSError, file: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"its interpreter does not exist ({_first_line(file)})"
    if isinstance(error, PermissionError):
        return "it is not executable"
    if error.errno == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script with an interpreter in its first line"
    return os.strerror(error.errno or 0)


def _find_program(program: str, env: Mapping[str, str], cwd: Path | None) -> Path | None:
    """Finds the file behind a program's name, whether or not it can be executed."""
    if os.sep in program:
        path = (cwd or Path.cwd()) / program
        return path if path.exists() else None
    on_path = shutil.which(program, os.F_OK, env.get("PATH", os.defpath))
    return Path(on_path) if on_path else None


def _first_line(script: Path) -> str:
    try:
        with script.open("rb") as file:
            return file.readline(128).decode("utf-8", "replace").strip()
    except OSError:
        return "unreadable"
