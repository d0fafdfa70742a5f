"""Keys, access, domains and the labs; and what the sandbox does not do."""

from __future__ import annotations

import json

import pytest

from heroku_sandbox import App, Sandbox
from tests.sandbox.conftest import Push

LAB = "runtime-dyno-metadata"


def test_a_key_is_made_with_its_scopes_and_revoked(app: App) -> None:
    body = {"description": "release", "scope": ["read", "write-protected"]}
    made = app.connection.request("POST", "/oauth/authorizations", body)
    with_it = {"Authorization": f"Bearer {made['access_token']['token']}"}

    assert app.connection.exchange("GET", f"/apps/{app.name}", headers=with_it)[0] == 200
    assert app.connection.exchange("GET", "/account", headers=with_it)[0] == 403
    assert app.connection.exchange("GET", "/oauth/authorizations", headers=with_it)[0] == 403
    assert made["id"] in [each["id"] for each in app.connection.request("GET", "/oauth/authorizations")]
    app.connection.request("DELETE", f"/oauth/authorizations/{made['id']}")
    assert app.connection.exchange("GET", f"/apps/{app.name}", headers=with_it)[0] == 401


def test_dyno_metadata_can_be_switched_off_and_on_which_is_a_release(app: App, folder: Push) -> None:
    path = f"/apps/{app.name}/features/{LAB}"
    app.release(folder("env | grep -c '^HEROKU_\\(APP\\|SLUG\\|BUILD\\|RELEASE\\)_'; true"))

    app.connection.request("PATCH", path, {"enabled": False})
    off = app.wait(app.releases()[0]["version"])
    app.connection.request("PATCH", path, {"enabled": True})
    on = app.wait(app.releases()[0]["version"])

    assert (off.description, off.output) == (f"Disable {LAB} feature", "0\n")
    assert (on.description, on.output) == (f"Enable {LAB} feature", "9\n")
    app.connection.request("PATCH", path, {"enabled": True})
    assert app.releases()[0]["version"] == on.version
    (shown,) = app.connection.request("GET", f"/apps/{app.name}/features")
    assert (shown["name"], shown["enabled"], shown["state"]) == (LAB, True, "public")


def test_an_app_has_a_domain_with_a_suffix_and_its_dynos_know_it(app: App, folder: Push) -> None:
    (domain,) = app.connection.request("GET", f"/apps/{app.name}/domains")

    done = app.release(folder("echo $HEROKU_APP_DEFAULT_DOMAIN_NAME"))

    name, _, rest = domain["hostname"].partition(".")
    assert (name.rpartition("-")[0], len(name.rpartition("-")[2]), rest) == (app.name, 12, "herokuapp.com")
    assert done.output == f"{domain['hostname']}\n"
    assert app.connection.request("GET", f"/apps/{app.name}")["web_url"] == f"https://{domain['hostname']}/"


def test_the_one_account_has_access(app: App) -> None:
    (shown,) = app.connection.request("GET", f"/apps/{app.name}/collaborators")

    assert (shown["user"]["email"], shown["role"]) == ("sandbox@example.com", "owner")
    assert app.connection.request("GET", "/users/~")["id"] == shown["user"]["id"]
    assert app.id in [each["id"] for each in app.connection.request("GET", "/users/~/apps")]


@pytest.mark.parametrize(
    ("request_", "body", "words"),
    [
        ("POST /apps/{app}/builds", {}, "builds nothing"),
        ("GET /apps/{app}/log-drains", None, "sends logs nowhere"),
        ("POST /apps/{app}/domains", {"hostname": "www.example.com"}, "has no router"),
        ("POST /apps/{app}/collaborators", {"user": "x@example.com"}, "has one account"),
        ("PATCH /account", {"name": "x"}, "has one account"),
        ("GET /spaces", None, "has no Private Spaces"),
        ("POST /test-runs", {}, "has no CI"),
        ("POST /app-setups", {}, "does not do this"),
        ("PUT /apps/{app}/buildpack-installations", {}, "has no buildpacks"),
        ("POST /apps", {"region": "eu"}, "has the region us only, not eu"),
        ("POST /apps", {"space": "nasa"}, "cannot give an app space"),
        ("PATCH /apps/{app}", {"build_stack": "heroku-26"}, "has the build_stack heroku-24 only"),
        ("PATCH /apps/{app}/features/preboot", {"enabled": True}, "does not do preboot"),
        ("POST /oauth/authorizations", {"scope": ["everything"]}, "The scopes are"),
        ("POST /oauth/authorizations", {"expires_in": 60}, "keys do not expire"),
        ("POST /apps/{app}/dynos/web.1", {"command": "ls"}, "no command inside of a running dyno"),
    ],
)
def test_what_the_sandbox_does_not_do_is_said_in_a_sentence(
    sandbox: Sandbox, app: App, folder: Push, request_: str, body: object, words: str
) -> None:
    if "web.1" in request_:
        app.release(folder("exit 0"))
    method, path = request_.format(app=app.name).split()

    status, _, content = sandbox.connection.exchange(method, path, body)

    assert (status, json.loads(content)["id"]) == (422, "invalid_params")
    assert words in json.loads(content)["message"]
