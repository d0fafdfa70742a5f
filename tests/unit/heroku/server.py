"""A small real HTTP server in a thread: every test says how it answers, and looks at what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. A connection is used for several requests."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Exchange(BaseHTTPRequestHandler):
    """A connection, and the means to answer the request on it in any way."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the acknowledgement of its headers
    server: Server

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(Request(self.command, self.path, self.headers, body))
        try:
            self.server.answer(self)
        except OSError:
            self.close_connection = True  # the client had enough

    do_GET = do_POST = do_PATCH = _take  # noqa: N815 -- the names are http.server's

    def reply(self, status: int = 200, body: Any = None, **headers: str) -> None:
        """A whole answer; `body` as JSON unless it is bytes. Header names with `_` for `-`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content_Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        """No answer: the connection is closed."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Answer = Callable[[Exchange], None]


class Server(ThreadingHTTPServer):
    """Answers with `answer` and keeps the requests."""

    daemon_threads = True

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.answer = answer
        self.requests: list[Request] = []
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def lines(self) -> list[str]:
        """What it was asked: methods and paths."""
        return [f"{each.method} {each.path}" for each in self.requests]

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no news."""


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server, until the block is left."""
    with Server(answer, tls) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def replies(status: int = 200, body: Any = None, **headers: str) -> Answer:
    """An answer that is the same every time."""
    return lambda exchange: exchange.reply(status, body, **headers)
