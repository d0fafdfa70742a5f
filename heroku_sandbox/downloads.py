"""The store of the backups: https, URLs signed for a while, ranges, and errors in XML as S3's are."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from flask import Flask, Response, request

from heroku_sandbox.state import Store, TransferType, now
from heroku_sandbox.world import World

_PIECE = 1 << 18


def sign(store: Store, path: str, expires: datetime) -> str:
    """Returns the path with a query that lets anybody GET it until `expires`."""
    date = expires.strftime("%Y%m%dT%H%M%S.%fZ")
    query = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Expires": date}
    return f"{path}?{urlencode(query | {'X-Amz-Signature': _signature(store, path, date)})}"


def _signature(store: Store, path: str, date: str) -> str:
    return hmac.new(store.state.account_id.encode(), f"{path}\n{date}".encode(), hashlib.sha256).hexdigest()


def application(world: World) -> Flask:
    """Makes the store's Flask app; its addresses are `/backups/<app id>/<transfer id>`."""
    flask = Flask(__name__)

    @flask.get("/backups/<app>/<transfer>")
    def get(app: str, transfer: str) -> Any:
        date = request.args.get("X-Amz-Expires", "")
        wanted = _signature(world.store, request.path, date)
        if not hmac.compare_digest(wanted, request.args.get("X-Amz-Signature", "")):
            return _error(HTTPStatus.FORBIDDEN, "AccessDenied", "Access Denied")
        if datetime.strptime(date, "%Y%m%dT%H%M%S.%f%z") < now():
            return _error(HTTPStatus.FORBIDDEN, "AccessDenied", "Request has expired")
        backup = world.store.state.transfers.get(transfer)
        if not (backup and backup.app_id == app and backup.to_type is TransferType.GOF3R and backup.succeeded):
            return _error(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
        return _file(world.transfers.file(backup))

    return flask


def _file(path: Path) -> Response:
    """Answers with a file, or with the range of it that the request asks for."""
    size = path.stat().st_size
    asked = request.headers.get("Range", "")
    first, _, last = asked.removeprefix("bytes=").partition("-")
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{size:x}"'}
    if not asked.startswith("bytes=") or not (first + last).isdigit():
        return _answer(path, 0, size, headers)
    begin = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if begin >= size:
        message = "The requested range is not satisfiable"
        return _error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange", message)
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    return _answer(path, begin, end, headers)


def _answer(path: Path, begin: int, end: int, headers: dict[str, str]) -> Response:
    """Answers with the bytes of a file from `begin` to before `end`."""

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(begin)
            left = end - begin
            while left and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece

    status = HTTPStatus.PARTIAL_CONTENT if "Content-Range" in headers else HTTPStatus.OK
    response = Response(pieces(), status, headers, mimetype="binary/octet-stream")
    response.content_length = end - begin
    return response


def _error(status: HTTPStatus, code: str, message: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{body}', status, mimetype="application/xml")
