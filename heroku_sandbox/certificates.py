"""The sandbox's own certificate authority: for the https downloads and for PostgreSQL's TLS.

`ca.pem` in the home is what clients have to trust (NODE_EXTRA_CA_CERTS for Heroku's CLI).
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A server's certificate chain and key, PEM, for 127.0.0.1 and localhost."""

    chain: bytes
    key: bytes
    file: Path
    """Both in one file, as `ssl` wants them."""

    def context(self) -> ssl.SSLContext:
        """Returns a TLS context for a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


def issue(home: Path) -> Certificate:
    """Issues a fresh certificate from the home's authority, which is made the first time and kept."""
    public, private = home / "ca.pem", home / "ca.key"
    if public.exists() and private.exists():
        authority = trustme.CA.from_pem(public.read_bytes(), private.read_bytes())
    else:
        authority = trustme.CA()
        _write_secret(private, authority.private_key_pem.bytes())
        public.write_bytes(authority.cert_pem.bytes())
    issued = authority.issue_cert("127.0.0.1", "localhost")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    key = issued.private_key_pem.bytes()
    file = home / "server.pem"
    _write_secret(file, key + chain)
    return Certificate(chain=chain, key=key, file=file)


def _write_secret(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
