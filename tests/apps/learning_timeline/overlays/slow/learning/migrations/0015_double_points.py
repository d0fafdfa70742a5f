"""Takes TIMELINE_SLOW_SECONDS (60), after 0014 was committed: time enough to pull the plug.

One statement outside a transaction, because that is the nasty kind: kill the client, and the server goes on
and commits when it is done.
"""

import os

from django.db import migrations

SLOW = f"""
DO $$
BEGIN
    UPDATE learning_milestone SET points = points * 2;
    PERFORM pg_sleep({float(os.environ.get("TIMELINE_SLOW_SECONDS", "60"))});
END
$$
"""


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("learning", "0014_tidy_learners")]

    operations = [migrations.RunSQL(SLOW)]
