"""Lands, and breaks every write: the trigger's function still says `points`.

PostgreSQL does not look into a function's body. Reading works, so `/healthz` is content;
only `manage.py probe`, which writes, sees it.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0013_latest_of_a_course")]

    operations = [migrations.RenameField("learner", "points", "score")]
