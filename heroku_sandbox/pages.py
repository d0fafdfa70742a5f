"""Pages of a list, by the `Range` header: `version ..; max=15, order=desc`."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from heroku_sandbox.lookup import ApiError

_DEFAULT, _MOST = 200, 1000
_RANGE = re.compile(r"^\s*(?P<property>[a-z_]+)\s*(?P<start>[^.;\s]*)\s*\.\.\s*(?P<end>[^;\s]*)\s*(;(?P<options>.*))?$")


def page(
    rows: list[dict[str, Any]], asked: str | None, *, default: str
) -> tuple[list[dict[str, Any]], dict[str, str], int]:
    """Returns the rows of one page, its headers, and its status: 206 when there is more. Raises ApiError (416).

    A start in square brackets is left out of the page (`]id..`), which is how the next page begins.
    """
    span = _RANGE.match(asked or f"{default} ..")
    if span is None or (rows and span["property"] not in rows[0]):
        raise ApiError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable", "Bad range.")
    name = span["property"]
    options = dict(part.strip().partition("=")[::2] for part in re.split("[;,]", span["options"] or ""))
    limit = min(int(options.get("max", _DEFAULT)), _MOST)
    descending = options.get("order") == "desc"
    ordered = sorted(rows, key=lambda row: row[name], reverse=descending)
    start, exclusive = span["start"].lstrip("]"), span["start"].startswith("]")
    if start:
        edge: Any = int(start) if ordered and isinstance(ordered[0][name], int) else start

        def inside(value: Any) -> bool:
            beyond: bool = value < edge if descending else value > edge
            return beyond or (value == edge and not exclusive)

        ordered = [row for row in ordered if inside(row[name])]
    headers = {"Accept-Ranges": f"id, {default}" if default != "id" else "id"}
    chosen = ordered[:limit]
    if chosen:
        headers["Content-Range"] = f"{name} {chosen[0][name]}..{chosen[-1][name]}"
    if len(ordered) > limit:
        order = ", order=desc" if descending else ""
        headers["Next-Range"] = f"{name} ]{chosen[-1][name]}..; max={limit}{order}"
        return chosen, headers, HTTPStatus.PARTIAL_CONTENT
    return chosen, headers, HTTPStatus.OK
