"""Heroku on this machine: both of its APIs over a real PostgreSQL, for trying a release before it counts.

On the command line: `heroku-sandbox up`, `create`, `release`, … (see cli.py; `bin/sandbox` in a checkout). In tests::

    from heroku_sandbox import Action, Sandbox, TransferAction

    with Sandbox(transfer_seconds=0) as sandbox:            # a process of its own, gone afterwards
        app = sandbox.create_app("shop", plan="standard-0", config={"HEROKU_API_KEY": sandbox.key})
        release = app.release("path/of/the/app")            # a git push; waits for the release phase
        assert release.status == "succeeded", release.output
        app.set_config({"DEBUG": "1"})                      # a release, too

        environment = app.environment()                     # HEROKU_HOST, …, DATABASE_URL: for a hook run by hand
        psycopg.connect(app.database_url)                   # as the default credential
        psycopg.connect(sandbox.superuser_url(app))         # on its database, from outside

        sandbox.fault(Action.RESET, "/client/v11/databases/:db/backups", method="POST")     # after the effect
        sandbox.transfer_fault("restore", TransferAction.HALF)
        …
        assert sandbox.fired()                              # what the faults did
        assert sandbox.count("POST", "/client/v11/databases/:db/backups", accepted=True) == 1
        sandbox.clear_faults()

Several sandboxes can share one PostgreSQL, which saves a second each::

    with shared_postgres() as url, Sandbox(postgres=url) as sandbox: …

In here, from the ground up: options.py home.py state.py lookup.py · postgres.py certificates.py inventory.py
databases.py · logplex.py terminal.py dynos.py rendezvous.py releases.py manager.py addons.py dumps.py transfers.py
faults.py manifest.py, one noun each · world.py puts them together, review_apps.py and removal.py make and destroy whole
apps · shapes.py wire.py pages.py access.py absent.py account_api.py addons_api.py data_api.py downloads.py dynos_api.py
pipelines_api.py platform_api.py review_apps_api.py, the APIs ·
web.py the HTTP server, door.py who may come in · control.py server.py, the process · connection.py client.py cli.py,
its users. Nothing is imported from the hook but, where it is installed, how people read its log (cli.py).
"""

from heroku_sandbox.client import App, Release, Sandbox, shared_postgres
from heroku_sandbox.connection import Failure
from heroku_sandbox.names import Action, TransferAction, Variant
from heroku_sandbox.options import Reset

__all__ = ["Action", "App", "Failure", "Release", "Reset", "Sandbox", "TransferAction", "Variant", "shared_postgres"]
