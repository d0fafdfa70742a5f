"""scramp, as the witness uses it, and what ties a password's proof to a TLS connection (RFC 5929).

scramp imports asn1crypto to read one thing in a certificate: by which hash it is signed. That takes 2 MB and 30 ms, and
the witness works while the hook is at its largest. So it is read here.
"""

from __future__ import annotations

import hashlib
import ssl
from functools import cache
from typing import Any, Final

from release.lean import standing_in

NAME: Final = "tls-server-end-point"

RSA: Final = bytes.fromhex("2a864886f70d0101")
"""1.2.840.113549.1.1 (RFC 8017): the names of the ways to sign with RSA begin with it."""

ECDSA: Final = bytes.fromhex("2a8648ce3d04")
"""1.2.840.10045.4 (RFC 5758): those of ECDSA do."""

HASHES: Final = {
    RSA + b"\x04": "sha256",  # MD5 and SHA-1 are too weak: "use SHA-256" (RFC 5929, section 4.1)
    RSA + b"\x05": "sha256",
    RSA + b"\x0b": "sha256",
    RSA + b"\x0c": "sha384",
    RSA + b"\x0d": "sha512",
    ECDSA + b"\x01": "sha256",
    ECDSA + b"\x03\x02": "sha256",
    ECDSA + b"\x03\x03": "sha384",
    ECDSA + b"\x03\x04": "sha512",
}
"""The hash that binds to a certificate, by the way in which that is signed."""


@cache
def scramp() -> Any:
    """Returns the library. It is imported when the first session of a migration needs it."""
    with (
        standing_in("asn1crypto", pem=None),
        standing_in("asn1crypto.pem"),
        standing_in("asn1crypto.x509", Certificate=None),
    ):
        import scramp as library  # noqa: PLC0415 -- no session, no need of it
    return library


def channel_binding(tls: ssl.SSLSocket | None) -> tuple[str, bytes] | None:
    """Returns the name and the value of the binding, as scramp takes them.

    None without TLS, and where the certificate's signature names no hash of its own: then there is nothing to bind to.
    """
    certificate = tls.getpeercert(binary_form=True) if tls else None
    named = HASHES.get(_signed_by(certificate)) if certificate else None
    return (NAME, hashlib.new(named, certificate).digest()) if certificate and named else None


def _signed_by(certificate: bytes) -> bytes:
    """Returns the name of the way a certificate is signed: SEQUENCE {what is signed, SEQUENCE {name, …}, …} in DER.

    The source of that order is RFC 5280, section 4.1.
    """
    at, _ = _content(certificate, 0)
    _, at = _content(certificate, at)
    at, _ = _content(certificate, at)
    at, end = _content(certificate, at)
    return certificate[at:end]


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Returns where the content of the element begins that is there, and where it ends."""
    length, begin = der[at + 1], at + 2
    if length & 0x80:  # what is left says how many bytes the length takes
        begin += length & 0x7F
        length = int.from_bytes(der[at + 2 : begin])
    return begin, begin + length
