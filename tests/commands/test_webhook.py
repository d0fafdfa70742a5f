"""The webhook hears how it ended, and whatever it does itself changes nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from release.notify.webhook import escaped, patience
from tests.hook import Hook, small_app

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"


@dataclass
class Listener:
    """Where the webhook leads: answers with `status` after `delay` seconds, and keeps what came."""

    url: str = ""
    status: list[int] = field(default_factory=lambda: [200])
    delay: float = 0
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A webhook's receiver on this machine."""
    state = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.heard.append(json.loads(body))
            state.headers.append(dict(self.headers))
            time.sleep(state.delay)
            status = state.status.pop(0) if len(state.status) > 1 else state.status[0]
            self.send_response(status)
            self.send_header("Location", f"{state.url}elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/services/T000/B000/verysecretpath"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_final_record_comes_with_a_text_for_slack(hook: Hook, listener: Listener) -> None:
    result = hook.run(RELEASE_WEBHOOK_URL=listener.url)

    assert result.ended == (0, "released", None)
    (message,) = listener.heard
    assert message["text"] == (
        f"✅ Release v7 of {hook.app.name}: released. The release is in: the migration ended well and every probe"
        " passed. The database is migrated; the backup b001 holds it as it was before."
    )
    assert (message["event"], message["outcome"], message["backup"]) == ("release_finished", "released", "b001")
    assert set(message["steps"]) == {"prepare", "backup", "migrate", "probe", "finish"}


def test_a_restore_is_told_when_it_begins_and_when_it_has_ended(hook: Hook, listener: Listener) -> None:
    small_app(hook.folder, {"002": BROKEN})

    result = hook.run(RELEASE_WEBHOOK_URL=listener.url)

    assert result.last["outcome"] == "restored"
    begun, ended = listener.heard
    assert "a restore begins" in begun["text"]
    assert (ended["outcome"], ended["restore"]) == ("restored", "r003")
    assert "What to do: Mend the migration" in ended["text"]


def test_no_secret_reaches_the_webhook(hook: Hook, listener: Listener) -> None:
    (hook.folder / "pending").write_text('#!/bin/sh\necho "$DATABASE_URL"; exit 3\n')

    hook.run(RELEASE_WEBHOOK_URL=listener.url, HEROKU_API_KEY="HRKU-a-very-secret-key-0123456789")

    said = json.dumps([listener.heard, listener.headers])
    assert "very-secret" not in said
    assert hook.app.database_url.split(":")[2].split("@")[0] not in said


@pytest.mark.thin(2)
@pytest.mark.parametrize(
    ("status", "posts", "words"),
    [
        ([500], 2, "it answered 500"),
        ([302], 1, "redirects are not followed"),
        ([404], 1, "it answered 404"),
        ([503, 200], 2, None),
    ],
)
def test_a_webhook_that_fails_is_a_warning_at_most(
    hook: Hook, listener: Listener, status: list[int], posts: int, words: str | None
) -> None:
    listener.status = status

    result = hook.run(RELEASE_WEBHOOK_URL=listener.url)

    assert result.ended == (0, "released", None)
    assert len(listener.heard) == posts
    warnings = [each["detail"] for each in result.named("warning_raised") if each["warning"] == "webhook_failed"]
    assert bool(warnings) == bool(words)
    assert all(words and words in each for each in warnings)
    assert listener.url.encode() not in result.stdout + result.stderr
    assert b"verysecretpath" not in result.stdout + result.stderr


def test_a_webhook_that_hangs_costs_five_seconds_and_nothing_else(hook: Hook, listener: Listener) -> None:
    hook.run()
    usual = hook.run().last["duration"]
    listener.delay = 8

    began = time.monotonic()
    result = hook.run(RELEASE_WEBHOOK_URL=listener.url)

    assert result.ended == (0, "released", None)
    assert time.monotonic() - began < usual + 10
    assert result.named("warning_raised")[-1]["warning"] == "webhook_failed"


def test_nobody_listening_is_a_warning(hook: Hook) -> None:
    result = hook.run(RELEASE_WEBHOOK_URL="http://127.0.0.1:1/")

    assert result.ended == (0, "released", None)
    assert result.named("warning_raised")[-1]["warning"] == "webhook_failed"


@pytest.mark.parametrize("url", ["http://hooks.example.com/x", "ftp://x", "nonsense", "https://"])
def test_a_webhook_that_is_no_https_url_is_named_before_anything_happens(hook: Hook, url: str) -> None:
    result = hook.run(RELEASE_WEBHOOK_URL=url)

    assert result.ended == (2, None, "settings_invalid")
    assert "RELEASE_WEBHOOK_URL: must be an https URL" in result.last["error"]


def test_wrong_settings_are_told_too(hook: Hook, listener: Listener) -> None:
    hook.run(RELEASE_WEBHOOK_URL=listener.url, RELEASE_FENCE="maybe")

    assert "RELEASE_FENCE" in listener.heard[0]["text"]


def test_an_error_s_text_cannot_call_a_whole_channel() -> None:
    assert escaped("<!channel> a & b") == "&lt;!channel&gt; a &amp; b"


@pytest.mark.parametrize(("since", "seconds"), [(None, 5.0), (10.0, 5.0), (20.0, 3.0), (25.0, 0.5)])
def test_after_a_signal_the_last_message_fits_into_what_heroku_leaves(since: float | None, seconds: float) -> None:
    assert patience(since) == seconds
