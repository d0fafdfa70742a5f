"""The formation as processes: what runs, what is restarted, and what it prints."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from heroku_sandbox import App, Sandbox
from tests.sandbox.conftest import wait_until
from tests.sandbox.test_logs import lines

SERVER = """
import http.server, os, sys
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(open("hello").read().encode())
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Hello).serve_forever()
"""


@pytest.fixture
def running(whole_sandbox: Sandbox) -> Iterator[Sandbox]:
    """A sandbox that runs dynos: not the worker's, in which they would be those of all tests."""
    with Sandbox(postgres=whole_sandbox.superuser_url(), run_dynos=True, grace=2) as sandbox:
        yield sandbox


@pytest.fixture
def app(running: Sandbox) -> App:
    """An app in there."""
    return running.create_app("shop", plan="none")


def code(folder: Path, hello: str, worker: str = "sleep 60") -> Path:
    """A folder with a web server and a worker."""
    folder.mkdir()
    (folder / "server.py").write_text(SERVER)
    (folder / "hello").write_text(hello)
    (folder / "Procfile").write_text(f"web: exec python server.py\nworker: {worker}\n")
    return folder


def states(app: App) -> dict[str, str]:
    """The states of the app's dynos by their names."""
    return {each["name"]: each["state"] for each in app.connection.request("GET", f"/apps/{app.name}/dynos")}


def page(app: App) -> str:
    """What web.1 answers, at the app's address; nothing while it does not."""
    url = app.connection.request("GET", f"/apps/{app.name}")["web_url"]
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        content: bytes = answer.read()
        return content.decode()
    return ""


def test_a_release_starts_web_and_the_next_one_takes_its_place(app: App, tmp_path: Path) -> None:
    app.release(code(tmp_path / "one", "one"))
    wait_until(lambda: page(app) == "one")

    app.release(code(tmp_path / "two", "two"))
    wait_until(lambda: page(app) == "two")

    assert states(app) == {"web.1": "up"}
    wait_until(lambda: lines(app, source="app", dyno="web.1").count("app[web.1]: listening") == 2)
    heroku = lines(app, source="heroku", dyno="web.1")
    assert heroku[2:6] == [
        "heroku[web.1]: Stopping all processes with SIGTERM",
        "heroku[web.1]: Process exited with status 143",
        "heroku[web.1]: State changed from up to down",
        "heroku[web.1]: Starting process with command `exec python server.py`",
    ]


def test_scaling_and_restarting_start_and_stop_processes(app: App, tmp_path: Path) -> None:
    app.release(code(tmp_path / "code", "here"))

    app.scale(web=0, worker=2)
    wait_until(lambda: states(app) == {"worker.1": "up", "worker.2": "up"})
    first = app.connection.request("GET", f"/apps/{app.name}/dynos/worker.1")["id"]
    app.connection.request("DELETE", f"/apps/{app.name}/dynos/worker.1")

    wait_until(lambda: app.connection.request("GET", f"/apps/{app.name}/dynos/worker.1")["id"] != first)
    assert page(app) == ""
    app.scale(worker=0)
    wait_until(lambda: states(app) == {})


def test_a_dyno_that_ends_is_started_again_once_and_then_has_crashed(app: App, tmp_path: Path) -> None:
    app.release(code(tmp_path / "code", "here", worker="echo work; exit 1"))

    app.scale(worker=1)

    wait_until(lambda: states(app).get("worker.1") == "crashed")
    wait_until(lambda: lines(app, source="app", dyno="worker") == ["app[worker.1]: work"] * 2)
    app.connection.request("DELETE", f"/apps/{app.name}/formations/worker")
    wait_until(lambda: len(lines(app, source="app", dyno="worker")) == 4)


def test_without_the_option_nothing_runs(running: Sandbox, app: App, tmp_path: Path) -> None:
    app.release(code(tmp_path / "code", "here"))
    wait_until(lambda: page(app) == "here")

    running.set_options(run_dynos=False)

    assert states(app) == {"web.1": "up"}  # as if it ran
    wait_until(lambda: all(each["code"] is not None for each in app.dynos()))
    assert app.connection.request("GET", f"/apps/{app.name}")["web_url"].startswith("https://")
