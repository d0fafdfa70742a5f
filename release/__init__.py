"""The release phase of a Heroku app with a database: back up, migrate, probe, and restore when a step fails.

cli.py edge.py          arguments and environment in, exit code out; the only broad `except`
phase.py                the recipe, on one screen · run.py record.py one run, and what it came to
steps/                  the recipe's verbs: prepare backup rehearse migrate probe restore recover keep handover
protected/               what is protected: the lock, the fence, transfers, sessions, salvage, the proof
app/                    the user's app: framework, Procfile, commands, migrations · probes/ what is checked afterwards
heroku/ database/ child/   Heroku's two APIs · PostgreSQL · a child process: the adapters, which do not know each other
web.py                  one more of them: a request to an address that the operator named
output/ commands/ notify/  what people read · what they can ask for · who is told
log/ settings/          events and their bytes · the environment, read · retry.py errors.py clock.py for all of them
"""

__version__ = "0.1.0"
