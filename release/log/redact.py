"""Keeps secrets out of text: known ones in every form they are likely to be printed in, unknown ones by their place.

A known secret is found raw, URL-quoted (any mix, either case, twice too), JSON-, shell- and HTML-escaped, in base64
(also inside something longer, as in basic authentication) and in hex. Unknown ones are found where secrets stand: in a
URL's user part, in a presigned URL's query, after `Authorization`, `Bearer`, `password=`, `password:`, `--password`,
SQL's PASSWORD and IDENTIFIED BY.

Not found: a secret under `SHORTEST` characters, one that is a plain word of the log's own, and one that is printed in a
form that nobody could foresee (reversed, encrypted, one letter a line).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from urllib.parse import unquote, urlsplit

import msgspec

MARK = b"[redacted]"
SHORTEST = 6
"""Characters. Shorter values are not taken as secrets: `app` as somebody's password would black out half of the log."""
LONGEST_PATTERN = 4096
"""Bytes that a pattern below matches at most."""

_WORDS = re.compile(rb"[0-9A-Za-z]+")
_HTML = {"&": b"amp", "<": b"lt", ">": b"gt", '"': b"quot", "'": b"(?:#0?39|#[xX]27|apos)"}
_CONTROLS = {"\n": b"n", "\r": b"r", "\t": b"t"}


class _Form:
    """One way of writing one secret. Its pattern is costly, so it is made only when its longest word turns up."""

    def __init__(self, literal: str, *, around: bytes = b"") -> None:
        self._literal = literal
        self._around = around
        # The longest piece that no escaping changes. It is looked for first, with `in`, which skips ahead by its length
        # most of the time.
        self.core = max(_WORDS.findall(literal.encode()), key=len, default=b"")

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        return re.compile(self._around + b"".join(map(_flexible, self._literal)) + self._around)


def _flexible(character: str) -> bytes:
    """Makes a pattern for one character as it is, and as URLs, JSON, shells and HTML escape it."""
    if character.isascii() and character.isalnum():
        return character.encode()
    raw = character.encode()
    ways = [rb"\\*" + re.escape(raw)]
    ways.append(b"".join(rb"%%(?:25)*(?i:%02x)" % byte for byte in raw))
    units = character.encode("utf-16-be")
    ways.append(b"".join(rb"\\+u(?i:%s)" % units[i : i + 2].hex().encode() for i in range(0, len(units), 2)))
    if character in _CONTROLS:
        ways.append(rb"\\+" + _CONTROLS[character])
    if character == "'":
        ways.insert(0, rb"""'(?:\\+'|"'")'""")  # within single quotes of a shell
    if character in _HTML:
        ways.append(b"&" + _HTML[character] + b";")
    if character == " ":
        ways.append(rb"\+")
    return b"(?:" + b"|".join(ways) + b")"


def _forms(secret: str) -> Iterator[_Form]:
    raw = secret.encode()
    yield _Form(secret)
    yield _Form(raw.hex())
    yield _Form(raw.hex().upper())
    for before in range(3):  # base64 of something longer: the secret may begin at any of three places in a group
        coded = b64encode(b"\0" * before + raw).decode()
        own = coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]  # characters that depend on nothing else
        for form in {own, own.replace("+", "-").replace("/", "_")}:
            yield _Form(form, around=b"[0-9A-Za-z+/=_-]?")


class _Place:
    """A place where secrets stand, and what to put instead.

    `hints` saves looking for the pattern: of each group, in lower case, one must occur. Single characters come first,
    because looking for those is by far the cheapest.
    """

    def __init__(self, hints: tuple[tuple[bytes, ...], ...], pattern: bytes, instead: bytes) -> None:
        self.hints = hints
        self.instead = instead
        self._pattern = pattern

    def likely(self, lower: bytes) -> bool:
        """Tells whether a secret may stand at such a place of a text in lower case."""
        return all(any(hint in lower for hint in group) for group in self.hints)

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        return re.compile(self._pattern, re.IGNORECASE)


# What stands for a value: examples ("…", <password>, $PASSWORD), what others have hidden already, and our own mark.
_STANDS_FOR_ONE = (
    rb"(?!\\{0,4}[\"']?(?:\[(?:redacted|filtered)\]|[0-9a-z-]{0,30}(?:\xe2\x80\xa6|\\{1,4}u2026)|\.\.\.|\*{3,}"
    rb"|<[a-z _-]{1,30}>|[{\[](?:[\s\"'{\[]|\Z)"
    rb"|(?-i:\$\{?[A-Z_][A-Z0-9_]{0,60}\}?)(?![0-9a-z_$])|\$\())"
)
_QUOTED = (
    rb"(?:'(?:[^'\n\\]|''|\\.){1,1024}(?:'|(?=\n)|\Z)|\"(?:[^\"\n\\]|\\.){1,1024}(?:\"|(?=\n)|\Z)"
    rb"|(?P<quote>\\{1,4}[\"']|\\{1,4}u002[27]|%2[27])(?:(?!(?P=quote))[^\n]){1,1024}(?:(?P=quote)|(?=\n)|\Z))"
)
"""A value between quotation marks, plain or as JSON and URLs escape them. The closing one may have been cut off."""

# What YAML, type declarations and messages say after "password:" that is no password.
_SAYS_NOTHING = (
    rb"(?!(?:true|false|yes|no|on|off|none|null|nil|undefined|required|invalid|incorrect|missing|empty|blank|wrong|failed"
    rb"|expired|ok|set|unset|changed|hidden|optional|string|str|text|varchar|char|bytea|integer|uuid|bool|boolean|any"
    rb"|field|column|attribute|password|secret|token)\b[\])};,.?!]{0,3}(?:\s|\Z))"
)
# Words that go on a sentence about an option, or its name in a usage line.
_GOES_ON = (
    rb"(?!-|(?:to|or|and|is|are|for|must|may|can|option|flag|argument|if|when|with|was|not|requires|needs|expects|on|in|from)\b"
    rb"|(?-i:[A-Z_]{0,30}(?:PASS|SECRET|TOKEN|KEY|VALUE|STRING|TEXT)[A-Z_]{0,30})[\])\s])"
)
_KEYS = rb"(?:password|passwd|passphrase|secret|api[_-]?key|secret_key_base|(?:[_-]|access|auth|api|refresh)token)"

_PLACES = (
    _Place(
        ((b"@",), (b"://", rb":\/\/")),
        # The password may hold unquoted "@" or "/", as hand-written URLs do.
        rb"([a-z][a-z0-9+.-]{0,30}:\\?/\\?/[^\s:/?#@\"'<>]{0,256}):(?!(?:\xe2\x80\xa6|\\{1,4}u2026)@)"
        rb"(?:[^\s/?#\"'<>]{1,1024}@|[^\s@\"'<>]{1,1024}@)",
        rb"\1:" + MARK + b"@",
    ),
    _Place(
        (
            (b"?", b"&", rb"\u0026"),
            (b"=",),
            (b"x-amz-", b"signature=", b"awsaccesskeyid=", b"token=", b"sig=", b"key=", b"password=", b"secret="),
        ),
        rb"((?:[?&]|\\u0026)(?:x-amz-[a-z-]{1,30}|awsaccesskeyid|[a-z_-]{0,20}(?:signature|token|sig|key|password|secret))=)"
        rb"[^\s&\"'<>#\\]{1,3000}",
        rb"\1" + MARK,
    ),
    _Place(((b"hrku-",),), rb"hrku-[0-9a-z_-]{6,200}(?![0-9a-z_-]|\xe2\x80\xa6|\\{1,4}u2026)", MARK),
    _Place(
        ((b"authorization",),),
        rb"(authorization[^0-9a-z\s]{1,4}\s{0,2}[^0-9a-z\s]{0,3}(?:(?:bearer|basic|token)\s{1,2})?)[^\s\"',]{6,3000}",
        rb"\1" + MARK,
    ),
    # "basic information" is no secret: a token has a digit or ends with "=".
    _Place(
        ((b"bearer", b"basic"),),
        rb"\b((?:bearer|basic)\s{1,2})(?=[a-z._~+/-]{0,3000}[0-9=])[0-9a-z._~+/=-]{8,3000}",
        rb"\1" + MARK,
    ),
)

_NAMING = (b"passw", b"passp", b"secret", b"token", b"api", b"identified", b"pwd=")
"""Words of which one is at each of the following places, so that a text is searched for them only once."""

_NAMED = (
    _Place(
        (),
        rb"((?:password|passwd|passphrase|secret|token|api_key)"
        rb"(?:=|%3d|\\{0,4}[\"']\s{0,4}:\s{0,4}|%2[27](?:%20|\+|\s){0,4}%3a(?:%20|\+|\s){0,4}"
        rb"|\\{1,4}u002[27]\s{0,4}:\s{0,4}))"
        + _STANDS_FOR_ONE
        + rb"(?:"
        + _QUOTED
        + rb"|\\{0,4}[^\s\"'&;,)}]{1,1024})",
        rb"\1" + MARK,
    ),
    # `password: x` and `password = x`, alone or followed by the next of such pairs: no sentence goes on after it.
    _Place(
        ((b":", b" ="),),
        rb"("
        + _KEYS
        + rb"(?::\s{1,4}|\s{1,4}[:=]\s{1,4}))"
        + _STANDS_FOR_ONE
        + _SAYS_NOTHING
        + rb"(?:"
        + _QUOTED
        + rb"|[^\s\"'&;,(){}\[\]]{1,1024}(?=[\"';,}\]]{0,3}(?:\s{0,9}(?:\Z|[\r\n#])|[,;}\]]|\\[nr])))",
        rb"\1" + MARK,
    ),
    _Place(
        ((b"--", b"%2d%2d"),),
        rb"((?:--|%2d%2d)[a-z-]{0,30}(?:password|passwd|passphrase|secret|token|api[_-]key)"
        rb"(?:=|%3d|(?:\s|%20|\+){1,2}|\\{0,4}(?:[\"']|u002[27])\s{0,2},\s{0,2}(?=\\{0,4}(?:[\"']|u002[27]))))"
        + _STANDS_FOR_ONE
        + _GOES_ON
        + rb"(?:"
        + _QUOTED
        + rb"|[^\s\"'&;,)}\]]{1,1024})",
        rb"\1" + MARK,
    ),
    # SQL: CREATE ROLE … [ENCRYPTED] PASSWORD 'x', OPTIONS (password 'x'), CREATE USER u IDENTIFIED BY 'x'. Alembic's
    # "Can't locate revision identified by 'x'" is none, and is understood by its words (frameworks.py).
    _Place(
        ((b"'", b"u0027", b"%27", b"$"), (b"password", b"identified")),
        rb"((?:password|(?:\b|%20)(?:user|to|role|exists)(?:\s|%20|\+){1,3}\S{1,130}?(?:\s|%20|\+){1,3}identified(?:\s|%20|\+){1,3}"
        rb"(?:with\s{1,3}\S{1,60}\s{1,3}(?:by|as)|by)(?:\s{1,3}password)?)(?:\s|%20|\+){1,3}(?:e|u&)?)"
        rb"(?!'\[redacted)(?:'(?:[^'\n]|''){1,1024}(?:'|(?=\n)|\Z)"
        rb"|(?P<mark>\\{1,4}u0027|%27|\$[a-z]{0,20}\$)(?:(?!(?P=mark))[^\n]|(?P=mark){2}){1,1024}(?:(?P=mark)|(?=\n)|\Z))",
        rb"\1" + MARK,
    ),
    _Place(((b";pwd=", b"; pwd="),), rb"(;\s?pwd=)(?!\[redacted\])[^\s;\"']{1,1024}", rb"\1" + MARK),
)


class Redactor:
    """What replaces secrets by `[redacted]`.

    `secrets` are values to be found anywhere; `spare` are words that the log itself writes: a secret that is part of
    one of them ("release" as a password) is hidden only in the places above.
    """

    def __init__(self, secrets: Iterable[str], *, spare: Collection[str] = ()) -> None:
        known = {piece for secret in secrets for piece in _pieces(secret)}
        known = {secret for secret in known if len(secret) >= SHORTEST and not any(secret in word for word in spare)}
        # The longest first, so that a URL goes as a whole before its password does.
        ordered = sorted(known, key=lambda secret: (-len(secret), secret))
        self._forms = [form for secret in ordered for form in _forms(secret)]
        self.reach = max([LONGEST_PATTERN, *(6 * len(secret.encode()) for secret in known)])
        """How many bytes the longest form of a secret can take: so much has to be held back at a cut."""

    def text(self, text: str) -> str:
        """Returns the text without secrets.

        Lone surrogates become question marks, so the result is always valid Unicode.
        """
        return self.data(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def data(self, data: bytes) -> bytes:
        """Returns the bytes without secrets; their length changes."""
        for pattern, instead in self._likely(data):
            data = pattern.sub(instead, data)
        return data

    def leaks(self, data: bytes) -> bool:
        """Tells whether a known secret is in it, in any form."""
        return any(form.core in data and form.pattern.search(data) for form in self._forms)

    def suspects(self, data: bytes) -> bool:
        """Tells whether there may be a secret in it.

        It is quick, and it never misses one; JSON's escaping makes no difference.
        """
        return next(self._likely(data), None) is not None

    def head(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Returns the beginning without secrets, and how many bytes of `data` that was: about `at` bytes.

        The cut goes neither through a secret nor through a character. The bytes must reach `reach` bytes beyond `at`.
        """
        likely = list(self._likely(data))
        spans = [match.span() for pattern, _ in likely for match in pattern.finditer(data)]
        cut = at
        while (earlier := min((start for start, end in spans if start < cut < end), default=cut)) < cut:
            cut = earlier
        while 0 < cut < len(data) and data[cut] & 0xC0 == 0x80:  # noqa: PLR2004 -- a UTF-8 continuation byte
            cut -= 1
        if not cut:  # something covers all of it: take the whole of that along
            cut = at
            while (later := max((end for start, end in spans if start < cut < end), default=cut)) > cut:
                cut = later
        return self.data(data[:cut]) if likely else data[:cut], cut

    def _likely(self, data: bytes) -> Iterator[tuple[re.Pattern[bytes], bytes]]:
        for form in self._forms:
            if form.core in data:
                yield form.pattern, MARK
        lower = data.lower()
        for place in _PLACES:
            if place.likely(lower):
                yield place.pattern, place.instead
        if any(name in lower for name in _NAMING):
            for place in _NAMED:
                if place.likely(lower):
                    yield place.pattern, place.instead


def _pieces(secret: str) -> Iterator[str]:
    """Yields the secret, and of one with several lines (a private key) each line, because output comes line by line."""
    yield secret.strip()
    lines = secret.split("\n")
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= 2 * SHORTEST and "-----" not in line)


_SECRET_NAME = re.compile(
    r"KEY|SECRET|TOKEN|CREDENTIAL|WEBHOOK",
    re.IGNORECASE,
)
_PASSWORD_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|(?<!COM)(?<!BY)(?<!TRES)PASS(?:_?\d{1,3})?$|PWD(?:_?\d{1,3})?$", re.IGNORECASE
)
_SHELLS_OWN = frozenset({"PWD", "OLDPWD"})
"""Variables of the shell's own that hold folders and no passwords."""
_INNOCENT_NAME = re.compile(r"(?:^PUBLIC_|_)(?:PREFIX|NAME|ALGORITHM|VERSION|HEADER|TTL|TIMEOUT|FILE|PATH|DIR)$")
_INNOCENT_VALUE = re.compile(
    r"true|false|yes|no|on|off|none|null|enabled|disabled"
    r"|[+-]?[0-9.]{1,15}"
    r"|(?:~|\.{1,2})?/(?:(?:app|etc|home|usr|var|tmp|opt|run|root)/)?[\w.-]+(?:/[\w.-]+)*\.\w{1,5}",
    re.IGNORECASE,
)
_SHORTEST_NAMED = 8
"""Characters that the value of a key, secret or token has at least; people's passwords are shorter."""


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Returns the values of an environment that count as secrets, for `Redactor`.

    That is the API key; every URL that holds a password, as a whole, and the password, as it stands and decoded; and
    what is called a password or passphrase, or ends in PASS or PWD, with at least 6 characters, or a key, secret,
    token, credential or webhook, with at least 8; unless it is plainly none (a number, a boolean, a file's path, a
    name that ends in `_NAME` or the like).
    """
    secrets: list[str] = []
    for name, value in environ.items():
        secrets += _url_secrets(value)
        if "…" in value and name == "HEROKU_API_KEY":  # an example, taken literally: all of them would be hidden
            continue
        if name == "HEROKU_API_KEY" or _is_secret(name, value):
            secrets.append(value)
            secrets += _json_secrets(value)
    return list(dict.fromkeys(secrets))


def _is_secret(name: str, value: str) -> bool:
    if name in _SHELLS_OWN:
        return False
    password = _PASSWORD_NAME.search(name) is not None
    return (
        len(value) >= (SHORTEST if password else _SHORTEST_NAMED)
        and (password or _SECRET_NAME.search(name) is not None)
        and _INNOCENT_NAME.search(name) is None
        and _INNOCENT_VALUE.fullmatch(value) is None
    )


def _url_secrets(value: str) -> Iterator[str]:
    try:
        password = urlsplit(value).password if "://" in value else None
    except ValueError:  # no URL after all
        return
    if password:
        yield value
        yield password
        yield unquote(password)


def _json_secrets(value: str) -> Iterator[str]:
    """Yields the long strings inside a secret that is a JSON document (Google's credentials).

    An app prints them decoded.
    """
    try:
        document = msgspec.json.decode(value) if value.lstrip().startswith("{") else {}
    except (msgspec.DecodeError, RecursionError):
        return
    yield from (text for name, text in document.items() if isinstance(text, str) and _is_secret(name, text))
