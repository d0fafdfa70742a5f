"""The store of the backups: a GET of a signed address, in pieces, from any byte on. The key is not sent there.

The address itself is the permission, so it is never logged, and errors name the host only. https always; no redirect is
followed, no proxy and no `.netrc` looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from msgspec import Struct

from release.errors import Reason
from release.heroku.http import CONNECT_TIMEOUT
from release.heroku.library import requests
from release.retry import Unavailable
from release.settings.urls import LOOPBACK

STALLED_AFTER = 30.0
"""Seconds without a byte after which a connection is given up. The next one goes on after the last byte."""

PIECE = 256 * 1024
"""Bytes read at once."""

EXPIRED = frozenset({400, 401, 403})
"""What S3 answers when the signature is no longer good."""

GONE_BEYOND = 416
"""The status of a range that begins at or after the file's end."""


class StoreError(Unavailable):
    """The store did not give what was asked for. `expired`: the address is no longer good; another may be."""

    def __init__(self, detail: str, *, status: int | None = None, passing: bool = True) -> None:
        super().__init__(Reason.DOWNLOAD_FAILED, detail, status=status)
        self.status = status
        self._passing = passing

    @property
    def passing(self) -> bool:
        """Whether another try can help."""
        return self._passing

    @property
    def expired(self) -> bool:
        """Whether the address looks too old."""
        return self.status in EXPIRED


class Body(Struct, frozen=True, kw_only=True):
    """What the store sends. `whole`: the file's size in bytes, as the store says; `begins`: where the pieces begin."""

    whole: int | None
    begins: int
    pieces: Iterator[bytes]


@contextmanager
def opened(url: str, *, begin: int, ca: str | None) -> Iterator[Body]:
    """Opens the file at a signed address from byte `begin` on. Raises StoreError.

    `ca`: a file with the certificate to trust, honoured for this machine only (the sandbox's).
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise StoreError("its address is not https", passing=False)
    session = requests.Session()
    session.trust_env = False
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
    try:
        with session.get(
            url,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_TIMEOUT, STALLED_AFTER),
            verify=ca if ca and parts.hostname in LOOPBACK else True,
        ) as response:
            yield _body(response, begin)
    except requests.RequestException as error:
        raise StoreError(f"{parts.hostname}: {type(error).__name__}") from None  # its text holds the address
    finally:
        session.close()


def _body(response: requests.Response, begin: int) -> Body:
    """Judges status and headers before the first byte is read. Raises StoreError."""
    status = response.status_code
    if status not in {200, 206}:
        passing = status >= 500 or status in {408, 429} or status in EXPIRED  # noqa: PLR2004 -- HTTP statuses
        raise StoreError(f"the store answered {status} {response.reason}", status=status, passing=passing)
    kind = response.headers.get("Content-Type", "")
    if kind.startswith(("text/", "application/xml", "application/json")):
        raise StoreError(f"the store sent a page ({kind}) and no backup", status=status)
    length = response.headers.get("Content-Length", "")
    whole = int(length) if length.isdecimal() and status == 200 else None  # noqa: PLR2004 -- HTTP statuses
    begins = 0
    if status == 206:  # noqa: PLR2004 -- HTTP statuses
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not span or int(span[1]) != begin:
            raise StoreError("the store sent another part than the one asked for", status=status)
        begins, whole = begin, int(span[2])
    return Body(whole=whole, begins=begins, pieces=_pieces(response))


def _pieces(response: requests.Response) -> Iterator[bytes]:
    yield from response.iter_content(PIECE)
