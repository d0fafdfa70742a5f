"""Strangers: web pages in somebody's browser, and other users of the machine."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from heroku_sandbox import App, Sandbox
from tests.sandbox.conftest import capture
from tests.sandbox.test_command_line import Shell

REBOUND = ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""]
PAGES = ["http://evil.example", "http://localhost:3000", "https://127.0.0.1:{port}", "http://127.0.0.1", "null", ""]


@pytest.fixture
def closed(tmp_path: Path, sandbox: Sandbox) -> Iterator[Sandbox]:
    """A sandbox with a home of its own."""
    with Sandbox(tmp_path / "home", postgres=sandbox.superuser_url()) as found:
        yield found


def send(address: str, method: str, path: str, headers: list[tuple[str, str]], body: str = "") -> tuple[int, object]:
    """One request with exactly these headers, `Host` among them; status and JSON."""
    parts = urlsplit(address)
    context = ssl._create_unverified_context()
    secure = parts.scheme == "https"
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection(parts.netloc, context=context)
        if secure
        else http.client.HTTPConnection(parts.netloc)
    )
    connection.putrequest(method, path, skip_host=True)
    for name, value in [*headers, ("Content-Length", str(len(body)))]:
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if content.startswith(b"{") else content


def keyed(sandbox: Sandbox) -> list[tuple[str, str]]:
    """All that a request needs besides a `Host`: key and control token."""
    return [("Authorization", f"Bearer {sandbox.key}"), ("Sandbox-Token", sandbox.connection.token)]


def own(sandbox: Sandbox) -> tuple[str, str]:
    return ("Host", f"127.0.0.1:{sandbox.connection.port}")


LOOK = 'for path; do ls "$path/" >/dev/null 2>&1 || cat "$path" 2>/dev/null && echo "$path"; done; echo ended'
"""Names what can be read."""

PLACES = [
    ("POST", "/apps/{app}/dynos"),
    ("GET", "/apps/{app}/config-vars"),
    ("GET", "/client/v11/databases/{addon}"),
    ("GET", "/postgres/v0/databases/{addon}/credentials"),
    ("GET", "/sandbox"),
    ("GET", "/streams/{app}"),
    ("GET", "/nowhere"),
]


@pytest.mark.parametrize("host", REBOUND)
@pytest.mark.parametrize(("method", "path"), PLACES)
def test_a_page_that_had_its_name_rebound_is_refused(
    sandbox: Sandbox, app: App, method: str, path: str, host: str
) -> None:
    path = path.format(app=app.name, addon=app.addon_id)
    given = host.format(port=sandbox.connection.port)

    status, body = send(sandbox.url, method, path, [("Host", given), *keyed(sandbox)], '{"command": "true"}')

    assert status == 403
    assert body == {
        "id": "forbidden",
        "message": "This sandbox answers to the names of this machine only: 127.0.0.1, localhost.",
    }
    assert app.dynos() == []


@pytest.mark.parametrize("origin", PAGES)
@pytest.mark.parametrize(("method", "path"), PLACES)
def test_a_page_of_another_origin_is_refused(sandbox: Sandbox, app: App, method: str, path: str, origin: str) -> None:
    path = path.format(app=app.name, addon=app.addon_id)
    headers = [own(sandbox), ("Origin", origin.format(port=sandbox.connection.port)), *keyed(sandbox)]

    status, body = send(sandbox.url, method, path, headers, '{"command": "true"}')

    assert status == 403
    assert body == {"id": "forbidden", "message": "This sandbox does not answer to web pages of others."}
    assert app.dynos() == []


def test_two_hosts_and_a_whole_address_are_refused(sandbox: Sandbox) -> None:
    evil = ("Host", "evil.example")

    assert send(sandbox.url, "GET", "/account", [evil, own(sandbox), *keyed(sandbox)])[0] == 403
    assert send(sandbox.url, "GET", "/account", [own(sandbox), evil, *keyed(sandbox)])[0] == 403
    assert send(sandbox.url, "GET", "/account", keyed(sandbox))[0] == 403
    assert send(sandbox.url, "GET", "http://evil.example/account", [own(sandbox), *keyed(sandbox)])[0] == 403


def test_the_store_of_the_backups_has_the_same_door(app: App) -> None:
    found = f"/client/v11/apps/{app.name}/transfers/{capture(app)['num']}/actions/public-url"
    url = app.connection.request("POST", found)["url"]
    path = url.removeprefix(f"https://{urlsplit(url).netloc}")
    host = ("Host", urlsplit(url).netloc)

    assert send(url, "GET", path, [host])[0] == 200
    assert send(url, "GET", path, [("Host", f"evil.example:{urlsplit(url).port}")])[0] == 403
    assert send(url, "GET", path, [host, ("Origin", "https://evil.example")])[0] == 403
    assert send(url, "GET", path, [host, ("Origin", f"https://{urlsplit(url).netloc}")])[0] == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_all_names_of_this_machine_lead_in_and_so_does_its_own_page(sandbox: Sandbox, name: str) -> None:
    host = f"{name}:{sandbox.connection.port}"

    assert send(sandbox.url, "GET", "/account", [("Host", host), *keyed(sandbox)])[0] == 200
    assert (
        send(sandbox.url, "GET", "/account", [("Host", host), ("Origin", f"http://{host}"), *keyed(sandbox)])[0] == 200
    )


@pytest.mark.parametrize("key", ["sandbox", "", "wrong", None])
def test_no_other_key_opens_anything(sandbox: Sandbox, app: App, key: str | None) -> None:
    given = [own(sandbox), *([] if key is None else [("Authorization", f"Bearer {key}")])]

    for method, path in PLACES[:4]:
        asked = path.format(app=app.name, addon=app.addon_id)
        assert send(sandbox.url, method, asked, given, '{"command": "true"}')[0] == 401, asked
    assert send(sandbox.url, "GET", "/sandbox", given)[0] == 401
    assert app.dynos() == []


def test_each_sandbox_has_a_key_of_its_own_that_looks_like_herokus(sandbox: Sandbox, closed: Sandbox) -> None:
    for key in (sandbox.key, closed.key):
        assert re.fullmatch(r"HRKU-AA[0-9A-Za-z_-]{58}", key)
    assert sandbox.key != closed.key
    assert send(closed.url, "GET", "/account", [own(closed), *keyed(sandbox)])[0] == 401


def test_a_sandbox_keeps_its_key_and_forgets_the_one_everybody_knows(tmp_path: Path, sandbox: Sandbox) -> None:
    home = tmp_path / "home"
    with Sandbox(home, postgres=sandbox.superuser_url()) as first:
        key = first.key
        app = first.create_app("long-lived", plan="none", config={"HEROKU_API_KEY": key})
    (home / "state.json").write_text((home / "state.json").read_text().replace(key, "sandbox"))

    with Sandbox(home, postgres=sandbox.superuser_url()) as again:
        assert again.key == key
        assert again.app("long-lived").config["HEROKU_API_KEY"] == key
        assert app.name == "long-lived"
        assert send(again.url, "GET", "/account", [own(again), ("Authorization", "Bearer sandbox")])[0] == 401


def test_home_and_key_are_for_their_owner_alone(closed: Sandbox) -> None:
    assert stat.S_IMODE(closed.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((closed.home / "key").stat().st_mode) == 0o600
    assert (closed.home / "key").stat().st_uid == os.geteuid()
    assert (closed.home / "key").read_text() == closed.key


def test_a_home_that_was_open_is_closed_and_one_of_others_is_not_taken(tmp_path: Path, sandbox: Sandbox) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with Sandbox(home, postgres=sandbox.superuser_url()):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    home.chmod(0o755)
    (home / "key").chmod(0o644)
    with Sandbox(home, postgres=sandbox.superuser_url()):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600

    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "thesis.tex").touch()
    shell = Shell(shared, sandbox.superuser_url())
    said = shell("up", "--detach", code=1)
    assert (
        "is open to others and holds something else. Name a folder for the sandbox alone in RELEASE_SANDBOX_HOME"
        in said
    )
    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert [each.name for each in shared.iterdir()] == ["thesis.tex"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reads_nothing_of_it() -> None:
    """With a PostgreSQL of its own, whose files have to be where its user can come."""
    with Sandbox() as sandbox:
        app = sandbox.create_app("mine", config={"HEROKU_API_KEY": sandbox.key})
        capture(app)
        data = (sandbox.home / "postgres").resolve()
        secrets = [sandbox.home, sandbox.home / "key", sandbox.home / "control.json", sandbox.home / "state.json"]
        secrets += [sandbox.home / "ca.pem", sandbox.home / "dumps", data, data / "superuser", data.parent]
        assert all(each.exists() for each in secrets)
        done = subprocess.run(
            ["/bin/sh", "-c", LOOK, "look", *map(str, secrets)],
            check=True,
            cwd="/",
            capture_output=True,
            text=True,
            user=4711,
            group=4711,
            extra_groups=[],
        )
    assert done.stdout == "ended\n"


def test_no_password_stands_in_an_argument_list(sandbox: Sandbox, app: App) -> None:
    password = urlsplit(app.database_url).password or ""
    seen: set[str] = set()
    with psycopg.connect(app.database_url, autocommit=True) as holder:
        holder.execute("CREATE TABLE held (n integer)")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        app.connection.request("POST", f"/client/v11/databases/{app.addon_id}/backups")
        while not any("pg_dump" in each for each in seen):
            seen |= arguments()
        holder.execute("ROLLBACK")

    assert password
    assert not [each for each in seen if password in each or sandbox.key in each]


def arguments() -> set[str]:
    """The argument lists of all processes, as everybody can read them."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(place.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
