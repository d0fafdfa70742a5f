"""The Procfile: the one file of the app that is read, for how its processes are started."""

from __future__ import annotations

import re
from pathlib import Path


def command(folder: Path, process: str) -> str | None:
    """Reads the shell line behind a process type, as written; None when there is no Procfile or no such type."""
    try:
        text = (folder / "Procfile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    line = re.search(rf"^{re.escape(process)}:[ \t]*(\S.*?)\s*$", text, re.MULTILINE)
    return line[1] if line else None


def starts_hook(line: str) -> bool:
    """Tells whether a shell line starts this hook: installed, in a checkout, or as a module."""
    return re.search(r"(^|[\s/;&'\"])(release-phase|bin/release|-m release)(?=$|[\s;&|'\"])", line) is not None
