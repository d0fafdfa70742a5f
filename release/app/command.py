"""The app's own commands: which they are, what each of them is given, and how one is run to its end."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from release.app import crashes, frameworks, index, procfile
from release.app.answers import Answer, exit_code
from release.app.frameworks import Framework
from release.child.process import CommandNotStarted, Ended, Lines, Running, start_command
from release.clock import Deadline
from release.database import history
from release.errors import Misconfigured, Reason, StepFailed
from release.log.events import Event
from release.run import Run

if TYPE_CHECKING:
    from release.app.witnessed import Absent, Timeouts, Witness

PENDING_LIMIT = 300.0
"""Seconds that the app may take to say whether migrations are pending."""

CONFIGURED = exit_code(1)
"""The reader of a configured pending command's answer."""


def app_environ(run: Run, **more: str) -> dict[str, str]:
    """Returns the app's environment, less the key to Heroku."""
    return {**{name: value for name, value in run.environ.items() if name != "HEROKU_API_KEY"}, **more}


@contextmanager
def start_app(
    run: Run,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeouts: Timeouts = (),
    on_lines: Lines | None = None,
    quiet: bool = False,
) -> Iterator[Running]:
    """Starts a command in the app's folder; it ends with the block. Parameters and errors as of `start_command`.

    Where the run says so, the witness stands between the command and the database, and none of its sessions outlives
    the block. `timeouts` are the server's, which the witness puts into each session.
    """
    environ = app_environ(run) if env is None else env
    with ExitStack() as stack:
        witness = _witness(run, stack, environ, timeouts) if run.witnessing else None
        running = stack.enter_context(
            start_command(
                argv,
                env=witness.environ if witness else environ,
                cwd=run.folder,
                log=run.log,
                clock=run.clock,
                signals=run.signals,
                on_lines=on_lines,
                quiet=quiet,
            )
        )
        if witness:
            stack.enter_context(witness.watching(running))
        yield running


def _witness(run: Run, stack: ExitStack, environ: Mapping[str, str], timeouts: Timeouts) -> Witness | Absent:
    from release.app.witnessed import witnessed  # noqa: PLC0415 -- a release with nothing pending has no witness

    return stack.enter_context(witnessed(run, environ, timeouts))


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


class Commands(Struct, frozen=True, kw_only=True):
    """What will be run: the migration, and the question whether one is pending (None: it cannot be asked).

    `framework` reads the pending command's answer, None for a configured one; `asked` is the framework, detected or
    recognised, that can be asked about its migrations.
    """

    migrate: tuple[str, ...]
    pending: tuple[str, ...] | None
    framework: Framework | None
    asked: Framework | None

    @property
    def tell(self) -> bool:
        """Whether anything tells if a migration is pending: a command, or an index."""
        return self.pending is not None or bool(self.framework and self.framework.index)

    def is_pending(self, answer: Answer) -> bool | None:
        """Tells what the pending command's answer means; None when it does not say."""
        question = self.framework.pending if self.framework else None
        return question.read(answer) if question else CONFIGURED(answer)

    def crash(self, answer: Answer) -> str | None:
        """Returns the error by which the app ended instead of answering; None where it answered, or cannot be told."""
        framework = self.framework
        if framework is None:
            return crashes.loading(answer, self.pending or ())
        question = framework.pending
        if missing := crashes.not_found(answer):
            return missing
        if question and not question.ambiguous and question.read(answer) is not None:
            return None
        own = framework.crashed(answer) if framework.crashed else None
        told = own or crashes.python(answer, framework.tool[-1:]) or crashes.node(answer)
        return told if told or question is None or question.ambiguous else crashes.wordless(answer)


def find_commands(run: Run) -> Commands:
    """Finds the commands to run, configured or detected. Raises Misconfigured."""
    settings = run.settings
    framework = _detect(run) if settings.migrate_command is None else _chosen(run, settings.migrate_command)
    commands = Commands(
        migrate=settings.migrate_command or (framework.migrate_command if framework else ()),
        pending=settings.pending_command or (framework.pending_command if framework else None),
        framework=framework if settings.pending_command is None else None,
        asked=framework or frameworks.recognise(settings.migrate_command or ()),
    )
    _check_runnable(run, commands)
    return commands


def _chosen(run: Run, migrate: Sequence[str]) -> Framework | None:
    """Returns the framework whose command was configured, where it can be asked what is pending here."""
    found = frameworks.chosen(migrate)
    asks = found and (found.pending_command or found.tool)
    return found if asks and _runnable(run, asks) else None


def _detect(run: Run) -> Framework:
    """Finds the one framework of the app whose tool can be started, and logs it. Raises Misconfigured."""
    marked = frameworks.marked(run.folder)
    if not marked:
        markers = ", ".join(marker for framework in frameworks.FRAMEWORKS for marker in framework.markers)
        raise Misconfigured(Reason.NO_FRAMEWORK, f"looked for {markers}")
    usable = [framework for framework in marked if _runnable(run, (framework.needed,))]
    absent = [_not_usable(framework) for framework in marked if framework not in usable]
    if not usable:
        raise Misconfigured(Reason.COMMAND_NOT_FOUND, "; ".join(absent), errors=absent)
    if len(usable) > 1:
        raise _several(run, usable)
    (framework,) = usable
    if absent:
        run.warn("framework_passed_over", f"{'; '.join(absent)}. So {framework.name} is used")
    run.log.info(
        Event.FRAMEWORK_DETECTED,
        framework=framework.name,
        migrate=" ".join(framework.migrate_command),
        pending=framework.question,
    )
    return framework


def _not_usable(framework: Framework) -> str:
    needed = framework.needed
    return f"{framework.marker} is there, but {framework.name}'s command {needed!r} cannot be started here"


def _several(run: Run, usable: Sequence[Framework]) -> Misconfigured:
    """Makes an error that shows the choice as commands to paste.

    A command that is chosen word for word stands for its framework again, with all that it tells.
    """
    names = ", ".join(f"{framework.name} ({framework.marker})" for framework in usable)
    app = run.settings.heroku_app_name or run.settings.heroku_app_id
    choices = [choice(framework, app) for framework in usable]
    detail = f"{names}. Choose one of them: {'; '.join(choices)}"
    return Misconfigured(Reason.SEVERAL_FRAMEWORKS, detail, choices=choices)


def choice(framework: Framework, app: str | None) -> str:
    """Returns the command that chooses a framework for an app, to paste."""
    to_app = f" --app {app}" if app else ""
    return f"heroku config:set RELEASE_MIGRATE_COMMAND={shlex.quote(shlex.join(framework.migrate_command))}{to_app}"


def _runnable(run: Run, argv: Sequence[str]) -> bool:
    return frameworks.runnable(argv, folder=run.folder, environ=run.environ)


def _check_runnable(run: Run, commands: Commands) -> None:
    """Raises Misconfigured, which names every configured command that cannot be started here."""
    missing = [
        f"{name}: {argv[0]!r} is not a command that can be started here"
        for name, argv in (
            ("RELEASE_MIGRATE_COMMAND", commands.migrate),
            ("RELEASE_PENDING_COMMAND", commands.pending),
            ("RELEASE_PROBE_COMMAND", run.settings.probe_command),
        )
        if argv and not _runnable(run, argv)
    ]
    if run.settings.probe_path and procfile.command(run.folder, "web") is None:
        missing.append("RELEASE_PROBE_PATH: the Procfile has no web process that could be booted")
    if missing:
        raise Misconfigured(Reason.COMMAND_NOT_FOUND, "; ".join(missing), errors=missing)


def ask_pending(run: Run, commands: Commands) -> bool | None:
    """Runs the pending command and tells whether something is pending; None when it cannot be asked or does not say.

    Where no command tells, the framework's index is compared with its history.

    Raises StepFailed when it cannot be run to its end, when the app does not start, or when a configured one answers
    with neither 0 nor 1.
    """
    if commands.pending is None:
        return _listed_pending(run, commands.framework)
    heard = Answer()
    on_lines = heard.hear if commands.framework else heard.hear_errors
    try:
        ended = run_app(run, commands.pending, run.deadline.within(PENDING_LIMIT), on_lines=on_lines)
    except CommandNotStarted as error:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, str(error)) from error
    if ended.timed_out:
        raise StepFailed(Reason.PENDING_CHECK_FAILED, f"{commands.pending[0]} took over {PENDING_LIMIT:g} s")
    heard.exit_code = ended.exit_code
    is_pending = commands.is_pending(heard)
    if is_pending is not False and (cause := commands.crash(heard)):
        raise StepFailed(Reason.APP_DOES_NOT_START, f"{shlex.join(commands.pending)} ended with {ended.how}: {cause}")
    if is_pending is None and commands.framework is None:
        raise StepFailed(
            Reason.PENDING_CHECK_FAILED, f"RELEASE_PENDING_COMMAND ended with {ended.how}; 0 and 1 are its answers"
        )
    return is_pending


def _listed_pending(run: Run, framework: Framework | None) -> bool | None:
    if framework is None or framework.index is None:
        return None
    applied = history.applied(run.database.connection, framework.histories[0])
    return index.is_pending(framework.index.entries(run.folder), applied)
