"""What leaves the process: secrets replaced, lines fitted to Heroku's limit, written whatever becomes of stdout."""
