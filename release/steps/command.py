"""The app's own commands: what each of them is given, and one that is run to its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from release.child.process import Ended, Lines, Running, start_command
from release.clock import Deadline
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
