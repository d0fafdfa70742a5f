"""One run: who it is and what it works with. It keeps no results, because one step hands them to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from release import retry
from release.asked import Asked
from release.clock import Clock, Deadline, Interrupted, Signals
from release.database.journal import Journal
from release.database.session import Database
from release.errors import Outcome, Reason, ReleaseError
from release.log.events import Event
from release.log.logger import Log
from release.program import named
from release.settings.model import Guard, Settings

if TYPE_CHECKING:
    from release.witness.verdict import Account

T = TypeVar("T")


class Run(Struct, frozen=True, kw_only=True):
    """A run of the release phase.

    `environ` and `folder` are the app's; `deadline` ends before Heroku's limit does; `durations` collects the seconds
    of each step for the last line. `witnessing` says whether the app's commands reach the database through the witness,
    which they do once the migration begins, and `accounts` collects what it has to say of each of them.
    """

    id: str
    settings: Settings
    environ: Mapping[str, str]
    folder: Path
    clock: Clock
    signals: Signals
    log: Log
    deadline: Deadline
    database: Database
    durations: dict[str, float] = field(default_factory=dict)
    witnessing: bool = False
    accounts: list[Account] = field(default_factory=list)

    @property
    def journal(self) -> Journal:
        """The journal in the protected database."""
        return Journal(self.database)

    @property
    def migration_name(self) -> str:
        """The application name of the migration's sessions, by which they are found and ended."""
        return migration_name(self.id)

    @contextmanager
    def step(self, name: str) -> Iterator[Run]:
        """Logs a step: that it started, then that it finished or failed, with its duration in seconds."""
        within = replace(self, log=self.log.bind(step=name))
        within.log.info(Event.STEP_STARTED)
        began = self.clock.monotonic()
        try:
            yield within
        except (ReleaseError, Interrupted) as error:
            reason, detail = explain(error)
            within.log.error(
                Event.STEP_FAILED,
                reason=reason.slug,
                error=named(detail),
                hint=named(reason.hint),
                duration=self._add_duration(name, began),
            )
            raise
        within.log.info(Event.STEP_FINISHED, duration=self._add_duration(name, began))

    def _add_duration(self, name: str, began: float) -> float:
        seconds = self.clock.monotonic() - began
        self.durations[name] = self.durations.get(name, 0.0) + seconds
        return round(seconds, 3)

    def retried(self, name: str, call: Callable[[], T], *, deadline: Deadline | None = None) -> T:
        """Makes a call that does no harm when it is made twice, and makes it again, in time, after failures that pass.

        Returns what it gives. Raises the last failure.
        """
        return retry.retried(call, name=name, clock=self.clock, log=self.log, deadline=deadline or self.deadline)

    def insisted(self, name: str, call: Callable[[], T], *, seconds: float) -> T:
        """Makes such a call again for that long, however often it fails: a database may be away for a minute."""
        by = self.deadline.within(seconds)
        return retry.retried(call, name=name, clock=self.clock, log=self.log, deadline=by, most=retry.LAST_ATTEMPT)

    def asked(self, name: str, call: Callable[[], T], *, deadline: Deadline | None = None) -> Asked[T]:
        """Makes such a call in a thread of its own, so that others can be made meanwhile."""
        return Asked(lambda: self.retried(name, call, deadline=deadline), clock=self.clock, signals=self.signals)

    def warn(self, warning: str, detail: str, **facts: object) -> None:
        """Logs what an operator should know although it stops nothing. `warning` is a slug."""
        self.log.warning(Event.WARNING_RAISED, warning=warning, detail=named(detail), **facts)

    def guard(self, name: Guard, refusal: ReleaseError) -> None:
        """Raises `refusal` unless the operator overrides this guard, which is logged every time."""
        if name not in self.settings.allow:
            raise refusal
        self.log.warning(Event.GUARD_OVERRIDDEN, guard=name, reason=refusal.reason.slug, detail=refusal.detail)


class Ending(Struct, frozen=True, kw_only=True):
    """How a run ended, as `release_finished` says it. `backup`, `salvage` and `restore` are names such as b012."""

    outcome: Outcome | None
    exit_code: int
    reason: Reason | None = None
    detail: str = ""
    hint: str = ""
    backup: str | None = None
    salvage: str | None = None
    restore: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


def ended(outcome: Outcome, error: ReleaseError | Interrupted | None = None, **rest: str | None) -> Ending:
    """Makes an ending with the reason, the detail and the facts of what caused it.

    `rest` has the names of transfers, and a `hint` where it is another one than the reason's.
    """
    if error is None:
        return Ending(outcome=outcome, exit_code=outcome.exit_code, **rest)  # type: ignore[arg-type]
    reason, detail = explain(error)
    facts = error.facts if isinstance(error, ReleaseError) else {}
    hint = rest.pop("hint", None) or reason.hint
    return Ending(
        outcome=outcome,
        exit_code=outcome.exit_code,
        reason=reason,
        detail=detail,
        hint=hint,
        facts=facts,
        **rest,
    )


def explain(error: ReleaseError | Interrupted) -> tuple[Reason, str]:
    """Returns the reason and the full text of a failure."""
    if isinstance(error, Interrupted):
        return Reason.INTERRUPTED, f"{Reason.INTERRUPTED.text}: {error}"
    return error.reason, str(error)


def migration_name(run_id: str) -> str:
    """Returns the application name of a run's migration, also of an earlier run's."""
    return f"release-{run_id}"


HOOKS = "release-hook-"
"""What the application names of the hook's own sessions begin with. Nobody ends such a session: another run may be
waiting for the lock in it."""


def hook_name(run_id: str) -> str:
    """Returns the application name of the hook's own session."""
    return HOOKS + run_id
