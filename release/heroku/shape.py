"""The shape of an answer: what has to be in it, what is only nice to know, and what is said when it is another one.

Heroku's Data API is not documented and may change on any day. A field that a decision stands on has to be there and of
the type that it always was; a field that only informs is left out when it is not. Which is which stands beside the
field: `Annotated[int | None, INFORMS]`. Whoever reads an answer names in `required` what has to be there though it may
be null.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")

INFORMS: Final = msgspec.Meta(extra={"informs": True})
"""The mark of a field that no decision needs. When it is of another type, it counts as not given."""


class Unknown(Exception):
    """An answer of another shape. `field`: which one it is, as a path; the text says what is wrong with it."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"`{field}`: {why}" if field else why)
        self.field = field


def read(content: bytes, kind: type[T], *, required: tuple[str, ...] = ()) -> T:
    """Reads JSON as `kind`.

    `required` are fields of it (or of each entry of a list) that have to be there, if only as null.

    Raises Unknown, or what msgspec raises when it is no JSON.
    """
    document = msgspec.json.decode(content)
    for place, entry in enumerate(document if isinstance(document, list) else [document]):
        if isinstance(entry, dict) and (missing := next((name for name in required if name not in entry), None)):
            raise Unknown(f"[{place}].{missing}" if isinstance(document, list) else missing, "it is missing")
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError:
        pass  # it may be about a field that only informs
    try:
        return msgspec.convert(_softened(document, kind), kind)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None


def _explained(text: str) -> Unknown:
    """Takes a complaint of msgspec apart. Text is all there is; it names types and places, and never a value."""
    why, _, path = text.partition(" - at `")
    place = path.removesuffix("`").removeprefix("$").removeprefix(".")
    if missing := re.fullmatch(r"Object missing required field `(.+)`", why):
        return Unknown(f"{place}.{missing[1]}".lstrip("."), "it is missing")
    return Unknown(place, why)


def _softened(document: Any, kind: Any) -> Any:
    """Leaves out of the document those fields that only inform and are of another type than `kind` has them."""
    if get_origin(kind) in {list, tuple} and isinstance(document, list):
        return [_softened(entry, get_args(kind)[0]) for entry in document]
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(document, dict):
            return _softened_fields(document, inner)
    return document


def _softened_fields(document: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    kept = dict(document)
    for name, (type_, informs) in _fields(kind).items():
        if name not in document:
            continue
        kept[name] = _softened(document[name], type_)
        if informs and not _fits(kept[name], type_):
            del kept[name]
    return kept


def _fits(value: Any, type_: Any) -> bool:
    try:
        msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return False
    return True


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, tuple[Any, bool]]:
    """Returns the fields' types by name, and whether they only inform."""
    fields = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        informs = get_origin(hint) is Annotated and INFORMS in hint.__metadata__
        fields[name] = (hint.__origin__ if informs else hint, informs)
    return fields
