"""Destroys data, and commits: how addresses were spelled and where learners live cannot be computed again."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0013_latest_of_a_course")]

    operations = [
        migrations.RunSQL("UPDATE learning_learner SET email = lower(email) WHERE email <> lower(email)"),
        migrations.RemoveField("learner", "city"),
    ]
