"""The site: the app as its users know it, and what keeps them out and lets them in again. Its verbs retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from release.heroku.platform import Platform
from release.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The running app through the Platform API, with all that a fence needs. Its verbs raise HerokuError.

    `private` says that the app is in a Private Space.
    """

    platform: Platform
    private: bool

    def formation(self, run: Run) -> dict[str, int]:
        """Reads the quantities by process type, as they are now."""
        processes = run.retried("GET formation", self.platform.formation)
        return {process.type: process.quantity for process in processes}

    def scale(self, run: Run, quantities: Mapping[str, int]) -> None:
        """Sets quantities by process type. Where there are none to set, no request is made."""
        if quantities:
            run.retried("PATCH formation", lambda: self.platform.scale(quantities))

    def maintain(self, run: Run, *, on: bool) -> None:
        """Switches maintenance mode on or off."""
        run.retried("PATCH maintenance", lambda: self.platform.set_maintenance(on=on))
