"""A run of the hook that was forked is, as far as the system can tell, one that was started."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tests.hook
from heroku_sandbox import App
from heroku_sandbox.connection import Connection
from tests.forking import Forks
from tests.hook import Hook, finish

pytestmark = pytest.mark.skipif(not Forks.usable, reason="only Linux hands an orphan to another process than init")

STATUS = re.compile(r"^(PPid|NSpgid|NSsid|Threads|Umask|SigBlk|SigIgn|SigCgt):\s+(.*)$", re.MULTILINE)


def facts(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """What the system knows of a run, its own number taken out."""
    place = Path(f"/proc/{process.pid}")
    lines = STATUS.findall((place / "status").read_text())
    files = [str(each.readlink()) for each in (place / "fd").iterdir()]
    return {
        **{name: value.replace(str(process.pid), "itself") for name, value in lines},
        "folder": str((place / "cwd").readlink()),
        "files": sorted(re.sub(r"\[\d+\]", "", each) for each in files),
    }


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    """The hook before a database that takes connections and says nothing."""
    nobody = App(connection=Connection(0, "", ""), id="", name="", addon_id="", addon_name="")
    known = {"HEROKU_API_KEY": "HRKU-made-up", "HEROKU_APP_ID": "shop", "HEROKU_APP_NAME": "shop"}
    return Hook(app=nobody, folder=tmp_path, environment=known)


def test_a_forked_run_is_what_a_started_one_is(
    hook: Hook, forks: Forks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(App, "environment", lambda _: {})
    seen = {}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        url = f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/d"
        for how in ([], [forks]):
            monkeypatch.setattr(tests.hook, "FORKS", how)
            process = hook.start(DATABASE_URL=url, RELEASE_MIGRATE_COMMAND="true", MARK="there")
            with silent.accept()[0]:
                time.sleep(0.2)  # until it waits for the answer
                found = facts(process)
                process.send_signal(signal.SIGTERM)
                result = finish(process)
            last = {
                name: value for name, value in result.last.items() if name in {"outcome", "reason", "error", "hint"}
            }
            seen[bool(how)] = found | {"last": last, "exit_code": result.exit_code, "stderr": result.stderr}

    assert seen[True] == seen[False]
    assert seen[True]["PPid"] == str(os.getpid())
    assert seen[True]["NSsid"] == seen[True]["NSpgid"] == "itself"
    assert seen[True]["folder"] == str(tmp_path)


def test_two_runs_at_once_keep_their_own_streams(hook: Hook, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "environment", lambda _: {})
    monkeypatch.setattr(tests.hook, "FORKS", [forks])
    with ThreadPoolExecutor(2) as pool:
        version, usage = pool.map(hook.start, ["--version", "--help"])

    assert finish(usage).stdout.startswith(b"Usage: ")
    assert b", version " in finish(version).stdout


def test_a_test_may_ask_for_the_real_start(hook: Hook, forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(App, "environment", lambda _: {})
    monkeypatch.setattr(tests.hook, "FORKS", [forks])
    monkeypatch.setattr(Forks, "start", lambda *_, **__: pytest.fail("it was forked"))

    assert finish(hook.start("--version", TZ="UTC")).exit_code == 0
    hook.program = (*hook.program, "--help")
    assert finish(hook.start()).exit_code == 0
