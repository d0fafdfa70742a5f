"""One PostgreSQL and one sandbox for each worker; an app of its own, with data to lose, for each test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from heroku_sandbox import App, Reset, Sandbox
from tests.hook import SCHEMA, SMALL_APP, Hook, small_app
from tests.judge import execute

MEMORY = Path("/dev/shm")
ROOMY = 2 * 1024**3
"""Bytes free in memory, for the databases to be made there: on a disk each new one costs ten times as much."""

COARSER = 3
"""Times. The marks say which tests have more cases than others; this says how many of them fit into ten minutes."""

SANDBOXES = ("whole_sandbox", "own_sandbox")
"""The fixtures that are a worker's sandbox."""

RESET = "RELEASE_TEST_RESET"
"""Names the way of emptying databases that all tests are to be played with: `database` or `schemas`."""

GOOD = "ALTER TABLE learners ADD COLUMN nickname text;\nUPDATE learners SET nickname = left(name, 3);\n"
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """More than fits into ten minutes on two cores: `--whole` takes over half an hour, `--sweep` hours."""
    parser.addoption(
        "--whole", action="store_true", help="also the cases that are left out of a thin test (mark: thin)"
    )
    parser.addoption("--sweep", action="store_true", help="all that, and every fault at every place")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test marked `thin(n)` every n-th case is run, COARSER times as few of them, unless all are asked for."""
    if config.getoption("--whole") or config.getoption("--sweep"):
        return
    cases: Counter[str] = Counter()
    left: list[pytest.Item] = []
    for item in items:
        if thin := item.get_closest_marker("thin"):
            test = item.nodeid.partition("[")[0]
            if cases[test] % (thin.args[0] * COARSER):
                left.append(item)
            cases[test] += 1
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_configure(config: pytest.Config) -> None:
    """Temporary files go to memory where there is enough of it; the workers inherit where that is."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the hook keeps the wish of a `nohup`, but that one was for the tests
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOMY:
        folder = tempfile.mkdtemp(prefix="release-tests-", dir=MEMORY)
        Path(folder).chmod(0o711)  # the server may have another user than the tests
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture(autouse=True)
def _nothing_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DATABASE_URL", "HEROKU_API_KEY", "PGAPPNAME", "PGOPTIONS", "PYTHONPATH"):
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
def whole_sandbox() -> Iterator[Sandbox]:
    """The worker's sandbox."""
    with Sandbox(transfer_seconds=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(whole_sandbox: Sandbox) -> Iterator[Sandbox]:
    """The worker's sandbox, without faults and counting from zero."""
    whole_sandbox.clear_faults()
    whole_sandbox.forget_requests()
    yield whole_sandbox
    whole_sandbox.clear_faults()


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
