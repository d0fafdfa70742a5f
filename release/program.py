"""What this program is called where it runs, so that a hint names a command which exists there.

Texts are written with `release-phase`, as the documentation is. Where one is shown, `named` puts in how this process
was started: by an installed `release-phase`, by a checkout's `bin/release`, or as a module.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

NAME = "release-phase"
"""The program's name in every text, and on PATH where it is installed."""

ROOT = Path(__file__).parents[1]
"""The checkout, or the folder into which the package is installed."""

_SAID = re.compile(rf"(`|Example:\s+|Paste: |release:\s+|\|\s+|heroku\s+run\s+){NAME}(?![\w./-])")
"""A command in a text. It begins a span of code or an example, or stands behind what it is given to."""
_REMOTE = ("heroku", "release:")
"""What it stands behind where a dyno runs it."""


def named(text: str) -> str:
    """Returns one of our own texts with the commands as they can be typed here.

    Behind `heroku run`, and in a line of the Procfile, it is what the dyno has.
    """
    if NAME not in text:
        return text
    return _SAID.sub(lambda said: said[1] + (in_dyno() if said[1].startswith(_REMOTE) else name()), text)


def name() -> str:
    """Returns how this program is called from the folder where it was called: a word, or a path fit for a shell.

    Only the program itself has another name than `release-phase`: not a test, nor the sandbox that shows its log.
    """
    started = sys.modules["__main__"]
    if getattr(started, "__file__", None) != str(ROOT / "release" / "__main__.py"):
        return NAME
    on_path = shutil.which(NAME)
    if started.__spec__ is None and is_checkout(ROOT):  # by its path, as bin/release does
        here = _from_here(ROOT / "bin" / "release")
        return NAME if here.startswith("/") and on_path == str(ROOT / "bin" / NAME) else shlex.quote(here)
    beside = Path(sys.executable).with_name(NAME)
    if on_path:
        return NAME
    return shlex.quote(str(beside)) if beside.is_file() else f"{shlex.quote(sys.executable)} -m release"


def in_dyno() -> str:
    """Returns how the dyno calls it: as here, unless that is somewhere on this machine only."""
    here = name()
    return NAME if here.startswith(("/", "'/")) else here


def is_checkout(folder: Path) -> bool:
    """Tells whether a folder is a checkout of this program. An app may have a `bin/release` of its own."""
    return (folder / "bin" / "release").is_file() and (folder / "release" / "__main__.py").is_file()


def _from_here(path: Path) -> str:
    """Returns the path from the current folder where it lies in that, else the whole."""
    try:
        return str(path.relative_to(os.getcwd()))  # noqa: PTH109 -- the folder may be gone, which is an OSError, too
    except (OSError, ValueError):
        return str(path)
