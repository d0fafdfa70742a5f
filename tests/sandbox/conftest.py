"""A bare app for each test, and folders to push."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heroku_sandbox import App, Sandbox

HEROKUS_OWN = 12
"""Warnings of a perfect restore: Heroku's schema, its six functions and four event triggers, and a comment on an
extension; the default credential can create none of them again."""

Push = Callable[[str], Path]
_numbers = itertools.count(1)


@pytest.fixture
def app(sandbox: Sandbox) -> App:
    """An app with an empty database and no code."""
    return sandbox.create_app(f"bare-{next(_numbers)}")


@pytest.fixture
def folder(tmp_path: Path) -> Push:
    """Makes a folder whose release phase is a line of shell."""

    def make(command: str) -> Path:
        place = tmp_path / f"slug-{next(_numbers)}"
        place.mkdir()
        (place / "phase.sh").write_text(command)
        (place / "Procfile").write_text("release: exec sh phase.sh\nweb: true\nworker: true\n")
        return place

    return make


def ended(app: App, transfer: dict[str, Any]) -> dict[str, Any]:
    """The transfer once it has finished."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found: dict[str, Any] = app.connection.request(
            "GET", f"/client/v11/apps/{app.name}/transfers/{transfer['uuid']}"
        )
        if found["finished_at"]:
            return found
        time.sleep(0.01)
    raise AssertionError(f"still unfinished: {transfer['uuid']}")


def capture(app: App, addon: str | None = None) -> dict[str, Any]:
    """A finished backup."""
    path = f"/client/v11/databases/{addon or app.addon_id}/backups"
    return ended(app, app.connection.request("POST", path))


def restore(app: App, backup: dict[str, Any], addon: str | None = None) -> dict[str, Any]:
    """A finished restore."""
    path = f"/client/v11/databases/{addon or app.addon_id}/restores"
    return ended(app, app.connection.request("POST", path, {"backup_url": backup["to_url"]}))


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
