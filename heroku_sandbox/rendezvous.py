"""Attached one-off dynos: where the terminal of `heroku run` and its dyno meet, over TLS.

The client connects and sends the path of the dyno's `attach_url` as a line; it gets `rendezvous` as a line, and from
there on both directions are the terminal's bytes. The dyno starts once its client is there. A client that leaves
ends its dyno with SIGHUP, and a dyno whose client never comes is given up (Heroku's R13).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from heroku_sandbox.dynos import Dyno, Dynos, signal_all
from heroku_sandbox.terminal import Ends

_PIECE = 16_384
_HELD = 1 << 16
_FIRST_LINE = 256
_SILENCE_SECONDS = 30.0
_IDLE_SECONDS = 3600.0  # after so long Heroku's CLI gives up as well
# Heroku's CLI throws away all of the first piece that it reads, so what follows must not be part of it.
_PAUSE_SECONDS = 0.1
_END_OF_INPUT = b"\x04"
_MARKER = "\uffff".encode()
"""Begins the line `\uffff heroku-command-exit-status: N`, which Heroku's CLI looks for in each piece by itself."""


@dataclass(slots=True, kw_only=True)
class Waiting:
    """A dyno that waits for its client, and how it is started. `ends` are those of its terminal or its pipes."""

    dyno: Dyno
    start: Callable[[], Ends]
    came: threading.Event = field(default_factory=threading.Event)


class Rendezvous:
    """The meeting place: a TLS server on loopback, and the dynos that wait there."""

    def __init__(self, dynos: Dynos, *, patience: Callable[[], float]) -> None:
        self._dynos = dynos
        self._patience = patience
        self._waiting: dict[str, Waiting] = {}
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def listen(self, tls: ssl.SSLContext) -> str:
        """Begins to accept clients in a thread of its own. Returns the address, as in `attach_url`."""
        self._socket = server = socket.create_server(("127.0.0.1", 0), backlog=32)
        threading.Thread(target=self._accept, args=(server, tls), daemon=True).start()
        return f"rendezvous://127.0.0.1:{server.getsockname()[1]}"

    def _accept(self, server: socket.socket, tls: ssl.SSLContext) -> None:
        while True:
            try:
                raw, _ = server.accept()
            except OSError:  # it was closed
                return
            threading.Thread(target=self._serve, args=(raw, tls), daemon=True).start()

    def close(self) -> None:
        """Accepts nobody any more."""
        if self._socket:
            self._socket.close()

    def invite(self, dyno: Dyno, start: Callable[[], Ends]) -> str:
        """Lets a dyno wait for its client, for `patience` seconds. Returns the path that the client has to send."""
        path, waiting = secrets.token_hex(16), Waiting(dyno=dyno, start=start)
        self._dynos.announce(dyno)
        self._dynos.say(dyno, "Awaiting client")
        with self._lock:
            self._waiting[path] = waiting
        threading.Thread(target=self._give_up, args=(path, waiting, self._patience()), daemon=True).start()
        return path

    def _give_up(self, path: str, waiting: Waiting, seconds: float) -> None:
        if not waiting.came.wait(seconds) and self._take(path):
            self._dynos.say(waiting.dyno, "Error R13 (Attach error) -> Failed to attach to process")
            self._dynos.abandon(waiting.dyno)

    def _take(self, path: str) -> Waiting | None:
        with self._lock:
            return self._waiting.pop(path, None)

    def _serve(self, raw: socket.socket, tls: ssl.SSLContext) -> None:
        """Serves one client: finds its dyno, starts it, and carries bytes until either has gone."""
        raw.settimeout(_SILENCE_SECONDS)
        with raw, contextlib.suppress(OSError), tls.wrap_socket(raw, server_side=True) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line, rest = _first_line(client)
            waiting = self._take(line)
            if waiting is None:
                return
            waiting.came.set()
            client.sendall(b"rendezvous\r\n")
            time.sleep(_PAUSE_SECONDS)
            try:
                ends = waiting.start()
            except (OSError, RuntimeError) as error:  # its slug is gone, or somebody has stopped it
                self._dynos.say(waiting.dyno, str(error))
                self._dynos.abandon(waiting.dyno)
                return
            client.settimeout(_IDLE_SECONDS)
            self._meet(client, waiting.dyno, ends, rest)

    def _meet(self, client: ssl.SSLSocket, dyno: Dyno, ends: Ends, rest: bytes) -> None:
        """Carries bytes until either has gone. A client that goes first takes its dyno with it."""
        try:
            carried = _Carrier(client, ends, rest).carry()
        except OSError:
            carried = False
        finally:
            ends.close()
        if carried:
            dyno.ended.wait(_SILENCE_SECONDS)
            with contextlib.suppress(OSError):
                client.unwrap()
            return
        self._dynos.say(dyno, "Client connection closed. Sending SIGHUP to all processes")
        signal_all(dyno, signal.SIGHUP)
        self._dynos.kill_after_grace(dyno)


def _first_line(client: ssl.SSLSocket) -> tuple[str, bytes]:
    """Reads the line with the path. Returns it without slashes, and what has come after it."""
    content = b""
    while b"\n" not in content and len(content) < _FIRST_LINE:
        piece = client.recv(_FIRST_LINE)
        if not piece:
            break
        content += piece
    line, _, rest = content.partition(b"\n")
    return line.decode("latin-1").strip().strip("/"), rest


class _Carrier:
    """Carries bytes between a client and the ends of a dyno, in one thread: TLS must not be used by two at once."""

    def __init__(self, client: ssl.SSLSocket, ends: Ends, rest: bytes) -> None:
        self._client = client
        self._ends = ends
        self._input = b""
        self._output = b""
        self._last = False  # the client has said that there is no more input
        os.set_blocking(ends.write, False)
        self._take(rest)

    def carry(self) -> bool:
        """Carries until the dyno's output ends (True) or the client has gone (False)."""
        while True:
            can_read, can_write = self._ready()
            if self._ends.read in can_read and not self._send():
                return True
            if self._client.fileno() in can_read and not self._receive():
                return False
            if self._ends.write in can_write:
                self._feed()

    def _ready(self) -> tuple[set[int], set[int]]:
        """Waits until something can be done. Input that the dyno does not take is not read from the client."""
        wanted: dict[int, int] = {self._ends.read: selectors.EVENT_READ}
        if len(self._input) < _HELD:
            wanted[self._client.fileno()] = selectors.EVENT_READ
        if self._input and not self._ends.closed:
            wanted[self._ends.write] = wanted.get(self._ends.write, 0) | selectors.EVENT_WRITE
        with selectors.DefaultSelector() as selector:
            for descriptor, events in wanted.items():
                selector.register(descriptor, events)
            found = [(key.fd, events) for key, events in selector.select()]
        return (
            {fd for fd, events in found if events & selectors.EVENT_READ},
            {fd for fd, events in found if events & selectors.EVENT_WRITE},
        )

    def _send(self) -> bool:
        """Sends what the dyno has printed. Returns False at its end; the exit status goes out in one piece."""
        try:
            piece = os.read(self._ends.read, _PIECE)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody holds the terminal any more
            piece = b""
        self._output += piece
        held = self._output.rfind(_MARKER)
        if not piece or held < 0 or b"\n" in self._output[held:]:
            held = len(self._output)
        now, self._output = self._output[:held], self._output[held:]
        if now:
            self._client.sendall(now)
        return bool(piece)

    def _receive(self) -> bool:
        """Takes what the client has sent. Returns False when it has gone."""
        while True:
            piece = self._client.recv(_PIECE)
            if not piece:
                return False
            self._take(piece)
            if not self._client.pending():
                return True

    def _take(self, piece: bytes) -> None:
        """Notes input. Without a terminal, a piece that is nothing but ^D is the CLI's word for the end of its own."""
        if not self._ends.terminal and piece.endswith(_END_OF_INPUT):
            piece, self._last = piece.removesuffix(_END_OF_INPUT), True
        self._input += piece
        if self._last and not self._input:
            self._ends.close_input()

    def _feed(self) -> None:
        """Gives the dyno as much input as it takes."""
        try:
            written = os.write(self._ends.write, self._input[:_PIECE])
        except BlockingIOError:
            return
        except OSError:  # it reads no more
            self._input = b""
            self._ends.close_input()
            return
        self._input = self._input[written:]
        if self._last and not self._input:
            self._ends.close_input()
