"""What the demo and the other tests take for granted of the sample apps. None of it needs a database."""

import os
import subprocess
import sys

import pytest
from alembic.script import ScriptDirectory

from .ship import APPS, OVERLAYS, VERSIONS, assemble

EVERY = [(app, version) for app, versions in VERSIONS.items() for version in versions]


@pytest.mark.parametrize(("app", "version"), EVERY)
def test_a_version_is_the_base_with_its_overlays_laid_on(app, version, tmp_path):
    shipped = assemble(version, tmp_path / "new", app=app)

    expected = {}
    for source in (APPS / app, *(APPS / app / OVERLAYS / name for name in VERSIONS[app][version].overlays)):
        files = {path.relative_to(source): path for path in source.rglob("*") if path.is_file()}
        expected |= {name: path.read_text() for name, path in files.items() if wanted(name)}
    assert {
        path.relative_to(shipped): path.read_text() for path in shipped.rglob("*") if path.is_file()
    } == expected


def wanted(name):
    return name.parts[0] != OVERLAYS and "__pycache__" not in name.parts


@pytest.mark.parametrize("app", VERSIONS)
def test_every_overlay_is_used_and_every_used_one_exists(app):
    used = {overlay for version in VERSIONS[app].values() for overlay in version.overlays}
    assert used == {folder.name for folder in (APPS / app / OVERLAYS).iterdir()}


def test_a_folder_with_something_in_it_is_not_shipped_into(tmp_path):
    assemble("good", tmp_path)
    with pytest.raises(FileExistsError, match="is not empty"):
        assemble("base", tmp_path)


@pytest.mark.parametrize(
    ("version", "complete"),
    [("base", True), ("good", True), ("forgotten", False)],
)
def test_models_and_migrations_agree_except_where_a_migration_was_forgotten(version, complete, tmp_path):
    command = [sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    folder = assemble(version, tmp_path)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0 if complete else 1, b"")


@pytest.mark.parametrize("version", VERSIONS["course_catalog"])
def test_the_catalog_has_one_head_whatever_is_shipped(version, tmp_path):
    shipped = assemble(version, tmp_path, app="course_catalog")
    assert len(ScriptDirectory(shipped / "migrations").get_heads()) == 1
