"""One PostgreSQL and one sandbox for each worker; an app of its own, with data to lose, for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from zlib import crc32

import pytest

import tests.hook
from heroku_sandbox import App, Reset, Sandbox
from tests.forking import Forks
from tests.hook import SCHEMA, SMALL_APP, Hook, small_app
from tests.judge import PLAIN, execute

pytest_plugins = ("tests.thin",)

MEMORY = Path("/dev/shm")
ROOMY = 2 * 1024**3
"""Bytes free in memory, for the databases to be made there: on a disk each new one costs ten times as much."""

SANDBOXES = ("whole_sandbox", "own_sandbox")
"""The fixtures that are a worker's sandbox."""

RESET = "RELEASE_TEST_RESET"
"""Names the way of emptying databases that all tests are to be played with: `database` or `schemas`."""

OF_PYTHON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""Variables that are meant for the tests' own Python. The latter would make an installation weigh less than it does."""

REALLY, REALLY_WHOLE = 32, 8
"""Every so manieth test starts the hook as an app does (with `--whole`: the second), each one with `--real-start`."""

GOOD = "ALTER TABLE learners ADD COLUMN nickname text;\nUPDATE learners SET nickname = left(name, 3);\n"
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How runs of the hook start is decided below, by `_start`."""
    parser.addoption("--real-start", action="store_true", help="start every run of the hook as an app does: no forks")


def pytest_configure(config: pytest.Config) -> None:
    """Temporary files go to memory where there is enough of it; the workers inherit where that is.

    And nobody speaks TLS to the server who does not ask for it, which would make a connection twice as dear; with
    `--whole` all do whose libraries prefer it, as an app's do.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the hook keeps the wish of a `nohup`, but that one was for the tests
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's `&` does that, and children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOMY:
        folder = tempfile.mkdtemp(prefix="release-tests-", dir=MEMORY)
        Path(folder).chmod(0o711)  # the server may have another user than the tests
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    if not config.getoption("--whole"):
        os.environ.setdefault("PGSSLMODE", PLAIN)


@pytest.fixture(autouse=True)
def _nothing_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DATABASE_URL", "HEROKU_API_KEY", "PGAPPNAME", "PGOPTIONS", *OF_PYTHON):
        monkeypatch.delenv(name, raising=False)


def reset_of(test: str) -> Reset:
    """How the restores of a test empty their target: half of the tests see the one way, half the other."""
    ways = list(Reset)
    return Reset(os.environ.get(RESET) or ways[crc32(test.encode()) % len(ways)])


@pytest.fixture(autouse=True)
def _reset(request: pytest.FixtureRequest) -> None:
    """Tells the sandboxes that the test uses, and the report of its failure."""
    sandboxes = [name for name in SANDBOXES if name in request.fixturenames]
    if sandboxes:
        how = reset_of(request.node.nodeid)
        for name in sandboxes:
            request.getfixturevalue(name).set_options(reset=how)
        request.node.add_report_section("setup", "reset", f"{RESET}={how} plays it again as it was")


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """The process that forks the worker's runs."""
    with Forks() as forks:
        yield forks


@pytest.fixture(autouse=True)
def _start(request: pytest.FixtureRequest, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tests some, chosen by their names, and those marked `real_start` start the hook as an app does."""
    node = request.node
    really = request.config.getoption("--real-start") or node.get_closest_marker("real_start") or not forks.usable
    every = REALLY_WHOLE if request.config.getoption("--whole") else REALLY
    if not really and crc32(node.nodeid[::-1].encode()) % every:
        monkeypatch.setattr(tests.hook, "FORKS", [forks])
        node.add_report_section("setup", "start", "the hook was forked; --real-start plays it as an app starts it")


@pytest.fixture(scope="session")
def whole_sandbox() -> Iterator[Sandbox]:
    """The worker's sandbox."""
    with Sandbox(transfer_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(whole_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The worker's sandbox, without faults and counting from zero."""
    whole_sandbox.clear_faults()
    others = ids_of_apps(whole_sandbox)
    whole_sandbox.forget_requests()
    yield whole_sandbox
    whole_sandbox.clear_faults()
    destroy_apps(whole_sandbox, but=others)


def ids_of_apps(sandbox: Sandbox) -> set[str]:
    """All apps that there are, by their ids."""
    return {app["id"] for app in sandbox.connection.request("GET", "/apps")}


def destroy_apps(sandbox: Sandbox, *, but: Collection[str]) -> None:
    """Destroys all apps `but` those with these ids.

    Two hundred apps that nobody needs any more make each new one cost half as much again: autovacuum visits all their
    databases, and the sandbox saves its state with all of them.
    """
    for app in ids_of_apps(sandbox).difference(but):
        sandbox.connection.request("DELETE", f"/apps/{app}")


@pytest.fixture
def no_autovacuum(sandbox: Sandbox) -> Iterator[None]:
    """It writes as well, and commits: a moment in which it does so proves nothing."""
    server = sandbox.superuser_url()
    execute(server, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
    yield
    execute(server, "ALTER SYSTEM RESET autovacuum", "SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def first_slug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What runs before the hook comes: a slug without a release phase, for its process types."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "Procfile").write_text("web: true\nworker: true\n")
    return folder


@pytest.fixture
def app(sandbox: Sandbox, first_slug: Path) -> App:
    """An app with a database, a web and two worker dynos, and 300 rows to lose."""
    app = sandbox.create_app(f"app-{next(_numbers)}", config={"HEROKU_API_KEY": sandbox.key})
    app.release(first_slug)
    app.scale(web=1, worker=2)
    sandbox.forget_requests()
    execute(app.database_url, *SCHEMA.strip().split("\n"))
    return app


@pytest.fixture
def hook(app: App, tmp_path: Path) -> Hook:
    """The hook in a small app whose one migration lands; tests write others over it with `small_app`."""
    return Hook(app=app, folder=small_app(tmp_path / "slug", {"001": GOOD}), environment=dict(SMALL_APP))
