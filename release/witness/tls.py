"""TLS on both sides: a certificate of the witness's own for clients, and the server's checked as the URL asks."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import Final

from msgspec import Struct

ALPN: Final = "postgresql"
"""What a client must name that begins with TLS at once (protocol-flow.html, "SSL Session Encryption")."""

HOME_ROOT: Final = Path("~/.postgresql/root.crt")
"""Where libpq looks for the server's authority when the URL does not say (libpq-ssl.html)."""


MAKER: Final = Path(__file__).with_name("certificate.py")

_MAKER_SECONDS: Final = 30.0

_END: Final = b"-----END CERTIFICATE-----\n"


class Certificate:
    """The witness's own certificate and the authority that signed it, made when they are first needed."""

    def __init__(self) -> None:
        self._lock = Lock()

    @cached_property
    def _made(self) -> _Made:
        command = [sys.executable, "-I", str(MAKER)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_MAKER_SECONDS, check=True
        )
        root, end, own = done.stdout.partition(_END)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        with _file(own) as path:
            context.load_cert_chain(path)
        return _Made(context=context, root=root + end)

    def made(self) -> _Made:
        """What was made, once for all threads. Raises OSError."""
        try:
            with self._lock:
                return self._made
        except subprocess.SubprocessError as error:
            raise OSError(f"no certificate could be made: {error}") from error


class _Made(Struct, frozen=True, kw_only=True):
    """What clients meet; `root` is PEM, for their `sslrootcert`."""

    context: ssl.SSLContext
    root: bytes


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path to read some bytes from once, since OpenSSL takes keys from files only. In memory, where Linux has it."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name


class ServerTls(Struct, frozen=True, kw_only=True):
    """How strictly the server is to be checked: libpq's `sslmode`, `sslrootcert`, `sslcert` and `sslkey`."""

    mode: str = "prefer"
    root: str | None = None
    certificate: str | None = None
    key: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether TLS is asked for at all. `allow` is taken for `prefer`: it ends with either too, no weaker."""
        return self.mode != "disable"

    @property
    def needed(self) -> bool:
        """Whether it ends without TLS."""
        return self.mode in {"require", "verify-ca", "verify-full"}


@lru_cache(maxsize=8)
def checking(tls: ServerTls) -> ssl.SSLContext:
    """What checks a server, made once for all connections. Raises OSError when a file cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    root = tls.root or (str(HOME_ROOT.expanduser()) if HOME_ROOT.expanduser().is_file() else None)
    # With an authority at hand libpq takes `require` for `verify-ca` ("for backwards compatibility").
    verifies = tls.mode.startswith("verify-") or (tls.mode == "require" and root is not None)
    context.check_hostname = tls.mode == "verify-full" or (verifies and root == "system")
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    if verifies:
        _trust(context, root, tls.mode)
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _trust(context: ssl.SSLContext, root: str | None, mode: str) -> None:
    if root is None:
        raise FileNotFoundError(f"sslmode={mode} needs sslrootcert, or the file {HOME_ROOT}")
    if root == "system":
        context.load_default_certs()
    else:
        context.load_verify_locations(root)
