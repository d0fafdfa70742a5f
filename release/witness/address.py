"""The URL of a database as apps have it: where it leads, how safely, and the same URL with another address.

Each driver has words of its own for TLS. libpq's are taken as they are; what others mean by theirs is said where it is
read. Where two readers of a URL would not agree on where it leads, it is not replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

from msgspec import Struct

from release.witness.authentication import WAYS, Demands
from release.witness.tls import HOME_ROOT, ServerTls

PORT: Final = "5432"

_MYSQL_PORT: Final = "3306"

_URL: Final = re.compile(
    r"(?P<scheme>(?P<java>(?:jdbc|r2dbc):(?:\w+:)*)?"
    r"(?P<kind>postgres|postgresql|postgis|psql|pgsql|pdo-pgsql|ecto|timescale|timescalegis|pgx[45]?)"
    r"(?:\+(?P<driver>\w+))?)://(?P<authority>[^/?]*)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
"""The schemes of libpq, Django, Rails, SQLAlchemy (`+driver`), Doctrine, Laravel, Ecto, golang-migrate, JDBC, R2DBC."""

_AUTHORITY: Final = re.compile(
    r"(?:(?P<user>[^:@]*)(?::(?P<password>[^@]*))?@)?(?P<host>\[[^][@]+\]|[^][:@]*)(?::(?P<port>\d*))?"
)

_MENTION: Final = re.compile(r"\b(?:postgres|postgresql|postgis)(?:\+\w+)?://|\bjdbc:postgresql:", re.IGNORECASE)
"""A URL within something else."""

_HOST: Final = re.compile(r"\bhost(?:addr)?\s*=", re.IGNORECASE)
_DATABASE: Final = re.compile(r"\b(?:dbname|database)\s*=", re.IGNORECASE)
_SERVICE: Final = re.compile(r"service\s*=", re.IGNORECASE)
"""What libpq and others take in the place of a URL: `host=… dbname=…`, `service=…`."""

_TELLING: Final = frozenset({"host", "port", "user", "password", "dbname"})

_MODES: Final = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})

_YES: Final = frozenset({"", "1", "true", "on", "yes"})
_NO: Final = frozenset({"0", "false", "off", "no"})

_BLIND: Final = "org.postgresql.ssl.nonvalidatingfactory"
"""pgjdbc's class that encrypts and verifies nothing."""

_BARRING: Final = frozenset(
    {
        "hostaddr", "service", "servicefile", "passfile", "socketfactory", "socketfactoryarg", "unixsocket",
        "sslcert", "sslkey", "sslidentity", "sslpassword", "sslpasswordcallback", "sslinline",
        "sslhostnameverifier", "authenticationpluginclassname",
    }
)  # fmt: skip
"""Another way to the server, or a proof of who the client is that the witness does not have."""

_MOOT: Final = frozenset(
    {
        "ssl", "sslmode", "sslrootcert", "sslaccept", "sslfactory", "sslfactoryarg", "sslcrl", "sslcrldir",
        "sslnegotiation", "sslcertmode", "sslsni", "gssencmode", "channelbinding", "requireauth",
    }
)  # fmt: skip
"""What is said about a connection to the server, and means nothing on the way to the witness."""


class Unreplaceable(Exception):
    """A URL that is left as it is. It has no text, since all that could be said of it may be secret."""


class Safety(Struct, frozen=True, kw_only=True):
    """How safely the server is to be reached, what it has to prove, and whether the client verifies whom it reached."""

    tls: ServerTls
    direct: bool
    demands: Demands
    verifies: bool


class Url(Struct, frozen=True, kw_only=True):
    """The parts of a URL as they are written."""

    scheme: str
    java: bool
    driver: str
    user: str | None
    password: str | None
    host: str
    port: str
    path: str
    parameters: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Url(scheme={self.scheme!r}, host={self.host!r}, port={self.port!r}, path={self.path!r})"

    def given(self) -> dict[str, str]:
        """What its parameters say, of those that matter here; other drivers' spellings under libpq's names."""
        found: dict[str, str] = {}
        for parameter in self.parameters:
            name, value = _name(parameter), parameter.partition("=")[2]
            if name in _TELLING | _BARRING | _MOOT:
                if name in found or ("+" in value and not self.java and name in _TELLING):
                    raise Unreplaceable  # the first or the last; a plus or a space
                found[name] = _clear(value, java=self.java)
        return found


def _name(parameter: str) -> str:
    """A parameter's name: `channel_binding` and `channelBinding` are the same."""
    return unquote(parameter.partition("=")[0]).lower().replace("_", "")


def _clear(value: str, *, java: bool = False) -> str:
    """A part of a URL as it is meant. Raises Unreplaceable for what drivers would read differently."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise Unreplaceable
    try:
        return (unquote_plus if java else unquote)(value, errors="strict")
    except UnicodeDecodeError:
        raise Unreplaceable from None


def mentioned(value: str) -> bool:
    """Whether a value leads to a database of PostgreSQL, without being its URL."""
    pairs = _HOST.search(value) and _DATABASE.search(value)
    return bool(pairs or _MENTION.search(value) or _SERVICE.match(value))


def parsed(value: str) -> Url | None:
    """The URL that a value is, or None where it is none of PostgreSQL. Raises Unreplaceable."""
    found = _URL.fullmatch(value)
    if found is None:
        if mentioned(value):
            raise Unreplaceable
        return None
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None or not _unequivocal(value, found["authority"], java=bool(found["java"])):
        raise Unreplaceable
    if found["kind"].lower() == "ecto" and authority["port"] == _MYSQL_PORT:
        return None
    return Url(
        scheme=found["scheme"],
        java=bool(found["java"]),
        driver="ecto" if found["kind"].lower() == "ecto" else (found["driver"] or "").lower(),
        user=authority["user"],
        password=authority["password"],
        host=authority["host"],
        port=authority["port"] or "",
        path=found["path"] or "",
        parameters=tuple(found["query"].split("&")) if found["query"] is not None else (),
    )


def _unequivocal(value: str, authority: str, *, java: bool) -> bool:
    """Whether all readers of a URL end its authority at the same place."""
    # A backslash, a space or `#` ends one reader's host and is part of another's password.
    if not value.isprintable() or re.search(r"[\s\\#]", value):
        return False
    return java or "@" in authority or "@" not in value


def told(url: Url) -> dict[str, str]:
    """Where a URL leads, under libpq's names, in clear text; what it leaves out is left out. Raises Unreplaceable."""
    given = url.given()
    written = {
        "host": url.host.strip("[]"),
        "port": url.port,
        "user": url.user or "",
        "password": url.password or "",
        "dbname": url.path.removeprefix("/"),
    }
    for name, value in written.items():
        if value and name in given:
            raise Unreplaceable  # drivers do not agree on which of them counts
        if value:
            given[name] = _clear(value)
    return given


def safety(given: Mapping[str, str], *, java: bool = False) -> Safety:
    """What parameters say about TLS. Raises Unreplaceable for what the witness cannot do in the client's place."""
    if _BARRING & given.keys() or given.get("gssencmode") == "require" or given.get("sslcertmode") == "require":
        raise Unreplaceable
    root = given.get("sslrootcert") or None
    mode = _mode(given, root, java=java)
    factory = given.get("sslfactory", "").lower()
    if factory not in {"", _BLIND}:
        raise Unreplaceable
    if mode == "no-verify" or (factory and mode != "disable"):
        mode, root = "require", None
    if given.get("sslaccept") == "strict" and mode != "disable":  # Prisma verifies against the system's authorities
        mode, root = "verify-full", root or "system"
    checked = mode.startswith("verify-") or (mode == "require" and root is not None)
    if checked and ("sslcrl" in given or "sslcrldir" in given):
        raise Unreplaceable  # the witness reads no lists of revoked certificates
    if checked and root is None and not HOME_ROOT.expanduser().is_file():
        root = "system"  # libpq would give up; Node.js and Go verify against these
    direct = given.get("sslnegotiation") == "direct"
    # Node.js verifies wherever it is given an authority, libpq only in these modes.
    verifies = "sslaccept" not in given and (checked or (root is not None and mode != "disable"))
    tls = ServerTls(mode=mode, root=root if mode != "disable" else None)
    return Safety(tls=tls, direct=direct, demands=_demands(given), verifies=verifies)


def _demands(given: Mapping[str, str]) -> Demands:
    """How the server has to authenticate (libpq-connect.html, `require_auth`). Raises Unreplaceable."""
    words = [word.strip() for word in given.get("requireauth", "").split(",") if word.strip()]
    denied = [word.removeprefix("!") for word in words if word.startswith("!")]
    if denied and len(denied) < len(words):
        raise Unreplaceable  # libpq takes the one or the other
    ways = (WAYS - set(denied)) if denied or not words else (WAYS & set(words))
    return Demands(ways=ways, bound=given.get("channelbinding") == "require")


def _mode(given: Mapping[str, str], root: str | None, *, java: bool) -> str:
    word = given.get("sslmode") or given.get("ssl")
    if word is None:
        return "verify-full" if root == "system" else "prefer"  # libpq-connect.html, `sslrootcert`
    word = word.lower().replace("_", "-")
    if "sslmode" not in given and word in _YES:
        return "verify-full" if java else "require"  # pgjdbc, `ssl`: "will verify"; libpq's own reading of `ssl=true`
    if "sslmode" not in given and word in _NO:
        return "disable"
    if word not in _MODES | {"no-verify"}:
        raise Unreplaceable
    return word


def names_authority(url: Url) -> bool:
    """Whether a URL says itself whom its client is to trust."""
    return bool(url.given().get("sslrootcert"))


def replaced(url: Url, *, host: str, port: int, password: str, root: str | None) -> str:
    """The URL with another address. All it says of anything else survives, byte for byte.

    `root`: the authority's file for a client that verifies by one, which goes on verifying; None for others, to whom
    TLS is no longer of use. A JDBC URL without a password gets none: it is in a variable beside it. A URL that says
    nothing of TLS is not made to: not every driver knows the word `sslmode` (asyncpg and pg8000 in SQLAlchemy end with
    it), and one that wants TLS gets it. Nor is a URL given `sslrootcert`: postgres.js would send it to the server.
    """
    parameters = [each for each in _protected(url, root) if _name(each) not in {"host", "port"}]
    whom = ""
    if url.user is not None:
        parameters = [each for each in parameters if _name(each) != "password"]
        whom = f"{url.user}:{password}@"
    elif "password" in url.given():
        parameters = [f"password={password}" if _name(each) == "password" else each for each in parameters]
    elif not url.java:
        parameters.append(f"password={password}")
    query = f"?{'&'.join(parameters)}" if parameters else ""
    return f"{url.scheme}://{whom}{host}:{port}{url.path}{query}"


def _protected(url: Url, root: str | None) -> list[str]:
    """The parameters with what is true of TLS on the way to the witness, in the place of what was said."""
    kept: list[str] = []
    plain = not root and url.driver != "ecto"  # to which no word means the same as none
    for parameter in url.parameters:
        name, written = _name(parameter), parameter.partition("=")[0]
        if name not in _MOOT or (root and name in {"ssl", "sslmode"}):
            kept.append(parameter)
        elif root and name == "sslrootcert":
            kept.append(f"{written}={quote(root)}")
        elif plain and name in {"ssl", "sslmode"}:
            kept.append(f"{_word(url, written)}=disable")
            plain = False
    return kept


def _word(url: Url, written: str) -> str:
    """The name of the parameter that switches TLS off. `ssl` takes no mode, but for asyncpg, which knows no other."""
    if written.lower() != "ssl" or url.driver == "asyncpg":
        return written
    return "sslMode" if url.scheme.lower().startswith("r2dbc") else "sslmode"
