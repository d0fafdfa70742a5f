"""Every request that the sandbox knows is sent, and each answer held against the schemas that Heroku publishes."""

from __future__ import annotations

import json
import re

import psycopg

from heroku_sandbox import App, Sandbox
from heroku_sandbox.pooling import Pooler
from tests.sandbox.conftest import Push, ended, wait_until
from tests.sandbox.schemas import complaints
from tests.sandbox.schemas.pipelines import account, pipelines, review_apps
from tests.sandbox.schemas.talk import Talk

_KEYLESS = re.compile("/(streams|logs)/")


def _apps(talk: Talk, fresh: str) -> None:
    talk("GET /account")
    talk("GET /account/rate-limits")
    talk("GET /teams")
    talk("GET /apps")
    talk("POST /apps", {"name": fresh}, status=201)
    talk("PATCH /apps/<app>", {"maintenance": True})
    talk("PATCH /apps/<app>", {"maintenance": False})
    talk("GET /apps/<app>")
    talk("GET /apps/<app>/config-vars")
    talk("PATCH /apps/<app>/config-vars", {"FOO": "bar"})
    talk("PATCH /apps/<app>/config-vars", {"DATABASE_URL": "mine"}, status=422)


def _processes(talk: Talk) -> None:
    talk("GET /apps/<app>/formation")
    talk("GET /apps/<app>/formation/<type_>", type_="web")
    talk("PATCH /apps/<app>/formation", {"updates": [{"type": "web", "quantity": "+1"}]})
    talk("PATCH /apps/<app>/formation/<type_>", {"quantity": 1}, type_="worker")
    talk("PATCH /apps/<app>/formation/<type_>", {"quantity": "many"}, type_="worker", status=422)
    talk("GET /apps/<app>/dynos")
    made = talk("POST /apps/<app>/dynos", {"command": "sleep 20", "attach": False}, status=201)
    talk("POST /apps/<app>/dynos", {}, status=422)
    talk("GET /apps/<app>/dynos/<name>", name=made["name"])
    talk("GET /apps/<app>/dynos")
    talk("POST /apps/<app>/dynos/<name>/actions/stop", name=made["name"], status=202)
    talk("DELETE /apps/<app>/dynos/<name>", name="web.1", status=202)
    talk("DELETE /apps/<app>/dynos", status=202)
    talk("DELETE /apps/<app>/formations/<name>", name="web", status=202)
    talk("POST /apps/<app>/formations/<name>/actions/stop", name="web", status=202)
    talk("POST /apps/<app>/dynos/<name>", {"command": "ls"}, name="web.1", status=422)
    talk("POST /apps/<app>/dynos", {"command": "true", "attach": True}, status=201)


def _releases(talk: Talk) -> None:
    newest = talk("GET /apps/<app>/releases", headers={"Range": "version ..; max=1, order=desc"}, status=206)[0]
    talk("GET /apps/<app>/releases")
    talk("GET /apps/<app>/releases/<release>", release=newest["version"])
    talk("GET /apps/<app>/releases/<release>/config-vars", release=newest["id"])
    talk("GET /apps/<app>/slugs/<slug>", slug=newest["slug"]["id"])
    again = talk("POST /apps/<app>/releases", {"slug": newest["slug"]["id"]}, status=201)
    talk("POST /apps/<app>/releases", {"release": "2"}, status=422)
    wait_until(lambda: talk("GET /apps/<app>/releases/<release>", release=again["version"])["status"] != "pending")
    talk("POST /apps/<app>/releases", {"release": newest["id"]}, status=201)
    talk.text("GET /streams/<release>", release=newest["id"])


def _addons(talk: Talk) -> None:
    made = talk("POST /apps/<app>/addons", {"plan": {"name": "heroku-postgresql:standard-0"}}, status=201)
    talk("POST /apps/<app>/addons", {"plan": "heroku-postgresql:standard-0", "name": made["name"]}, status=422)
    talk("GET /addons")
    talk("GET /apps/<app>/addons")
    talk("GET /addons/<addon>")
    talk("GET /apps/<app>/addons/<addon>")
    talk("POST /actions/addons/resolve", {"addon": made["name"]})
    talk("POST /actions/addons/resolve", {"addon": "nope"}, status=404)
    talk("POST /actions/addon-attachments/resolve", {"addon_attachment": "DATABASE_URL", "app": talk.app.name})
    talk("GET /addons/<addon>/config")
    talk("GET /addons/<addon>/config/<namespace>", namespace="credential:default")
    talk("GET /addons/<addon>", headers={"Accept-Expansion": "addon_service"})
    talk("GET /addon-attachments")
    talk("GET /apps/<app>/addon-attachments")
    talk("GET /apps/<app>/addon-attachments/<attachment>", attachment="DATABASE")
    talk("GET /addons/<addon>/addon-attachments")
    body = {"addon": made["name"], "app": talk.app.name, "name": "DATABASE"}
    talk("POST /addon-attachments", body, status=400)
    again = talk("POST /addon-attachments", body | {"name": "AGAIN"}, status=201)
    talk("GET /addon-attachments/<attachment>", attachment=again["id"])
    talk("DELETE /addon-attachments/<attachment>", attachment=again["id"])
    renamed = talk("PATCH /apps/<app>/addons/<addon>", {"name": f"{made['name']}-new"}, addon=made["name"])
    talk("PATCH /apps/<app>/addons/<addon>", {"plan": "heroku-postgresql:standard-2"}, addon=made["id"], status=422)
    talk("DELETE /apps/<app>/addons/<addon>", addon=renamed["name"])
    talk("GET /addon-services")
    talk("GET /addon-services/<service>", service="heroku-postgresql")
    talk("GET /addon-services/<service>/plans", service="heroku-postgresql")


def _databases(talk: Talk) -> None:
    here = "/client/v11/databases/<db>"
    talk(f"GET {here}")
    talk(f"GET {here}/wait_status")
    talk(f"GET {here}/followers")
    talk(f"PUT {here}/unfollow")
    talk(f"POST {here}/connection_reset")
    schedule = talk(f"POST {here}/transfer-schedules", {"hour": "06", "timezone": "UTC"}, status=201)
    talk(f"POST {here}/transfer-schedules", {"hour": "99", "timezone": "UTC"}, status=400)
    talk(f"GET {here}/transfer-schedules")
    talk(f"DELETE {here}/transfer-schedules/<identity>", identity=schedule["uuid"])
    talk(f"PUT {here}/reset", {})


def _transfers(talk: Talk) -> None:
    here, there = "/client/v11/databases/<db>", "/client/v11/apps/<app>/transfers"
    made = talk(f"POST {here}/backups", status=201)
    ended(talk.app, made)
    backup = talk(f"GET {there}/<identity>", identity=made["num"])
    talk(f"GET {there}")
    talk(f"POST {there}/<identity>/actions/public-url", identity=backup["num"])
    talk(f"POST {there}/<identity>/actions/cancel", identity=backup["num"], status=400)
    talk(f"POST {here}/restores", {}, status=422)
    ended(talk.app, talk(f"POST {here}/restores", {"backup_url": backup["to_url"]}, status=201))
    url = talk.app.database_url
    copy = {"from_name": "A", "from_url": url, "to_name": "B", "to_url": url}
    ended(talk.app, talk(f"POST {here}/transfers", copy, status=201))
    talk(f"POST {there}/<identity>/actions/cancel", identity=talk(f"POST {here}/backups", status=201)["num"])
    talk(f"DELETE {there}/<identity>", identity=backup["num"])


def _statistics(talk: Talk) -> None:
    here = "/client/v11/databases/<db>"
    talk(f"GET {here}/metrics")
    talk(f"GET {here}/burst_status")
    talk(f"GET {here}/user_connections")
    talk(f"GET {here}/expensive-queries")
    talk(f"PUT {here}/stats_reset")
    talk(f"POST {here}/terminate_process", {"pid": 0}, status=422)
    with psycopg.connect(talk.app.database_url) as session:
        talk(f"POST {here}/terminate_process", {"pid": session.info.backend_pid})
    talk(f"POST {here}/diagnose")
    report = talk("POST /reports", {"url": talk.app.database_url, "app": "a", "database": "DATABASE_URL"}, status=201)
    talk("POST /reports", {"url": "postgres://u:p@elsewhere/d"}, status=422)
    talk("GET /reports/<report>", report=report["id"])


def _maintenance(talk: Talk) -> None:
    here, there = "/client/v11/databases/<db>", "/data/maintenances/v1/<addon>"
    for step in ("/prepare", "/run", "/dry_run", "/cancel", ""):
        talk(f"POST {here}/upgrade{step}", {"version": "16"}, status=422)
    talk(f"GET {here}/upgrade/wait_status")
    talk(f"GET {here}/maintenance")
    talk(f"POST {here}/maintenance", status=422)
    talk(f"PUT {here}/maintenance_window", {"description": "Sunday 14:30"})
    talk(f"PUT {here}/maintenance_window", {"description": "whenever"}, status=422)
    talk(f"GET {there}")
    talk(f"GET {there}/history")
    talk("GET /data/maintenances/v1/apps/<app>")
    talk(f"POST {there}/run", status=422)
    talk(f"POST {there}/schedule", status=422)
    talk(f"POST {there}/window", {"day_of_week": "Monday", "time_of_day": "1:30 PM"})
    talk(f"POST {there}/window", {"day_of_week": "Monday", "time_of_day": "25:00"}, status=422)
    talk(f"GET {there}/window")


def _extras(talk: Talk) -> None:
    here, there = "/client/v11/databases/<db>", "/postgres/v0/databases/<db>"
    remote = talk.app.add_database(plan="standard-0")
    link = talk(f"POST {here}/links", {"target": remote["name"], "as": "other"})
    talk(f"POST {here}/links", {"target": remote["name"], "as": "other"}, status=422)
    talk(f"GET {here}/links")
    talk(f"GET {here}/links/<link>", link=link["id"])
    talk(f"DELETE {here}/links/<link>", link="other")
    talk(f"GET {here}/connection-pooling")
    talk(f"POST {here}/connection-pooling", {"credential": "nobody"}, status=422)
    if Pooler.program():
        talk(f"POST {here}/connection-pooling", {"app": talk.app.name, "credential": "default"}, status=201)
    before = talk(f"GET {there}/config")["log_statement"]["value"]
    talk(f"PATCH {there}/config", {"log_statement": "mod"})
    talk(f"PATCH {there}/config", {"log_statement": before})
    talk(f"PATCH {there}/config", {"log_statement": "everything"}, status=422)


def _credentials(talk: Talk) -> None:
    here = "/postgres/v0/databases/<db>"
    talk(f"POST {here}/credentials", {"name": "reader"})
    talk(f"POST {here}/credentials", {"name": "reader"}, status=400)
    talk(f"GET {here}/credentials")
    talk(f"GET {here}/credentials/<name>", name="reader")
    talk(f"POST {here}/credentials/<name>/credentials_rotation", name="reader")
    talk(f"POST {here}/credentials_rotation")
    talk(f"POST {here}/repair-default")
    talk(f"DELETE {here}/credentials/<name>", name="default", status=403)
    talk(f"DELETE {here}/credentials/<name>", name="reader")


def test_every_answer_is_as_herokus_schemas_say(sandbox: Sandbox, app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    talk = Talk(app)

    _apps(talk, f"{app.name}-fresh")
    _processes(talk)
    _releases(talk)
    _addons(talk)
    pipelines(talk)
    review_apps(talk, sandbox, folder("exit 0"))
    account(talk)
    _databases(talk)
    _transfers(talk)
    _statistics(talk)
    _maintenance(talk)
    _extras(talk)
    _credentials(talk)

    assert not talk.complaints, "\n".join(sorted(set(talk.complaints)))
    assert set(app.connection.request("GET", "/sandbox/routes")) - talk.sent == set()


def _sent_to(routes: list[str], app: App, key: str, **places: str) -> list[str]:
    """What is wrong with the refusals of all routes, for a key and with names in the paths that lead nowhere."""
    found = []
    for request in routes:
        method, rule = request.split()
        path = re.sub("<(.+?)>", lambda place: places.get(place[1], "nope"), rule)
        status, _, content = app.connection.exchange(method, path, None, {"Authorization": f"Bearer {key}"})
        if status >= 400:
            found += complaints(request, status, content, {})
        elif "<" in rule and not places:
            found.append(f"{request}: {status} for names that lead nowhere")
    return found


def test_every_refusal_is_as_herokus_schemas_say(sandbox: Sandbox, app: App) -> None:
    routes = [each for each in app.connection.request("GET", "/sandbox/routes") if not _KEYLESS.search(each)]
    sandbox.set_key("reader", ["identity"])

    assert _sent_to(routes, app, sandbox.key) == []
    assert _sent_to(routes, app, "wrong") == []
    assert _sent_to(routes, app, "reader") == []
    for request in routes:
        if not request.startswith(("GET", "DELETE")):
            method, rule = request.split()
            path = re.sub("<(.+?)>", lambda place: {"app": app.name, "db": app.addon_id}.get(place[1], "nope"), rule)
            status, _, content = app.connection.exchange(method, path, ["no object"])
            assert status < 400 or complaints(request, status, content, {}) == []


def test_what_is_not_done_is_said_in_a_sentence(app: App) -> None:
    for path in ("/client/v11/databases/x/tls-endpoint", "/data/postgres/v1/x/info", "/postgres/v0/databases/x/new"):
        status, _, content = app.connection.exchange("GET", path)

        assert status == 422
        assert json.loads(content)["message"] == f"This sandbox does not do GET {path}."
    status, _, content = app.connection.exchange("GET", "/nothing")
    assert (status, json.loads(content)["id"]) == (404, "not_found")
