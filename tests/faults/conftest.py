"""A stage for each worker, and the file in which its cells are recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from heroku_sandbox import Sandbox
from tests.conftest import destroy_apps
from tests.faults.figures import Recorder
from tests.faults.forked import Launcher
from tests.faults.harness import Harness
from tests.faults.stage import Stage


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """The process that forks this worker's runs."""
    with Launcher() as launcher:
        yield launcher


@pytest.fixture(scope="session")
def recorder(request: pytest.FixtureRequest) -> Recorder:
    """This worker's part of the figures."""
    folder = request.config.cache.mkdir("faults") if request.config.cache else None
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    return Recorder(folder / f"{worker}.jsonl" if folder else None)


@pytest.fixture(scope="session")
def own_sandbox() -> Iterator[Sandbox]:
    """The worker's sandbox for faults: nothing in it waits."""
    with Sandbox(transfer_seconds=0, pending_seconds=0.05, refresh_seconds=0.05) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def stage(own_sandbox: Sandbox, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The worker's stage."""
    return Stage(own_sandbox, launcher, tmp_path_factory.mktemp("faults"))


@pytest.fixture
def harness(stage: Stage, recorder: Recorder) -> Iterator[Harness]:
    """Plays cells."""
    yield Harness(stage, recorder)
    stage.sandbox.clear_faults()
    destroy_apps(stage.sandbox, but=stage.kept())


@pytest.fixture(scope="session")
def sweep(request: pytest.FixtureRequest) -> bool:
    """Whether everything is to be tried everywhere, which takes hours."""
    return bool(request.config.getoption("--sweep"))
