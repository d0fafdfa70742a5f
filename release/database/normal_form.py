"""The normal form of an expression: how the server prints it after it was dumped and loaded again.

PostgreSQL keeps expressions as trees and prints them on demand. A tree that was parsed from a printed text is not
always the tree that was printed. Two differences are common, and neither grows after one round of dump and load:

- `varchar IN ('a', 'b')` prints as `(ARRAY['a'::character varying, …])::text[]`, and loaded again as
  `ARRAY[('a'::character varying)::text, …]`: the parser hands the cast of an array to its elements
  (transformArrayExpr in src/backend/parser/parse_expr.c).
- `a BETWEEN 1 AND 2 AND b` prints as `(((a >= 1) AND (a <= 2)) AND b)`, and loaded again as
  `((a >= 1) AND (a <= 2) AND b)`: the parser flattens what stands to the left (makeAndExpr in gram.y).

`normal_form` writes both as they print after that round and changes nothing else, so that expressions that mean
something else stay different. `skeleton` is coarser, for the proof after a restore: it leaves out casts, parentheses
and white space.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct, field

# A type's name: one or two identifiers, quoted or not, and the words that may follow in the name of a built-in type.
_TYPE: Final = (
    r"""(?:"(?:[^"]|"")*"|\w+)(?:\.(?:"(?:[^"]|"")*"|\w+))?"""
    r"(?: varying| precision| with(?:out)? time zone)?"
)
# AND and OR with the blank before them. A new line, or `\\n` in a line of a block, may follow instead of a blank.
_JOINT: Final = r" (?:AND|OR)(?=\s|\\n)"
# A literal, a quoted name, a bracket or comma, a joint, or a run of anything else; at last any single character.
_TOKEN: Final = re.compile(
    rf"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\],]|{_JOINT}|(?:[^'"()\[\], ]|(?!{_JOINT}) )+|.""", re.DOTALL
)
_ARRAY_CAST: Final = re.compile(rf"::({_TYPE})\[\]")
# Literals, which are kept (group 1), and casts, parentheses and white space, which are not.
_SKELETON: Final = re.compile(rf"('(?:[^']|'')*')|::{_TYPE}(?:\(\d+(?:,\d+)?\))?(?:\[\])*|[()\s]+")
_CLOSES: Final = {")": "(", "]": "["}
_JOINTS: Final = frozenset({" AND", " OR"})
"""The words that join operands, with the blank before them. A new line follows before a CASE or a query."""


class _Group(Struct):
    """A bracket and the text that was read since. `nested` has the groups inside it by their place among the parts."""

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
        """Takes the first operand's parentheses away where both it and this group join by the same word."""
        first = self.nested.get(0)
        if first and (joint := self.joint) and self.parts[1] == joint and first.joint == joint:
            self.parts[0] = first.text

    def elements(self) -> list[str] | None:
        """Returns the elements of `(ARRAY[…])`, and None for a group of another form."""
        if len(self.parts) != 2 or self.parts[0] != "ARRAY" or 1 not in self.nested:  # noqa: PLR2004 -- ARRAY and […]
            return None
        elements = [""]  # There is at least one: an empty array prints as ARRAY[]::text[], without parentheses.
        for part in self.nested[1].parts:
            if part == ",":
                elements.append("")
            else:
                elements[-1] += part
        return [element.strip() for element in elements]


def normal_form(text: str) -> str:
    """Writes an expression, or a statement with expressions, as it prints once it was dumped and loaded.

    A text whose brackets do not pair is returned as it is.
    """
    # Most texts have neither form: these searches for fixed strings spare the scan, which takes far longer.
    if "])::" not in text and not ("((" in text and (" AND" in text or " OR" in text)):
        return text
    groups = [_Group()]
    position = 0
    while match := _TOKEN.match(text, position):
        part, position = match[0], match.end()
        if part in "([":
            groups.append(_Group(part))
        elif part in _CLOSES:
            group = groups.pop()
            if group.bracket != _CLOSES[part]:
                return text  # The server prints no such text.
            cast = _ARRAY_CAST.match(text, position)
            elements = group.elements() if cast else None
            if cast and elements is not None:
                position = cast.end()
                groups[-1].parts.append("ARRAY[" + ", ".join(f"({element})::{cast[1]}" for element in elements) + "]")
            else:
                group.flatten()
                groups[-1].add(group)
        else:
            groups[-1].parts.append(part)
    return groups[0].text if len(groups) == 1 else text


def skeleton(text: str) -> str:
    """Takes casts, parentheses and white space out of an expression; literals stay as they are."""
    return _SKELETON.sub(r"\1", text)
