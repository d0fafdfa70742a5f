"""Which PostgreSQL a sandbox runs, its copy where the server's user can reach it, and uuid-ossp in it."""

from __future__ import annotations

import tempfile
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heroku_sandbox import App, Failure, Sandbox
from heroku_sandbox.programs import Unusable, copied, servers, tools
from tests.judge import execute, query
from tests.sandbox.conftest import capture, restore

SANDBOXES = 6


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    """Programs in a package: one that runs, and so many files that copying them takes a while."""
    package = tmp_path / "package"
    for part in ("bin", "lib", "share"):
        (package / part).mkdir(parents=True)
    (package / "bin" / "postgres").write_text("#!/bin/sh\necho postgres\n")
    (package / "bin" / "postgres").chmod(0o755)
    for number in range(300):
        (package / "share" / f"{number}.bki").write_text("x")
    return package / "bin"


@pytest.mark.parametrize("old", ["no copy", "a copy that does not run"])
def test_sandboxes_that_start_at_once_share_one_whole_copy(tmp_path: Path, binaries: Path, old: str) -> None:
    folder = tmp_path / "public"
    folder.mkdir()
    if old == "a copy that does not run":
        (copied(binaries, folder, {}) / "postgres").write_text("#!/bin/sh\nexit 1\n")
    together = threading.Barrier(SANDBOXES)

    def start() -> tuple[Path, int]:
        together.wait()
        programs = copied(binaries, folder, {})
        return programs, (programs / "postgres").stat().st_ino

    with ThreadPoolExecutor(SANDBOXES) as pool:
        started = [future.result() for future in [pool.submit(start) for _ in range(SANDBOXES)]]

    [(programs, inode)] = set(started)
    assert (programs / "postgres").stat().st_ino == inode  # nobody has put another in the place of the first
    assert len(list((programs.parent / "share").iterdir())) == 300
    assert sorted(path.name for path in folder.iterdir()) == [programs.parent.name, f"{programs.parent.name}.lock"]


def test_uuid_ossp_is_there_and_makes_what_others_make(sandbox: Sandbox, app: App) -> None:
    execute(app.database_url, 'CREATE EXTENSION "uuid-ossp"', "CREATE SCHEMA elsewhere")
    row: tuple[uuid.UUID, ...]
    [row] = query(  # type: ignore[assignment]
        app.database_url,
        "SELECT uuid_generate_v3(uuid_ns_url(), 'café'), uuid_generate_v5(uuid_ns_x500(), 'café'), uuid_nil(),"
        " uuid_generate_v1(), uuid_generate_v1mc(), uuid_generate_v4(), uuid_ns_dns(), uuid_ns_oid()",
    )

    assert row[:3] == (
        uuid.uuid3(uuid.NAMESPACE_URL, "café"),
        uuid.uuid5(uuid.NAMESPACE_X500, "café"),
        uuid.UUID(int=0),
    )
    assert [made.version for made in row[3:6]] == [1, 1, 4]
    assert row[2] == uuid.UUID(int=0)
    assert row[6:] == (uuid.NAMESPACE_DNS, uuid.NAMESPACE_OID)
    assert {made.variant for made in row[:2] + row[3:6]} == {uuid.RFC_4122}
    assert abs(row[4].time - uuid.uuid1().time) < 60 * 10_000_000
    assert row[4].node >> 40 & 1, "a node that is made up has the multicast bit"
    execute(sandbox.superuser_url(app), 'ALTER EXTENSION "uuid-ossp" SET SCHEMA elsewhere')
    assert query(app.database_url, "SELECT elsewhere.uuid_generate_v5(elsewhere.uuid_ns_x500(), 'café')") == [(row[1],)]


def test_a_table_whose_keys_uuid_ossp_makes_survives_a_restore(app: App) -> None:
    execute(
        app.database_url,
        'CREATE EXTENSION "uuid-ossp"',
        "CREATE TABLE users (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), name text)",
        "INSERT INTO users (name) SELECT n::text FROM generate_series(1, 100) n",
    )
    before = query(app.database_url, "SELECT * FROM users ORDER BY id")

    assert restore(app, capture(app))["succeeded"]

    assert query(app.database_url, "SELECT * FROM users ORDER BY id") == before
    execute(app.database_url, "INSERT INTO users (name) VALUES ('one more')")


def test_a_named_folder_is_where_the_server_comes_from(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):  # `nobody` has to come through, or there would be a copy of it
        if folder.is_relative_to(tempfile.gettempdir()) and not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    named = copied(tools(), tmp_path, {})

    with Sandbox(tmp_path / "home", postgres=str(named)) as sandbox:
        options = (tmp_path / "home" / "postgres" / "postmaster.opts").read_text()
        assert query(sandbox.superuser_url(), "SELECT 1") == [(1,)]
    assert options.startswith(f"{named}/postgres")


@pytest.mark.parametrize(
    ("says", "what"), [("postgres (PostgreSQL) 15.9", "PostgreSQL 15"), ("", "no PostgreSQL"), (None, "no PostgreSQL")]
)
def test_a_folder_without_postgresql_17_is_refused(tmp_path: Path, says: str | None, what: str) -> None:
    if says is not None:
        (tmp_path / "postgres").write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / "postgres").chmod(0o755)

    with pytest.raises(
        Unusable, match=f"RELEASE_SANDBOX_POSTGRES names {tmp_path}, which holds {what}. Name the folder"
    ):
        servers(str(tmp_path))


def test_a_sandbox_with_such_a_folder_says_so_and_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failure), Sandbox(postgres=str(tmp_path)):
        pass

    assert "or the URL of a superuser." in capfd.readouterr().err
