"""The memory of what landed: where the app cannot say whether something is pending, the same code again has nothing.

"The same" must never be said falsely, since the new release would then run without its migration. So the newest run in
the journal has to be a release of this app that landed, with the same code and the same commands; and since then
neither the structure nor any history of migrations may have changed, in this very database.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

import msgspec

from release.app.code import code_of
from release.app.command import Commands
from release.database.entry import Entry, State
from release.database.landed import Landed, database_of, landed
from release.database.session import Failed, translated
from release.errors import Outcome, StepFailed
from release.protected.before import take_fingerprint
from release.run import Run

STEERING: Final = re.compile(
    "^(?!RELEASE_).*(MIGRAT|SCHEMA)|_ENV$|^PGOPTIONS$"
    "|^(AERICH|ALEMBIC|DBMATE|DJANGO|DRIZZLE|FLASK|FLYWAY|GOOSE|KNEX|LIQUIBASE|PRISMA|RAILS|SEQUELIZE|SPRING|SQITCH"
    "|TYPEORM|YOYO)_"
)
"""The names of variables that steer migration tools, such as FLYWAY_TARGET and RAILS_ENV."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the journal remembers about this code. `code` is None where nothing stands for it.

    `same`: this very code landed last, and nothing has changed since. `differs` says what is in the way of that, and is
    empty where no landing is remembered.
    """

    code: str | None
    same: bool = False
    differs: tuple[str, ...] = ()


def consult(run: Run, commands: Commands) -> Memory:
    """Compares this release with the one that landed last. It changes nothing. Raises Lost."""
    code = code_of(run)
    if code is None or not run.settings.app:
        return Memory(code=None)
    try:
        differs = _differences(run, commands, code)
    except Failed as error:
        differs = (f"the database could not be compared: {error}",)
    return Memory(code=code, same=differs == (), differs=differs or ())


def _differences(run: Run, commands: Commands, code: str) -> tuple[str, ...] | None:
    """Names what is not as it was at the last landing; nothing where all is the same. None: no landing is known."""
    newest = next(iter(run.journal.runs(1)), None)
    if newest is None:
        return None
    if not _has_landed(run, newest):
        return (f"the last run in the journal, {newest.run_id}, is no release of this app that landed here",)
    known = Landed.from_json(run.journal.landed(newest.run_id))
    if known is None:
        return None
    with translated():
        database = database_of(run.database.connection)
    # What costs little is compared first: to read the whole structure takes up to a second.
    quick = msgspec.structs.replace(
        known, app=run.settings.app or "", code=code, commands=_stands_for(run, commands), database=database
    )
    return tuple(known.differences(quick) or known.differences(_now(run, commands, code)))


def _has_landed(run: Run, newest: Entry) -> bool:
    """Whether a run is a release of this app, as far as is known, that landed in this very database."""
    return (
        newest.state is State.FINISHED
        and newest.outcome == Outcome.RELEASED
        and newest.fence is None
        and newest.system_id is not None
        and newest.belongs(run.settings.heroku_app_id)
    )


def remember(run: Run, commands: Commands, code: str | None) -> bytes | None:
    """Returns what the journal is to remember of a release that is about to land. None where nothing should be.

    A migration that ended well despite errors of the server is not remembered: a part of it may not have been done.
    """
    if code is None or any(account.seen.first_error for account in run.accounts):
        return None
    try:
        return _now(run, commands, code).to_json()
    except StepFailed as error:
        run.warn("landing_not_remembered", f"{error}; the next release of this code migrates again")
        return None


def _now(run: Run, commands: Commands, code: str) -> Landed:
    """Describes this release over the database as it is now. Raises Failed or Lost."""
    taken, name = take_fingerprint(run), run.settings.app or ""
    with translated():
        return landed(run.database.connection, taken, app=name, code=code, commands=_stands_for(run, commands))


def _stands_for(run: Run, commands: Commands) -> str:
    """Computes a hash of the commands' words, and of the variables that decide what these do, as far as is known.

    Those are the variables that the words name, those that steer migration tools, and the database's own URL: it may
    name another schema. Passwords are left out, since Heroku gives new ones now and then.
    """
    words = [list(commands.migrate), list(commands.pending or ())]
    named = {name for each in words for word in each for name in re.findall(r"\$\{?(\w+)", word)}
    counting = named | {run.settings.database, "DATABASE_URL"} | {name for name in run.environ if STEERING.search(name)}
    values = [(name, _without_password(run.environ.get(name))) for name in sorted(counting)]
    return blake2b(repr((words, values)).encode(), digest_size=20).hexdigest()


def _without_password(value: str | None) -> str | None:
    return value and re.sub(r"(://[^/:@]*):[^/@]*@", r"\1@", value)
