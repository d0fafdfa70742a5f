"""The SQL behind the fingerprint: what a database is made of, as rows (kind, name, definition).

Every query reads catalogs only, so that its cost grows with the schema. Names are as the server would write them in a
statement, always with their schema (the search path is empty while they run), and nothing in a definition depends on
oids, on dropped columns or on the order in which things were made, so that a dump that is loaded again reads the same.

Where a table owns many small things (columns, constraints, …) they come as one block a table. Each of them is a line of
its name, a tab and its definition, in which newlines and backslashes are escaped as in C. For 5,000 tables that is a
tenth of the rows and a fraction of the memory.

The queries are for PostgreSQL 14 to 18. The one thing that the manual's pages on the catalogs do not say is how an
expression that was dumped and loaded prints afterwards: see normal_form.py.
"""

from release.database.catalog.grants import (
    DATABASE,
    DATABASE_GRANTS,
    FOREIGN_LARGE_OBJECTS,
    GRANTS,
    LARGE_OBJECT_OWNERS,
    LARGE_OBJECTS,
    OBJECTS_WITH_OWNERS,
    USUAL_GRANTS,
)
from release.database.catalog.links import PUBLICATIONS
from release.database.catalog.rarer import RARER
from release.database.catalog.scope import BUSY, EXCLUDED_SCHEMAS, LIMITS, Query
from release.database.catalog.structure import EXTENSIONS, MATERIALIZED, STRUCTURE
from release.database.catalog.surroundings import OF_DATABASE, SETTINGS, SURROUNDINGS
from release.database.catalog.writes import (
    ANALYZABLE,
    COUNTABLE,
    HOLDING,
    NOT_ANEW,
    POSITIONS,
    SEQUENCES,
    STATISTICS,
    STATUSES,
    WRITERS,
    WRITES,
)

__all__ = [
    "ANALYZABLE", "BUSY", "COUNTABLE", "DATABASE", "DATABASE_GRANTS", "EXCLUDED_SCHEMAS", "EXTENSIONS",
    "FOREIGN_LARGE_OBJECTS", "GRANTS", "HOLDING", "LARGE_OBJECTS", "LARGE_OBJECT_OWNERS",
    "LIMITS", "MATERIALIZED", "NOT_ANEW", "OBJECTS_WITH_OWNERS", "OF_DATABASE", "POSITIONS", "PUBLICATIONS", "RARER",
    "SEQUENCES", "SETTINGS", "STATISTICS", "STATUSES", "STRUCTURE", "SURROUNDINGS", "USUAL_GRANTS", "WRITERS",
    "WRITES", "Query",
]  # fmt: skip
