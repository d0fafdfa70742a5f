"""A finding: one thing that a restore could not bring back, why, and the way out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing: its kind and name as a statement would have them, why it does not come back, and what to do."""

    kind: str
    name: str
    why: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.why} ({self.way_out})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`lost` does not come back as it is; `weaker` comes back in a lesser form; `unknown` could not be tried."""

    lost: tuple[Finding, ...] = ()
    weaker: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        """Both together."""
        return Report(
            lost=self.lost + other.lost, weaker=self.weaker + other.weaker, unknown=self.unknown + other.unknown
        )
