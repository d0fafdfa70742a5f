"""Prints a certificate for this machine's loopback: its authority, its key, its chain, in PEM.

A program of its own, since the library takes 13 MB that the hook's process must not have; they go with it. Where the
library is not installed, as in the buildpack, whose size counts, it is the openssl that Heroku's images have.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

REQUEST = """
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
O = release-phase witness
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
"""
"""A certificate that is its own authority: a client that trusts it trusts nothing else."""

OPENSSL = (
    *("req", "-x509", "-days", "2", "-config", "/dev/stdin", "-keyout", "-", "-out", "-"),
    *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
)

_KEY, _CERTIFICATE = b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----"


def by_library() -> bytes:
    """Makes them with trustme. Raises ImportError."""
    import trustme  # noqa: PLC0415 -- it may not be there

    authority = trustme.CA(organization_name="release-phase witness")
    own = authority.issue_cert("localhost", "127.0.0.1", "::1")
    return authority.cert_pem.bytes() + own.private_key_and_cert_chain_pem.bytes()


def by_openssl(program: str) -> bytes:
    """Makes them with openssl, which prints to its output only. Raises CalledProcessError."""
    done = subprocess.run([program, *OPENSSL], input=REQUEST.encode(), capture_output=True, check=True)
    key, certificate, rest = done.stdout.partition(_CERTIFICATE)
    return certificate + rest + key[key.index(_KEY) :] + certificate + rest


def main() -> None:
    """Makes them anew each time; they are nowhere but in this output."""
    try:
        made = by_library()
    except ImportError:
        program = shutil.which("openssl")
        if program is None:
            sys.exit("there is neither the package trustme nor the program openssl")
        made = by_openssl(program)
    sys.stdout.buffer.write(made)


if __name__ == "__main__":
    main()
