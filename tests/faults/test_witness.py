"""The witness, with a wire to the server that breaks at every message: what it says is what the database shows.

Each driver's migration is recorded once, one that is committed and one that is rolled back, and played again with a
fault at the first message, the second, and so on until none is left. The database is asked beside the witness.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from release.witness.conversation import Conversation
from release.witness.statement import Statement
from release.witness.tls import ServerTls
from release.witness.verdict import Ending, Word, verdict
from release.witness.vocabulary import Vocabulary
from tests.faults.figures import BROKEN_HOOK, Cell, Recorder
from tests.faults.test_drivers import FOLDER, NODE, PYTHON
from tests.faults.test_drivers import node_modules as node_modules  # noqa: PLC0414 -- a fixture, asked for by name
from tests.faults.wire import Break, Direction, Fault, Player, Recording, Wire
from tests.toolchains.cache import leave_out
from tests.unit.database.conftest import Database, make, shared_server
from tests.unit.witness.conftest import Witnessed, before, vocabulary

JDBC = "JDBC"
DRIVERS = (*PYTHON, NODE, JDBC)
LANDS, UNDONE = "migrates", "migrates and rolls back"

SETUP = (
    "CREATE TABLE learners (id serial PRIMARY KEY, name text, points int DEFAULT 0)",
    "INSERT INTO learners (name) SELECT 'learner ' || n FROM generate_series(1, 3) n",
)
AS_IT_WAS = "; ".join(("DROP TABLE IF EXISTS made", "DROP TABLE learners", *SETUP))
"""A table made anew, since one that gets and loses a column 1,600 times takes no more of them."""
PICTURE = """
SELECT ARRAY(SELECT attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
              WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped ORDER BY 1)
       || ARRAY(SELECT name FROM learners ORDER BY id)
"""
ALIVE = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

GONE_WITHIN = 5.0
"""Seconds in which the server has to notice that a wire was cut; it looks when it next reads or writes."""

MOSTLY = 2 / 3
"""So many of the broken sessions that never sent COMMIT are surely nothing.

Not all: a BEGIN or a ROLLBACK whose answer is lost says nothing of what was sent after it.
"""


def jar() -> Path | None:
    """The JDBC driver, where Debian or Maven has put it."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    maven = sorted((home / ".m2/repository/org/postgresql/postgresql").glob("*/postgresql-*.jar"))
    return next((path for path in (Path("/usr/share/java/postgresql.jar"), *maven) if path.is_file()), None)


def command(request: pytest.FixtureRequest, driver: str) -> tuple[list[str], dict[str, str]]:
    """What drives a driver, and the variables that it needs. Skips loudly where the driver is not at hand."""
    if driver in PYTHON:
        return [sys.executable, str(FOLDER / "drive.py")], {}
    if driver == NODE:
        return ["node", str(FOLDER / "drive.js")], {"NODE_PATH": str(request.getfixturevalue("node_modules"))}
    found = jar()
    if found is None or shutil.which("javac") is None:
        leave_out(request, f"{JDBC} is left out: there is no javac, or no postgresql.jar (libpostgresql-jdbc-java)")
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", str(found), str(FOLDER / "Drive.java")], {}


@dataclass(kw_only=True)
class Scene:
    """A database, what it looks like before each conversation, and the conversations that were recorded."""

    database: Database
    folder: Path
    admin: psycopg.Connection[Any]
    vocabulary: Vocabulary
    before: list[str]
    recordings: dict[tuple[str, str], Recording] = field(default_factory=dict)

    def wire(self, fault: Fault | None = None) -> Wire:
        """A wire to the server."""
        return Wire(host=self.database.server.host, port=self.database.server.port, fault=fault)

    def behind(self, port: int) -> Iterator[Witnessed]:
        """A witness before such a wire; at its end none of its sessions is left to it."""
        return before(self.database, self.vocabulary, port=port, tls=ServerTls(mode="disable"))

    def picture(self) -> list[str]:
        """Columns and rows, asked beside the witness once the server has noticed that nobody is there any more."""
        until = time.monotonic() + GONE_WITHIN
        while self.admin.execute(ALIVE).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.002)
        found = self.admin.execute(PICTURE).fetchone()
        assert found is not None
        return list(found[0])

    def alive(self) -> int:
        """How many sessions the server has but the asking one."""
        found = self.admin.execute(ALIVE).fetchone()
        assert found is not None
        return int(found[0])

    def reset(self) -> None:
        """As it was before."""
        self.admin.execute(AS_IT_WAS)

    def record(self, driver: str, ending: str, argv: list[str], variables: dict[str, str]) -> Recording:
        """The driver's conversation over a wire without faults; made once."""
        if found := self.recordings.get((driver, ending)):
            return found
        wire = self.wire()
        with wire.open() as port:
            for witnessed in self.behind(port):
                environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.folder), **variables}
                done = subprocess.run(
                    [*argv, driver, ending, "neither"],
                    cwd=self.folder,
                    env={**environment, "DATABASE_URL": witnessed.url()},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
                assert witnessed.verdict().word is (Word.COMMITTED if ending == LANDS else Word.NOTHING)
        self.picture()
        self.reset()
        recording = self.recordings[driver, ending] = Recording.of(wire.passed)
        return recording


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The worker's database."""
    folder = tmp_path_factory.mktemp("witness")
    with shared_server() as server:
        for database in make(server, folder):
            database.execute(*SETUP)
            with psycopg.connect(
                database.server.url(database.name, database.owner, "secret"), autocommit=True
            ) as connection:
                connection.add_notice_handler(lambda _: None)
                found = connection.execute(PICTURE).fetchone()
                assert found is not None
                yield Scene(
                    database=database,
                    folder=folder,
                    admin=connection,
                    vocabulary=vocabulary(database),
                    before=list(found[0]),
                )


@dataclass(kw_only=True)
class Stand:
    """Plays a recorded conversation with a fault, and judges what the witness says of it."""

    scene: Scene
    recorder: Recorder
    driver: str
    ending: str
    recording: Recording

    def play(self, fault: Fault | None) -> Cell:
        """One cell. Without a fault it is to be played to its end, and the word is to be exact."""
        began = time.monotonic()
        wire = self.scene.wire(fault)
        leave = wire.fired.is_set if fault and fault.what is Break.LEFT else lambda: False
        with wire.open() as port:
            for witnessed in self.scene.behind(port):
                whole = Player(witnessed.entrance, self.scene.database.name, leave).play(self.recording)
                seen = witnessed.seen()
        picture, word = self.scene.picture(), verdict(seen).word
        cell = Cell(
            group="witness",
            fault=f"{fault.what} {fault.direction}" if fault else "none",
            scenario=f"{self.driver}, {self.ending}",
            n=fault.n if fault else 0,
            fired=wire.fired.is_set(),
            outcomes=[word],
        )
        exact = fault is None or not cell.fired or fault.what is Break.LATE
        cell.broken = list(broken(word, changed=picture != self.scene.before, exact=exact and cell.fired))
        cell.broken += [f"{len(seen.open)} sessions have not ended"] if seen.open else []
        cell.broken += [f"S8: {left} sessions live on the server"] if (left := self.scene.alive()) else []
        cell.broken += ["it was not played to its end"] if exact and not whole else []
        if picture != self.scene.before:
            self.scene.reset()
        cell.seconds = round(time.monotonic() - began, 2)
        self.recorder.add(cell)
        return cell

    def loop(self, what: Break, direction: Direction, *, first: int) -> Iterator[Cell]:
        """The fault at the first message, the second, and so on, until there is none left."""
        for n in itertools.count(first):
            cell = self.play(Fault(what=what, direction=direction, n=n))
            yield cell
            if not cell.fired:
                return


def broken(word: Word, *, changed: bool, exact: bool) -> Iterator[str]:
    """What the word and the database do not agree in."""
    if changed and word is Word.NOTHING:
        yield "S1: the witness says nothing, and the database has something new"
    if not changed and word is Word.COMMITTED:
        yield "the witness says committed, and the database is as before"
    if exact and word is Word.UNKNOWN:
        yield "the witness says unknown of what it saw from its beginning to its end"


@pytest.fixture
def stand(request: pytest.FixtureRequest, scene: Scene, recorder: Recorder) -> Callable[[str, str], Stand]:
    """Makes a stand for a driver's migration. The greeting is the same for all drivers, and one of them has it."""

    def made(driver: str, ending: str) -> Stand:
        recording = scene.record(driver, ending, *command(request, driver))
        return Stand(scene=scene, recorder=recorder, driver=driver, ending=ending, recording=recording)

    return made


CASES = [
    (driver, ending, what, direction)
    for what in Break
    for driver in DRIVERS
    for direction in Direction
    for ending in (LANDS, UNDONE)
    if ending == LANDS or what in {Break.CUT, Break.LEFT}
]
"""What is rolled back is cut in two ways only: to the witness they are all there are, and the others take as long."""


@pytest.mark.parametrize("ending", [LANDS, UNDONE])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_conversation_without_a_fault_is_judged_exactly(
    stand: Callable[[str, str], Stand], driver: str, ending: str
) -> None:
    cell = stand(driver, ending).play(None)
    assert not cell.broken, cell
    assert cell.outcomes == [Word.COMMITTED if ending == LANDS else Word.NOTHING]


@pytest.mark.thin(4)
@pytest.mark.parametrize(("driver", "ending", "what", "direction"), CASES, ids=[", ".join(case) for case in CASES])
def test_at_any_message_the_wire_may_break(
    stand: Callable[[str, str], Stand], driver: str, ending: str, what: Break, direction: Direction
) -> None:
    stood = stand(driver, ending)
    greeting = stood.recording.greeting
    cells = list(stood.loop(what, direction, first=1 if driver == PYTHON[0] else greeting[direction] + 1))
    bad = [str(cell) for cell in cells if cell.broken]
    assert not bad, "\n" + "\n".join(bad)
    inside = [cell.outcomes[0] for cell in cells if cell.fired and cell.n > greeting[direction]]
    assert len(inside) > 10
    assert ending == LANDS or inside.count(Word.NOTHING) >= MOSTLY * len(inside), inside


def lost_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server has not answered is taken for rolled back."""
    monkeypatch.setattr(Conversation, "_may_have_committed", lambda _: False)


def asked_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may have committed is taken for committed."""
    settle = Conversation._settle

    def sure(self: Conversation, ending: Ending) -> None:
        settle(self, Ending.COMMITTED if ending is Ending.UNKNOWN else ending)

    monkeypatch.setattr(Conversation, "_settle", sure)


def all_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement is taken for a read."""
    monkeypatch.setattr(Statement, "reads", lambda *_: True)


def never_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """It always says that it does not know, which is never wrong and of no use."""
    ended = Conversation.ended

    def doubting(self: Conversation) -> None:
        self.doubt("who knows")
        ended(self)

    monkeypatch.setattr(Conversation, "ended", doubting)


BROKEN = {
    "a lost answer is a rollback": (lost_is_rolled_back, LANDS, Break.CUT, Direction.SERVER, "S1"),
    "a question is an answer": (asked_is_done, LANDS, Break.HALF, Direction.CLIENT, "the witness says committed"),
    "everything is a read": (all_is_read, LANDS, Break.LATE, Direction.CLIENT, "S1"),
    "never sure": (never_sure, UNDONE, Break.LATE, Direction.CLIENT, "the witness says unknown"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_witness_with_a_mistake_is_caught(
    stand: Callable[[str, str], Stand], recorder: Recorder, monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    twist, ending, what, direction, sentence = BROKEN[mistake]
    stood = replace(stand(PYTHON[0], ending), recorder=Recorder(None))
    twist(monkeypatch)
    cells = stood.loop(what, direction, first=stood.recording.greeting[direction] + 1)
    caught = [cell for cell in cells if any(each.startswith(sentence) for each in cell.broken)]
    recorder.add(Cell(group=BROKEN_HOOK, fault=mistake, scenario=stood.ending, broken=[str(each) for each in caught]))
    assert caught
