"""The proof after a restore, of a database with many tables: how long the site waits for it.

python -m tests.benchmarks.proof
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from heroku_sandbox import Sandbox
from tests.benchmarks.figure import Figure, at_most, table
from tests.benchmarks.fingerprint import build
from tests.benchmarks.site import BROKEN, assert_undone, requests, site
from tests.hook import finish
from tests.judge import query


def figures(*, tables: int = 5000) -> Iterator[Figure]:
    """From the end of the restore, as the hook has noticed it, to the request that lowers the fence."""
    with Sandbox(transfer_seconds=0, pending_seconds=0) as sandbox, tempfile.TemporaryDirectory() as folder:
        hook = site(sandbox, Path(folder), BROKEN)
        build(hook.app.database_url, tables)
        sandbox.forget_requests()
        result = finish(hook.start(), within=600)
        assert result.last["outcome"] == "restored", result.last
        assert_undone(hook)
        assert query(hook.app.database_url, "SELECT count(*) FROM pg_tables WHERE tablename ~ '^learning'") == [
            (tables,)
        ]
        (loaded,) = [each for each in result.named("transfer_finished") if each["kind"] == "restore"]
        ended = datetime.fromisoformat(loaded["timestamp"]).timestamp()
        lowered = min(each["at"] for each in requests(sandbox) if each["method"] == "PATCH" and each["at"] > ended)
        yield at_most(f"proof after a restore, {tables:,} tables", lowered - ended, 3)


if __name__ == "__main__":
    print(table(list(figures())))
