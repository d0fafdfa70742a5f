"""The site: the app as its users know it, and what keeps them out and lets them in again. Its verbs retry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from release.asked import Asked, Lately
from release.heroku.platform import Platform, Process
from release.run import Run


class Site(Struct, frozen=True, kw_only=True):
    """The running app through the Platform API, with all that a fence needs. Its verbs raise HerokuError.

    `private` says that the app is in a Private Space.
    """

    platform: Platform
    private: bool
    _latest: Lately[dict[str, int]] = field(default_factory=Lately)

    def ask(self, run: Run) -> None:
        """Asks for the formation ahead of the moment when it is needed."""
        self._latest.ahead(lambda: self._ask(run))

    def formation(self, run: Run) -> dict[str, int]:
        """Returns the quantities by process type, as they are now."""
        return self._latest.answer(lambda: self._ask(run))

    def change(self, run: Run, quantities: Mapping[str, int], *, maintenance: bool | None) -> None:
        """Sets quantities by process type and switches maintenance mode, both at once.

        What is None or empty stays as it is, without a request. It comes back when nothing is under way any more, so
        that no request of its own takes effect after a later one.
        """
        self._latest.forget()
        scaled = run.asked("PATCH formation", lambda: self.platform.scale(quantities)) if quantities else None
        try:
            if maintenance is not None:
                run.retried("PATCH maintenance", lambda: self.platform.set_maintenance(on=maintenance))
        finally:
            if scaled:
                scaled.settled()

    def _ask(self, run: Run) -> Asked[dict[str, int]]:
        return run.asked("GET formation", lambda: standing(self.platform.formation()))


def standing(processes: Iterable[Process]) -> dict[str, int]:
    """Returns the quantities by process type."""
    return {process.type: process.quantity for process in processes}
