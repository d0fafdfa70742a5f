"""Review apps: an app for a branch, made as its app.json says, with a release phase and, the first time, postdeploy."""

from __future__ import annotations

import io
import re
import secrets
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heroku_sandbox import lookup, manifest, removal
from heroku_sandbox.lookup import ApiError
from heroku_sandbox.releases import new_app
from heroku_sandbox.state import SERVICE, App, Coupling, Pipeline, Release, ReleaseStatus, ReviewApp, ReviewStatus, now
from heroku_sandbox.world import World

_POLL_SECONDS = 0.02
_SCRIPT_SECONDS = 3600.0
_NAME_LENGTH = 30


def recover(world: World) -> None:
    """Makes review apps that were being made or removed errored ones after a restart."""
    with world.store.change() as state:
        for record in state.review_apps.values():
            if record.status is not ReviewStatus.CREATED:
                record.status, record.message = ReviewStatus.ERRORED, "The sandbox was stopped meanwhile."


def create(world: World, pipeline: Pipeline, record: ReviewApp) -> None:
    """Begins to make a review app from the pipeline's folder, in a thread of its own."""
    with world.store.change() as state:
        state.review_apps[record.id] = record
    _in_background(world, record, lambda: _make(world, pipeline, record))


def destroy(world: World, record: ReviewApp) -> None:
    """Begins to remove a review app with all that belongs to it, in a thread of its own."""
    _mark(world, record, ReviewStatus.DELETING)
    _in_background(world, record, lambda: _remove(world, record))


def _in_background(world: World, record: ReviewApp, work: Callable[[], None]) -> None:
    """Does the work in a thread; what goes wrong becomes the review app's message."""

    def attempt() -> None:
        try:
            work()
        except ApiError as error:
            _mark(world, record, ReviewStatus.ERRORED, error.message)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            _mark(world, record, ReviewStatus.ERRORED, str(error))

    threading.Thread(target=attempt, daemon=True).start()


def _mark(world: World, record: ReviewApp, status: ReviewStatus, message: str | None = None) -> None:
    with world.store.change():
        record.status, record.message, record.updated_at = status, message, now()


def branch_commit(folder: str, branch: str) -> str | None:
    """Returns the commit of a folder's branch; None where there is none. A folder without git has every branch."""
    if not (Path(folder) / ".git").exists():
        return secrets.token_hex(20)
    asked = ["git", "-C", folder, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}"]
    return subprocess.run(asked, check=False, capture_output=True, text=True).stdout.strip() or None


@contextmanager
def _checked_out(folder: str, commit: str) -> Iterator[Path]:
    """Yields the files of a commit; of a folder without git those that are there."""
    if not (Path(folder) / ".git").exists():
        yield Path(folder)
        return
    asked = ["git", "-C", folder, "archive", "--format=tar", commit]
    archive = subprocess.run(asked, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory(prefix="branch-") as place:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(place, filter="data")
        yield Path(place)


def _make(world: World, pipeline: Pipeline, record: ReviewApp) -> None:
    """Makes the app with its config and add-ons, then its first release, then runs postdeploy."""
    folder = str(pipeline.folder)
    commit = branch_commit(folder, record.branch)
    if commit is None:
        raise lookup.invalid(f"The branch {record.branch} is not there any more.")
    with _checked_out(folder, commit) as files:
        wanted = manifest.read(files, "review")
        app = _new_app(world, pipeline, record)
        given = pipeline.config.get("review", {}) | record.environment | _about(app, record)
        config = wanted.variables(given)
        world.releases.configure(app, config, f"Set {', '.join(config)} config vars")
        for addon in wanted.addons:
            _provision(world, app, addon)
        slug = world.releases.slug(files, commit=commit, description=record.branch, path=pipeline.path)
    release = world.releases.deploy(app, slug)
    _await(release)
    if release.status is not ReleaseStatus.SUCCEEDED:
        raise lookup.invalid("release command failed")
    _fit(world, app, wanted)
    _script(world, app, wanted, "postdeploy")
    _mark(world, record, ReviewStatus.CREATED)


def _new_app(world: World, pipeline: Pipeline, record: ReviewApp) -> App:
    """Makes the empty app, in the pipeline's stage for review."""
    ending = f"pr-{record.pr_number}" if record.pr_number else re.sub("[^a-z0-9]+", "-", record.branch.lower())
    with world.store.change() as state:
        name = f"{pipeline.name}-{ending}"[:_NAME_LENGTH].strip("-")
        if any(app.name == name for app in state.apps.values()):
            name = f"{name[: _NAME_LENGTH - 7]}-{secrets.token_hex(3)}"
        app = new_app(state, name)
        coupling = Coupling(app_id=app.id, pipeline_id=pipeline.id, stage="review")
        state.couplings[coupling.id] = coupling
        record.app_id, record.status, record.updated_at = app.id, ReviewStatus.CREATING, now()
    return app


def _about(app: App, record: ReviewApp) -> dict[str, str]:
    """Returns the config vars that every review app gets."""
    number = {"HEROKU_PR_NUMBER": str(record.pr_number)} if record.pr_number else {}
    return {"HEROKU_APP_NAME": app.name, "HEROKU_BRANCH": record.branch, **number}


def _provision(world: World, app: App, wanted: manifest.Wanted) -> None:
    service, _, _ = wanted.plan.partition(":")
    if service != SERVICE:
        raise lookup.invalid(f"The sandbox has no {service}. Of add-on services it has {SERVICE} only.")
    if wanted.config:
        raise lookup.invalid(f"The sandbox cannot do these options of an add-on: {', '.join(sorted(wanted.config))}.")
    world.addons.create(app, wanted.plan, attachment=wanted.attachment)


def _await(release: Release) -> None:
    while release.status is ReleaseStatus.PENDING:
        time.sleep(_POLL_SECONDS)


def _fit(world: World, app: App, wanted: manifest.Manifest) -> None:
    """Sets the quantities and sizes of app.json's formation."""
    with world.store.change():
        for name, said in wanted.formation.items():
            if name in app.formation and isinstance(said, dict):
                app.formation[name].quantity = int(said.get("quantity", app.formation[name].quantity))
                app.formation[name].size = str(said.get("size", app.formation[name].size))


def _script(world: World, app: App, wanted: manifest.Manifest, name: str) -> None:
    """Runs a script of app.json as a one-off dyno. Raises ApiError (422) when it fails."""
    said = wanted.scripts.get(name)
    command = said.get("command") if isinstance(said, dict) else said
    if not command:
        return
    dyno, start = world.releases.run(app, command, type_="run", size="Standard-1X", extra={}, limit=_SCRIPT_SECONDS)
    start(None)
    dyno.ended.wait()
    if dyno.code != 0:
        raise lookup.invalid(f"The {name} script exited with {dyno.code}: {command}")


def _remove(world: World, record: ReviewApp) -> None:
    """Runs pr-predestroy and removes the app, whatever that script has come to."""
    app = world.store.state.apps.get(record.app_id or "")
    if app:
        slug = world.store.state.slugs.get((app.current.slug_id if app.current else None) or "")
        if slug:
            wanted = manifest.read(world.releases.folder(slug), "review")
            try:
                _script(world, app, wanted, "pr-predestroy")
            except ApiError as error:
                world.logs.write(app.id, "app", "api", error.message)
        removal.destroy(world, app)
    with world.store.change() as state:
        state.review_apps.pop(record.id, None)
