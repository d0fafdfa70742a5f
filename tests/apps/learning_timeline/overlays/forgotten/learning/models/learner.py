from django.db import models


class Learner(models.Model):
    name = models.CharField(max_length=120)
    email = models.CharField(max_length=254)
    city = models.CharField(max_length=80)
    joined = models.DateField()
    mentor = models.CharField(max_length=120, db_default="")  # and no migration adds the column
    points = models.IntegerField(db_default=0, editable=False)  # kept by triggers on milestones

    def as_json(self):
        return {
            "id": self.pk,
            "name": self.name,
            "city": self.city,
            "joined": self.joined,
            "points": self.points,
        }


# Every 50th learner has signed up before, with the address in capitals: real tables have such rows, and a
# migration that does not expect them fails on them.
SEED = """
    INSERT INTO learning_learner (name, email, city, joined)
    SELECT 'Learner ' || n,
           CASE WHEN mod(n, 50) = 0 THEN upper('learner' || n - 1 || '@example.com')
                ELSE 'learner' || n || '@example.com' END,
           (ARRAY['Accra', 'Bergen', 'Cusco', 'Dhaka', 'Eger', 'Fukuoka', 'Galway'])[1 + mod(n, 7)],
           date '2023-01-01' + mod(n * 37, 900)
    FROM generate_series(1, %(learners)s) AS n ORDER BY n
"""
