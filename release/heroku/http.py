"""The one HTTP session to Heroku: its limits, and what its failures mean.

requests and heroku3 set none of these themselves: no timeout, redirects followed with the body, `.netrc` in place of
the key, proxies from the environment. Every status but 2xx and every broken answer becomes a HerokuError here, so that
heroku3's own handling (a 429 without its response, prints to stdout) is never reached.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from release.clock import Clock, Deadline, Signals
from release.errors import Reason
from release.heroku import shape
from release.retry import SHAPE_PATIENCE, Unavailable

if TYPE_CHECKING:
    from requests import Response

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 10.0
"""Seconds. Heroku's router ends a request after 30 s; an answer that takes over 10 s is looked for in the lists."""

BODY_TIMEOUT = 15.0
"""Seconds for a whole answer, so that one that drips is given up as well."""

MOST_PAGES = 50
"""Pages of a list at most, so that a list which never ends is given up. Heroku gives 200 entries a page."""

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes. A list of thousands of transfers stays below it."""

ROUTER_TIMEOUT = 30.0
"""Seconds after which Heroku's router has ended a request for certain."""

CHUNK = 64 * 1024
"""Bytes read of an answer at once."""

SHORTEST_TIMEOUT = 0.5
"""Seconds that a request gets even when its deadline has come; urllib3 accepts no timeout of 0."""

LONGEST_RETRY_AFTER = 3600.0
"""Seconds. A longer Retry-After counts as not given: no release may take that long."""

TRY_AGAIN = frozenset({408, 429})
"""The statuses below 500 that may pass: timed out, too many requests."""

SHOWN = 300
"""Characters of Heroku's words that an error holds."""

SHOWN_ID = 80
"""Characters of the id that Heroku gives an error."""

T = TypeVar("T")


class Effect(StrEnum):
    """What a failed request may have done: surely nothing, or nobody knows."""

    NONE = "none"
    UNKNOWN = "unknown"


class HerokuError(Unavailable):
    """A request that did not bring a usable answer.

    `status`: HTTP status or None; `error_id`: Heroku's slug or ""; `effect`: what the request may have done all the
    same; `scopes`: what Heroku says of the key's scopes on a 403.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        error_id: str = "",
        effect: Effect = Effect.UNKNOWN,
        retry_after: float | None = None,
        reason: Reason | None = None,
    ) -> None:
        super().__init__(reason or _reason(status), detail, status=status, error_id=error_id)
        self.status = status
        self.error_id = error_id
        self.effect = effect
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether another try can help: broken connections and answers, timeouts, rate limits, Heroku's own errors."""
        status = self.status
        return status is None or status in TRY_AGAIN or not 300 <= status < 500  # noqa: PLR2004 -- HTTP statuses


class ShapeUnknown(HerokuError):
    """An answer of a shape that this version does not know: `field` is missing there, or of another type.

    It may pass (a bad version at Heroku), so it is tried again, but no longer than SHAPE_PATIENCE.
    """

    patience = SHAPE_PATIENCE

    def __init__(self, what: str, unknown: shape.Unknown) -> None:
        detail = f"{what}: unreadable answer ({unknown})"[:SHOWN]
        super().__init__(detail, status=200, reason=Reason.HEROKU_SHAPE_UNKNOWN)
        self.field = unknown.field


def _reason(status: int | None) -> Reason:
    match status:
        case 401:
            return Reason.KEY_REJECTED
        case 403:
            return Reason.KEY_FORBIDDEN
        case int() if _definite(status):
            return Reason.HEROKU_REFUSED
        case _:
            return Reason.HEROKU_UNAVAILABLE


def _definite(status: int) -> bool:
    """Tells whether a status says for certain that nothing was done, and that another try would end alike."""
    return 400 <= status < 500 and status not in TRY_AGAIN  # noqa: PLR2004 -- HTTP statuses


class Session:
    """A session for both APIs, as heroku3 takes one. heroku3 calls nothing of it but `request`.

    requests is imported when the first session is made, and not before: a release with nothing pending makes none.
    """

    def __init__(self, key: str, *, clock: Clock, signals: Signals) -> None:
        from http.client import HTTPException  # noqa: PLC0415 -- see above

        from urllib3.exceptions import HTTPError  # noqa: PLC0415 -- see above

        from release.heroku.library import requests  # noqa: PLC0415 -- see above

        self._requests = requests.Session()
        self._broken = OSError, HTTPError, HTTPException
        self._requests.trust_env = False
        self._requests.auth = ("", key)
        self.headers = self._requests.headers
        self._clock = clock
        self._signals = signals
        self.sent = 0
        self.scopes: frozenset[str] | None = None
        """What Heroku says of the key's scopes; None where it has not said so."""
        self.deadline: Deadline | None = None
        """When set, no request waits longer: in the seconds between SIGTERM and SIGKILL."""

    def reach(self, base: str) -> None:
        """Makes ready for requests to an address and below, before the first of them."""
        from release.heroku.library import OneContext  # noqa: PLC0415 -- see above

        if base.startswith("https://") and not isinstance(self._requests.get_adapter(base), OneContext):
            self._requests.mount("https://", OneContext())

    def request(self, method: str, url: str, **kwargs: Any) -> Response:
        """Makes a request as requests does, but bounded in time and size, and never redirected. Raises HerokuError."""
        left = max(SHORTEST_TIMEOUT, self.deadline.left() if self.deadline else READ_TIMEOUT)
        timeouts = min(CONNECT_TIMEOUT, left), min(READ_TIMEOUT, left)
        kwargs.update(timeout=timeouts, allow_redirects=False, stream=True)
        what = f"{method} {urlsplit(url).path}"
        self.sent += 1
        try:
            if method != "GET":  # a signal must not cut off what changes something: what became of it would be unknown
                return self._exchange(what, method, url, kwargs)
            with self._signals.interruptible():
                return self._exchange(what, method, url, kwargs)
        except self._broken as error:  # OSError: all of requests' errors are
            raise _broken(what, error) from error

    def _exchange(self, what: str, method: str, url: str, kwargs: dict[str, Any]) -> Response:
        response = self._requests.request(method, url, **kwargs)
        with response:
            response._content = self._body(what, response)  # noqa: SLF001 -- requests has no capped read
        if scopes := response.headers.get("Oauth-Scope"):
            self.scopes = frozenset(re.split(r"[\s,]+", scopes.strip()))
        if not 200 <= response.status_code < 300:  # noqa: PLR2004 -- HTTP statuses
            raise _refused(what, response)
        return response

    def _body(self, what: str, response: Response) -> bytes:
        body = bytearray()
        limit = min(BODY_TIMEOUT, self.deadline.left() if self.deadline else BODY_TIMEOUT)
        ends = self._clock.monotonic() + limit
        # Not iter_content: it waits for a full chunk, and one that drips would take hours to fill it.
        while chunk := _arrived(response.raw):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise HerokuError(f"{what}: the answer is larger than {BODY_LIMIT} bytes", status=response.status_code)
            if self._clock.monotonic() > ends:
                raise HerokuError(f"{what}: the answer took over {limit:.1f} s", status=response.status_code)
        return bytes(body)


def _arrived(raw: Any) -> bytes:
    """Returns what has arrived of a body by now, unpacked: at most 64 KiB as it travels, empty at the end."""
    return bytes(raw.read1(CHUNK, decode_content=True) if hasattr(raw, "read1") else _arrived_in_old(raw))


def _arrived_in_old(raw: Any) -> bytes:
    """Does the same with urllib3 1.26, which requests before 2.30 brings: it has no `read1`.

    http.client's response below it has one, and says nothing when a body ends early: its `length` is what is missing.
    urllib3 1.26 has public names for none of this.
    """
    from http.client import IncompleteRead  # noqa: PLC0415 -- requests has imported it already

    raw._init_decoder()  # noqa: SLF001 -- it does so once, however often it is called
    while packed := raw._fp.read1(CHUNK):  # noqa: SLF001 -- as above
        if chunk := raw._decode(packed, decode_content=True, flush_decoder=False):  # noqa: SLF001 -- as above
            return bytes(chunk)
    if raw._fp.length:  # noqa: SLF001 -- as above
        raise IncompleteRead(b"", raw._fp.length)  # noqa: SLF001 -- as above
    return bytes(raw._decode(b"", decode_content=True, flush_decoder=True))  # noqa: SLF001 -- as above


def pages(
    what: str, read: Callable[[str | None], Response], kind: type[T], *, required: tuple[str, ...] = ()
) -> tuple[T, ...]:
    """Reads a whole list: an answer of 206 is a part of it, and `Next-Range` is what to ask for next.

    `read` takes the range to ask for; Heroku gives 200 entries a page; `required` as in `decode`, of each entry. Raises
    HerokuError.
    """
    entries: list[T] = []
    next_range = None
    for _ in range(MOST_PAGES):
        response = read(next_range)
        entries += decode(what, response, list[kind], required=required)  # type: ignore[valid-type]
        next_range = response.headers.get("Next-Range")
        if response.status_code != 206 or not next_range:  # noqa: PLR2004 -- HTTP statuses
            return tuple(entries)
    raise HerokuError(f"{what}: the list has over {MOST_PAGES} pages", status=206)


def decode(what: str, response: Response, kind: type[T], *, required: tuple[str, ...] = ()) -> T:
    """Returns the answer as `kind`.

    Wrong types and missing fields are errors. Unknown fields, and fields that only inform, are not.

    `required`: fields that have to be there, if only as null. Raises ShapeUnknown, or HerokuError when it is no JSON.
    """
    try:
        return shape.read(response.content, kind, required=required)
    except shape.Unknown as unknown:
        raise ShapeUnknown(what, unknown) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise HerokuError(f"{what}: unreadable answer ({error})"[:SHOWN], status=response.status_code) from None


def _broken(what: str, error: Exception) -> HerokuError:
    """Makes an error of a transport's. Only where no connection was made is it sure that nothing was done.

    A certificate that is not accepted is such a case; any other TLS error may also come after the request was sent.
    """
    from urllib3.exceptions import NewConnectionError, SSLError  # noqa: PLC0415 -- there is a session, so it is loaded
    from urllib3.util.ssl_match_hostname import CertificateError  # noqa: PLC0415 -- as above

    from release.heroku.library import requests  # noqa: PLC0415 -- as above

    # requests wraps urllib3's MaxRetryError, which holds the cause as its `reason`.
    cause = getattr(error.args[0], "reason", None) if error.args else None
    unsent = (
        isinstance(cause, NewConnectionError)
        or isinstance(error, requests.exceptions.ConnectTimeout)
        or (isinstance(cause, SSLError) and isinstance(cause.args[0], (ssl.SSLCertVerificationError, CertificateError)))
    )
    return HerokuError(
        f"{what}: {type(error).__name__}" + (" (nothing was sent)" if unsent else ""),
        effect=Effect.NONE if unsent else Effect.UNKNOWN,
    )


def _refused(what: str, response: Response) -> HerokuError:
    status = response.status_code
    error_id, message = _explanation(response)
    detail = f"{what}: {status} {message or response.reason}"
    if status == 403 and (accepted := response.headers.get("Oauth-Scope-Accepted")):  # noqa: PLR2004 -- HTTP statuses
        detail += f" (the key has the scopes {response.headers.get('Oauth-Scope', '?')}; needed: {accepted})"
    return HerokuError(
        detail,
        status=status,
        error_id=error_id,
        effect=Effect.NONE if _definite(status) else Effect.UNKNOWN,
        retry_after=retry_after(response.headers.get("Retry-After")),
    )


def _explanation(response: Response) -> tuple[str, str]:
    """Heroku's id and message, when the body is one of its errors; a page of HTML says nothing."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(body, dict):
        return "", ""
    return str(body.get("id", ""))[:SHOWN_ID], str(body.get("message", ""))[:SHOWN]


def retry_after(value: str | None) -> float | None:
    """Seconds to wait: a number or a date; nonsense, negative and absurd values count as not given."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if 0 <= seconds <= LONGEST_RETRY_AFTER else None
