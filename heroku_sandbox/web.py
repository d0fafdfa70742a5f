"""HTTP/1.1 in front of the Flask apps: with keep-alive, as Heroku has it, and a place where faults reach the bytes.

Werkzeug's own server closes the connection after each answer and hides the socket.
"""

from __future__ import annotations

import http.server
import io
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit
from wsgiref.types import WSGIApplication

_HEADER_LIMIT = 64 * 1024  # Heroku's CLI sends a Request-Id of up to 7 KiB


@dataclass(slots=True, kw_only=True)
class Answer:
    """What an app answers. The body is iterated once; `length` is its size where that is known beforehand."""

    status: int
    headers: list[tuple[str, str]]
    body: Iterable[bytes]
    length: int | None = None

    def content(self) -> bytes:
        """Reads and returns the whole body, which can be read again afterwards."""
        return self.replace(b"".join(self.body))

    def replace(self, body: bytes) -> bytes:
        """Puts another body in the place of the present one, and returns it."""
        self.body, self.length = [body], len(body)
        return body


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request, and the connection on which its answer goes out."""

    method: str
    target: str
    headers: dict[str, str]
    """By their names in lower case; of one that came several times, all values with commas between them."""
    body: bytes
    address: tuple[str, int]
    """Where it came in: scheme and port."""
    connection: socket.socket
    write: Callable[[bytes], Any]
    close: bool = False
    late: float = 0
    """For how many seconds the answer is held back. That keeps up the connection's own thread only."""
    status: int = 0
    effects: int = 0
    """How often the app has accepted it (2xx): whatever the client saw of that."""
    route: str = ""
    at: float = field(default_factory=time.time)

    @property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    def send(self, answer: Answer) -> None:
        """Sends an answer, with its length where it is known and in chunks where not."""
        chunked = answer.length is None
        self.send_head(answer)
        if self.method == "HEAD":
            return
        for piece in answer.body:
            if piece:
                self.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.write(b"0\r\n\r\n")

    def send_head(self, answer: Answer) -> None:
        """Sends the status line and the headers only, when it is time for them."""
        time.sleep(self.late)
        self.status = answer.status
        try:
            phrase = HTTPStatus(answer.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {answer.status} {phrase}"]
        known = {"content-length", "transfer-encoding", "connection"}
        lines += [f"{name}: {value}" for name, value in answer.headers if name.lower() not in known]
        length = answer.length
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        lines.append("Connection: close" if self.close else "Connection: keep-alive")
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def reset(self) -> None:
        """Breaks the connection off with RST, which clients see as `Connection reset by peer`."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close = True


class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A server on loopback. `gate` decides what becomes of a request; usually it calls the app."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        app: WSGIApplication,
        *,
        gate: Callable[[Exchange, Callable[[], Answer]], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.app = app
        self.gate = gate
        self.scheme = "https" if tls else "http"
        if tls:
            # The handshake belongs into the connection's own thread, not into the one that accepts.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Serves in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def server_bind(self) -> None:
        """Binds without asking the resolver for the machine's name. HTTPServer asks, and that can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing about a client that has gone, and lets the library print any other error."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection. Where a reset was asked for, there must be no orderly end (FIN) before it."""
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)[:4] == struct.pack("i", 1):
            self.close_request(request)
        else:
            super().shutdown_request(request)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client's delayed acknowledgement
    server: Listener

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(_HEADER_LIMIT + 1)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length") or 0)
            exchange = Exchange(
                method=self.command,
                target=self.path,
                headers={name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers},
                body=self.rfile.read(length),
                address=(self.server.scheme, self.server.port),
                connection=self.connection,
                write=self.wfile.write,
                close=self.close_connection,
            )
            self.server.gate(exchange, lambda: _call(self.server.app, exchange, self.server.port))
            self.close_connection = exchange.close
        except (OSError, ValueError):
            self.close_connection = True


def _call(app: WSGIApplication, exchange: Exchange, port: int) -> Answer:
    """Lets a WSGI app (PEP 3333) answer. The connection may be gone by now: an effect can come late."""
    parts = urlsplit(exchange.target)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": exchange.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(parts.path, "latin-1"),
        "QUERY_STRING": parts.query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(exchange.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(exchange.body)),
        "CONTENT_TYPE": exchange.headers.get("content-type", ""),
        "release.exchange": exchange,
    }
    for name, value in exchange.headers.items():
        environ.setdefault("HTTP_" + name.upper().replace("-", "_"), value)
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[[bytes], object]:
        started[:] = [int(status.split(maxsplit=1)[0]), headers]
        return lambda _: None

    body = app(environ, start_response)
    status, headers = started
    exchange.effects += HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
    return Answer(status=status, headers=headers, body=body, length=length)
