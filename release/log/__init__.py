"""The log: events, and their bytes on the way out, without secrets and within Heroku's limits."""
