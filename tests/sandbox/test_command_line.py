"""`bin/sandbox`, as a user types it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from heroku_sandbox import Failure, Sandbox
from tests.judge import execute, query
from tests.sandbox.conftest import Push

PROGRAM = Path(__file__).parents[2] / "bin" / "sandbox"


class Shell:
    """Runs `bin/sandbox` with a home of its own, on the tests' PostgreSQL."""

    def __init__(self, home: Path, postgres: str) -> None:
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "RELEASE_SANDBOX_HOME": str(home),
            "RELEASE_SANDBOX_POSTGRES": postgres,
        }

    def __call__(self, *words: str, code: int = 0, errors: bool = False) -> str:
        done = subprocess.run(
            [str(PROGRAM), *words], check=False, env=self.environment, cwd="/", capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr if code or errors else done.stdout

    @contextmanager
    def watching(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Runs it in a process group of its own, until it has said `first`."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            [str(PROGRAM), *words],
            env=self.environment,
            cwd="/",
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "first\n"
            yield process


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path / "home", sandbox.superuser_url())
    shell("up", "--detach")
    yield shell
    shell("down")


def test_what_a_user_types_from_up_to_down_and_up_again(shell: Shell, folder: Push) -> None:
    assert "is up at http://127.0.0.1:" in shell("up", "--detach")
    assert shell("create", "shop").startswith("Created shop with postgresql-")
    pushed = str(folder('echo "$HEROKU_SLUG_DESCRIPTION"'))
    assert shell("release", "shop", pushed, "--description", "Better") == "Better\n"
    assert "v6 failed" in shell("release", "shop", str(folder("exit 3")), code=1)
    assert "Set COLOR config vars" in shell("config", "shop", "set", "COLOR=green", code=0, errors=True)
    assert "COLOR=green\n" in shell("config", "shop", "get")
    shell("rollback", "shop", "v5")
    assert "COLOR" not in shell("config", "shop", "get")
    exported = dict(line.removeprefix("export ").split("=", 1) for line in shell("env", "shop").splitlines())
    execute(exported["DATABASE_URL"].strip("'"), "CREATE TABLE kept AS SELECT 7 AS n")

    shell("down")
    assert "Start it with `bin/sandbox up --detach`." in shell("env", "shop", code=1)
    assert "shop" in shell("up", "--detach")

    assert shell("psql", "shop", "-XAtc", "SELECT n FROM kept") == "7\n"
    again = dict(line.removeprefix("export ").split("=", 1) for line in shell("env", "shop").splitlines())
    assert again["HEROKU_HOST"] == exported["HEROKU_HOST"]
    assert Path(again["NODE_EXTRA_CA_CERTS"]).exists()
    assert {"HEROKU_API_KEY", "HEROKU_APP_ID", "HEROKU_APP_NAME", "HEROKU_DATA_HOST"} <= again.keys()


def test_ctrl_c_leaves_the_release_going_and_says_how_to_follow_it(shell: Shell, folder: Push, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slug = str(folder(f"echo first; while [ ! -e {gate} ]; do sleep 0.1; done; echo second"))
    with shell.watching("release", "my-app", slug) as pushing:
        os.killpg(pushing.pid, signal.SIGINT)
        _, said = pushing.communicate(timeout=20)

    assert pushing.returncode == 130
    version = newest(shell)[0]
    assert said.endswith(
        f"\n{version} goes on without you. `bin/sandbox logs my-app --tail` shows it, and `bin/sandbox releases my-app`"
        " how it ended.\n"
    )
    assert (shell("logs", "my-app"), newest(shell)) == ("first\n", [version, "pending"])
    with shell.watching("logs", "my-app", "--tail") as following:
        gate.touch()
        assert following.communicate(timeout=20)[0] == "second\n"
    assert newest(shell) == [version, "succeeded"]


def newest(shell: Shell) -> list[str]:
    """The version and the status of the newest release in the list."""
    return shell("releases", "my-app").split("\n")[1].split()[:2]


def test_logs_are_of_the_newest_release_with_a_phase_or_of_the_one_that_is_named(shell: Shell, folder: Push) -> None:
    shell("release", "my-app", str(folder("echo one")))
    version = newest(shell)[0]
    shell("release", "my-app", str(folder("echo two; exit 3")), code=1)

    assert shell("logs", "my-app") == "two\n"
    assert shell("logs", "my-app", version) == "one\n"
    assert "v2 has no release phase, or that has printed nothing." in shell("logs", "my-app", "v2", errors=True)
    assert "Couldn't find that release" in shell("logs", "my-app", "v99", code=1)
    assert newest(shell)[1] == "failed"


def test_logs_of_all_dynos_are_as_heroku_logs_shows_them(shell: Shell, folder: Push) -> None:
    shell("down")
    shell("up", "--detach", "--dynos")
    pushed = folder("echo migrated")
    (pushed / "Procfile").write_text("release: exec sh phase.sh\nweb: echo serving; sleep 60\n")
    shell("release", "my-app", str(pushed))

    def shown() -> str:
        return shell("logs", "my-app", "--dynos")

    deadline = time.monotonic() + 20
    while "serving" not in shown() and time.monotonic() < deadline:
        time.sleep(0.1)
    said = [line.split(" ", 1)[1] for line in shown().splitlines()]
    assert "app[web.1]: serving" in said
    assert any(re.fullmatch(r"app\[release\.\d+\]: migrated", line) for line in said)
    assert any(line.startswith("app[api]: Deploy") for line in said)
    assert "VERSION is of a release's phase" in shell("logs", "my-app", "v1", "--dynos", code=2)


def test_config_alone_shows_all_of_it_as_heroku_config_does(shell: Shell) -> None:
    shell("config", "my-app", "set", "COLOR=blue")
    heading, blank, *lines = shell("config", "my-app").splitlines()
    assert (heading, blank) == ("=== my-app Config Vars", "")
    assert "COLOR:          blue" in lines
    assert [line.split(":")[0] for line in lines] == ["COLOR", "DATABASE_URL", "HEROKU_API_KEY"]


def test_a_commit_is_only_told_of_a_folder_that_is_as_it_was_committed(shell: Shell, folder: Push) -> None:
    pushed = folder('echo "$HEROKU_BUILD_COMMIT" "$HEROKU_SLUG_COMMIT"')
    shell("create", "shop")
    git = ["git", "-C", str(pushed), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    assert shell("release", "shop", str(pushed)) == f"{head} {head}\n"

    (pushed / "new.sql").write_text("SELECT 1")
    assert head not in shell("release", "shop", str(pushed))


def test_the_first_up_makes_an_app_with_a_database(shell: Shell) -> None:
    assert "DATABASE_URL=postgres://" in shell("config", "my-app", "get")


def test_wrong_input_is_told_apart(shell: Shell, tmp_path: Path) -> None:
    assert "Couldn't find that app." in shell("release", "nope", str(tmp_path), code=1)
    assert "expected KEY=VALUE" in shell("config", "my-app", "set", "COLOR", code=2)
    assert "already taken" in shell("create", "my-app", code=1)


def test_an_installed_sandbox_calls_itself_by_its_installed_name(tmp_path: Path) -> None:
    module = [sys.executable, "-m", "heroku_sandbox"]  # what the installed script runs
    environment = {"RELEASE_SANDBOX_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    root = PROGRAM.parents[1]
    done = subprocess.run(
        [*module, "env", "shop"], check=False, env=environment, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "Error: The sandbox is not up. Start it with `heroku-sandbox up --detach`.\n"


def test_a_killed_sandbox_comes_back_with_everything(tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path / "home")
    sandbox.start()
    app = sandbox.create_app("survivor")
    execute(app.database_url, "CREATE TABLE kept AS SELECT 7 AS n")

    with pytest.raises(Failure, match="did not start"):
        Sandbox(sandbox.home).start()
    sandbox.kill()
    with sandbox:
        assert query(sandbox.app("survivor").database_url, "SELECT n FROM kept") == [(7,)]


def test_a_temporary_sandbox_leaves_nothing_behind(sandbox: Sandbox) -> None:
    with Sandbox(postgres=sandbox.superuser_url()) as second:
        home = second.home
        url = urlsplit(second.create_app("short-lived").database_url)
        mine = (
            f"SELECT datname FROM pg_database WHERE datname = '{url.path[1:]}'"
            f" UNION SELECT rolname FROM pg_roles WHERE rolname = '{url.username}'"
        )
        assert len(query(sandbox.superuser_url(), mine)) == 2

    assert query(sandbox.superuser_url(), mine) == []
    assert not home.exists()


def test_a_temporary_sandbox_takes_its_server_along() -> None:
    with Sandbox() as second:
        home, data = second.home, (second.home / "postgres").resolve()
        assert (data / "postmaster.pid").exists()

    assert not home.exists()
    assert not data.exists()
    assert data.parent == home or not data.parent.exists()


SETUP = """#!/bin/sh
# Stands for bin/setup, which takes minutes: what it leaves is a Python that says what it is asked to run.
mkdir -p "$(dirname "$0")/../.venv/bin"
printf '#!/bin/sh\\necho "$@"\\n' > "$(dirname "$0")/../.venv/bin/python"
chmod +x "$(dirname "$0")/../.venv/bin/python"
"""


def test_a_fresh_clone_is_set_up_before_the_sandbox_starts(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(PROGRAM, tmp_path / "bin")
    (tmp_path / "bin" / "setup").write_text(SETUP)
    (tmp_path / "bin" / "setup").chmod(0o755)

    done = subprocess.run([tmp_path / "bin" / "sandbox", "up"], check=True, cwd="/", capture_output=True, text=True)

    assert done.stdout.startswith("-I ")
    assert done.stdout.endswith("__main__.py up\n")
    assert done.stderr == ""


@pytest.mark.parametrize("shared", [True, False], ids=["linked from another checkout", "up to date"])
def test_an_environment_that_is_ready_or_shared_is_left_as_it_is(tmp_path: Path, *, shared: bool) -> None:
    (tmp_path / "bin").mkdir()
    shutil.copy(PROGRAM.parent / "setup", tmp_path / "bin")
    (tmp_path / "requirements-dev.txt").write_text("nothing==1\n")
    python = tmp_path / ("elsewhere" if shared else ".venv") / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    if shared:
        (tmp_path / ".venv").symlink_to("elsewhere")
    else:
        (tmp_path / ".venv" / "installed").write_text("nothing==1\n")

    done = subprocess.run([tmp_path / "bin" / "setup"], check=True, cwd="/", capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("", "")
    assert python.resolve() == Path("/bin/true").resolve()
