"""Releases and the release phase."""

from __future__ import annotations

import signal
import time

import pytest

from heroku_sandbox import App, Failure, Sandbox
from release import __version__
from tests.sandbox.conftest import Push, wait_until


def test_a_push_runs_the_release_phase_with_config_and_metadata(app: App, folder: Push) -> None:
    app.set_config({"COLOR": "green"})

    done = app.release(
        folder('echo "$COLOR $HEROKU_APP_NAME $HEROKU_RELEASE_VERSION $HEROKU_SLUG_COMMIT $DYNO"; pwd; echo $HOME'),
        commit="0123456789abcdef",
    )

    first, place, home = done.output.splitlines()
    assert first.startswith(f"green {app.name} v5 0123456789abcdef release.")
    assert place == home
    assert (done.status, done.description) == ("succeeded", "Deploy 01234567")
    assert app.formation() == {"release": 0, "web": 1, "worker": 0}


def test_a_procfile_as_the_readme_has_it_finds_the_hook_of_a_checkout(app: App, folder: Push) -> None:
    done = app.release(folder("release-phase --version"))
    assert (done.status, done.output) == ("succeeded", f"release-phase, version {__version__}\n")
    hint = app.release(folder("release-phase recover --help")).output
    assert "Example: heroku run release-phase recover --restore" in hint


def test_a_dyno_reads_what_buildpacks_left_for_it(app: App, folder: Push) -> None:
    push = folder('echo "$FLAVOUR $PATH"')
    (push / ".profile.d").mkdir()
    (push / ".profile.d" / "a.sh").write_text("FLAVOURS=(sweet sour)\nexport FLAVOUR=${FLAVOURS[1]}\n")
    (push / ".profile.d" / "b.sh").write_text('export PATH="$HOME/.heroku/b:$PATH"\n')

    flavour, _, path = app.release(push).output.partition(" ")

    assert flavour == "sour"
    assert path.partition(":")[0].endswith("/.heroku/b")


def test_a_failed_phase_leaves_the_old_release_current(app: App, folder: Push) -> None:
    good = app.release(folder("exit 0"))
    bad = app.release(folder("echo no; exit 7"))

    newest, older = app.releases()[:2]

    assert (bad.status, bad.output) == ("failed", "no\n")
    assert (newest["version"], newest["current"], newest["eligible_for_rollback"]) == (bad.version, False, False)
    assert (older["version"], older["current"]) == (good.version, True)


def test_a_config_change_during_a_phase_waits_and_the_old_values_answer(app: App, folder: Push) -> None:
    slow = app.release(folder("sleep 0.7; echo ${COLOR:-none}"), wait=False)

    change = app.set_config({"COLOR": "green"}, wait=False)

    assert (change.status, "COLOR" in app.config) == ("pending", False)
    status, _, _ = app.connection.exchange("GET", f"/streams/{change.id}")
    assert status == 404
    assert app.wait(slow.version).output == "none\n"
    assert app.wait(change.version).output == "green\n"
    assert app.config["COLOR"] == "green"


def test_a_config_change_whose_phase_fails_is_discarded(app: App, folder: Push) -> None:
    app.release(folder('[ -z "$BAD" ]'))

    assert app.set_config({"BAD": "1"}).status == "failed"
    assert "BAD" not in app.config


def test_phases_of_two_pushes_overlap(app: App, folder: Push) -> None:
    first = app.release(folder("sleep 1; echo first"), wait=False)
    second = app.release(folder("echo second"))

    assert second.status == "succeeded"
    assert app.get_release(first.version).status == "pending"
    assert app.wait(first.version).status == "succeeded"
    assert [each["current"] for each in app.releases()[:2]] == [True, False]  # the newest version is


def test_a_promotion_is_a_detach_without_the_url_and_an_attach(app: App, folder: Push) -> None:
    app.release(folder("echo ${DATABASE_URL:-none}"))
    other = app.add_database(plan="standard-0")

    detach, attach = app.promote(other["name"])

    assert (detach.description, detach.output) == (f"Detach DATABASE (@ref:{app.addon_name})", "none\n")
    assert (attach.description, attach.output) == (f"Attach DATABASE (@ref:{other['name']})", other["url"] + "\n")


def test_a_failed_detach_does_not_stop_the_attach(app: App, folder: Push) -> None:
    app.release(folder('[ -n "$DATABASE_URL" ]'))
    other = app.add_database(plan="standard-0")

    assert [each.status for each in app.promote(other["name"])] == ["failed", "succeeded"]
    assert app.config["DATABASE_URL"] == other["url"]


def test_promoting_needs_a_confirmation(app: App) -> None:
    other = app.add_database(plan="standard-0")
    body = {"addon": other["name"], "app": app.name, "name": "DATABASE"}

    status, headers, _ = app.connection.exchange("POST", "/addon-attachments", body)

    assert (status, headers["x-confirmation-required"]) == (400, app.name)


def test_a_rollback_runs_the_old_code_with_the_old_config(app: App, folder: Push) -> None:
    old = app.release(folder("echo old $COLOR"))
    app.set_config({"COLOR": "green"})
    app.release(folder("echo new $COLOR"))

    done = app.rollback(old.version)

    assert (done.description, done.output, done.status) == (f"Rollback to v{old.version}", "old\n", "succeeded")
    assert "COLOR" not in app.config
    assert "DATABASE_URL" in app.config


def test_the_variables_of_attachments_cannot_be_set(app: App) -> None:
    with pytest.raises(Failure, match="Cannot overwrite attachment values DATABASE_URL"):
        app.set_config({"DATABASE_URL": "postgres://elsewhere"})


def test_a_rotated_password_makes_a_release_without_a_phase(app: App, folder: Push) -> None:
    app.release(folder("exit 1"))
    before = app.config.get("DATABASE_URL", app.database_url)

    app.connection.request("POST", f"/postgres/v0/databases/{app.addon_id}/credentials/default/credentials_rotation")

    newest = app.releases()[0]
    assert (newest["status"], newest["output_stream_url"]) == ("succeeded", None)
    assert app.config["DATABASE_URL"] == app.database_url != before


def test_the_phase_is_stopped_at_its_limit_first_gently_then_for_good(sandbox: Sandbox, app: App, folder: Push) -> None:
    sandbox.set_options(release_limit=0.5, grace=0.5)
    command = "trap 'echo asked' TERM; for n in $(seq 100); do sleep 0.1; done; echo done"
    started = time.monotonic()

    done = app.release(folder(command))
    sandbox.set_options(release_limit=3600, grace=30)

    assert (done.status, done.output.splitlines()[-1]) == ("failed", "asked")
    assert time.monotonic() - started < 5


def test_everything_a_dyno_started_gets_the_signal_and_dies_with_it(app: App, folder: Push) -> None:
    # A grandchild in a session of its own, which the process group's signal would miss.
    command = "setsid sh -c 'trap \"echo grandchild; exit\" TERM; sleep 60 & wait' & echo up; wait"
    running = app.release(folder(command), wait=False)
    wait_until(lambda: "up" in app.dynos()[-1]["output"])
    time.sleep(0.2)

    app.signal("release", signal.SIGTERM)

    done = app.wait(running.version)
    assert (done.status, "grandchild" in done.output) == ("failed", True)


def test_the_output_of_a_running_phase_is_streamed(app: App, folder: Push) -> None:
    running = app.release(folder("echo one; sleep 0.5; echo two"), wait=False)

    pieces = list(app.connection.stream(f"/streams/{running.id}"))

    assert len(pieces) >= 2
    assert b"".join(pieces) == b"one\ntwo\n"
    status, _, body = app.connection.exchange("GET", f"/streams/{running.id}", headers={"Range": "bytes=4-"})
    assert (status, body) == (206, b"two\n")


def test_a_one_off_dyno_runs_the_current_code_with_extra_environment(app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    body = {"command": "cat Procfile; echo $WHO $DYNO", "attach": False, "env": {"WHO": "me"}}

    dyno = app.connection.request("POST", f"/apps/{app.name}/dynos", body)

    wait_until(lambda: app.dynos()[-1]["code"] is not None)
    last = app.dynos()[-1]
    assert last["code"] == 0
    assert last["output"].splitlines()[-1] == f"me {dyno['name']}"
    assert last["name"] not in [each["name"] for each in app.connection.request("GET", f"/apps/{app.name}/dynos")]


@pytest.mark.parametrize(("launcher", "path"), [("launcher ", "/of/the/build"), ("", "/usr/local/bin:")])
def test_a_one_off_dyno_of_fir_has_the_builds_path_only_with_the_launcher(
    sandbox: Sandbox, app: App, folder: Push, launcher: str, path: str
) -> None:
    fir = sandbox.create_app(f"fir-{app.name}", plan="none", stack="cnb")
    shown = fir.connection.request("GET", f"/apps/{fir.name}")
    assert (shown["stack"]["name"], shown["generation"]) == ("cnb", "fir")
    fir.release(folder("exit 0"), path="/of/the/build:/usr/bin:/bin")

    fir.connection.request("POST", f"/apps/{fir.name}/dynos", {"command": f"{launcher}echo $PATH", "attach": False})

    wait_until(lambda: fir.dynos()[-1]["code"] is not None)
    assert fir.dynos()[-1]["output"].startswith(path)


def test_a_one_off_dyno_can_be_stopped_and_ends_at_its_time_to_live(app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    path = f"/apps/{app.name}/dynos"
    endless = app.connection.request("POST", path, {"command": "sleep 60"})
    app.connection.request("POST", path, {"command": "sleep 60", "time_to_live": 1})

    app.connection.request("POST", f"{path}/{endless['name']}/actions/stop")

    wait_until(lambda: [each["code"] for each in app.dynos()[-2:]] == [-15, -15])


def test_releases_come_in_pages(app: App) -> None:
    for number in range(3):
        app.set_config({"N": str(number)})
    path = f"/apps/{app.name}/releases"

    status, headers, _ = app.connection.exchange("GET", path, headers={"Range": "version ..; max=4, order=desc"})
    rest = app.connection.exchange("GET", path, headers={"Range": headers["next-range"]})

    assert (status, headers["next-range"]) == (206, "version ]3..; max=4, order=desc")
    assert rest[0] == 200
    assert b'"version":2' in rest[2]


def test_quantities_are_numbers_or_the_strings_of_herokus_cli(app: App, folder: Push) -> None:
    app.release(folder("exit 0"))
    updates = [{"type": "web", "quantity": "2", "size": "Standard-2X"}, {"type": "worker", "quantity": "+1"}]
    app.connection.request("PATCH", f"/apps/{app.name}/formation", {"updates": updates})
    app.connection.request("PATCH", f"/apps/{app.name}/formation/worker", {"quantity": 3})

    assert app.formation() == {"release": 0, "web": 2, "worker": 3}
    names = [each["name"] for each in app.connection.request("GET", f"/apps/{app.id}/dynos")]
    assert names == ["web.1", "web.2", "worker.1", "worker.2", "worker.3"]
    with pytest.raises(Failure):
        app.scale(clock=1)
