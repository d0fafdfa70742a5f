"""The Platform API: review apps, and the folder that stands for a pipeline's repository."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import Any

from flask import Blueprint, request

from heroku_sandbox import lookup, review_apps, shapes
from heroku_sandbox.pipelines_api import pipeline
from heroku_sandbox.platform_api import fields, identity
from heroku_sandbox.shapes import iso
from heroku_sandbox.state import Pipeline, ReviewApp, ReviewStatus, State
from heroku_sandbox.world import World

_AUTOMATIC = ("automatic_review_apps", "destroy_stale_apps", "wait_for_ci")
_CONNECT = (
    "The sandbox makes review apps from a folder of this machine. Connect one to the pipeline first:"
    " heroku-sandbox connect PIPELINE FOLDER"
)


def _connected(state: State, text: str) -> Pipeline:
    """Finds a pipeline that has a folder. Raises ApiError (404, 422)."""
    record = pipeline(state, text)
    if record.folder is None:
        raise lookup.invalid(_CONNECT)
    return record


def _number(of: Pipeline) -> int:
    """Returns the number that stands for the repository, as one of GitHub's would."""
    return zlib.crc32(str(of.folder).encode())


def repositories(world: World) -> Blueprint:
    """Makes the routes of a pipeline's repository and of what is done with its branches."""
    blueprint = Blueprint("repositories", __name__)
    state = world.store.state

    def config_shape(of: Pipeline) -> dict[str, Any]:
        return {
            "pipeline_id": of.id,
            "repo": {"id": _number(of)},
            "base_name": of.name,
            "automatic_review_apps": False,
            "destroy_stale_apps": False,
            "stale_days": 5,
            "wait_for_ci": False,
            "deploy_target": {"id": shapes.stable_id("region", "us"), "type": "region"},
        }

    @blueprint.get("/pipelines/<name>/repo/branches/<path:branch>")
    def branch(name: str, branch: str) -> Any:
        commit = review_apps.branch_commit(str(_connected(state, name).folder), branch)
        if commit is None:
            raise lookup.not_found("branch")
        return {"name": branch, "commit": commit}

    @blueprint.get("/pipelines/<name>/repo")
    def repository(name: str) -> Any:
        record = _connected(state, name)
        return {"id": _number(record), "full_name": record.folder}

    @blueprint.get("/pipelines/<name>/review-app-config")
    def config(name: str) -> Any:
        return config_shape(_connected(state, name))

    @blueprint.post("/pipelines/<name>/review-app-config")
    @blueprint.patch("/pipelines/<name>/review-app-config")
    def configure(name: str) -> Any:
        record, body = _connected(state, name), fields()
        if wanted := [each for each in _AUTOMATIC if body.get(each)]:
            raise lookup.invalid(f"The sandbox sees no pull requests, so it cannot do {', '.join(wanted)}.")
        return config_shape(record), HTTPStatus.CREATED if request.method == "POST" else HTTPStatus.OK

    @blueprint.delete("/pipelines/<name>/review-app-config")
    def disconnect(name: str) -> Any:
        with world.store.change():
            record = _connected(state, name)
            last = config_shape(record)
            record.folder = None
        return last

    return blueprint


def review_app_routes(world: World) -> Blueprint:  # noqa: C901 -- a list of routes, not a branching function
    """Makes the routes of review apps themselves."""
    blueprint = Blueprint("review_apps", __name__)
    state = world.store.state

    def shape(of: ReviewApp) -> dict[str, Any]:
        return {
            "id": of.id,
            "app": {"id": of.app_id} if of.app_id else None,
            "app_setup": None,
            "branch": of.branch,
            "creator": {"id": state.account_id},
            "error_status": of.message if of.status is ReviewStatus.ERRORED else None,
            "fork_repo": {"id": None},
            "message": of.message,
            "pipeline": {"id": of.pipeline_id},
            "pr_number": of.pr_number,
            "status": of.status,
            "wait_for_ci": False,
            "created_at": iso(of.created_at),
            "updated_at": iso(of.updated_at),
        }

    def one(text: str) -> ReviewApp:
        return lookup.one(state.review_apps, text, "review_app")

    @blueprint.post("/review-apps")
    def create() -> Any:
        body = fields()
        into = _connected(state, identity(body.get("pipeline")))
        if (body.get("source_blob") or {}).get("url") != "resolve":
            raise lookup.invalid(
                "The sandbox fetches no code: source_blob.url has to be `resolve`, for what is connected."
            )
        record = ReviewApp(
            pipeline_id=into.id,
            branch=str(body.get("branch")),
            pr_number=body.get("pr_number"),
            environment={str(name): str(value) for name, value in (body.get("environment") or {}).items()},
        )
        if review_apps.branch_commit(str(into.folder), record.branch) is None:
            raise lookup.invalid(f"The branch {record.branch} does not exist.")
        if any((each.pipeline_id, each.branch) == (into.id, record.branch) for each in state.review_apps.values()):
            raise lookup.invalid(f"There is a review app for {record.branch} already.")
        first = shape(record)
        review_apps.create(world, into, record)
        return first, HTTPStatus.CREATED

    @blueprint.get("/review-apps/<which>")
    def get(which: str) -> Any:
        return shape(one(which))

    @blueprint.delete("/review-apps/<which>")
    def destroy(which: str) -> Any:
        record = one(which)
        if record.status not in (ReviewStatus.CREATED, ReviewStatus.ERRORED):
            raise lookup.invalid(f"The review app is {record.status}.")
        review_apps.destroy(world, record)
        return shape(record)

    @blueprint.get("/apps/<app>/review-app")
    def of_app(app: str) -> Any:
        by_app = {record.app_id or "": record for record in state.review_apps.values()}
        return shape(lookup.one(by_app, lookup.app(state, app).id, "review_app"))

    @blueprint.get("/pipelines/<name>/review-apps")
    def of_pipeline(name: str) -> Any:
        wanted = pipeline(state, name).id
        return [shape(record) for record in state.review_apps.values() if record.pipeline_id == wanted]

    return blueprint
