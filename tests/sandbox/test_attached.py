"""`heroku run`: an attached one-off dyno, and its client at the other end of a TLS connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from heroku_sandbox import App, Failure, Sandbox
from tests.sandbox.conftest import Push, wait_until

MARKER = "\uffff heroku-command-exit-status:"


@pytest.fixture
def app(app: App, folder: Push) -> App:
    """An app with code."""
    app.release(folder("exit 0"))
    return app


def attach(app: App, command: str, **more: Any) -> dict[str, Any]:
    """An attached dyno that waits for its client."""
    body = {"attach": True, "command": command, "env": {"COLUMNS": "101", "LINES": "33"}, **more}
    dyno: dict[str, Any] = app.connection.request("POST", f"/apps/{app.name}/dynos", body)
    return dyno


@contextlib.contextmanager
def client(sandbox: Sandbox, dyno: dict[str, Any]) -> Iterator[ssl.SSLSocket]:
    """A client that has been let in: past the line that says `rendezvous`."""
    at = urlsplit(dyno["attach_url"])
    assert (at.scheme, at.hostname) == ("rendezvous", "127.0.0.1")
    context = ssl.create_default_context(cafile=sandbox.ca)
    with (
        socket.create_connection((at.hostname, at.port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connected,
    ):
        connected.sendall(f"{at.path[1:]}\r\n".encode())
        assert connected.recv(100) == b"rendezvous\r\n"
        yield connected


def rest(connected: ssl.SSLSocket) -> str:
    """All that comes until the other end says that it is the end."""
    pieces = []
    while piece := connected.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces).decode()


def test_a_command_has_a_terminal_of_the_clients_size(sandbox: Sandbox, app: App) -> None:
    dyno = attach(app, "tty && stty size && echo $DYNO")

    with client(sandbox, dyno) as connected:
        place, size, name = rest(connected).splitlines()

    assert place.startswith("/dev/")
    assert (size, name) == ("33 101", dyno["name"])


def test_what_is_typed_reaches_the_command_and_control_c_interrupts_it(sandbox: Sandbox, app: App) -> None:
    command = "trap 'echo interrupted; exit 5' INT; read word; echo got $word; while :; do sleep 0.05; done"

    with client(sandbox, attach(app, command)) as connected:
        connected.sendall(b"hello\r")
        said = ""
        while "got hello" not in said:
            said += connected.recv(1000).decode()
        connected.sendall(b"\x03")
        assert "interrupted" in rest(connected)

    assert app.dynos()[-1]["code"] == 5


def test_without_a_terminal_input_and_output_are_pipes_and_both_end(sandbox: Sandbox, app: App) -> None:
    text = "".join(f"{number}\n" for number in range(40_000))

    with client(sandbox, attach(app, "tty; cat; echo end >&2", force_no_tty=True)) as connected:
        connected.sendall(text.encode() + b"\x04")  # as the CLI ends its input
        assert rest(connected) == f"not a tty\n{text}end\n"


def test_the_line_with_the_exit_status_arrives_in_one_piece(sandbox: Sandbox, app: App) -> None:
    # Printed byte by byte, it would come in many pieces, in none of which the CLI would find it.
    slow = f"printf 'text\\n{MARKER} '; sleep 0.3; echo 7"

    with client(sandbox, attach(app, slow)) as connected:
        pieces = [connected.recv(1000).decode() for _ in range(2)]

    assert pieces == ["text\r\n", f"{MARKER} 7\r\n"]


def test_a_process_type_stands_for_its_command_with_words_after_it(sandbox: Sandbox, app: App) -> None:
    with client(sandbox, attach(app, f'worker ; echo "{MARKER} $?"')) as connected:
        assert rest(connected) == f"{MARKER} 0\r\n"


def test_a_client_that_leaves_takes_its_dyno_with_it(sandbox: Sandbox, app: App) -> None:
    with client(sandbox, attach(app, "trap 'exit 9' HUP; echo up; while :; do sleep 0.05; done")) as connected:
        assert connected.recv(100) == b"up\r\n"

    wait_until(lambda: app.dynos()[-1]["code"] == 9)


def test_a_dyno_waits_for_its_client_only_so_long(sandbox: Sandbox, app: App) -> None:
    sandbox.set_options(attach_seconds=0.2)
    dyno = attach(app, "echo never")
    sandbox.set_options(attach_seconds=60)

    assert dyno["state"] == "starting"
    wait_until(lambda: app.dynos()[-1]["code"] is not None)
    with pytest.raises(AssertionError), client(sandbox, dyno):
        pass


def test_a_dyno_that_waits_can_be_stopped_and_then_nobody_gets_in(sandbox: Sandbox, app: App) -> None:
    dyno = attach(app, "echo never")

    app.connection.request("POST", f"/apps/{app.name}/dynos/{dyno['name']}/actions/stop")

    assert app.dynos()[-1]["code"] == 1
    with client(sandbox, dyno) as connected:
        assert rest(connected) == ""


def test_a_path_opens_the_door_once(sandbox: Sandbox, app: App) -> None:
    dyno = attach(app, "echo once")
    with client(sandbox, dyno) as connected:
        assert rest(connected) == "once\r\n"

    with pytest.raises(AssertionError), client(sandbox, dyno):
        pass


@pytest.mark.parametrize(
    ("body", "words"),
    [({"size": "huge"}, "There is no dyno size huge"), ({"command": None}, "Require params: command")],
)
def test_a_dyno_that_cannot_be_is_refused(app: App, body: dict[str, Any], words: str) -> None:
    with pytest.raises(Failure, match=words):
        attach(app, **{"command": "true", **body})
