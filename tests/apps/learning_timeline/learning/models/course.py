from django.db import models


class Course(models.Model):
    code = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=120)
    hours = models.PositiveSmallIntegerField()

    def as_json(self):
        return {"code": self.code, "title": self.title, "hours": self.hours}


SEED = """
    INSERT INTO learning_course (code, title, hours)
    SELECT 'C' || lpad(n::text, 3, '0'), 'Course ' || n, 4 + mod(n * 37, 60)
    FROM generate_series(1, 20) AS n ORDER BY n
"""
