"""TLS on both sides: a certificate of the witness's own for clients, and the server's checked as the URL asks."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Final

ALPN: Final = "postgresql"
"""What a client must name that begins with TLS at once (protocol-flow.html, "SSL Session Encryption")."""

HOME_ROOT: Final = Path("~/.postgresql/root.crt")
"""Where libpq looks for the server's authority when the URL does not say (libpq-ssl.html)."""


class Certificate:
    """The witness's own certificate and the authority that signed it, made when they are first needed."""

    def __init__(self) -> None:
        self._lock = Lock()

    @cached_property
    def _made(self) -> _Made:
        import trustme  # noqa: PLC0415 -- takes 0.1 s and 8 MB, and only clients that ask for TLS need it

        authority = trustme.CA(organization_name="release-phase witness")
        own = authority.issue_cert("localhost", "127.0.0.1", "::1", key_type=trustme.KeyType.ECDSA)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        with _file(own.private_key_and_cert_chain_pem.bytes()) as path:
            context.load_cert_chain(path)
        return _Made(context=context, root=authority.cert_pem.bytes())

    def made(self) -> _Made:
        """What was made, once for all threads."""
        with self._lock:
            return self._made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """How strictly the server is to be checked: libpq's `sslmode`, `sslrootcert`, `sslcert` and `sslkey`."""

    mode: str = "prefer"
    root: str | None = None
    certificate: str | None = None
    key: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether TLS is asked for at all. `allow` is taken for `prefer`, which is no weaker."""
        return self.mode != "disable"

    @property
    def needed(self) -> bool:
        """Whether it ends without TLS."""
        return self.mode in {"require", "verify-ca", "verify-full"}

    def context(self) -> ssl.SSLContext:
        """What checks the server. Raises OSError when a file cannot be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        self._verify(context)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def _verify(self, context: ssl.SSLContext) -> None:
        root = self.root or (str(HOME_ROOT.expanduser()) if HOME_ROOT.expanduser().is_file() else None)
        # With an authority at hand libpq takes `require` for `verify-ca` ("for backwards compatibility").
        verifies = self.mode.startswith("verify-") or (self.mode == "require" and root is not None)
        context.check_hostname = self.mode == "verify-full" or (verifies and root == "system")
        context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
        if not verifies:
            return
        if root is None:
            raise FileNotFoundError(f"sslmode={self.mode} needs sslrootcert, or the file {HOME_ROOT}")
        if root == "system":
            context.load_default_certs()
        else:
            context.load_verify_locations(root)
