"""A figure beside the limit that it has to keep, and the one table of them all."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEAD = ("what", "limit", "measured", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured, and the limit, both as a person reads them; and whether the limit is kept."""

    what: str
    limit: str
    measured: str
    met: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of its row, in the order of `HEAD`."""
        return self.what, self.limit, self.measured, "yes" if self.met else "**no**"


def at_most(what: str, found: float, limit: float, unit: str = "s", *, beside: str = "") -> Figure:
    """A figure that must not be larger than its limit; `beside` is told with it. What counts is what is shown."""
    measured = ", ".join(filter(None, [_shown(found, unit), beside]))
    return Figure(what=what, limit=_shown(limit, unit), measured=measured, met=_rounded(found) <= limit)


def at_least(what: str, found: float, limit: float, unit: str, *, beside: str = "") -> Figure:
    """A figure that must not be smaller than its limit."""
    measured = ", ".join(filter(None, [_shown(found, unit), beside]))
    return Figure(what=what, limit=f"{_shown(limit, unit)} or more", measured=measured, met=_rounded(found) >= limit)


def _rounded(value: float) -> float:
    return round(value, 2 if value < 20 else 0)


def _shown(value: float, unit: str) -> str:
    return f"{_rounded(value):,.{0 if value == int(value) or value >= 20 else 2}f} {unit}"


def table(figures: Sequence[Figure]) -> str:
    """The table as Markdown, in columns that can be read in a terminal, too."""
    rows = [HEAD, *(each.cells for each in figures)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    cells = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"| {line} |" for line in cells)


def machine() -> str:
    """The kind of machine that it is, and how busy others keep it at this moment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kind = f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()}, Python {platform.python_version()}"
    return f"{kind}; load average {os.getloadavg()[0]:.1f} when it began"


def peak(pid: int | str = "self") -> float:
    """The most memory that a process itself has held, in MB; 0 when it has gone.

    Not `ru_maxrss`: that is never below what the parent held when it forked, nor below a child that was waited for.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), default=0)
