"""Probes: what each sees, what it says, and that a failure brings the old database back."""

from __future__ import annotations

import re
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import trustme

from heroku_sandbox import App, Sandbox
from tests.conftest import GOOD
from tests.hook import Hook, Result, finish, small_app
from tests.judge import execute, picture, query, running
from tests.phase.test_nothing_lost import wait_for

GUNICORN = """
import os
import psycopg

def app(environ, start_response):
    print("asked for", environ["PATH_INFO"], environ["HTTP_HOST"], environ["HTTP_X_FORWARDED_PROTO"], flush=True)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        (count,) = connection.execute("SELECT count(nickname) FROM learners").fetchone()
    assert "HEROKU_API_KEY" not in os.environ
    start_response("204 No Content" if count == 300 else "500 Internal Server Error", [])
    return []
"""

UVICORN = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})
"""


@pytest.fixture(autouse=True)
def _old_or_new(app: App, sandbox: Sandbox, hook: Hook) -> Iterator[None]:
    """Whatever a test of this module does: a release that did not land left the database as it was."""
    before = picture(sandbox.superuser_url(app))
    yield
    landed = query(app.database_url, "SELECT 1 FROM pg_attribute WHERE attname = 'nickname'")
    assert landed or picture(sandbox.superuser_url(app)) == before
    for line in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert str(hook.folder).encode() not in line.read_bytes(), f"left behind: {line}"
        except OSError:
            continue


def web(hook: Hook, line: str, **files: str) -> Hook:
    """Gives the app a web process."""
    for name, text in files.items():
        (hook.folder / f"{name}.py").write_text(text)
    (hook.folder / "Procfile").write_text(f"release: bin/release\nweb: {line}\n")
    return hook


def failure(result: Result) -> dict[str, object]:
    """The one probe that failed."""
    (found,) = result.named("probe_failed")
    return found


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("gunicorn --workers 1 site_wsgi:app", {"site_wsgi": GUNICORN}),
        ("uvicorn --port $PORT site_asgi:app", {"site_asgi": UVICORN}),
        ("python -m http.server $PORT", {}),
    ],
    ids=["gunicorn", "uvicorn", "http.server"],
)
def test_a_web_process_that_answers_2xx_lets_the_release_land(hook: Hook, line: str, files: dict[str, str]) -> None:
    result = web(hook, line, **files).run(RELEASE_PROBE_PATH="/")

    assert result.ended == (0, "released", None)
    (passed,) = [each for each in result.named("probe_passed") if each["probe"] == "boot"]
    assert passed["path"] == "/"
    assert passed["status"] in {200, 204}
    assert passed["booted_in"] > 0
    if "gunicorn" in line:
        said = [each["line"] for each in result.named("command_output")]
        assert f"asked for / {hook.app.name}.herokuapp.com https" in said


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        ("no-such-server --port $PORT", "web_not_found", "exit code 127"),
        ("echo starting; exit 3", "web_crashed", "exit code 3"),
        ("sleep 60", "web_not_listening", "nothing listened on $PORT"),
        ("python failing.py", "web_unhealthy", "status 500"),
        ("python failing.py moved", "web_unhealthy", "status 301 to /elsewhere"),
        ("python failing.py silent", "web_silent", "no answer"),
        ("python failing.py dripping", "web_silent", "no answer"),
    ],
)
def test_a_web_process_that_does_not_answer_2xx_undoes_the_release(
    hook: Hook, line: str, reason: str, words: str
) -> None:
    failing = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
how = sys.argv[1:]
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if "silent" in how:
            time.sleep(60)
        while "dripping" in how:
            self.wfile.write(b"H")
            time.sleep(0.1)
        self.send_response(301 if "moved" in how else 500)
        if "moved" in how:
            self.send_header("Location", "/elsewhere?token=abc")
        self.end_headers()
        self.wfile.write(b"it does not work")
HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
    result = web(hook, line, failing=failing).run(RELEASE_PROBE_PATH="/healthz", RELEASE_PROBE_TIMEOUT="3")

    assert result.ended == (1, "restored", reason)
    assert words in str(failure(result)["detail"])
    if reason == "web_unhealthy":
        assert failure(result)["body"] == "it does not work"
    assert b"token=abc" not in result.stdout


def test_a_steady_500_is_not_waited_out(hook: Hook) -> None:
    steady = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500, "KeyError: points")
HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""
    began = time.monotonic()

    result = web(hook, "python steady.py", steady=steady).run(RELEASE_PROBE_PATH="/healthz")

    assert result.ended == (1, "restored", "web_unhealthy")
    assert re.fullmatch(r"status 500, the same for 1\d\.\d s, after 1\d\.\d s", str(failure(result)["detail"]))
    assert time.monotonic() - began < 40


def test_a_probe_path_without_a_web_process_is_a_mistake_in_the_settings(hook: Hook) -> None:
    (hook.folder / "Procfile").write_text("release: bin/release\n")

    result = hook.run(RELEASE_PROBE_PATH="/")

    assert result.ended == (2, None, "command_not_found")
    assert "no web process" in result.last["error"]


def test_a_signal_while_the_web_process_boots_ends_it_and_hands_over(hook: Hook, app: App) -> None:
    process = web(hook, "sleep 61").start(RELEASE_PROBE_PATH="/")
    wait_for(lambda: query(app.database_url, "SELECT 1 FROM release_phase.runs WHERE state = 'probing'"))
    time.sleep(0.5)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    result = finish(process)

    assert time.monotonic() - began < 25
    assert result.last["outcome"] == "handed_over"
    wait_for(lambda: query(app.database_url, "SELECT 1 FROM release_phase.runs WHERE state = 'backing_up'"), within=40)
    assert hook.run("recover").exit_code == 0


# The live app.

DRIPPING = 0
"""In place of a status: an answer that begins, and goes on for ever."""


class _Live(BaseHTTPRequestHandler):
    def __init__(self, status: int, *args: object) -> None:
        self.status = status
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        while self.status is DRIPPING:
            try:
                self.wfile.write(b"H")
            except OSError:
                return
            time.sleep(0.1)
        self.send_response(self.status)
        self.send_header("Location", "https://localhost/login?next=secret")
        self.end_headers()
        self.wfile.write(b"old code, new schema")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def live(status: int, certificate: trustme.LeafCert | None = None) -> Iterator[int]:
    """A live app on a port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Live, status)) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def test_the_live_app_has_to_answer_2xx(hook: Hook) -> None:
    with live(200) as port:
        result = hook.run(RELEASE_PROBE_URL=f"http://user:hunter2secret@127.0.0.1:{port}/healthz?token=s3cr3t")

    assert result.ended == (0, "released", None)
    (passed,) = [each for each in result.named("probe_passed") if each["probe"] == "live"]
    assert passed["url"] == f"http://127.0.0.1:{port}/healthz"
    assert b"hunter2secret" not in result.stdout
    assert b"s3cr3t" not in result.stdout


def test_a_redirect_of_the_live_app_undoes_the_release(hook: Hook) -> None:
    with live(302) as port:
        result = hook.run(RELEASE_PROBE_URL=f"http://127.0.0.1:{port}/", RELEASE_PROBE_TIMEOUT="1")

    assert result.ended == (1, "restored", "probe_failed")
    assert "status 302 to https://localhost/login" in str(failure(result)["detail"])
    assert b"next=secret" not in result.stdout


def test_a_dripping_answer_of_the_live_app_does_not_outlast_the_time(hook: Hook) -> None:
    with live(DRIPPING) as port:
        result = hook.run(RELEASE_PROBE_URL=f"http://127.0.0.1:{port}/", RELEASE_PROBE_TIMEOUT="1")

    assert result.ended == (1, "restored", "probe_failed")
    assert "no answer" in str(failure(result)["detail"])
    assert failure(result)["duration"] < 20  # type: ignore[operator]


@pytest.mark.parametrize("trusted", [True, False])
def test_the_live_apps_certificate_is_verified(hook: Hook, tmp_path: Path, trusted: bool) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with live(200, authority.issue_cert("localhost")) as port:
        result = hook.run(
            RELEASE_PROBE_URL=f"https://localhost:{port}/", SSL_CERT_FILE=str(bundle) if trusted else None
        )

    assert result.ended == ((0, "released", None) if trusted else (1, "restored", "probe_failed"))
    if not trusted:
        assert "certificate" in str(failure(result)["detail"])


# SQL and commands.


@pytest.mark.thin(3)
@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "SELECT count(*) > 0, nme IS NOT NULL FROM learners",
            'at character 22, near "…ELECT count(*) > 0, nme IS NOT NULL FROM…"',
        ),
        ("SELECT points > 1, name FROM learners", "300 of 300 rows are not all true"),
        ("SELECT true WHERE false", "no row"),
        ("DELETE FROM learners RETURNING true", "read-only transaction"),
        ("SELECT true; DELETE FROM learners", "multiple commands"),
        ("SELECT pg_sleep(30) IS NOT NULL", "statement timeout"),
        ("SELECT NULL::boolean", "1 of 1 rows"),
    ],
)
def test_a_query_that_is_not_all_true_undoes_the_release(hook: Hook, sql: str, words: str) -> None:
    result = hook.run(RELEASE_PROBE_SQL=sql, RELEASE_PROBE_TIMEOUT="2")

    assert result.ended == (1, "restored", "probe_failed")
    assert words in str(failure(result)["detail"])
    if "300 of" in words:
        assert failure(result)["rows"][0] == [False, "learner 1"]  # type: ignore[index]


def test_a_query_cannot_release_the_hooks_lock(hook: Hook) -> None:
    result = hook.run(RELEASE_PROBE_SQL="SELECT NOT pg_advisory_unlock(23164384226464325) IS NULL")

    assert result.ended == (0, "released", None)


def test_a_signal_ends_a_query_at_once(hook: Hook, app: App) -> None:
    process = hook.start(RELEASE_PROBE_SQL="SELECT pg_sleep(55) IS NOT NULL")
    wait_for(lambda: running(app.database_url, "pg_sleep(55)"))
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    result = finish(process)

    assert time.monotonic() - began < 25
    assert result.last["reason"] == "interrupted"
    wait_for(
        lambda: query(
            app.database_url, "SELECT 1 FROM release_phase.runs WHERE state = 'backing_up' OR outcome = 'restored'"
        ),
        within=40,
    )
    assert hook.run("recover").exit_code == 0


@pytest.mark.parametrize(
    ("command", "words"),
    [("sh -c 'echo no good; exit 4'", "exit code 4"), ("sleep 60", "no end within 1 s")],
)
def test_a_command_that_fails_undoes_the_release(hook: Hook, command: str, words: str) -> None:
    result = hook.run(RELEASE_PROBE_COMMAND=command, RELEASE_PROBE_TIMEOUT="1")

    assert result.ended == (1, "restored", "probe_failed")
    assert words in str(failure(result)["detail"])


def test_probes_run_when_nothing_is_pending_too_and_nothing_is_restored(hook: Hook, app: App) -> None:
    hook.run()

    result = hook.run(RELEASE_PROBE_SQL="SELECT false")

    assert result.ended == (1, "untouched", "probe_failed")
    assert len(app.transfers()) == 1


# Built in.


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("migration", "probe", "words"),
    [
        ("ALTER TABLE learners DROP CONSTRAINT enough;\n"
         "ALTER TABLE learners ADD CONSTRAINT enough CHECK (points >= 0) NOT VALID;\n",
         "valid_constraints", "public.learners.enough"),
        ("INSERT INTO learners (id, name) VALUES (1000, 'imported');\n", "sequences", "public.learners_id_seq"),
        ("CREATE TABLE copied (id serial PRIMARY KEY);\nINSERT INTO copied SELECT id FROM learners;\n",
         "sequences", "public.copied_id_seq"),
        ("CREATE TABLE twice (n integer);\nINSERT INTO twice VALUES (1), (1);\n"
         "\\set ON_ERROR_STOP off\nCREATE UNIQUE INDEX CONCURRENTLY twice_n ON twice (n);\n\\set ON_ERROR_STOP on\n",
         "valid_indexes", "public.twice_n"),
    ],
)  # fmt: skip
def test_what_a_migration_left_half_done_undoes_it(
    hook: Hook, app: App, migration: str, probe: str, words: str
) -> None:
    execute(app.database_url, "ALTER TABLE learners ADD CONSTRAINT enough CHECK (points >= 0)")
    try:
        small_app(hook.folder, {"001": migration})
        result = hook.run()
    finally:
        execute(app.database_url, "ALTER TABLE learners DROP CONSTRAINT enough")

    assert result.ended == (1, "restored", "probe_failed")
    assert failure(result)["probe"] == probe
    assert words in str(failure(result)["detail"])


def test_what_was_so_before_is_nobodys_fault_now(hook: Hook, app: App) -> None:
    execute(
        app.database_url,
        "INSERT INTO learners (id, name) VALUES (1000, 'imported long ago')",
        "ALTER TABLE learners ADD CONSTRAINT later CHECK (points >= 0) NOT VALID",
    )
    small_app(
        hook.folder,
        {"001": "ALTER TABLE learners ADD COLUMN nickname text, ADD CONSTRAINT soon CHECK (points < 1000) NOT VALID;\n"
         "UPDATE learners SET points = points + 1;\n"},
    )  # fmt: skip

    assert hook.run().ended == (0, "released", None)


INVALID = """CREATE UNIQUE INDEX CONCURRENTLY twins ON learners (length(name));
"""


@pytest.mark.parametrize("again", ["CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS twins ON learners (name);\n", ""])
def test_an_index_that_was_not_valid_before_is_named_with_what_to_do(hook: Hook, app: App, again: str) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(app.database_url, INVALID)
    small_app(hook.folder, {"001": again + GOOD})

    result = hook.run()

    assert result.ended == (0, "released", None)
    (warning,) = [each for each in result.named("warning_raised") if each["warning"] == "invalid_indexes"]
    assert warning["indexes"] == ["public.twins"]
    assert "REINDEX INDEX CONCURRENTLY public.twins" in warning["detail"]
    execute(app.database_url, "DROP INDEX twins")
    small_app(hook.folder, {"002": "SELECT 1;\n"})
    assert "invalid_indexes" not in [each["warning"] for each in hook.run().named("warning_raised")]
