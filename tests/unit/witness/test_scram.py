"""What a password's proof is bound to, by certificates of openssl's, against what asn1crypto reads in them."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import cast

import pytest

from release.witness.scram import channel_binding

BOUND = {
    "RSA with SHA-256": ("rsa:2048", ["-sha256"]),
    "RSA with SHA-384": ("rsa:2048", ["-sha384"]),
    "RSA with SHA-512": ("rsa:2048", ["-sha512"]),
    "RSA with SHA-1": ("rsa:2048", ["-sha1"]),
    "RSA with MD5": ("rsa:2048", ["-md5"]),
    "a long name": ("rsa:4096", ["-sha256", "-addext", "subjectAltName=" + ",".join(f"DNS:n{n}.a" for n in range(99))]),
    "ECDSA with SHA-256": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-256", "-sha256"]),
    "ECDSA with SHA-384": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-384", "-sha384"]),
    "ECDSA with SHA-512": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-521", "-sha512"]),
    "ECDSA with SHA-1": ("ec", ["-pkeyopt", "ec_paramgen_curve:P-256", "-sha1"]),
}
UNBOUND = {
    "Ed25519": ("ed25519", []),
    "RSA-PSS": ("rsa:2048", ["-sigopt", "rsa_padding_mode:pss"]),
}


class Connection:
    """A connection to a server that has shown this certificate."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def getpeercert(self, *, binary_form: bool) -> bytes:
        assert binary_form
        return self._certificate


def bound_to(certificate: bytes) -> tuple[str, bytes] | None:
    return channel_binding(cast("ssl.SSLSocket", Connection(certificate)))


def made(folder: Path, key: str, options: list[str]) -> bytes:
    command = ["openssl", "req", "-x509", "-newkey", key, "-nodes", "-subj", "/CN=x", "-outform", "DER", *options]
    subprocess.run([*command, "-keyout", "/dev/null", "-out", "x.der"], cwd=folder, check=True, capture_output=True)
    return (folder / "x.der").read_bytes()


@pytest.mark.parametrize("kind", BOUND)
def test_a_proof_is_bound_to_the_certificate_as_scramp_would_bind_it(tmp_path: Path, kind: str) -> None:
    certificate = made(tmp_path, *BOUND[kind])
    script = """
        import sys
        from asn1crypto.x509 import Certificate
        print(Certificate.load(sys.stdin.buffer.read(), strict=True).hash_algo)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    named = subprocess.run(command, input=certificate, capture_output=True, check=True).stdout.decode().strip()
    strong = {"md5": "sha256", "sha1": "sha256"}.get(named, named)
    assert bound_to(certificate) == ("tls-server-end-point", hashlib.new(strong, certificate).digest())


@pytest.mark.parametrize("kind", UNBOUND)
def test_where_the_signature_names_no_hash_of_its_own_nothing_is_bound(tmp_path: Path, kind: str) -> None:
    assert bound_to(made(tmp_path, *UNBOUND[kind])) is None


def test_without_tls_there_is_nothing_to_bind_to() -> None:
    assert channel_binding(None) is None


def test_whoever_imports_asn1crypto_afterwards_gets_the_real_one() -> None:
    script = """
        from release.witness.scram import scramp
        scramp().ScramClient
        from asn1crypto.x509 import Certificate
        Certificate.load
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == 0
