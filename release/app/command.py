"""The app's own commands: what each of them is given, and one that is run to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from release.app import frameworks, procfile
from release.app.frameworks import Framework
from release.child.process import CommandNotStarted, Ended, Lines, Running, start_command
from release.clock import Deadline
from release.errors import Misconfigured, Reason, StepFailed
from release.log.events import Event
from release.run import Run


def app_environ(run: Run, **more: str) -> dict[str, str]:
    """The app's environment, less the key to Heroku."""
    return {**{name: value for name, value in run.environ.items() if name != "HEROKU_API_KEY"}, **more}


def start_app(
    run: Run,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    on_lines: Lines | None = None,
    quiet: bool = False,
) -> AbstractContextManager[Running]:
    """Starts a command in the app's folder; it ends with the block. Parameters and errors as of `start_command`."""
    return start_command(
        argv,
        env=app_environ(run) if env is None else env,
        cwd=run.folder,
        log=run.log,
        clock=run.clock,
        signals=run.signals,
        on_lines=on_lines,
        quiet=quiet,
    )


def run_app(
    run: Run,
    argv: Sequence[str],
    deadline: Deadline,
    *,
    env: Mapping[str, str] | None = None,
    on_lines: Lines | None = None,
    quiet: bool = False,
) -> Ended:
    """Runs a command to its end, or to the deadline. Raises CommandNotStarted, and Interrupted after a signal."""
    with start_app(run, argv, env=env, on_lines=on_lines, quiet=quiet) as running:
        ended = running.wait(deadline)
    run.signals.check()
    return ended


PENDING_LIMIT = 300.0
"""Seconds that the app may take to say whether migrations are pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What will be run: the migration, and the question whether one is pending (None: it cannot be asked).

    `framework` tells what the pending command's exit codes mean, None for a configured one; `asked` is the framework,
    detected or recognised, that can be asked about its migrations.
    """

    migrate: tuple[str, ...]
    pending: tuple[str, ...] | None
    framework: Framework | None
    asked: Framework | None

    def is_pending(self, exit_code: int) -> bool | None:
        """What the pending command's exit code means; None: it does not tell."""
        if self.framework is None:
            return {0: False, 1: True}.get(exit_code)
        if exit_code == self.framework.nothing_pending:
            return False
        return True if exit_code in self.framework.something_pending else None


def find_commands(run: Run) -> Commands:
    """The commands to run, configured or detected. Raises Misconfigured."""
    settings = run.settings
    framework = None
    if settings.migrate_command is None:
        framework = frameworks.detect(run.folder, run.environ.get("PATH", ""))
        if framework is None:
            markers = ", ".join(each.marker for each in frameworks.FRAMEWORKS)
            raise Misconfigured(Reason.NO_FRAMEWORK, f"looked for {markers}")
        run.log.info(
            Event.FRAMEWORK_DETECTED,
            framework=framework.name,
            migrate=" ".join(framework.migrate_command),
            pending=" ".join(framework.pending_command or ()) or None,
        )
    found = Commands(
        migrate=settings.migrate_command or (framework.migrate_command if framework else ()),
        pending=settings.pending_command or (framework.pending_command if framework else None),
        framework=framework if settings.pending_command is None else None,
        asked=framework or frameworks.recognise(settings.migrate_command or ()),
    )
    _check_runnable(run, found)
    return found


def _check_runnable(run: Run, found: Commands) -> None:
    missing = [
        f"{name}: {argv[0]!r} is not a command that can be started here"
        for name, argv in (
            ("RELEASE_MIGRATE_COMMAND", found.migrate),
            ("RELEASE_PENDING_COMMAND", found.pending),
            ("RELEASE_PROBE_COMMAND", run.settings.probe_command),
        )
        if argv and not frameworks.runnable(argv, folder=run.folder, environ=run.environ)
    ]
    if run.settings.probe_path and procfile.command(run.folder, "web") is None:
        missing.append("RELEASE_PROBE_PATH: the Procfile has no web process that could be booted")
    if missing:
        raise Misconfigured(Reason.COMMAND_NOT_FOUND, "; ".join(missing), errors=missing)


def ask_pending(run: Run, found: Commands) -> bool | None:
    """Runs the pending command. Raises StepFailed when a configured one answers with neither 0 nor 1."""
    if found.pending is None:
        return None
    try:
        ended = run_app(run, found.pending, run.deadline.within(PENDING_LIMIT))
    except CommandNotStarted as error:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, str(error)) from error
    if ended.timed_out:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, f"{found.pending[0]} took over {PENDING_LIMIT:g} s")
    answer = None if ended.exit_code is None else found.is_pending(ended.exit_code)
    if answer is None and found.framework is None:
        raise StepFailed(
            Reason.PENDING_CHECK_FAILED, f"RELEASE_PENDING_COMMAND ended with {ended.how}; 0 and 1 are its answers"
        )
    return answer
