"""A probe as a row of a table: when it is given, what it is in words, how it is run, and what is logged of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from release.errors import ProbeFailed, Reason
from release.log.events import Event
from release.run import Run
from release.settings.model import Settings

Facts = Mapping[str, object]

Subject = TypeVar("Subject")
"""What the probes of a table look at: a finished migration, or a run alone."""


class Probe(Struct, Generic[Subject], frozen=True, kw_only=True):
    """A probe. `name` is what the log calls it.

    `given`: whether the settings ask for it, as anything true. `describe`: what it is, for people, before it has run;
    it must not hold a secret. `run` returns what it saw, or None when it cannot tell, and raises ProbeFailed.
    """

    name: str
    given: Callable[[Settings], object] = lambda _: True
    describe: Callable[[Settings], str]
    run: Callable[[Subject], Facts | None]


def described(probes: Iterable[Probe[Any]], settings: Settings) -> list[str]:
    """Describes the probes that these settings ask for, in their order."""
    return [probe.describe(settings) for probe in probes if probe.given(settings)]


def run_probes(run: Run, probes: Iterable[Probe[Subject]], subject: Subject) -> None:
    """Runs those that the settings ask for, in their order. Raises ProbeFailed at the first that fails."""
    for probe in probes:
        if probe.given(run.settings):
            _run_probe(run, probe, subject)


def _run_probe(run: Run, probe: Probe[Subject], subject: Subject) -> None:
    """Runs one probe and logs how it went; nothing is logged of one that cannot tell."""
    began = run.clock.monotonic()
    try:
        facts = probe.run(subject)
    except ProbeFailed as error:
        took = round(run.clock.monotonic() - began, 3)
        run.log.error(Event.PROBE_FAILED, probe=probe.name, detail=error.detail, duration=took, **error.facts)
        detail = f"{probe.name}: {error.detail}"
        raise ProbeFailed(error.reason, detail, probe=probe.name, **error.facts) from error
    if facts is not None:
        took = run.clock.monotonic() - began
        run.log.info(Event.PROBE_PASSED, probe=probe.name, **{"duration": took, **facts})


def failed(detail: str, **facts: object) -> ProbeFailed:
    """Makes the error of a probe that failed for no more special reason."""
    return ProbeFailed(Reason.PROBE_FAILED, detail, **facts)
