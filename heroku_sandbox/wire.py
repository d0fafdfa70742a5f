"""The Data API's answers as they go out: as recorded by default, or in one of the other forms that have been seen.

Recorded traffic of 2020-12 and 2021-02 shows one form; Heroku's own recorded specs, the types in its CLI, that CLI's
tests and the published source of its worker show others. Nobody documents any of them, so a client has to get along
with each. A variant changes one thing, and variants can be put together.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Any

from flask import Response

from heroku_sandbox.lookup import ApiError
from heroku_sandbox.names import Variant
from heroku_sandbox.shapes import iso, ruby
from heroku_sandbox.state import Transfer

_TIMES = ("created_at", "started_at", "canceled_at", "updated_at", "finished_at")
_SHORT = ("uuid", "from_type", "to_type")
_SWAPPED_EVERY = 4


def transfer(shape: dict[str, Any], of: Transfer, variants: Collection[Variant]) -> dict[str, Any]:
    """Turns a transfer from its recorded form into that of the variants."""
    for variant, change in _TRANSFER.items():
        if variant in variants:
            change(shape, of)
    return shape


def _uuids(shape: dict[str, Any], of: Transfer) -> None:
    shape["from_uuid"] = shape["to_uuid"] = of.addon_id


def _text_numbers(shape: dict[str, Any], _: Transfer) -> None:
    shape["num"] = str(shape["num"])


def _iso_times(shape: dict[str, Any], of: Transfer) -> None:
    for name in _TIMES:
        moment: datetime | None = getattr(of, name)
        if shape[name] is not None and moment is not None:
            shape[name] = iso(moment)


def _early_figures(shape: dict[str, Any], of: Transfer) -> None:
    shape["source_bytes"] = of.source_bytes or 0
    shape["updated_at"] = shape["updated_at"] or ruby(of.created_at)


def _signed(shape: dict[str, Any], _: Transfer) -> None:
    if str(shape["to_url"]).startswith("https:"):
        shape["to_url"] += f"?X-Amz-Expires=3600&X-Amz-Signature={secrets.token_hex(16)}"


_TRANSFER = {
    Variant.UUIDS: _uuids,
    Variant.TEXT_NUMBERS: _text_numbers,
    Variant.EARLY_FIGURES: _early_figures,
    Variant.ISO_TIMES: _iso_times,
    Variant.SIGNED: _signed,
}


def accepted(shape: dict[str, Any], variants: Collection[Variant]) -> dict[str, Any]:
    """Returns what a POST for a transfer is answered."""
    return {name: shape[name] for name in _SHORT} if Variant.SHORT_ANSWERS in variants else shape


def listed(rows: list[dict[str, Any]], variants: Collection[Variant]) -> list[dict[str, Any]]:
    """Orders a list of transfers: mostly the newest first, but not strictly."""
    if Variant.UNSORTED in variants:
        return sorted(rows, key=lambda row: str(row["uuid"]))
    rows = sorted(rows, key=lambda row: int(row["num"]), reverse=Variant.OLDEST_FIRST not in variants)
    if Variant.OLDEST_FIRST not in variants:
        for place in range(1, len(rows) - 1, _SWAPPED_EVERY):
            rows[place], rows[place + 1] = rows[place + 1], rows[place]
    return rows


def database(shape: dict[str, Any], variants: Collection[Variant]) -> dict[str, Any]:
    """Turns a database's description from its recorded form into that of the variants."""
    if Variant.PLAIN_PLAN in variants and isinstance(shape["plan"], dict):
        shape["plan"] = shape["plan"]["name"]
    return shape


def not_found(error: ApiError, variants: Collection[Variant]) -> Any:
    """Returns a 404: an HTML page that says of itself that it is JSON."""
    if Variant.JSON_ERRORS in variants:
        return error.body(), error.status, error.headers
    return Response("<h1>Not Found</h1>", error.status, error.headers, content_type="application/json")
