"""`init`: what an app needs for the hook, by its files; it writes only what it is asked to write."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from release import __version__
from release.app import languages, procfile
from release.commands.init import BUILDPACK, PACKAGE, look, wanted, write
from release.settings.model import Words
from release.settings.reading import read
from tests.hook import HOOK, run_in

KEY = 'heroku authorizations:create --description "release phase" --scope read-protected,write-protected'


def app(folder: Path, **files: str) -> Path:
    """An app in a folder: file names have __ for / and _dot_ for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def shown(folder: Path, name: str | None = None) -> str:
    """All that is said of an app: titles, notes and what is to be typed."""
    found = look(folder, name)
    assert found is not None
    parts = [each.part for each in wanted(found)]
    return "\n".join(line for part in parts for line in (part.title, *part.notes, *part.code))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


DJANGO = {"manage_dot_py": "", "requirements_dot_txt": "django~=5.2", "Procfile": "web: gunicorn shop.wsgi\n"}
RAILS = {"Gemfile": "", "package_dot_json": "{}", "bin__rails": "", "Procfile": "web: bin/rails server\n"}
NODE = {"package_dot_json": json.dumps({"scripts": {"start": "node .", "db:migrate": "knex"}})}


# As a person types it.


def test_an_app_is_looked_at_and_nothing_is_changed(tmp_path: Path) -> None:
    before = contents(app(tmp_path, **DJANGO))
    ran = run_in(tmp_path, HOOK, "init", "--app", "shop")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(
        "Found: Django (manage.py), Python (requirements.txt), the Heroku app shop, a Procfile.\n"
    )
    for line in (PACKAGE, "release: release-phase", KEY, "heroku labs:enable runtime-dyno-metadata --app shop"):
        assert f"\n       {line}\n" in ran.stdout
    assert f"\n       {HOOK} check --app shop\n" in ran.stdout
    last = f"Nothing was changed. `{HOOK} init --write` writes requirements.txt, Procfile, app.json.\n"
    assert ran.stdout.endswith(last)
    assert contents(tmp_path) == before


def test_on_request_it_writes_new_files_and_lines_at_a_files_end(tmp_path: Path) -> None:
    app(tmp_path, **DJANGO)
    ran = run_in(tmp_path, HOOK, "init", "--write")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("Written: requirements.txt, Procfile, app.json.\n")
    assert (tmp_path / "requirements.txt").read_text() == f"django~=5.2\n{PACKAGE}\n"
    assert (tmp_path / "Procfile").read_text() == "web: gunicorn shop.wsgi\nrelease: release-phase\n"
    assert json.loads((tmp_path / "app.json").read_text()) == {
        "addons": ["heroku-postgresql:essential-0"],
        "environments": {"review": {"env": {"RELEASE_BACKUP": "off"}}},
    }
    before = contents(tmp_path)
    again = run_in(tmp_path, HOOK, "init", "--write")
    assert again.stdout.endswith("There was nothing to write.\n")
    assert contents(tmp_path) == before


def test_a_folder_without_an_app_is_named_as_one(tmp_path: Path) -> None:
    app(tmp_path, README_dot_md="Nothing.")
    ran = run_in(tmp_path, HOOK, "init", "--write")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"There is no app in this folder. Run `{HOOK} init` where the Procfile belongs.\n"
    assert list(contents(tmp_path)) == ["README.md"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (app(tmp_path, **DJANGO) / "app.json").symlink_to(tmp_path / "nowhere" / "app.json")
    ran = run_in(tmp_path, HOOK, "init", "--write")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("app.json cannot be written: File exists.\n")


# How the hook is installed.


@pytest.mark.parametrize(
    ("files", "buildpacks"),
    [
        (RAILS, ["heroku/nodejs", "heroku/ruby"]),
        (NODE, ["heroku/nodejs"]),
        ({"Pipfile": "", "manage_dot_py": ""}, ["heroku/python"]),
        ({"requirements_dot_txt": "a==1 --hash=sha256:0"}, ["heroku/python"]),
        ({"go_dot_mod": ""}, ["heroku/go"]),
        ({"mix_dot_exs": ""}, []),
    ],
)
def test_an_app_without_plain_requirements_gets_a_buildpack_before_its_own(
    tmp_path: Path, files: dict[str, str], buildpacks: list[str]
) -> None:
    text = shown(app(tmp_path, **files), "shop")
    adds = re.findall(r"^heroku buildpacks:add --app shop (.+)$", text, re.MULTILINE)
    assert adds == [f"--index 1 {BUILDPACK}", *buildpacks]
    assert PACKAGE not in text


def test_a_python_app_with_assets_keeps_its_buildpacks(tmp_path: Path) -> None:
    text = shown(app(tmp_path, **DJANGO, package_dot_json="{}"))
    assert PACKAGE in text
    assert "buildpacks:add" not in text


@pytest.mark.parametrize("line", ["heroku-release-phase==0.1.0", PACKAGE])
def test_what_is_installed_is_not_installed_again(tmp_path: Path, line: str) -> None:
    folder = app(tmp_path, manage_dot_py="", requirements_dot_txt=f"django\n{line}\n")
    assert "The hook stands in requirements.txt already." in shown(folder)


def test_other_lists_of_buildpacks_are_named(tmp_path: Path) -> None:
    listed = json.dumps({"buildpacks": [{"url": "heroku/ruby"}]})
    text = shown(app(tmp_path, **RAILS, _dot_buildpacks="https://example.com/one\n", app_dot_json=listed))
    assert "Put it first in .buildpacks, too." in text
    assert f'Put it first among the buildpacks of app.json, too: {{"url": "{BUILDPACK}"}}' in text


def test_a_docker_image_is_told_what_belongs_into_its_files(tmp_path: Path) -> None:
    text = shown(app(tmp_path, heroku_dot_yml="build:\n", Dockerfile="FROM x\n"))
    assert f"RUN pip install '{PACKAGE}'" in text
    assert "release:\n  image: web\n  command:\n    - release-phase" in text


def test_every_buildpack_of_herokus_is_named_once() -> None:
    named = [language.buildpack for language in languages.LANGUAGES if language.buildpack]
    assert len(set(named)) == len(named)
    assert all(name.startswith("heroku/") for name in named)
    assert f"/v{__version__}/" in BUILDPACK


# The Procfile.


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("release-phase", True),
        ("bin/release", True),
        ("vendor/phase/bin/release", True),
        ("python -m release", True),
        ("env A=b release-phase", True),
        ("release-phase && bin/announce", True),
        ("sh -c 'release-phase; true'", True),
        ("python manage.py migrate", False),
        ("bin/release-tasks", False),
        ("./release.sh", False),
        ("release-phase-old", False),
    ],
)
def test_a_line_that_starts_the_hook_is_known(line: str, ours: bool) -> None:
    assert procfile.starts_hook(line) is ours


@pytest.mark.parametrize("line", ["python manage.py migrate", "python manage.py migrate --noinput"])
def test_another_release_line_is_replaced_only_on_request(tmp_path: Path, line: str) -> None:
    folder = app(tmp_path, manage_dot_py="", Procfile=f"web: x\r\nrelease: {line}\r\nworker: y\r\n")
    text = shown(folder)
    assert f"`release: {line}` stands there now.\nThe hook runs Django's migration itself." in text
    assert "RELEASE_MIGRATE_COMMAND" not in text
    found = look(folder, None)
    assert found
    write(found, wanted(found))
    assert f"release: {line}\r\n" in (folder / "Procfile").read_bytes().decode()
    write(found, wanted(found, overwrite=True))
    assert (folder / "Procfile").read_bytes() == b"web: x\r\nrelease: release-phase\r\nworker: y\r\n"


def test_what_a_release_line_does_beside_the_migration_is_kept_as_a_setting(tmp_path: Path) -> None:
    line = "python manage.py migrate && python manage.py collectstatic"
    text = shown(app(tmp_path, manage_dot_py="", Procfile=f"release: {line}\n"), "shop")
    (typed,) = re.findall(r"^heroku config:set (RELEASE_MIGRATE_COMMAND=.*) --app shop$", text, re.MULTILINE)
    name, _, value = shlex.split(typed)[0].partition("=")
    settings = read({"RELEASE_BACKUP": "off", name: value})
    assert settings.migrate_command == Words(["sh", "-c", line])


def test_a_file_is_lengthened_byte_by_byte(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_bytes(b"# caf\xe9\r\nweb: x")
    found = look(tmp_path, None)
    assert found
    write(found, wanted(found))
    assert (tmp_path / "Procfile").read_bytes() == b"# caf\xe9\r\nweb: x\nrelease: release-phase\n"
    assert run_in(tmp_path, HOOK, "init").returncode == 0


# What migrates, where the app is, and review apps.


def test_a_framework_says_what_is_run_and_asked(tmp_path: Path) -> None:
    text = shown(app(tmp_path, **RAILS))
    assert "Nothing to set for Rails: the hook runs `bin/rails db:migrate`." in text
    assert "it asks with `bin/rails db:abort_if_pending_migrations`." in text


def test_several_frameworks_are_a_choice(tmp_path: Path) -> None:
    text = shown(app(tmp_path, **DJANGO, alembic_dot_ini=""), "shop")
    assert "Say which of them migrates (Django, Alembic), with one of:" in text
    assert "heroku config:set RELEASE_MIGRATE_COMMAND='alembic upgrade head' --app shop" in text


@pytest.mark.parametrize(
    ("files", "setting"),
    [
        (NODE, "'npm run --silent db:migrate'"),
        ({"package_dot_json": "{"}, "'your-tool migrate'"),
        ({"package_dot_json": '{"scripts": []}'}, "'your-tool migrate'"),
        ({"go_dot_mod": "", "Procfile": "release: ./shop migrate\n"}, "'./shop migrate'"),
    ],
)
def test_without_a_framework_the_command_is_guessed_or_asked_for(
    tmp_path: Path, files: dict[str, str], setting: str
) -> None:
    text = shown(app(tmp_path, **files))
    assert f"heroku config:set RELEASE_MIGRATE_COMMAND={setting} --app my-app" in text
    assert "RELEASE_PENDING_COMMAND" in text


@pytest.mark.parametrize(
    ("remotes", "name"),
    [
        (["https://git.heroku.com/shop.git"], "shop"),
        (["git@heroku.com:shop.git", "https://example.com/other.git"], "shop"),
        (["https://git.heroku.com/shop.git", "https://git.heroku.com/shop-staging.git"], "my-app"),
        (["https://example.com/heroku.com/shop.git"], "my-app"),
    ],
)
def test_the_apps_name_comes_from_where_it_is_pushed_to(tmp_path: Path, remotes: list[str], name: str) -> None:
    config = "".join(f'[remote "r{place}"]\n\turl = {url}\n' for place, url in enumerate(remotes))
    text = shown(app(tmp_path, **DJANGO, _dot_git__config=config))
    assert f"heroku config:set HEROKU_API_KEY=HRKU-… --app {name}" in text


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ('{"environments": {"review": {"env": {"RELEASE_BACKUP": "off"}}}}', "by app.json."),
        ('{"environments": {"review": {"env": {"RELEASE_BACKUP": {"value": "off"}}}}}', "by app.json."),
        ('{"name": "shop"}', "Put this into app.json, beside what is there:"),
        ("{", "Put this into app.json, beside what is there:"),
    ],
)
def test_an_app_json_is_never_written_over(tmp_path: Path, manifest: str, said: str) -> None:
    folder = app(tmp_path, **DJANGO, app_dot_json=manifest)
    assert said in shown(folder)
    found = look(folder, None)
    assert found
    write(found, wanted(found))
    assert (folder / "app.json").read_text() == manifest


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    found = look(app(tmp_path, **DJANGO), None)
    assert found
    parts = wanted(found)
    (tmp_path / "app.json").write_text("{}")
    with pytest.raises(FileExistsError):
        write(found, parts)
    assert (tmp_path / "app.json").read_text() == "{}"
