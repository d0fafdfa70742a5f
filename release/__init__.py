"""The release phase of a Heroku app with a database: back up, migrate, probe, and restore when a step fails.

cli.py       the edge: arguments and environment in, exit code out
settings.py  environment → frozen Settings
phase.py     the recipe, on one screen
prepare.py backup.py migrate.py probe.py restore.py recover.py      one step each
heroku/      Platform API and Data API · database/ session, fingerprint, grants, journal · process.py a child
retry.py log.py errors.py clock.py                                    what all of them use
sandbox/     Heroku on this machine; the hook imports nothing from it
"""

__version__ = "0.1.0"
