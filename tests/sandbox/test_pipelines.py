"""Pipelines: stages, promotions, and review apps with their release phase and scripts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from heroku_sandbox import App, Failure, Sandbox
from tests.sandbox.conftest import Push, wait_until

POSTGRES = "heroku-postgresql:essential-0"
GONE = (404, "Couldn't find that app.")


@pytest.fixture
def pipeline(app: App) -> str:
    """The name of a pipeline with the app in its stage `staging`."""
    name = f"line-{app.name}"
    app.connection.request("POST", "/pipelines", {"name": name, "owner": {"type": "user"}})
    app.connection.request("POST", "/pipeline-couplings", {"app": app.name, "pipeline": name, "stage": "staging"})
    return name


def refused(app: App, method: str, path: str, body: object = None) -> tuple[int, str]:
    """The status of a refusal, and its sentence."""
    status, _, content = app.connection.exchange(method, path, body)
    return status, json.loads(content)["message"]


def test_a_pipeline_is_found_by_name_and_knows_its_apps(app: App, pipeline: str) -> None:
    ask = app.connection.request
    (found,) = ask("GET", f"/pipelines?eq[name]={pipeline}")
    (coupling,) = ask("GET", f"/pipelines/{found['id']}/pipeline-couplings")

    assert coupling == ask("GET", f"/apps/{app.name}/pipeline-couplings")
    assert (coupling["app"]["id"], coupling["stage"], coupling["pipeline"]["name"]) == (app.id, "staging", pipeline)
    assert [each["name"] for each in ask("POST", "/filters/apps", {"in": {"id": [app.id]}})] == [app.name]
    assert ask("PATCH", f"/pipeline-couplings/{coupling['id']}", {"stage": "production"})["stage"] == "production"
    ask("DELETE", f"/pipeline-couplings/{coupling['id']}")
    assert refused(app, "GET", f"/apps/{app.name}/pipeline-couplings")[0] == 404


def test_what_makes_no_sense_in_a_pipeline_is_refused(app: App, pipeline: str) -> None:
    body = {"app": app.name, "pipeline": pipeline, "stage": "staging"}

    assert refused(app, "POST", "/pipelines", {"name": pipeline}) == (422, "Name is already taken")
    assert refused(app, "POST", "/pipeline-couplings", body) == (422, "This app is already in a pipeline.")
    assert refused(app, "POST", "/pipeline-couplings", body | {"pipeline": "nope"})[0] == 404
    assert "stage must be one of" in refused(app, "POST", "/pipeline-couplings", body | {"stage": "moon"})[1]


def test_a_promotion_releases_the_same_code_with_the_targets_config(
    sandbox: Sandbox, app: App, pipeline: str, folder: Push
) -> None:
    target = sandbox.create_app(f"{app.name}-prod", plan="none", config={"WHERE": "production"})
    app.connection.request("POST", "/pipeline-couplings", {"app": target.id, "pipeline": pipeline, "stage": "staging"})
    code = app.release(folder("echo in $WHERE; [ -z $BAD ]"), commit="0123456789ab")
    body: Any = {"pipeline": pipeline, "source": {"app": app.id}, "targets": [{"app": {"id": target.id}}]}

    promotion = app.connection.request("POST", "/pipeline-promotions", body)
    (made,) = app.connection.request("GET", f"/pipeline-promotions/{promotion['id']}/promotion-targets")
    release = target.wait(int(target.releases()[0]["version"]))

    assert (release.id, release.output) == (made["release"]["id"], "in production\n")
    assert release.description == f"Promote {app.name} v{code.version} 01234567"
    (ended,) = app.connection.request("GET", f"/pipeline-promotions/{promotion['id']}/promotion-targets")
    assert (ended["status"], ended["error_message"]) == ("succeeded", None)
    assert app.connection.request("GET", f"/pipeline-promotions/{promotion['id']}")["status"] == "completed"

    target.set_config({"BAD": "1"})
    target.release(folder("exit 0"))
    assert refused(app, "POST", "/pipeline-promotions", body | {"targets": []})[0] == 422


def repository(folder: Path, phase: str, manifest: Mapping[str, Any]) -> Path:
    """A git repository with one commit on `main`, and a branch `feature/one` at it."""
    folder.mkdir()
    (folder / "Procfile").write_text(f"release: {phase}\nweb: true\n")
    (folder / "app.json").write_text(json.dumps(manifest))
    asked = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "x"], ["branch", "feature/one"]):
        subprocess.run([*asked, *words], check=True)
    (folder / "Procfile").write_text("release: echo not committed\n")
    return folder


def review(app: App, pipeline: str, **more: Any) -> dict[str, Any]:
    """A review app that has come to its end: made or not."""
    body = {"branch": "feature/one", "pipeline": pipeline, "source_blob": {"url": "resolve"}, **more}
    made = app.connection.request("POST", "/review-apps", body)

    def now() -> dict[str, Any]:
        found: dict[str, Any] = app.connection.request("GET", f"/review-apps/{made['id']}")
        return found

    wait_until(lambda: now()["status"] not in ("pending", "creating"))
    return now()


def test_a_review_app_is_made_as_its_app_json_says(sandbox: Sandbox, app: App, pipeline: str, tmp_path: Path) -> None:
    manifest = {
        "env": {"SECRET": {"generator": "secret"}, "COLOR": "green", "GIVEN": {"required": True}},
        "addons": ["heroku-postgresql:standard-0"],
        "scripts": {"postdeploy": "echo for all"},
        "formation": {"web": {"quantity": 2}},
        "environments": {
            "review": {
                "addons": [{"plan": POSTGRES, "as": "main"}],
                "env": {"COLOR": "blue"},
                "scripts": {"postdeploy": "echo first time in $HEROKU_BRANCH, pull request $HEROKU_PR_NUMBER"},
            }
        },
    }
    phase = "echo $COLOR $GIVEN $HEROKU_APP_NAME ${MAIN_URL%%:*}"
    sandbox.connect(pipeline, repository(tmp_path / "code", phase, manifest))
    app.connection.request("PATCH", f"/pipelines/{pipeline}/stage/review/config-vars", {"GIVEN": "by the pipeline"})

    made = review(app, pipeline, pr_number=7)
    mine = sandbox.app(f"{pipeline}-pr-7")

    assert (made["status"], made["app"]["id"], made["message"]) == ("created", mine.id, None)
    assert mine.wait(mine.releases()[0]["version"]).output == f"blue by the pipeline {mine.name} postgres\n"
    dynos = {each["type"]: each["output"] for each in mine.dynos()}
    assert dynos["run"] == "first time in feature/one, pull request 7\n"
    assert (len(mine.config["SECRET"]), mine.formation()["web"]) == (64, 2)
    assert app.connection.request("GET", f"/apps/{mine.name}/review-app")["id"] == made["id"]

    mine.release(tmp_path / "code")
    assert [each["type"] for each in mine.dynos()] == ["release", "run", "release"]  # no second postdeploy
    app.connection.request("DELETE", f"/review-apps/{made['id']}")
    wait_until(lambda: app.connection.request("GET", f"/pipelines/{pipeline}/review-apps") == [])
    assert refused(app, "GET", f"/apps/{mine.name}") == GONE


@pytest.mark.parametrize(
    ("phase", "manifest", "message"),
    [
        ("exit 3", {}, "release command failed"),
        ("true", {"scripts": {"postdeploy": "exit 4"}}, "The postdeploy script exited with 4: exit 4"),
        ("true", {"env": {"KEY": {"required": True}}}, "app.json requires the config var KEY, and nothing gives it a"),
        ("true", {"addons": ["heroku-redis:mini"]}, "The sandbox has no heroku-redis."),
        ("true", {"addons": 7}, "app.json cannot be read"),
    ],
)
def test_a_review_app_that_cannot_be_says_why(
    sandbox: Sandbox, app: App, pipeline: str, tmp_path: Path, phase: str, manifest: dict[str, Any], message: str
) -> None:
    sandbox.connect(pipeline, repository(tmp_path / "code", phase, manifest))

    made = review(app, pipeline)

    assert made["status"] == "errored"
    assert made["message"].startswith(message)


def test_review_apps_need_a_folder_a_branch_and_somebody_to_ask(
    sandbox: Sandbox, app: App, pipeline: str, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match="heroku-sandbox connect PIPELINE FOLDER"):
        review(app, pipeline)
    sandbox.connect(pipeline, repository(tmp_path / "code", "true", {}))
    with pytest.raises(Failure, match="The branch nope does not exist"):
        review(app, pipeline, branch="nope")
    with pytest.raises(Failure, match="The sandbox fetches no code"):
        review(app, pipeline, source_blob={"url": "https://example.com/code.tgz"})
    with pytest.raises(Failure, match="The sandbox sees no pull requests"):
        app.connection.request("POST", f"/pipelines/{pipeline}/review-app-config", {"automatic_review_apps": True})
    assert app.connection.request("GET", f"/pipelines/{pipeline}/repo/branches/feature%2Fone")["name"] == "feature/one"
    assert refused(app, "GET", f"/pipelines/{pipeline}/repo/branches/nope")[0] == 404


def test_an_app_is_destroyed_with_its_databases_and_slugs(sandbox: Sandbox, app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    other = sandbox.create_app(f"{app.name}-other", plan="none")
    body = {"app": other.name, "addon": app.addon_name, "name": "THEIRS"}
    app.connection.request("POST", "/addon-attachments", body)

    app.connection.request("DELETE", f"/apps/{app.name}")

    assert refused(app, "GET", f"/apps/{app.name}") == GONE
    assert refused(app, "GET", f"/addons/{app.addon_id}")[0] == 404
    assert "THEIRS_URL" not in other.config
    assert other.releases()[0]["description"] == f"Detach THEIRS (@ref:{app.addon_name})"
