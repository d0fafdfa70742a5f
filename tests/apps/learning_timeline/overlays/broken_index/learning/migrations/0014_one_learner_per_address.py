"""Fails, and leaves an invalid index: it is built outside a transaction, where nothing is undone."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("learning", "0013_latest_of_a_course")]

    operations = [
        migrations.RunSQL(
            "CREATE UNIQUE INDEX CONCURRENTLY learning_one_per_email ON learning_learner (lower(email))",
            "DROP INDEX CONCURRENTLY learning_one_per_email",
        ),
    ]
