"""Runs of the hook that are forked from a process which has imported it: a third of a run is saved, its imports.

Such a run is the caller's own child, with a process id, a session, an environment, a folder and streams of its own, and
what runs in it is `release/__main__.py`. What it does not show is the start itself: the script in `bin/`, Python's
flags, modules that are found or not, /proc/self/cmdline. So hook.py starts some tests' runs as an app does.

This file is both: what the tests import, and, run by itself, the process that forks.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[1]
MAIN: Final = ROOT / "release" / "__main__.py"

READ_AT_THE_START: Final = ("LANG", "LC_", "LD_", "MALLOC", "PYTHON", "TZ")
"""Beginnings of variables that Python or a library reads once: they need a start of their own."""

LATE: Final = ("click", "heroku3", "psycopg", "scramp", "trustme")
"""What the hook imports only where it needs it."""

_ONE_BY_ONE: Final = threading.Lock()
"""Answers come without a word of whose they are."""

_ADOPTS: Final = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): orphans below become this process's children."""


class Forks:
    """The process that forks, from its first use on; a context manager. Only on Linux can a run be handed over."""

    usable = sys.platform == "linux"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._control.close()
            self._process.wait(10)

    def start(self, arguments: list[str], *, folder: Path, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts a run: stdin is empty, stdout and stderr are pipes."""
        if self._process is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            argv = [sys.executable, "-I", __file__, str(theirs.fileno())]
            path = {"PATH": os.defpath}
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=path)
            theirs.close()
        return _Fork(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environ,
            control=self._control,
        )


class _Fork(subprocess.Popen[bytes]):
    """A run as Popen has it, which another process starts."""

    def __init__(self, *args: Any, control: socket.socket, **kwargs: Any) -> None:
        self._control = control
        super().__init__(*args, **kwargs)

    def _execute_child(self, args: list[str], *others: Any) -> None:
        """Takes the place of Popen's own, which is handed folder and environment 5th and 6th, then the streams."""
        folder, environ = others[4:6]
        pipes = others[9:15]
        job = {"arguments": args, "environ": environ, "folder": str(folder)}
        libc = ctypes.CDLL(None)
        with _ONE_BY_ONE:
            libc.prctl(_ADOPTS, 1)
            try:
                socket.send_fds(self._control, [json.dumps(job).encode()], [pipes[0], pipes[3], pipes[5]])
                self.pid = int(self._control.recv(16))
            finally:
                libc.prctl(_ADOPTS, 0)
                self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self._child_created = True


def serve(control: socket.socket) -> None:
    """Forks a run for each job until the other end is closed."""
    sys.path.append(str(ROOT))
    release = importlib.import_module("release")
    names = [each.name for each in pkgutil.walk_packages(release.__path__, "release.")]
    for name in (*LATE, *(name for name in names if not name.endswith("__main__"))):
        importlib.import_module(name)
    sys.path.remove(str(ROOT))  # __main__.py does it itself
    gc.collect()
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not message:
            return
        between = os.fork()
        if not between:
            _leave_alone(control, json.loads(message), fds)
        os.waitpid(between, 0)
        for fd in fds:
            os.close(fd)


def _leave_alone(control: socket.socket, job: dict[str, Any], fds: list[int]) -> None:
    """Starts the run and goes, so that the run is handed to whoever adopts orphans: the process that asked for it."""
    between = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    while os.getppid() == between:
        time.sleep(0.0002)
    control.send(str(os.getpid()).encode())
    control.close()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environ"])
    sys.argv = [str(MAIN), *job["arguments"]]
    runpy.run_path(str(MAIN), run_name="__main__")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
