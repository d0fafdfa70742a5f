"""Prints a certificate for this machine's loopback: its authority, its key, its chain, in PEM.

A program of its own, since the library takes 13 MB that the hook's process must not have; they go with it.
"""

from __future__ import annotations

import sys

import trustme


def main() -> None:
    """Makes them anew each time; they are nowhere but in this output."""
    authority = trustme.CA(organization_name="release-phase witness")
    own = authority.issue_cert("localhost", "127.0.0.1", "::1")
    sys.stdout.buffer.write(authority.cert_pem.bytes() + own.private_key_and_cert_chain_pem.bytes())


if __name__ == "__main__":
    main()
