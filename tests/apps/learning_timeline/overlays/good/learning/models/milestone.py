from django.db import models

from .course import Course
from .learner import Learner


class Milestone(models.Model):
    learner = models.ForeignKey(Learner, on_delete=models.CASCADE, related_name="milestones")
    course = models.ForeignKey(Course, on_delete=models.PROTECT, related_name="milestones")
    achievement = models.CharField(max_length=120)
    points = models.IntegerField(default=0)
    reached = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(points__gte=0), name="learning_points_not_negative"),
        ]
        indexes = [
            models.Index(fields=["learner", "reached"], name="learning_timeline"),
            models.Index(fields=["course", "-reached"], name="learning_latest"),
        ]

    def as_json(self):
        return {
            "course": self.course.as_json(),
            "achievement": self.achievement,
            "points": self.points,
            "reached": self.reached,
        }


# Ten a learner, with 0 to 20 points. Counted by row, not by id: ids have gaps after a rollback.
SEED = """
    INSERT INTO learning_milestone (learner_id, course_id, achievement, points, reached)
    SELECT learner.id, course.id, 'Finished part ' || part || ' of ' || course.title,
           mod(learner.n * part, 21), learner.joined + part * 11
    FROM (SELECT id, joined, row_number() OVER (ORDER BY id) AS n FROM learning_learner) AS learner
    CROSS JOIN generate_series(1, 10) AS part
    JOIN learning_course AS course ON course.code = 'C' || lpad((1 + mod(learner.n + part, 20))::text, 3, '0')
    ORDER BY learner.n, part
"""
