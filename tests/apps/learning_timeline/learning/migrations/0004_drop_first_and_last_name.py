"""Drop columns. There is no way back: where one name ended and the other began is lost."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("learning", "0003_fill_learner_name")]

    operations = [
        migrations.RemoveField("learner", "first_name"),
        migrations.RemoveField("learner", "last_name"),
    ]
