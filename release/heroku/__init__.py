"""Heroku's two APIs. heroku3 and requests are used here and nowhere else."""
