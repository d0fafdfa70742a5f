"""A finding: one thing that a restore could not bring back, with the reason and the way out."""

from __future__ import annotations

from msgspec import Struct


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that does not come back. Its kind and name are those of a statement. `way_out` says what to do."""

    kind: str
    name: str
    why: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.why} ({self.way_out})"


class Report(Struct, frozen=True, kw_only=True):
    """The findings about a database.

    What is `lost` does not come back as it is. What is `weaker` comes back in a lesser form. What is `unknown` could
    not be tried.
    """

    lost: tuple[Finding, ...] = ()
    weaker: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        """Joins two reports."""
        return Report(
            lost=self.lost + other.lost, weaker=self.weaker + other.weaker, unknown=self.unknown + other.unknown
        )
