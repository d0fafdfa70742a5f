"""A data migration, in its own transaction."""

from django.db import migrations
from django.db.models import F, Value
from django.db.models.functions import Concat


def join(apps, schema_editor):
    learners = apps.get_model("learning", "Learner").objects.using(schema_editor.connection.alias)
    learners.update(name=Concat(F("first_name"), Value(" "), F("last_name")))


class Migration(migrations.Migration):
    dependencies = [("learning", "0002_learner_name")]

    operations = [migrations.RunPython(join, migrations.RunPython.noop)]
