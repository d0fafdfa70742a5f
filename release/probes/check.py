"""One probe: what it is given, how it is run, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from release.errors import ProbeFailed, Reason
from release.log.events import Event
from release.run import Run

Facts = Mapping[str, object]


def checked(run: Run, name: str, check: Callable[[], Facts | None]) -> None:
    """Runs one probe and logs how it went. `check` returns what it saw, or None when it cannot tell."""
    began = run.clock.monotonic()
    try:
        facts = check()
    except ProbeFailed as error:
        took = round(run.clock.monotonic() - began, 3)
        run.log.error(Event.PROBE_FAILED, probe=name, detail=error.detail, duration=took, **error.facts)
        raise ProbeFailed(error.reason, f"{name}: {error.detail}", probe=name, **error.facts) from error
    if facts is not None:
        run.log.info(Event.PROBE_PASSED, probe=name, **{"duration": run.clock.monotonic() - began, **facts})


def failed(detail: str, **facts: object) -> ProbeFailed:
    """A probe that failed for no more special reason."""
    return ProbeFailed(Reason.PROBE_FAILED, detail, **facts)
