"""How an expression prints that was dumped and loaded again.

PostgreSQL keeps expressions as trees and prints them on demand. A tree that came from a printed text is not always the
one that was printed; two differences are common, and both come to rest after one round:

- `varchar IN ('a', 'b')` prints as `(ARRAY['a'::character varying, …])::text[]`, and loaded again as
  `ARRAY[('a'::character varying)::text, …]`: the parser hands the cast of an array to its elements
  (transformArrayExpr in src/backend/parser/parse_expr.c).
- `a BETWEEN 1 AND 2 AND b` prints as `(((a >= 1) AND (a <= 2)) AND b)`, and loaded again as
  `((a >= 1) AND (a <= 2) AND b)`: the parser flattens what stands to the left (makeAndExpr in gram.y).

`normal_form` writes both as they print after that round and changes nothing else: what means something else stays
different. `skeleton` is coarser, for the proof after a restore: it leaves out casts, parentheses and white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_TYPE: Final = (
    r"""(?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))?"""
    r"(?: varying| precision| with(?:out)? time zone)?"
)
_JOINT: Final = r" (?:AND|OR)(?=\s|\\n)"
_TOKEN: Final = re.compile(
    rf"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\],]|{_JOINT}|(?:[^'"()\[\], ]|(?!{_JOINT}) )+|.""", re.DOTALL
)
_ARRAY_CAST: Final = re.compile(rf"::({_TYPE})\[\]")
_SKELETON: Final = re.compile(rf"('(?:[^']|'')*')|::{_TYPE}(?:\(\d+(?:,\d+)?\))?(?:\[\])*|[()\s]+")
_CLOSES: Final = {")": "(", "]": "["}
_JOINTS: Final = frozenset({" AND", " OR"})
"""White space follows: a new line where the next operand is a CASE or a query (`\\n` in a line of a block)."""


@dataclass(slots=True)
class _Group:
    """A bracket and what has been read since; `nested` keeps groups that the rules below look into, by their place."""

    bracket: str = ""
    parts: list[str] = field(default_factory=list)
    nested: dict[int, _Group] = field(default_factory=dict)

    def add(self, group: _Group) -> None:
        self.nested[len(self.parts)] = group
        self.parts.append(f"{group.bracket}{group.text}{')' if group.bracket == '(' else ']'}")

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def joint(self) -> str | None:
        """The word that joins the operands of a parenthesised group, if it is the same one throughout."""
        words = _JOINTS.intersection(self.parts)
        return next(iter(words)) if self.bracket == "(" and len(words) == 1 else None

    def flatten(self) -> None:
        """Makes the operands of the first operand this group's own, where both join by the same word."""
        first = self.nested.get(0)
        if first and (joint := self.joint) and self.parts[1] == joint and first.joint == joint:
            self.parts[0] = first.text

    def elements(self) -> list[str] | None:
        """What is in `(ARRAY[…])`, if the group is that."""
        if len(self.parts) != 2 or self.parts[0] != "ARRAY" or 1 not in self.nested:  # noqa: PLR2004 - ARRAY, […]
            return None
        elements = [""]  # None at all cannot be: an empty array prints as ARRAY[]::text[].
        for part in self.nested[1].parts:
            if part == ",":
                elements.append("")
            else:
                elements[-1] += part
        return [element.strip() for element in elements]


def normal_form(text: str) -> str:
    """The text of an expression, or of a statement with expressions, as it prints once it was dumped and loaded."""
    if "])::" not in text and not ("((" in text and (" AND" in text or " OR" in text)):
        return text
    groups = [_Group()]
    position = 0
    while found := _TOKEN.match(text, position):
        read, position = found[0], found.end()
        if read in "([":
            groups.append(_Group(read))
        elif read in _CLOSES:
            group = groups.pop()
            if group.bracket != _CLOSES[read]:
                return text  # Brackets do not pair: not a text that the server prints.
            cast = _ARRAY_CAST.match(text, position)
            elements = group.elements() if cast else None
            if cast and elements is not None:
                position = cast.end()
                groups[-1].parts.append("ARRAY[" + ", ".join(f"({element})::{cast[1]}" for element in elements) + "]")
            else:
                group.flatten()
                groups[-1].add(group)
        else:
            groups[-1].parts.append(read)
    return groups[0].text if len(groups) == 1 else text


def skeleton(text: str) -> str:
    """What is left of an expression without casts, parentheses and white space; literals stay as they are."""
    return _SKELETON.sub(r"\1", text)
