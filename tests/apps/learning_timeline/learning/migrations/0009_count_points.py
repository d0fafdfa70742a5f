"""A function and its triggers: a learner's points are the sum of those of the milestones."""

from django.db import migrations, models

# Once a statement, not once a row: a learner is updated once, however many milestones come or go.
CREATE = """
CREATE FUNCTION learning_count_points() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE learning_learner AS learner SET points = learner.points - gone.points
        FROM (SELECT learner_id, sum(points) AS points FROM old_rows GROUP BY learner_id) AS gone
        WHERE gone.learner_id = learner.id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE learning_learner AS learner SET points = learner.points + come.points
        FROM (SELECT learner_id, sum(points) AS points FROM new_rows GROUP BY learner_id) AS come
        WHERE come.learner_id = learner.id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION learning_count_points() IS 'keeps learning_learner.points';

CREATE TRIGGER learning_milestone_inserted AFTER INSERT ON learning_milestone
REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION learning_count_points();

CREATE TRIGGER learning_milestone_updated AFTER UPDATE ON learning_milestone
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION learning_count_points();

CREATE TRIGGER learning_milestone_deleted AFTER DELETE ON learning_milestone
REFERENCING OLD TABLE AS old_rows
FOR EACH STATEMENT EXECUTE FUNCTION learning_count_points();

UPDATE learning_learner AS learner SET points = counted.points
FROM (SELECT learner_id, sum(points) AS points FROM learning_milestone GROUP BY learner_id) AS counted
WHERE counted.learner_id = learner.id;
"""

DROP = """
DROP TRIGGER learning_milestone_inserted ON learning_milestone;
DROP TRIGGER learning_milestone_updated ON learning_milestone;
DROP TRIGGER learning_milestone_deleted ON learning_milestone;
DROP FUNCTION learning_count_points();
"""


class Migration(migrations.Migration):
    dependencies = [("learning", "0008_validate_points_not_negative")]

    operations = [
        migrations.AddField("learner", "points", models.IntegerField(db_default=0, editable=False)),
        migrations.RunSQL(CREATE, DROP),
    ]
