"""The figures: what each cell came to, one JSON line each, and the table that is made of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

CLASSES = (
    "model", "http", "transfer", "kill", "database", "shape", "driver", "writer", "live",
    "child", "output", "concurrency", "witness", "pair",
)  # fmt: skip
BROKEN_HOOK = "broken hook"
"""The class of the hooks that are wrong on purpose: there a broken invariant is what is wanted."""


@dataclass(kw_only=True)
class Cell:
    """One cell: a fault at one place of one release, and how that ended.

    `runs`: how many runs it stands for (the model's are counted together); `fired`: whether the fault happened;
    `last`: at the last place there was in that run;
    `broken`: the invariants that did not hold; `backups` and `restores`: accepted POSTs in the run; `stopping`: real
    seconds from SIGTERM to exit; `looked_at`: bytes searched for secrets.
    """

    group: str
    fault: str
    scenario: str
    n: int = 0
    runs: int = 1
    fired: bool = True
    last: bool = False
    outcomes: list[str | None] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    backups: int = 0
    restores: int = 0
    stopping: float | None = None
    looked_at: int = 0
    leaks: int = 0
    seconds: float = 0

    def __str__(self) -> str:
        place = f"{self.group}: {self.fault} at {self.n} ({self.scenario})"
        return f"{place} -> {self.outcomes}: {'; '.join(self.broken) or 'held'}"


class Recorder:
    """Appends cells to a file of this worker."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def add(self, cell: Cell) -> None:
        """Appends one."""
        if self._file:
            with self._file.open("a") as file:
                file.write(json.dumps(asdict(cell)) + "\n")


def read(paths: Iterable[Path]) -> list[Cell]:
    """The cells in files of JSON lines."""
    return [Cell(**json.loads(line)) for path in paths for line in path.read_text().splitlines()]


def table(cells: list[Cell]) -> str:
    """The figures by class, as text."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.group].append(cell)
    head = f"{'class':<14}{'cells fired':>12}{'held':>8}{'broken':>8}{'not fired':>11}"
    rule = "-" * len(head)
    mistakes = groups.pop(BROKEN_HOOK, [])
    rows = [_row(group, groups[group]) for group in CLASSES if group in groups]
    everything = [cell for group in groups.values() for cell in group]
    caught = f"hooks broken on purpose: {sum(bool(cell.broken) for cell in mistakes)} of {len(mistakes)} caught"
    return "\n".join([head, rule, *rows, rule, _row("all", everything), "", caught, *_summary(everything)])


def _row(name: str, cells: list[Cell]) -> str:
    fired = sum(cell.runs for cell in cells if cell.fired)
    held = sum(cell.runs for cell in cells if cell.fired and not cell.broken)
    return f"{name:<14}{fired:>12}{held:>8}{fired - held:>8}{sum(not cell.fired for cell in cells):>11}"


def _summary(cells: list[Cell]) -> list[str]:
    real = [cell for cell in cells if cell.group != "model"]
    stopping = [cell.stopping for cell in real if cell.stopping is not None]
    megabytes = sum(cell.looked_at for cell in real) / 1e6
    return [
        f"accepted POSTs in one run, at most: {max((cell.backups for cell in real), default=0)} captures"
        f" (backup and salvage), {max((cell.restores for cell in real), default=0)} restores",
        f"SIGTERM to exit, worst: {max(stopping, default=0):.1f} s in {len(stopping)} runs",
        f"secrets found: {sum(cell.leaks for cell in real)} in {megabytes:.1f} MB of output",
        "not fired: the run was over before that place; such a round ends its loop",
    ]
