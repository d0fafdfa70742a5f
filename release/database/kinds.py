"""Kinds: what a fingerprint knows. Those of two versions of this code are compared by the kinds that both know.

Each kind has a revision. Whoever changes how a definition of a kind is written, or which objects of that kind are
looked at, raises it. A new kind begins with 1. FIRST never changes: it is what documents without a list of kinds know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

HISTORY: Final = "migrations"
"""The migration histories, which are kept apart from definitions. Their revision follows from the tables that are known
(history.py): nobody has to raise it for a new framework."""

FIRST: Final[Mapping[str, int]] = dict.fromkeys(
    (
        "aggregate", "cast", "collation", "columns", "comment", "comments", "constraints", "database", "domain",
        "event trigger", "extension", "foreign server", "foreign table", "function", "grants", "indexes",
        "invalid indexes", "large objects", "materialized view", HISTORY, "operator", "operator class", "owner",
        "policies", "procedure", "publication", "rules", "schema", "sequence", "setting", "statistics", "table",
        "text search configuration", "text search dictionary", "triggers", "type", "view",
    ),
    1,
)  # fmt: skip
"""What version 1 of the document knew."""

# Grants and owners are of the first revision, though large objects have joined them: a document that does not have them
# is only used after a restore, which leaves large objects without grants and with the usual owner.
KINDS: Final[dict[str, int]] = {
    **FIRST,
    **dict.fromkeys(
        ("database", "event trigger", "foreign server", "large objects", "publication", "setting"), 2
    ),
    **dict.fromkeys(
        (
            "access method", "conversion", "foreign-data wrapper", "language", "operator family", "operators",
            "publication of a superuser", "published", "security label", "text search parser", "text search template",
            "transform", "user mapping",
        ),
        1,
    ),
}  # fmt: skip
"""The kinds that this code knows, with their revisions."""

T = TypeVar("T")


def both_know(one: Mapping[str, int], other: Mapping[str, int]) -> frozenset[str]:
    """Returns the kinds that two documents write alike."""
    return frozenset(kind for kind, revision in one.items() if other.get(kind) == revision)


def limited(definitions: Mapping[str, T], kinds: frozenset[str]) -> dict[str, T]:
    """Returns the definitions that are of these kinds."""
    return {kind: named for kind, named in definitions.items() if kind in kinds}
