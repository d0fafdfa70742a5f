"""Fails inside its transaction: there are milestones without points. The database stays as it was."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0013_latest_of_a_course")]

    operations = [
        migrations.RunSQL("UPDATE learning_learner SET email = lower(email)", migrations.RunSQL.noop),
        migrations.RunSQL(
            "ALTER TABLE learning_milestone ADD CONSTRAINT learning_points_positive CHECK (points > 0)",
            "ALTER TABLE learning_milestone DROP CONSTRAINT learning_points_positive",
        ),
    ]
