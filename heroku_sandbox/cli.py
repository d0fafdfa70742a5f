"""Heroku on this machine, from a shell: `heroku-sandbox` where it is installed, `bin/sandbox` in a checkout."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from heroku_sandbox import home
from heroku_sandbox.client import App, Release, Sandbox
from heroku_sandbox.connection import CONTROL_FILE, Connection, Failure

_FIRST_APP = "my-app"
_STOP_SECONDS = 60
_INTERRUPTED = 128 + signal.SIGINT
"""The exit code of a command that Ctrl-C has ended, as shells have it."""


def _command() -> str:
    """Returns the name under which the user has started this: `heroku-sandbox` or `bin/sandbox`."""
    return click.get_current_context().find_root().info_name or "heroku-sandbox"


def _running() -> Connection | None:
    """Returns the way to the sandbox, or None if it is not up."""
    try:
        connection = Connection.to(home.default())
        connection.request("GET", "/sandbox")
    except (OSError, ValueError, KeyError, Failure):
        return None
    return connection


def _connect() -> Connection:
    connection = _running()
    if connection is None:
        raise click.ClickException(f"The sandbox is not up. Start it with `{_command()} up --detach`.")
    return connection


def _app(name: str) -> App:
    sandbox = Sandbox(home.default())
    sandbox.connection = _connect()
    return sandbox.app(name)


class _Commands(click.Group):
    """The commands; what the sandbox refuses becomes an error message and exit code 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except Failure as failure:
            raise click.ClickException(str(failure)) from failure


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Heroku on this machine: apps, releases and Heroku Postgres on a real PostgreSQL."""


@main.command()
@click.option("--port", type=int, default=0, help="The APIs' port. By default last time's, or any free one.")
@click.option("--detach", is_flag=True, help="Go on in the background until `down`.")
@click.option("--dynos", is_flag=True, help="Run the apps' web and worker processes, too.")
def up(port: int, detach: bool, dynos: bool) -> None:
    """Start the sandbox. The first time, create an app with a database."""
    if connection := _running():
        click.echo(f"The sandbox is up at http://127.0.0.1:{connection.port}")
        return
    try:
        home.close(home.default())
    except home.NotOurs as error:
        raise click.ClickException(str(error)) from error
    command = _serve_command(port, dynos=dynos)
    if not detach:
        _run_attached(command)
        return
    with (home.default() / "sandbox.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        _greet(process, f"`{_command()} down`", f"Its log says why: {log.name}")


def _serve_command(port: int, *, dynos: bool) -> list[str]:
    main_file = Path(__file__).with_name("__main__.py")
    options = ["--options", json.dumps({"run_dynos": dynos})]
    return [sys.executable, "-I", str(main_file), "serve", "--home", str(home.default()), "--port", str(port), *options]


def _run_attached(command: list[str]) -> None:
    """Runs the sandbox until Ctrl-C, which reaches its process, too."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        _greet(process, "Ctrl-C", "It says why above.")
        process.wait()
    except KeyboardInterrupt:
        process.wait(_STOP_SECONDS)  # it has got the signal, too


def _greet(process: subprocess.Popen[bytes], end: str, otherwise: str) -> None:
    """Waits until the sandbox answers, and says so and what ends it. The first time, creates an app.

    Raises ClickException, with `otherwise` as the way to the reason, when the sandbox does not start.
    """
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise click.ClickException(f"The sandbox did not start. {otherwise}")
    connection = Connection.to(home.default())
    if not connection.request("GET", "/sandbox")["apps"]:
        _create(connection, _FIRST_APP, "standard-0")
    apps = connection.request("GET", "/sandbox")["apps"]
    click.echo(f"The sandbox is up at http://127.0.0.1:{connection.port} with {', '.join(apps)}. {end} stops it.")


@main.command()
def down() -> None:
    """Stop the sandbox. What it holds stays and is there again after `up`."""
    file = home.default() / CONTROL_FILE
    if _running() is None:
        click.echo("The sandbox is not up.")
        return
    os.kill(json.loads(file.read_text())["pid"], signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@main.command()
@click.argument("app")
@click.option("--plan", default="standard-0", show_default=True, help="The database's plan, or `none`.")
def create(app: str, plan: str) -> None:
    """Create an app with a database, and an API key for its release phase in HEROKU_API_KEY."""
    made = _create(_connect(), app, plan)
    click.echo(f"Created {app} with {', '.join(addon['name'] for addon in made['addons']) or 'no database'}")


def _create(connection: Connection, name: str, plan: str) -> Any:
    body = {"name": name, "plan": plan, "config": {"HEROKU_API_KEY": connection.key}}
    return connection.request("POST", "/sandbox/apps", body)


@main.command()
@click.argument("app")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@click.option("--commit", help="The commit, as HEROKU_BUILD_COMMIT gets it. By default the folder's HEAD.")
@click.option("--description", default="", help="As HEROKU_BUILD_DESCRIPTION gets it.")
def release(app: str, directory: str, commit: str | None, description: str) -> None:
    """Push a folder, as `git push heroku main` does, and show its release phase. Exits as that ends."""
    fresh = _app(app).release(directory, commit=commit or _head(directory), description=description, wait=False)
    _follow(app, fresh)


def _head(directory: str) -> str:
    """Returns the commit that the folder's git has checked out.

    It is a made-up one where there is none, or where the folder is not as it was committed: on Heroku, two slugs of one
    commit hold the same files.
    """
    head = _git(directory, "rev-parse", "--verify", "--quiet", "HEAD")
    return head if head and not _git(directory, "status", "--porcelain", "--", ".") else secrets.token_hex(20)


def _git(directory: str, *words: str) -> str:
    """Returns what git says of a folder; nothing where there is no git, or where it refuses."""
    command = ["git", "-C", directory, *words]
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


@main.command()
@click.argument("app")
@click.argument("action", type=click.Choice(["get", "set", "unset"]), required=False)
@click.argument("words", nargs=-1)
def config(app: str, action: str | None, words: tuple[str, ...]) -> None:
    """Show config vars, or change them (KEY=VALUE, or KEY for unset): that is a release."""
    target = _app(app)
    if action is None:
        _show_all(app, target.config)
        return
    if action == "get":
        for name, value in sorted(target.config.items()):
            if not words or name in words:
                click.echo(f"{name}={value}")
        return
    changes: dict[str, str | None] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if bool(separator) is not (action == "set"):
            raise click.UsageError(f"{word}: expected {'KEY=VALUE' if action == 'set' else 'KEY'}")
        changes[name] = value if separator else None
    before = target.releases()[0]["version"]
    fresh = target.set_config(changes, wait=False)
    if fresh.version > before:
        _follow(app, fresh)


def _show_all(app: str, variables: Mapping[str, str]) -> None:
    """Shows config vars as `heroku config` does."""
    click.echo(f"=== {app} Config Vars\n")
    width = max(map(len, variables), default=0)
    for name, value in sorted(variables.items()):
        click.echo(f"{name + ':':{width + 1}} {value}")


@main.command()
@click.argument("app")
@click.argument("version")
def rollback(app: str, version: str) -> None:
    """Go back to an older release (v7): its code and its config, over today's database."""
    _follow(app, _app(app).rollback(int(version.removeprefix("v")), wait=False))


@main.command()
@click.argument("app")
@click.argument("addon")
def promote(app: str, addon: str) -> None:
    """Make another add-on DATABASE. Two releases: Detach, then Attach."""
    codes = [_follow(app, release, leave=False) for release in _app(app).promote(addon, wait=False)]
    sys.exit(max(codes, default=0))


@main.command()
@click.argument("pipeline")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
def connect(pipeline: str, directory: str) -> None:
    """Let a folder stand for a pipeline's repository, for `heroku reviewapps:create`."""
    sandbox = Sandbox(home.default())
    sandbox.connection = _connect()
    sandbox.connect(pipeline, directory)


@main.command()
@click.argument("app")
@click.argument("version", required=False)
@click.option("--tail", is_flag=True, help="Go on until the release has ended; with --dynos, until Ctrl-C.")
@click.option("--dynos", is_flag=True, help="What all dynos have printed and the platform has said, as `heroku logs`.")
def logs(app: str, version: str | None, tail: bool, dynos: bool) -> None:
    """Show what a release's phase has printed: of the newest release, or of VERSION (v7)."""
    pushed = _app(app)
    if dynos:
        if version:
            raise click.UsageError("VERSION is of a release's phase, and --dynos of all dynos.")
        for piece in pushed.log(tail=tail):
            click.echo(piece, nl=False)
        return
    newest = pushed.releases()[0]["version"]
    shown = pushed.get_release(int(version.removeprefix("v")) if version else newest)
    if tail and shown.status == "pending":
        _follow(app, shown)
    if not shown.output and shown.status != "pending":
        click.echo(f"v{shown.version} has no release phase, or that has printed nothing.", err=True)
    _show(pushed.printed(shown))


@main.command()
@click.argument("app")
def releases(app: str) -> None:
    """List an app's releases, newest first."""
    rows = [("RELEASE", "STATUS", "CREATED (UTC)", "DESCRIPTION")]
    rows += [
        (f"v{each['version']}", each["status"], _moment(each["created_at"]), each["description"])
        for each in _app(app).releases()
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for row in rows:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))


def _moment(iso: str) -> str:
    return iso.replace("T", " ")[:19]


@main.command()
@click.argument("app")
def env(app: str) -> None:
    """Print `export` lines: for the hook, for Heroku's own CLI, and the database's URL."""
    for name, value in _app(app).environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("app")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def psql(app: str, words: tuple[str, ...]) -> None:
    """Open psql on an app's DATABASE_URL; further words go to psql."""
    from heroku_sandbox.postgres import variables  # noqa: PLC0415 -- psycopg takes its time to load
    from heroku_sandbox.programs import tools  # noqa: PLC0415 -- see above

    url = _app(app).config.get("DATABASE_URL")
    if url is None:
        raise click.ClickException(f"{app} has no DATABASE_URL, so there is no database to open.")
    program = tools() / "psql"
    os.execve(program, [str(program), *words], {**os.environ, **variables(url)})  # noqa: S606 -- no shell is the point


def _follow(app: str, fresh: Release, *, leave: bool = True) -> int:
    """Shows a release's output until it ends. Returns 0 when it has succeeded, else 1; exits with that if `leave`."""
    pushed = _app(app)
    click.echo(f"v{fresh.version} {fresh.description}", err=True)
    try:
        _show(pushed.output(fresh))
        ended = pushed.wait(fresh.version)
    except KeyboardInterrupt:
        _say_that_it_goes_on(app, fresh)
        sys.exit(_INTERRUPTED)
    click.echo(f"v{fresh.version} {ended.status}", err=True)
    code = 0 if ended.status == "succeeded" else 1
    if leave:
        sys.exit(code)
    return code


def _say_that_it_goes_on(app: str, fresh: Release) -> None:
    """Ctrl-C ends the showing only: the release is the sandbox's own, as it would be Heroku's."""
    here = _command()
    click.echo(
        f"\nv{fresh.version} goes on without you. `{here} logs {app} --tail` shows it, and `{here} releases {app}` how"
        " it ended.",
        err=True,
    )


def _show(output: Iterator[bytes]) -> None:
    """Writes output to stdout as it arrives: on a terminal as the hook's log is read by people, else as it is."""
    if sys.stdout.isatty() and os.environ.get("RELEASE_LOG") != "json":
        try:
            from release.output.lines import whole_lines  # noqa: PLC0415 -- for terminals only
            from release.output.live import follow  # noqa: PLC0415 -- for terminals only
        except ImportError:
            pass  # the hook need not be installed beside the sandbox
        else:
            follow(whole_lines(output), sys.stdout.fileno(), os.environ)
            return
    for piece in output:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@main.command("serve", hidden=True)
@click.option("--home", "folder", type=click.Path(path_type=Path), required=True)
@click.option("--port", type=int, default=0)
@click.option("--options", default="{}")
@click.option("--temporary", is_flag=True)
@click.option("--attached", is_flag=True)
def serve_command(folder: Path, port: int, options: str, temporary: bool, attached: bool) -> None:
    """Be the sandbox's process. Once it answers, it says on stdout where it is, as JSON."""
    import msgspec  # noqa: PLC0415 -- only the server needs these, and they take their time

    from heroku_sandbox.options import Options  # noqa: PLC0415 -- see above
    from heroku_sandbox.server import Setup, serve  # noqa: PLC0415 -- see above

    setup = Setup(
        home=folder,
        port=port,
        options=msgspec.json.decode(options, type=Options),
        postgres=os.environ.get("RELEASE_SANDBOX_POSTGRES"),
        temporary=temporary,
        watch_stdin=attached,
    )
    serve(setup, lambda about: click.echo(json.dumps(about)))
