"""The witness's certificate, by the library and by openssl: clients that verify take it, and only at this address."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import psycopg
import pytest

from release.witness import certificate, tls
from release.witness.relay import Relay
from tests.unit.database.conftest import Database
from tests.unit.witness.conftest import upstream

WITHOUT = "import runpy, sys\nsys.modules[{missing!r}] = None\nrunpy.run_path({path!r}, run_name='__main__')\n"


@pytest.fixture(params=["library", "openssl"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tls.Certificate:
    """A certificate that is made in one of the two ways."""
    if request.param == "openssl":
        maker = tmp_path / "maker.py"
        maker.write_text(WITHOUT.format(missing="trustme", path=str(tls.MAKER)))
        monkeypatch.setattr(tls, "MAKER", maker)
    return tls.Certificate()


def test_a_client_that_verifies_takes_it(database: Database, made: tls.Certificate, tmp_path: Path) -> None:
    root = tmp_path / "root.crt"
    with Relay(certificate=made) as relay:
        door = relay.listen(upstream(database))
        root.write_bytes(relay.root_certificate)
        url = f"postgres://{database.name}:{door.password}@127.0.0.1:{door.port}/{database.name}"
        with psycopg.connect(f"{url}?sslmode=verify-full&sslrootcert={root}") as connection:
            assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            psycopg.connect(f"{url}?sslmode=verify-full&sslrootcert={root}", host="a.example", hostaddr="127.0.0.1")


def test_it_is_right_by_the_strictest_rules_as_well(made: tls.Certificate) -> None:
    whole = made.made()
    client = ssl.create_default_context(cadata=whole.root.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    theirs = whole.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version() == "TLSv1.3"


def test_openssl_makes_another_one_each_time() -> None:
    program = shutil.which("openssl")
    assert program is not None

    assert certificate.by_openssl(program) != certificate.by_openssl(program)
