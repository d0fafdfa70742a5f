"""The environment of a command: what in it leads to a database of PostgreSQL, and the same with other addresses.

When in doubt a variable is left as it is, and named: a connection beside the witness costs its verdict and nothing
else, but a command that cannot connect fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlencode

from msgspec import Struct
from msgspec.structs import replace

from release.settings.urls import LOOPBACK
from release.witness.address import PORT, Safety, Unreplaceable, Url, names_authority, parsed, replaced, safety, told
from release.witness.relay import Entrance
from release.witness.upstream import Upstream

LIBPQ: Final = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGPASSFILE": "passfile",
    "PGSERVICE": "service",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGGSSENCMODE": "gssencmode",
    "PGCHANNELBINDING": "channelbinding",
    "PGREQUIREAUTH": "requireauth",
}
"""libpq's variables and the parameters that they stand in for (libpq-envars.html). Other drivers read them, too."""

_DEMANDS: Final = ("PGHOSTADDR", "PGCHANNELBINDING", "PGREQUIREAUTH", "PGSSLNEGOTIATION", "PGSSLCRL", "PGSSLCRLDIR")
"""What a connection to the witness cannot meet, and what is therefore taken out."""

_USERS: Final = ("USERNAME", "USER")


class Destination(Struct, frozen=True, kw_only=True):
    """A database that an environment leads to, with a user and a password, and the variables that lead there."""

    names: tuple[str, ...]
    upstream: Upstream
    user: str
    database: str

    @property
    def url(self) -> str:
        """A URL for libpq that leads there, with the password in it. Not all of the variables hold a URL."""
        server, tls = self.upstream, self.upstream.tls
        host = f"[{server.host}]" if ":" in server.host else quote(server.host, safe="")
        query = {
            "sslmode": tls.mode,
            "sslrootcert": tls.root,
            "sslnegotiation": "direct" if server.direct else None,
            "channel_binding": "require" if server.demands.bound else None,
        }
        given = urlencode({name: value for name, value in query.items() if value}, quote_via=quote)
        whom = f"{quote(self.user, safe='')}:{quote(server.password, safe='')}"
        return f"postgres://{whom}@{host}:{server.port}/{quote(self.database, safe='')}?{given}"


class _Way(Struct, frozen=True, kw_only=True):
    """One variable that leads to a database, and those beside it that are part of it; or libpq's, which have no URL."""

    name: str
    beside: tuple[str, ...]
    url: Url | None
    verifies: bool
    leads_to: Destination


def destinations(environ: Mapping[str, str]) -> tuple[list[Destination], list[str]]:
    """The databases that an environment leads to, and the variables that lead to one but cannot be replaced.

    A way that differs in password or in how safe it is leads to a destination of its own.
    """
    ways, left = _ways(environ)
    names: dict[Destination, set[str]] = {}
    for way in ways:
        names.setdefault(way.leads_to, set()).update((way.name, *way.beside))
    return [replace(each, names=tuple(sorted(found))) for each, found in names.items()], left


def rewritten(
    environ: Mapping[str, str], entrances: Mapping[Destination, Entrance], root_certificate: Callable[[], Path]
) -> dict[str, str]:
    """The whole environment, in which what leads to a database leads to its entrance.

    `root_certificate` makes the file that a client needs to verify the witness, and is called for no others. A
    destination without an entrance is left as it is.
    """
    doors = {_plainly(destination): entrance for destination, entrance in entrances.items()}
    ways, left = _ways(environ)
    result = dict(environ)
    open_ways = [(way, doors[way.leads_to]) for way in ways if way.leads_to in doors]
    for way, door in open_ways:
        if way.url is None:
            result |= {"PGHOST": door.host, "PGPORT": str(door.port), "PGPASSWORD": door.password}
            continue
        root = str(root_certificate()) if way.verifies else None
        result[way.name] = replaced(way.url, host=door.host, port=door.port, password=door.password, root=root)
        for name in way.beside:
            if name.endswith("PASSWORD"):
                result[name] = door.password
    if open_ways:
        _protect(result, root_certificate, alone=not left and len(open_ways) == len(ways))
    return result


def _plainly(destination: Destination) -> Destination:
    """A destination as a single way knows it, without what was added to it."""
    return replace(destination, names=(), upstream=replace(destination.upstream, settings=()))


def _ways(environ: Mapping[str, str]) -> tuple[list[_Way], list[str]]:
    ways: list[_Way] = []
    left: list[str] = []
    for name in sorted(environ.keys() - LIBPQ.keys()):
        try:
            ways += _by_url(name, environ)
        except Unreplaceable:
            left.append(name)
    group = _group(environ)
    try:
        ways += _by_libpq(environ)
    except Unreplaceable:
        left = sorted({*left, *group})
    # What all of them share can only be changed for all of them.
    names = {name for way in ways for name in (way.name, *way.beside)}
    if left and ("PGPASSWORD" in names or any(name in environ for name in _DEMANDS) or _verifies(environ)):
        return [], sorted({*left, *names})
    return ways, left


def _by_url(name: str, environ: Mapping[str, str]) -> Iterator[_Way]:
    url = parsed(environ[name])
    if url is None:
        return
    given = told(url)
    beside: tuple[str, ...] = ()
    if url.java:
        beside, defaults = _beside(name, given, environ)
    else:
        defaults = _defaults(environ)
        if "ssl" in given:
            defaults.pop("sslmode", None)
        if not given.get("password") and "password" in defaults:
            beside = ("PGPASSWORD",)
        if given.get("password") or "password" in defaults:
            defaults.pop("passfile", None)
    # libpq would take its own default for an empty host, others theirs.
    if not given.get("host"):
        raise Unreplaceable
    whole = {**defaults, **given}
    safe = safety(whole, java=url.java)
    verifies = safe.verifies and names_authority(url)
    yield _Way(name=name, beside=beside, url=url, verifies=verifies, leads_to=_destination(whole, safe))


def _by_libpq(environ: Mapping[str, str]) -> Iterator[_Way]:
    group = _group(environ)
    if not group:
        return
    given = _defaults(environ)
    host, address = given.get("host"), given.pop("hostaddr", None)
    if "password" in given:
        given.pop("passfile", None)
    safe = safety(given)
    if address:
        if host and host != address and safe.tls.mode == "verify-full":
            raise Unreplaceable  # the certificate's name is not the address that is connected to
        given["host"] = address
    name, *beside = group
    yield _Way(name=name, beside=tuple(beside), url=None, verifies=False, leads_to=_destination(given, safe))


def _group(environ: Mapping[str, str]) -> list[str]:
    """The variables of libpq that are set, where they lead to a server."""
    if not (environ.get("PGHOST") or environ.get("PGHOSTADDR")):
        return []
    return [name for name in sorted(LIBPQ) if environ.get(name)]


def _defaults(environ: Mapping[str, str]) -> dict[str, str]:
    return {parameter: environ[name] for name, parameter in LIBPQ.items() if environ.get(name)}


def _beside(name: str, given: Mapping[str, str], environ: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The user's and the password's variable beside a JDBC URL, as Heroku's buildpack and Spring have them.

    The buildpack sets the password in both places, and escaped in both as DATABASE_URL has it (opt/jdbc.sh in
    heroku-buildpack-jvm-common).
    """
    if not name.endswith("URL"):
        return (), {}
    stem = name.removesuffix("URL")
    user = next((stem + each for each in _USERS if environ.get(stem + each)), None)
    password = stem + "PASSWORD" if environ.get(stem + "PASSWORD") else None
    defaults: dict[str, str] = {}
    found: list[str] = []
    if user:
        defaults["user"] = environ[user]
        found.append(user)
    if password and given.get("password") in {None, environ[password], unquote(environ[password])}:
        defaults["password"] = environ[password]
        found.append(password)
    return tuple(found), defaults


def _destination(given: Mapping[str, str], safe: Safety) -> Destination:
    host, port, user = given["host"], given.get("port") or PORT, given.get("user")
    database, password = given.get("dbname") or user, given.get("password")
    local = host in LOOPBACK or host.startswith("/")
    # Without a password here it comes from elsewhere: a file, or the app's code.
    if not user or not database or (password is None and (not local or "passfile" in given)):
        raise Unreplaceable
    if not port.isdecimal() or any(each in host for each in ",@") or any(each in database for each in ("=", "://")):
        raise Unreplaceable
    upstream = Upstream(
        host=host, port=int(port), password=password or "", tls=safe.tls, direct=safe.direct, demands=safe.demands
    )
    return Destination(names=(), upstream=upstream, user=user, database=database)


def _verifies(environ: Mapping[str, str]) -> bool:
    """Whether a client that is told nothing else verifies the server."""
    try:
        return safety({name: value for name, value in _defaults(environ).items() if name.startswith("ssl")}).verifies
    except Unreplaceable:
        return False


def _protect(result: dict[str, str], root_certificate: Callable[[], Path], *, alone: bool) -> None:
    """Makes what libpq's variables say of TLS true of the witness; `alone`: no way to a server is left to obey them."""
    if _verifies(result) and result.get("PGSSLROOTCERT"):
        result["PGSSLROOTCERT"] = str(root_certificate())
    elif alone and result.get("PGSSLMODE"):
        result["PGSSLMODE"] = "disable"
    for name in _DEMANDS:
        result.pop(name, None)
