"""What is asked about pipelines, review apps and the account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heroku_sandbox import Sandbox
from tests.sandbox.conftest import wait_until
from tests.sandbox.schemas.talk import Talk


def pipelines(talk: Talk) -> None:
    """Asks for pipelines, couplings and promotions."""
    made = talk("POST /pipelines", {"name": f"line-{talk.app.name}", "owner": None}, status=201)
    name = made["name"]
    talk("POST /pipelines", {"name": name}, status=422)
    talk("GET /pipelines")
    talk("GET /pipelines/<name>", name=made["id"])
    talk("PATCH /pipelines/<name>", {"name": name}, name=name)
    body = {"app": talk.app.name, "pipeline": made["id"], "stage": "staging"}
    coupling = talk("POST /pipeline-couplings", body, status=201)["id"]
    talk("POST /pipeline-couplings", body, status=422)
    talk("GET /pipeline-couplings")
    talk("GET /pipeline-couplings/<coupling>", coupling=coupling)
    talk("PATCH /pipeline-couplings/<coupling>", {"stage": "staging"}, coupling=coupling)
    talk("GET /apps/<app>/pipeline-couplings")
    talk("GET /pipelines/<name>/pipeline-couplings", name=name)
    talk("POST /filters/apps", {"in": {"id": [talk.app.id]}})
    _promotions(talk, made["id"])
    talk("DELETE /pipeline-couplings/<coupling>", coupling=coupling)
    talk("DELETE /pipelines/<name>", name=name)


def _promotions(talk: Talk, pipeline: str) -> None:
    target = talk("POST /apps", {"name": f"{talk.app.name}-prod"}, status=201)["id"]
    talk("POST /pipeline-couplings", {"app": target, "pipeline": pipeline, "stage": "production"}, status=201)
    body: dict[str, Any] = {"pipeline": {"id": pipeline}, "source": {"app": {"id": talk.app.id}}}
    talk("POST /pipeline-promotions", body, status=422)
    made = talk("POST /pipeline-promotions", body | {"targets": [{"app": {"id": target}}]}, status=201)
    targets = "GET /pipeline-promotions/<promotion>/promotion-targets"
    wait_until(lambda: talk(targets, promotion=made["id"])[0]["status"] == "succeeded")
    talk("GET /pipeline-promotions/<promotion>", promotion=made["id"])
    talk("DELETE /apps/<app>", app=target)


def review_apps(talk: Talk, sandbox: Sandbox, folder: Path) -> None:
    """Asks for review apps and a pipeline's repository."""
    made = talk("POST /pipelines", {"name": f"review-{talk.app.name}"}, status=201)
    here: dict[str, Any] = {"name": made["name"]}
    body = {"branch": "main", "pipeline": made["id"], "source_blob": {"url": "resolve", "version": None}}
    talk("POST /review-apps", body, status=422)
    sandbox.connect(made["name"], folder)
    talk("GET /pipelines/<name>/repo", **here)
    talk("GET /pipelines/<name>/repo/branches/<path:branch>", **(here | {"path:branch": "main"}))
    talk("POST /pipelines/<name>/review-app-config", {"repo": "x"}, status=201, **here)
    talk("GET /pipelines/<name>/review-app-config", **here)
    talk("PATCH /pipelines/<name>/review-app-config", {}, **here)
    talk("GET /pipelines/<name>/stage/<which>/config-vars", which="review", **here)
    talk("PATCH /pipelines/<name>/stage/<which>/config-vars", {"A": "1"}, which="review", **here)
    review = talk("POST /review-apps", body, status=201)["id"]
    wait_until(lambda: talk("GET /review-apps/<which>", which=review)["status"] == "created")
    app = talk("GET /pipelines/<name>/review-apps", **here)[0]["app"]["id"]
    talk("GET /apps/<app>/review-app", app=app)
    talk("DELETE /review-apps/<which>", which=review)
    talk("DELETE /pipelines/<name>/review-app-config", **here)


def account(talk: Talk) -> None:
    """Asks for keys, features, access, domains and a log."""
    key = talk("POST /oauth/authorizations", {"description": "x", "scope": ["read"]}, status=201)["id"]
    talk("GET /oauth/authorizations")
    talk("GET /oauth/authorizations/<which>", which=key)
    talk("DELETE /oauth/authorizations/<which>", which=key)
    talk("GET /users/~")
    talk("GET /users/~/apps")
    talk("GET /account/features")
    talk("GET /account/features/dashboard-repositories-api")
    talk("GET /account/features/<name>", name="nope", status=404)
    talk("PATCH /account/features/<name>", {"enabled": True}, name="nope", status=404)
    talk("GET /apps/<app>/features")
    talk("GET /apps/<app>/features/<name>", name="runtime-dyno-metadata")
    talk("PATCH /apps/<app>/features/<name>", {"enabled": True}, name="runtime-dyno-metadata")
    talk("GET /apps/<app>/collaborators")
    domain = talk("GET /apps/<app>/domains")[0]["hostname"]
    talk("GET /apps/<app>/domains/<name>", name=domain)
    url = talk("POST /apps/<app>/log-sessions", {"lines": 1}, status=201)["logplex_url"]
    talk.text("GET /logs/<session>", session=url.rpartition("/")[2])
