"""How an expression prints that was dumped and loaded again.

PostgreSQL keeps expressions as trees and prints them on demand. A tree that came from a printed text is not always the
one that was printed; two differences are common, and both come to rest after one round:

- `varchar IN ('a', 'b')` prints as `(ARRAY['a'::character varying, …])::text[]`, and loaded again as
  `ARRAY[('a'::character varying)::text, …]`: the parser hands the cast of an array to its elements
  (transformArrayExpr in src/backend/parser/parse_expr.c).
- `a BETWEEN 1 AND 2 AND b` prints as `(((a >= 1) AND (a <= 2)) AND b)`, and loaded again as
  `((a >= 1) AND (a <= 2) AND b)`: the parser flattens what stands to the left (makeAndExpr in gram.y).

`canonical` writes both as they print after that round and changes nothing else: what means something else stays
different. `skeleton` is coarser, for the proof after a restore: it leaves out casts, parentheses and white space.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

_TYPE: Final = (
    r"""(?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))?(?: varying| precision| with(?:out)? time zone)?"""
)
_TOKEN: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\],]| AND | OR |[^'"()\[\], ]+|.""", re.DOTALL)
_ARRAY_CAST: Final = re.compile(rf"::({_TYPE})\[\]")
_SKELETON: Final = re.compile(rf"('(?:[^']|'')*')|::{_TYPE}(?:\(\d+(?:,\d+)?\))?(?:\[\])*|[()\s]+")
_CLOSES: Final = {")": "(", "]": "["}

Group: TypeAlias = "list[str | Group]"
"""An opening bracket, what is inside, the closing one; at the top, without brackets."""


def canonical(text: str) -> str:
    """The text of an expression, or of a statement with expressions, as it prints once it was dumped and loaded."""
    if "])::" not in text and not ("((" in text and (" AND " in text or " OR " in text)):
        return text
    open_groups: list[Group] = [[]]
    position = 0
    while token := _TOKEN.match(text, position):
        position = token.end()
        if token[0] in "([":
            open_groups.append([token[0]])
        elif token[0] in _CLOSES:
            group = open_groups.pop()
            if not group or group[0] != _CLOSES[token[0]]:
                return text  # Brackets do not pair: not a text that the server prints.
            group.append(token[0])
            cast = _ARRAY_CAST.match(text, position)
            if cast and _is_array(group):
                position = cast.end()
                open_groups[-1] += ["ARRAY", _cast_elements(group[2], cast[1])]
            else:
                open_groups[-1].append(_flattened(group))
        else:
            open_groups[-1].append(token[0])
    return _printed(open_groups[0]) if len(open_groups) == 1 else text


def skeleton(text: str) -> str:
    """What is left of an expression without casts, parentheses and white space; literals stay as they are."""
    return _SKELETON.sub(r"\1", text)


def _is_array(group: Group) -> bool:
    """Whether the group is `(ARRAY[…])`."""
    return len(group) == 4 and group[1] == "ARRAY" and group[2][0] == "["  # noqa: PLR2004 - ( ARRAY […] )


def _cast_elements(array: str | Group, kind: str) -> Group:
    cast: Group = ["["]
    element: Group = []
    for node in array[1:]:
        if node in {",", "]"} if isinstance(node, str) else False:
            cast += ["(", *element, f")::{kind}", node]
            element = []
        elif element or node != " ":
            element.append(node)
        else:
            cast.append(node)
    return cast


def _flattened(group: Group) -> Group:
    """The group with its first operand's operands as its own, where both join by the same word."""
    joint = _joint(group)
    first = group[1] if joint and group[2] == joint else None
    if isinstance(first, list) and _joint(first) == joint:
        return [group[0], *first[1:-1], *group[2:]]
    return group


def _joint(group: Group) -> str | None:
    """The word that joins the operands of a parenthesised group, if it is the same one throughout."""
    words = {node for node in group if isinstance(node, str) and node in {" AND ", " OR "}}
    return words.pop() if group[0] == "(" and len(words) == 1 else None


def _printed(group: Group) -> str:
    parts: list[str] = []
    pending: list[str | Group] = [group]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            parts.append(node)
        else:
            pending.extend(reversed(node))
    return "".join(parts)
