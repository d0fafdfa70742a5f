"""Where the cells are played: an app with something to lose, a migration, and what its database may look like after."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from heroku_sandbox import App, Sandbox
from tests.faults.forked import FAST, Launcher, Started
from tests.hook import MIGRATE, PATH, SCHEMA, SMALL_APP, small_app
from tests.judge import execute, picture

KEY = "HRKU-AAfault5-0f1e-2d3c-4b5a-697887969fa5"

LANDS = "ALTER TABLE learners ADD COLUMN nickname text;\nUPDATE learners SET nickname = left(name, 3);\n"
FAILS = """CREATE TABLE left_behind (n integer);
ALTER TABLE learners DROP COLUMN points;
UPDATE learners SET name = upper(name);
SELECT 1 / 0;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A release: its migration in SQL, or the whole program that migrates, and the settings that matter."""

    name: str
    migration: str
    script: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


LANDING = Scenario(name="landing", migration=LANDS)
FAILING = Scenario(name="failing", migration=FAILS)
FENCED = Scenario(name="fenced", migration=FAILS, settings={"RELEASE_FENCE": "release"})


@dataclass(kw_only=True)
class Place:
    """One app on the stage, with the folder that is released there."""

    sandbox: Sandbox
    launcher: Launcher
    app: App
    folder: Path
    scenario: Scenario
    environment: dict[str, str]
    owner: str
    before: str = ""
    landed: str = ""
    see: Callable[[str], str] = picture
    """How the database is looked at, by a superuser's URL."""
    only_here: bool = False
    """No other cell may have it, however it is left."""

    @property
    def superuser(self) -> str:
        """PostgreSQL's superuser on the app's database."""
        return self.sandbox.superuser_url(self.app)

    @property
    def database(self) -> str:
        """The name of the app's database, as the app has it."""
        return urlsplit(self.environment["DATABASE_URL"]).path.lstrip("/")

    def picture(self) -> str:
        """The database as it is now; the owner's name is replaced, so that two apps' pictures can be compared."""
        return self.see(self.superuser).replace(self.owner, "owner")

    def environ(self, **changes: str | None) -> dict[str, str]:
        """The environment of a run; None removes a variable."""
        # The witness's certificate costs 0.2 s a run; tests/faults/test_witness.py has clients that ask for it.
        found = {"PGSSLMODE": "disable", **self.environment, **self.scenario.settings, **changes}
        return {name: value for name, value in found.items() if value is not None}

    def start(self, *arguments: str, factor: float = 10, twist: str | None = None, **changes: str | None) -> Started:
        """Starts the hook."""
        return self.launcher.start(list(arguments), self.environ(**changes), self.folder, factor=factor, twist=twist)

    def migrations_started(self) -> int:
        """How often the migration was started here, as the migration itself noted."""
        noted = self.folder / "started"
        return len(noted.read_text().splitlines()) if noted.exists() else 0

    def secrets(self) -> set[bytes]:
        """What no output may hold: key, database URL, its password, and the transfers' addresses."""
        url = self.environment["DATABASE_URL"]
        found = {KEY, url, urlsplit(url).password or url}
        for each in self.app.transfers():
            found |= {each["from_url"], each["to_url"]}
        return {each.encode() for each in found if each}


class Stage:
    """A sandbox, a launcher and a folder, shared by the cells of a worker."""

    def __init__(self, sandbox: Sandbox, launcher: Launcher, folder: Path) -> None:
        self.sandbox = sandbox
        self.launcher = launcher
        self._folder = folder
        self._numbers = itertools.count(1)
        self._used: dict[str, list[Place]] = {}
        self._landed = ""
        sandbox.set_key(KEY, ["global"])
        self._first = folder / "first"
        self._first.mkdir()
        (self._first / "Procfile").write_text("web: true\nworker: true\n")

    @property
    def landed(self) -> str:
        """The picture after an undisturbed release."""
        if not self._landed:
            place = self.fresh(LANDING)
            result = place.start().finish()
            assert result.ended == (0, "released", None), result.stdout.decode()
            self._landed = place.picture()
        return self._landed

    def place(self, scenario: Scenario) -> Place:
        """An app for a cell: one that an earlier cell left as it found it, or a new one."""
        used = self._used.get(scenario.name)
        return used.pop() if used else self.fresh(scenario)

    def give_back(self, place: Place, picture: str) -> None:
        """The cell has left the app as it was, or migrated: then it is made as it was. Another cell may have it."""
        if place.only_here:
            return
        if picture != place.before:
            execute(place.environment["DATABASE_URL"], "DROP TABLE learners, alembic_version", SCHEMA)
            picture = place.picture()
        if picture == place.before and all(each["finished_at"] for each in place.app.transfers()):
            self._used.setdefault(place.scenario.name, []).append(place)

    def kept(self) -> set[str]:
        """The ids of the apps that are there for the next cells."""
        return {place.app.id for places in self._used.values() for place in places}

    def fresh(self, scenario: Scenario, **fields: object) -> Place:
        """A new app with 300 rows to lose, a web and two worker dynos."""
        number = next(self._numbers)
        app = self.sandbox.create_app(f"fault-{number}", config={"HEROKU_API_KEY": KEY}, **fields)  # type: ignore[arg-type]
        app.release(self._first)
        app.scale(web=1, worker=2)
        url = app.database_url
        execute(url, SCHEMA)
        folder = write(self._folder / f"slug-{number}", scenario)
        place = Place(
            sandbox=self.sandbox,
            launcher=self.launcher,
            app=app,
            folder=folder,
            scenario=scenario,
            owner=urlsplit(url).username or "",
            environment={
                "PATH": PATH,
                "HOME": str(folder),
                "DYNO": "release.1234",
                "HEROKU_RELEASE_VERSION": "v7",
                "HEROKU_HOST": self.sandbox.url,
                "HEROKU_DATA_HOST": self.sandbox.url,
                "HEROKU_API_KEY": KEY,
                "HEROKU_APP_ID": app.id,
                "HEROKU_APP_NAME": app.name,
                "DATABASE_URL": url,
                **SMALL_APP,
            },
        )
        place.before = place.picture()
        return place


def write(folder: Path, scenario: Scenario) -> Path:
    """The app's folder: its migration notes each start in a file, and another dyno starts the same fast hook."""
    small_app(folder, {"001": scenario.migration})
    script = MIGRATE.replace("set -eu\n", f"set -eu\necho $$ >> {folder}/started\n")
    (folder / "migrate").write_text(scenario.script or script)
    (folder / "Procfile").write_text(f"release: {sys.executable} -I {FAST} 10\nweb: true\n")
    return folder
