"""The witness of an app's command: it stands between the command and the database, and tells what was committed.

The command gets an environment in which every URL of a Postgres database leads to the witness, with a password that is
good for nothing else. Whatever fails in here costs a doubt and nothing more: the verdict is `unknown`, and the evidence
in the database decides.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from release.app.arrivals import Arrivals
from release.child.beside import Beside
from release.child.process import Running
from release.child.sockets import own_ports
from release.clock import Clock, Deadline
from release.database.journal import Journal
from release.database.others import others, wait_until_gone
from release.database.reach import reach
from release.database.session import Database
from release.errors import ReleaseError
from release.run import Run, hook_name
from release.settings.model import Switch
from release.settings.urls import LOOPBACK
from release.witness.environment import Destination, destinations, rewritten
from release.witness.relay import Entrance, Relay
from release.witness.session import Opened
from release.witness.tls import Certificate, ServerTls
from release.witness.verdict import NOT_ENDED, Account, Ending, Seen, Verdict, Word, verdict
from release.witness.vocabulary import VOCABULARY, Vocabulary

LOOK_EVERY: Final = 0.05
"""Seconds between two looks for connections beside the witness."""

PATIENCE: Final = 5.0
"""Seconds in which sessions have to end once their client is gone. It is part of what Heroku leaves after SIGTERM."""

SHARE: Final = 10
"""How much longer the pause between two looks is than a look, at least: tables of sockets can be long."""

Timeouts = tuple[tuple[str, str], ...]
"""Settings of the server for each session, by name."""


class Place(Struct, frozen=True, kw_only=True):
    """Where the protected database is: the host and the port in its URL, and its name there."""

    host: str
    port: int
    database: str

    def is_at(self, destination: Destination) -> bool:
        """Whether a URL leads to the server itself, without a pooler between."""
        return (destination.upstream.host.casefold(), destination.upstream.port) == (self.host, self.port)

    def leads_here(self, destination: Destination) -> bool:
        """Whether a URL leads to the protected database, be it through a pooler, which has a port of its own."""
        same_host = destination.upstream.host.casefold() == self.host
        return destination.database == self.database and (same_host or self.host not in LOOPBACK)


class Witness:
    """The witness of one command. `environ` is what the command is given."""

    def __init__(self, run: Run, stack: ExitStack, environ: Mapping[str, str], timeouts: Timeouts) -> None:
        self._run = run
        self._stack = stack
        self._place = _place(run)
        self._blind: str | None = None
        self._notes = _Notes(run)
        stack.callback(self._notes.close)
        self._here = self._relay(self._notes.note)
        self._elsewhere: dict[str, tuple[Destination, Relay]] = {}
        found, self._unreplaced = destinations(environ)
        vocabulary = _vocabulary(run)
        entrances = {each: self._entrance(each, timeouts, vocabulary) for each in found}
        self.variables = sorted(name for destination in found for name in destination.names)
        self.environ: Mapping[str, str] = rewritten(environ, entrances, self._root_certificate)
        self._beside = Beside(self._servers(found), own=self._own_ports, container=self._in_a_dyno)
        # All of a dyno's sockets are seen, so there is nothing to count.
        self._arrivals = None if self._in_a_dyno else Arrivals(run)

    def _relay(self, opened: Callable[[Opened], None] = lambda _: None) -> Relay:
        relay = Relay(opened=opened, certificate=_certificate(), patience=PATIENCE)
        return self._stack.enter_context(relay)

    def _entrance(self, destination: Destination, timeouts: Timeouts, vocabulary: Vocabulary) -> Entrance:
        """Opens an entrance for a destination. What is committed elsewhere is counted by itself."""
        if not self._place.leads_here(destination):
            relay = self._relay()
            self._elsewhere[", ".join(destination.names)] = (destination, relay)
            return relay.listen(destination.upstream)
        upstream = replace(destination.upstream, tls=_as_safe_as_the_hook(destination))
        if self._place.is_at(destination):  # a pooler refuses settings that it does not know, and has pids of its own
            upstream = replace(upstream, settings=timeouts)
            self._notes.direct.add((upstream.host, upstream.port))
        return self._here.listen(upstream, vocabulary)

    def _servers(self, found: list[Destination]) -> set[tuple[str, int]]:
        upstreams = (destination.upstream for destination in found if self._place.leads_here(destination))
        return {
            *((upstream.host, upstream.port) for upstream in upstreams),
            (self._place.host, self._place.port),
            *self._run.database.address(),  # names may lead elsewhere by now
        }

    @property
    def _in_a_dyno(self) -> bool:
        """Whether all sockets here are the hook's and the command's. Beside a local server there are others', too."""
        return "DYNO" in self._run.environ and self._place.host not in LOOPBACK

    def _own_ports(self) -> frozenset[int]:
        relays = (self._here, *(relay for _, relay in self._elsewhere.values()))
        return own_ports(_open_files()).union(*(relay.ports() for relay in relays))

    def _root_certificate(self) -> Path:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="release-witness-"))
        path = Path(folder) / "root.crt"
        path.write_bytes(self._here.root_certificate)
        return path

    @contextmanager
    def watching(self, running: Running) -> Iterator[None]:
        """Looks for connections beside the witness for as long as the block lasts."""
        over = threading.Event()

        def look() -> None:
            took = self._look(running)
            while not over.wait(max(LOOK_EVERY, SHARE * took)):
                took = self._look(running)

        thread = threading.Thread(target=look, name="beside the witness", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, running: Running) -> float:
        """Looks once. Returns the seconds that it took."""
        began = time.perf_counter()
        try:
            self._beside.look(running.pids())
        except Exception as error:  # noqa: BLE001 -- whatever it is, it costs a doubt and nothing more
            self._blind = f"the command's processes could not be looked at: {type(error).__name__}"
        return time.perf_counter() - began

    def account(self) -> Account:
        """Sees all sessions to their end, and tells what was committed in them."""
        self._beside.look(set())
        seen = self._here.end()
        elsewhere = {names: relay.end() for names, (_, relay) in self._elsewhere.items()}
        beside = self._beside_it(elsewhere)
        found = self._verdict(seen, elsewhere, beside)
        return Account(
            seen=seen,
            verdict=found,
            elsewhere=self._committed(elsewhere),
            written=() if found.word is Word.NOTHING else self._written(seen, elsewhere, beside),
            variables=tuple(self.variables),
        )

    def _beside_it(self, elsewhere: Mapping[str, Seen]) -> list[str]:
        """Returns why something may have gone past the witness, as far as sockets and the environment tell."""
        doubts = [*self._beside.found, *self._maybe_here(elsewhere)]
        doubts += [blind for blind in (self._blind, self._beside.blind) if blind]
        if self._unreplaced:
            doubts.append(f"it could not stand behind {', '.join(self._unreplaced)}")
        return doubts

    def _verdict(self, seen: Seen, elsewhere: Mapping[str, Seen], beside: list[str]) -> Verdict:
        """The word on the sessions, unless something may have gone past the witness.

        A command that opened no session at all has surely committed nothing only where all others can be told.
        """
        found = verdict(seen)
        if found.word is Word.COMMITTED:
            return found
        absent = not seen.sessions and not seen.doubts
        doubts = [*([] if absent else found.why), *beside]
        if not doubts and self._arrivals:
            doubts += self._came_beside(self._arrivals, _sessions(seen, elsewhere))
        if absent and self._arrivals and not self._arrivals.counted:
            doubts += found.why
        return Verdict(word=Word.UNKNOWN if doubts else Word.NOTHING, why=tuple(doubts))

    def _written(self, seen: Seen, elsewhere: Mapping[str, Seen], beside: list[str]) -> tuple[str, ...] | None:
        """Returns the tables to which the command may have written; None where it may have been any."""
        touched = seen.touched
        if beside or touched.unclear:
            return None
        try:
            if self._arrivals and self._others_came(self._arrivals, _sessions(seen, elsewhere)):
                return None
            return reach(self._run.database, written=touched.rows, shaped=touched.shaped)
        except ReleaseError:
            return None

    def _came_beside(self, arrivals: Arrivals, known: int) -> list[str]:
        """Returns why sessions may have come to the database past the witness, once its own have ended there, too."""
        self._wait_for_the_end()
        unexplained = arrivals.unexplained(known)
        return [unexplained] if unexplained else []

    def _others_came(self, arrivals: Arrivals, known: int) -> bool:
        """Whether others came to the database meanwhile. Who they are is not watched for, since that takes time."""
        self._wait_for_the_end()
        return not arrivals.counted or arrivals.strangers(known) > 0

    def _wait_for_the_end(self) -> None:
        """Waits until the command's sessions have ended at the server, too, where they are counted."""
        clock = Clock()  # a signal must not cut this short: what it finds decides whether there is anything to undo
        wait_until_gone(
            self._run.database,
            lambda session: session.key in self._notes.keys,
            clock=clock,
            deadline=Deadline(clock, PATIENCE),
        )

    def _committed(self, elsewhere: Mapping[str, Seen]) -> tuple[str, ...]:
        """Returns the variables of other databases in which something was, or may have been, committed."""
        endings = (Ending.COMMITTED, Ending.UNKNOWN)
        return tuple(
            names for names, seen in elsewhere.items() if any(seen.transactions.get(ending) for ending in endings)
        )

    def _maybe_here(self, elsewhere: Mapping[str, Seen]) -> Iterator[str]:
        """Yields why something that was committed through another URL may have been committed in this database."""
        for names in self._committed(elsewhere):
            destination, _ = self._elsewhere[names]
            if self._is_here(destination) is not False:
                yield f"{names} may lead to the protected database, and something was committed there"

    def _is_here(self, destination: Destination) -> bool | None:
        """Whether another URL leads to the protected database after all; None where the server does not say."""
        there = Database(destination.url, application_name=hook_name(self._run.id))
        try:
            one, other = self._run.database.identity(), there.identity()
        except ReleaseError:
            return None
        finally:
            there.close()
        return (one.system, one.database) == (other.system, other.database)


class _Notes:
    """Notes in the journal which sessions are the command's, in a session of its own.

    It is called in the witness's threads. `direct` has the servers that are reached without a pooler, whose pids are
    the server's own; `keys`, what identifies the sessions that were noted.
    """

    def __init__(self, run: Run) -> None:
        self.direct: set[tuple[str, int]] = set()
        self.keys: set[tuple[int, int]] = set()
        self._run = run
        self._lock = threading.Lock()
        self._database: Database | None = None

    def note(self, opened: Opened) -> None:
        """Notes a session before its first statement passes. Raises ReleaseError."""
        if (opened.upstream.host, opened.upstream.port) not in self.direct:
            return
        with self._lock:
            database = self._connected()
            found = {other.key for other in others(database) if other.pid == opened.pid}
            if found:
                Journal(database).saw(self._run.id, found)
                self.keys |= found

    def _connected(self) -> Database:
        if self._database is None:
            url = self._run.settings.database_url
            assert url  # noqa: S101 -- the edge has checked it
            self._database = Database(url.reveal(), application_name=hook_name(self._run.id))
        return self._database

    def close(self) -> None:
        """Ends that session. Never raises."""
        if self._database is not None:
            self._database.close()


class Absent(Struct, frozen=True, kw_only=True):
    """Stands in for a witness that is not wanted or could not be set up. `why` says which."""

    environ: Mapping[str, str]
    why: str

    @contextmanager
    def watching(self, _: Running) -> Iterator[None]:
        """Looks at nothing."""
        yield

    def account(self) -> Account:
        """Knows nothing."""
        return Account(verdict=Verdict(word=Word.UNKNOWN, why=(self.why,)))


@contextmanager
def witnessed(run: Run, environ: Mapping[str, str], timeouts: Timeouts = ()) -> Iterator[Witness | Absent]:
    """Sets a witness up for a command, and adds its account to the run's when the block is left.

    Until then the account says that nothing is known. When the block is left, no session of the command lives.
    """
    place = len(run.accounts)
    run.accounts.append(NOT_ENDED)
    with ExitStack() as stack:
        witness = _witness(run, stack, environ, timeouts)
        try:
            yield witness
        finally:
            run.accounts[place] = _account(witness)


def _witness(run: Run, stack: ExitStack, environ: Mapping[str, str], timeouts: Timeouts) -> Witness | Absent:
    if run.settings.witness is Switch.OFF:
        return Absent(environ=environ, why="RELEASE_WITNESS=off")
    try:
        return Witness(run, stack, environ, timeouts)
    except (OSError, ReleaseError, ValueError) as error:
        run.warn("not_witnessed", f"the witness could not be set up: {type(error).__name__}: {error}")
        return Absent(environ=environ, why="the witness could not be set up")


@cache
def _certificate() -> Certificate:
    """Returns the one certificate of this process, for all commands."""
    return Certificate()


def expect_clients(environ: Mapping[str, str]) -> None:
    """Has the certificate made in the background, which takes 0.3 s: most clients ask for TLS by themselves."""
    if environ.get("PGSSLMODE") == "disable":
        return

    def make() -> None:
        with suppress(OSError):  # a client that asks for TLS is told then
            _certificate().made()

    threading.Thread(target=make, name="the witness's certificate", daemon=True).start()


def _account(witness: Witness | Absent) -> Account:
    try:
        return witness.account()
    except Exception as error:  # noqa: BLE001 -- whatever it is, it costs a doubt and nothing more
        why = f"the witness failed: {type(error).__name__}"
        return Account(verdict=Verdict(word=Word.UNKNOWN, why=(why,)))


def _sessions(seen: Seen, elsewhere: Mapping[str, Seen]) -> int:
    return sum(each.sessions for each in (seen, *elsewhere.values()))


def _place(run: Run) -> Place:
    url = run.settings.database_url
    parts = urlsplit(url.reveal() if url else "")
    return Place(host=(parts.hostname or "").casefold(), port=parts.port or 5432, database=run.database.name)


def _as_safe_as_the_hook(destination: Destination) -> ServerTls:
    """How the server is reached: no less safely than by the hook itself, which demands TLS of a remote server."""
    upstream = destination.upstream
    if upstream.local or upstream.tls.mode not in {"allow", "prefer"}:
        return upstream.tls
    return replace(upstream.tls, mode="require")


def _vocabulary(run: Run) -> Vocabulary:
    """Asks the server which functions surely change nothing. Raises Lost or Failed."""
    return Vocabulary.of(run.database.one(VOCABULARY))


def _open_files() -> Iterator[int]:
    """Yields this process's file descriptors; none where there is no /proc."""
    try:
        yield from map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names, not paths
    except OSError:
        return
