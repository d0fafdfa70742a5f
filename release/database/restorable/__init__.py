"""What a restore could not bring back, found before anything changes.

Heroku dumps with `pg_dump -Fc --no-owner --no-privileges --exclude-schema=heroku_ext` as the default credential, resets
the database, and loads with pg_restore as the same credential, which is no superuser, under an empty search path and
without stopping at errors. So a dump may be perfect and still not load: what only a superuser may create is not there
afterwards, and what was in `heroku_ext` is gone. A table comes back without a row where its CHECK constraint calls a
function that names a table without its schema.
"""

from release.database.restorable.finding import Finding, Report
from release.database.restorable.report import report_on

__all__ = ["Finding", "Report", "report_on"]
