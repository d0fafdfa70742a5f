"""A connection to the server: as safe as the URL asks for, or none."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from release.witness.tls import ServerTls
from release.witness.upstream import Unreachable, Upstream
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import before, upstream


@contextmanager
def answers(answer: bytes) -> Iterator[int]:
    """A server that answers the wish for TLS with these bytes; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            client, _ = door.accept()
            with client, suppress(ConnectionResetError):  # it may close without having read all
                client.recv(8)
                client.sendall(answer)
                client.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_a_server_without_tls_is_taken_where_tls_is_only_preferred(mode: str) -> None:
    with answers(b"N") as port:
        server = Upstream(host="127.0.0.1", port=port, password="", tls=ServerTls(mode=mode))
        with server.connect() as connection:
            assert not isinstance(connection, ssl.SSLSocket)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls_is_refused_where_tls_is_required(mode: str) -> None:
    tls = ServerTls(mode=mode, root="system")
    with answers(b"N") as port, pytest.raises(Unreachable, match=f"does not offer TLS, and sslmode is {mode}"):
        Upstream(host="127.0.0.1", port=port, password="", tls=tls).connect()


@contextmanager
def offers_in_vain() -> Iterator[int]:
    """A server that offers TLS and does not know how; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    with client:
                        if client.recv(8):
                            client.sendall(b"S" + b"no TLS at all")
                            client.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("mode", ["allow", "prefer"])
def test_where_tls_is_only_preferred_a_failing_handshake_is_followed_by_none(mode: str) -> None:
    with offers_in_vain() as port:
        server = Upstream(host="127.0.0.1", port=port, password="", tls=ServerTls(mode=mode))
        with server.connect() as connection:
            assert not isinstance(connection, ssl.SSLSocket)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_where_tls_is_required_a_failing_handshake_is_the_end(mode: str) -> None:
    with offers_in_vain() as port, pytest.raises(Unreachable):
        Upstream(host="127.0.0.1", port=port, password="", tls=ServerTls(mode=mode, root="system")).connect()


def test_an_error_in_the_place_of_an_answer_is_not_shown(database: Database) -> None:
    """Nobody has said yet who the server is, so its words are not repeated (CVE-2024-10977)."""
    with answers(b"E\0\0\0\x20SFATAL") as port:
        for witnessed in before(database, port=port, tls=ServerTls(mode="require")):
            with pytest.raises(psycopg.OperationalError, match="the server does not offer TLS"):
                witnessed.connect(sslmode="disable")


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_server_is_not_trusted_without_an_authority(database: Database, mode: str) -> None:
    with pytest.raises(Unreachable, match="needs sslrootcert"):
        upstream(database, tls=ServerTls(mode=mode)).connect()


def test_a_server_of_an_unknown_authority_is_refused(database: Database) -> None:
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        upstream(database, tls=ServerTls(mode="verify-ca", root="system")).connect()


def test_tls_can_begin_at_once_towards_the_server_too(database: Database) -> None:
    with upstream(database, tls=ServerTls(mode="require"), direct=True).connect() as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.selected_alpn_protocol() == "postgresql"


def test_a_password_is_not_in_what_is_printed() -> None:
    assert repr(Upstream(host="h", port=1, password="secret")).startswith("Upstream(host='h', port=1, tls=")
    assert "secret" not in repr(Upstream(host="h", port=1, password="secret"))
