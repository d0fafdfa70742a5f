"""Any value as plain JSON values of limited size: what a log line is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import msgspec

DEEPEST = 8
"""Levels of nesting that are kept."""
MOST_ITEMS = 1_000
"""Items of a list, or fields of a mapping, that are kept: more would not fit into a line anyway."""
REDACTED = "[redacted]"

_SECRET_FIELD = re.compile(r"(?:password|passwd|passphrase|secret|token|api_key|authorization)$", re.IGNORECASE)
_MARKER_ROOM = 60
"""Bytes for the words that say how much was left out."""
_encode = msgspec.json.encode


def plain(value: Any, clean: Callable[[str], str], *, depth: int = DEEPEST) -> Any:
    """Returns the value as None, bool, int, float, str, list and dict.

    Each text goes through `clean`, and floats are rounded to thousandths.

    Anything else becomes its `str()`. What a field called `password` or the like holds is redacted unseen.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    if isinstance(value, timedelta):
        return round(value.total_seconds(), 3)
    if depth and isinstance(value, Mapping):
        return _plain_mapping(value, clean, depth)
    if depth and isinstance(value, list | tuple | set | frozenset):
        items = [plain(item, clean, depth=depth - 1) for item, _ in zip(value, range(MOST_ITEMS), strict=False)]
        return items if len(value) <= MOST_ITEMS else [*items, _more(len(value) - MOST_ITEMS)]
    return clean(_text(value))


def shorten(value: Any, room: int) -> Any:
    """Shortens a plain value so that it takes at most `room` bytes as JSON: the largest parts first, each marked."""
    if len(_encode(value)) <= room:
        return value
    if isinstance(value, str):
        return _shorten_text(value, room)
    if isinstance(value, list) and room > _MARKER_ROOM:
        return _shorten_list(value, room)
    if isinstance(value, dict) and room > _MARKER_ROOM:
        return _shorten_mapping(value, room)
    return "…"  # no room for more; or a number of thousands of digits


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 -- anybody's __str__ may raise anything
        return f"<{type(value).__name__}, whose text raises {type(error).__name__}>"


def _plain_mapping(value: Mapping[Any, Any], clean: Callable[[str], str], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if len(result) == MOST_ITEMS:
            result["…"] = _more(len(value) - MOST_ITEMS)
            break
        name = clean(_text(key))
        secret = isinstance(item, str) and _SECRET_FIELD.search(name)
        result[name] = REDACTED if secret else plain(item, clean, depth=depth - 1)
    return result


def _more(count: int) -> str:
    return f"… {count} more"


def _shorten_text(text: str, room: int) -> str:
    """Keeps the beginning and the end: of an error the first words matter, of a traceback the last ones too."""
    keep = max(0, len(text) * (room - _MARKER_ROOM) // len(_encode(text)))
    while keep:
        head = keep * 2 // 3
        short = f"{text[:head]} … [{len(text) - keep} characters left out] … {text[len(text) - (keep - head) :]}"
        if len(_encode(short)) <= room:
            return short
        keep = keep * 3 // 4
    return "…"


def _shorten_list(items: list[Any], room: int) -> list[Any]:
    kept: list[Any] = []
    left = room - _MARKER_ROOM
    for item in items:
        fitted = item if kept else shorten(item, left)
        left -= len(_encode(fitted)) + 1
        if left < 0:
            break
        kept.append(fitted)
    return [*kept, _more(len(items) - len(kept))] if len(kept) < len(items) else kept


def _shorten_mapping(fields: dict[str, Any], room: int) -> dict[str, Any]:
    """Gives each field an equal share of the room; what a small one does not need goes to the larger ones."""
    left = room - _MARKER_ROOM
    kept: list[str] = []
    for key in fields:
        left -= len(_encode(key)) + 2
        if left < len(kept) * 5:
            break
        kept.append(key)
    left = max(left, 0)
    result = dict.fromkeys(kept)
    by_size = sorted(kept, key=lambda key: len(_encode(fields[key])))
    for place, key in enumerate(by_size):
        result[key] = shorten(fields[key], left // (len(by_size) - place))
        left -= len(_encode(result[key]))
    return {**result, "…": _more(len(fields) - len(kept))} if len(kept) < len(fields) else result
