"""The site: the app as its users know it, with what keeps them out and lets them in again. The retry is in here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from release.heroku.platform import Platform
from release.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The running app, through the Platform API: all that a fence needs. Raises HerokuError."""

    platform: Platform

    def formation(self, run: Run) -> dict[str, int]:
        """Quantities by process type, as they are now."""
        processes = run.retried("GET formation", self.platform.formation)
        return {process.type: process.quantity for process in processes}

    def scale(self, run: Run, quantities: Mapping[str, int]) -> None:
        """Sets quantities of process types; without any, nothing is asked."""
        if quantities:
            run.retried("PATCH formation", lambda: self.platform.scale(quantities))

    def maintain(self, run: Run, *, on: bool) -> None:
        """Switches maintenance mode."""
        run.retried("PATCH maintenance", lambda: self.platform.set_maintenance(on=on))
