"""One session's conversation: which statement each of the server's answers is about, and how each transaction ended.

The server answers in the order in which it is asked, so what the client has sent is queued and each answer is matched
with the head of the queue. What a prepared statement's name stands for is decided when the server has answered, too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

from msgspec import Struct

from release.witness.protocol import Message, server_error, texts
from release.witness.statement import PREPARED, UNKNOWN, Statement, statements
from release.witness.touched import ANY, NONE, Touched
from release.witness.verdict import SLOWEST, Complaint, Ending, Ran, Seen
from release.witness.vocabulary import Vocabulary

NOT_ASCII_SAFE: Final = frozenset({"BIG5", "GB18030", "GBK", "JOHAB", "SJIS", "SHIFT_JIS_2004", "UHC"})
"""Encodings in which a byte of a longer character may look like a quote or a backslash (PG_ENCODING_BE_LAST)."""

NOT_UNDERSTOOD: Final = "the witness lost track of the conversation"

IN_FAILED_TRANSACTION: Final = "25P02"
"""The SQLSTATE of what is asked in a transaction that has failed (errcodes-appendix.html)."""

_READY: Final = b"QSF"
"""What the server answers with ReadyForQuery: Query, Sync, FunctionCall."""


class _Asked(Struct, kw_only=True):
    """What the client has asked: the message's type, names in it, its statements, when, and how many are answered."""

    kind: int
    at: float
    name: bytes = b""
    source: bytes = b""
    statements: tuple[Statement, ...] = ()
    answered: int = 0

    @property
    def left(self) -> tuple[Statement, ...]:
        return self.statements[self.answered :]


class Conversation:
    """Follows both directions of a session. All times are seconds of the given clock."""

    def __init__(self, *, clock: Callable[[], float], vocabulary: Vocabulary) -> None:
        self._clock = clock
        self._vocabulary = vocabulary
        self._queue: deque[_Asked] = deque()
        self._names: dict[bytes, Statement] = {}
        self._portals: dict[bytes, Statement] = {}
        self._settings = {b"standard_conforming_strings": b"on", b"client_encoding": b"UTF8"}
        self._skipping = self._copying = False
        self._any = self._wrote = self._failed = self._block = False
        self._touched = self._touched_now = NONE
        self._answered_at = 0.0
        self._endings: Counter[Ending] = Counter()
        self._statements = self._errors = 0
        self._complaints: tuple[Complaint, Complaint] | None = None
        self._slowest: list[Ran] = []
        self._doubts: dict[str, None] = {}
        self._open = True
        self._server = {
            ord("1"): self._parsed,
            ord("2"): self._bound,
            ord("3"): self._closed,
            ord("n"): self._described,
            ord("T"): self._described,
            ord("C"): self._completed,
            ord("I"): self._emptied,
            ord("s"): self._suspended,
            ord("V"): self._called,
            ord("G"): self._copies_in,
            ord("W"): self._copies_in,
            ord("E"): self._complained,
            ord("Z"): self._ready,
            ord("S"): self._told,
        }

    @property
    def busy(self) -> bool:
        """Whether the server still has something to answer, other than by closing."""
        return any(asked.kind in _READY for asked in self._queue)

    @property
    def copying(self) -> bool:
        """Whether the server waits for the client's COPY data."""
        return self._copying

    def from_client(self, messages: Iterable[Message]) -> None:
        """Takes what the client has sent, before the server gets the end of it."""
        for message in messages:
            kind = message.kind
            if kind in b"cf":
                self._copied(kind)
            elif kind == ord("S"):
                if not self._copying:
                    self._skipping = False
                    self._queue.append(_Asked(kind=kind, at=self._clock()))
            elif not self._skipping and kind != ord("X"):
                self._queue.append(self._asked(message))

    def from_server(self, messages: Iterable[Message]) -> None:
        """Takes what the server has answered, before the client gets it."""
        for message in messages:
            self._server[message.kind](message)

    def ended(self) -> None:
        """The server has closed: nothing of it is to come. May be called again."""
        if not self._open:
            return
        if self._any or self._queue:
            if self._may_have_committed():
                self._touch(ANY)
                self._settle(Ending.UNKNOWN)
            else:
                self._settle(Ending.ROLLED_BACK)
        self._queue.clear()
        self._open = False

    def doubt(self, why: str) -> None:
        """Nothing sure can be said of this session any more."""
        self._doubts[why] = None
        self._touched = ANY

    def refused(self, sqlstate: str, text: str) -> None:
        """The witness itself has said no, since the server could not be reached or not be trusted."""
        self._complain(Complaint(at=self._clock(), sqlstate=sqlstate, text=text, shape=None))

    def seen(self, pid: int | None) -> Seen:
        """What was seen so far of the session of this server process; None: the server did not let it in."""
        first, last = self._complaints or (None, None)
        return Seen(
            sessions=int(pid is not None),
            refused=int(pid is None and self._errors > 0),
            open=(pid,) if self._open and pid is not None else (),
            transactions=dict(self._endings),
            statements=self._statements,
            errors=self._errors,
            touched=self._touched,
            first_error=first,
            last_error=last,
            slowest=tuple(sorted(self._slowest, key=attrgetter("seconds"), reverse=True)),
            doubts=tuple(f"session {pid}: {doubt}" for doubt in list(self._doubts)),  # other threads ask
        )

    # What the client asks

    def _asked(self, message: Message) -> _Asked:
        asked = _Asked(kind=message.kind, at=self._clock())
        if message.kind == ord("Q"):
            asked.statements = self._judged(message.body.removesuffix(b"\0"), whole=message.whole)
        elif message.kind == ord("P"):
            name, _, rest = message.body.partition(b"\0")
            text, end, _ = rest.partition(b"\0")
            asked.name, asked.statements = name, self._judged(text, whole=bool(end))
        elif message.kind == ord("F"):
            asked.statements = (UNKNOWN,)
        elif message.kind in b"BE":
            names = texts(message.body, 2 if message.kind == ord("B") else 1)
            asked.name, asked.source = (*names, b"")[:2] if names else (b"\xff?", b"\xff?")
        elif message.kind in b"CD":
            asked.source, asked.name = message.body[:1], message.body[1:].removesuffix(b"\0")
        return asked

    def _judged(self, text: bytes, *, whole: bool) -> tuple[Statement, ...]:
        settings = self._settings
        encoding = settings[b"client_encoding"].decode(errors="replace").upper()
        plain = settings[b"standard_conforming_strings"] == b"on" and encoding not in NOT_ASCII_SAFE
        return statements(text, whole=whole, plain=plain, vocabulary=self._vocabulary)

    def _copied(self, kind: int) -> None:
        """The client has no more to copy. Sent before the server asked for it, it marks where Sync counts again."""
        if not self._copying and not self._skipping:
            self._queue.append(_Asked(kind=kind, at=self._clock()))
        self._copying = False

    # What the server answers

    def _first(self) -> _Asked | None:
        """What the server answers next. The end of a COPY that it did not ask for is ignored."""
        while self._queue and self._queue[0].kind in b"cf":
            self._queue.popleft()
        return self._queue[0] if self._queue else None

    def _head(self, kinds: bytes) -> _Asked | None:
        """What the server's answer is about; None, and a doubt, when it is none of these kinds."""
        asked = self._first()
        if asked is None or asked.kind not in kinds:
            self.doubt(NOT_UNDERSTOOD)
            return None
        return asked

    def _take(self, kinds: bytes) -> _Asked | None:
        asked = self._head(kinds)
        if asked is not None:
            self._queue.popleft()
        return asked

    def _parsed(self, _: Message) -> None:
        if asked := self._take(b"P"):
            # The protocol allows one statement in a Parse; an empty one answers EmptyQueryResponse.
            self._names[asked.name] = asked.statements[0] if asked.statements else Statement(shape="", tag="")
            if len(asked.statements) > 1:
                self._names[asked.name] = UNKNOWN

    def _bound(self, _: Message) -> None:
        if asked := self._take(b"B"):
            bound = self._portals[asked.name] = self._names.get(asked.source, UNKNOWN)
            # A named portal can be run by a FETCH, which does not say what it runs.
            if asked.name and bound.tag is None:
                self._any = self._wrote = True
                self._touch(bound.touched)

    def _closed(self, _: Message) -> None:
        if asked := self._take(b"C"):
            (self._names if asked.source == b"S" else self._portals).pop(asked.name, None)

    def _described(self, _: Message) -> None:
        asked = self._first()
        if asked is not None and asked.kind == ord("D"):
            self._queue.popleft()

    def _completed(self, message: Message) -> None:
        tag = message.body.removesuffix(b"\0").decode(errors="replace")
        asked = self._head(b"QE")
        if asked is None:
            self._complete(UNKNOWN, tag, self._clock())
            return
        self._complete(self._answered(asked), tag, asked.at)

    def _answered(self, asked: _Asked) -> Statement:
        """The statement that an answer is about: a Query's next one, or the one of an Execute's portal."""
        if asked.kind == ord("E"):
            self._queue.popleft()
            return self._portals.get(asked.name, UNKNOWN)
        asked.answered += 1
        return asked.statements[asked.answered - 1] if asked.answered <= len(asked.statements) else UNKNOWN

    def _emptied(self, _: Message) -> None:
        if (asked := self._head(b"QE")) and asked.kind == ord("E"):
            self._queue.popleft()

    def _suspended(self, _: Message) -> None:
        """A portal's first rows: what it does has begun, and the rest may never be asked for."""
        if asked := self._take(b"E"):
            statement = self._portals.get(asked.name, UNKNOWN)
            self._any = True
            self._wrote |= statement.tag is None
            self._touch(statement.touched)
            self._note(statement)

    def _called(self, _: Message) -> None:
        self._head(b"F")
        self._any = self._wrote = True
        self._touch(ANY)
        self._statements += 1

    def _copies_in(self, _: Message) -> None:
        """The server takes COPY data now, and ignores a Sync among it."""
        self._copying = True
        asked = self._head(b"QE")
        if asked is None or asked.kind == ord("Q"):
            return
        while len(self._queue) > 1 and self._queue[1].kind in b"Scf":
            ended = self._queue[1].kind != ord("S")
            del self._queue[1]
            if ended:
                self._copying = False
                return

    def _complained(self, message: Message) -> None:
        error = server_error(message.body)
        asked = self._first()
        statement = self._failing(asked)
        shape = statement.shape if statement else None
        self._complain(
            Complaint(at=self._clock(), sqlstate=error.sqlstate, text=error.text, detail=error.detail, shape=shape)
        )
        if error.ends or asked is None:
            return
        self._any = self._failed = True
        self._copying = False
        if statement is not None:
            self._statements += 1
            self._measure(statement, asked.at, None)
            self._note(statement)
            if statement.by_itself and not self._block:
                self.doubt(f"it failed midway, where a part may stay: {statement.shape}")
        if asked.kind not in _READY:
            self._skip()

    def _failing(self, asked: _Asked | None) -> Statement | None:
        if asked is None or asked.kind in b"SC":
            return None
        if asked.kind == ord("E"):
            return self._portals.get(asked.name, UNKNOWN)
        if asked.kind == ord("B"):
            return self._names.get(asked.source)
        return asked.left[0] if asked.left else None

    def _skip(self) -> None:
        """After an error the server ignores everything up to the next Sync."""
        while self._queue and self._queue[0].kind != ord("S"):
            self._queue.popleft()
        self._skipping = not self._queue

    def _ready(self, message: Message) -> None:
        asked = self._first()
        if asked is not None and asked.kind in _READY:
            self._queue.popleft()
        elif not self._skipping and (asked is not None or self._statements):
            self.doubt(NOT_UNDERSTOOD)
        self._skipping = False
        self._block = message.body != b"I"
        if not self._block:
            self._portals.clear()
            if self._any:
                self._settle(Ending.ROLLED_BACK if self._failed else Ending.COMMITTED)

    def _told(self, message: Message) -> None:
        if (pair := texts(message.body, 2)) and pair[0] in self._settings:
            self._settings[pair[0]] = pair[1]

    # What it means

    def _complete(self, statement: Statement, tag: str, asked_at: float) -> None:
        verb = tag.split(" ", maxsplit=1)[0]
        self._statements += 1
        self._any = True
        self._wrote |= not statement.reads(tag)
        self._touch(statement.touched if statement.tag is None or statement.reads(tag) else ANY)
        self._note(statement)
        self._measure(statement, asked_at, tag)
        if verb in {"PREPARE", "DEALLOCATE", "DISCARD"}:
            self._names.clear()
        if tag.endswith(PREPARED) or tag == "COMMIT":
            self._settle(Ending.COMMITTED)
        elif tag == "ROLLBACK":
            self._rolled_back(statement)
        elif tag in {"BEGIN", "START TRANSACTION"}:
            self._block = True
        elif statement.by_itself and not self._block:
            self._settle(Ending.COMMITTED)

    def _rolled_back(self, statement: Statement) -> None:
        """A COMMIT that failed and a ROLLBACK answer alike; so does a ROLLBACK TO, which undoes only a part."""
        if statement.to_savepoint or statement.tag is None:
            self._failed = False
            if self._touched_now.made:  # which of these are still there is not known
                self._touch(ANY)
        else:
            self._settle(Ending.ROLLED_BACK)

    def _note(self, statement: Statement) -> None:
        if statement.outlasts:
            touched = self._touched
            self.doubt(f"no rollback undoes {statement.outlasts.rstrip(' (')}: {statement.shape}")
            if statement.touched != ANY:  # it has moved a sequence, say, and written to no table
                self._touched = touched

    def _touch(self, touched: Touched) -> None:
        """Notes to which tables the transaction may have written. Those that the session has made are known to it."""
        self._touched_now = self._touched_now.then(touched)

    def _settle(self, ending: Ending) -> None:
        if ending is not Ending.ROLLED_BACK:
            self._touched = self._touched.then(self._touched_now)
        self._touched_now = NONE
        if ending is Ending.COMMITTED and not self._wrote:
            ending = Ending.READ
        self._endings[ending] += 1
        self._any = self._wrote = self._failed = self._block = False

    def _may_have_committed(self) -> bool:
        """Whether something that the server has not answered may have committed something."""
        ahead = [statement for asked in self._queue for statement in self._ahead(asked)]
        commits = any(statement.ends for statement in ahead) or (
            not self._block and any(asked.kind in _READY for asked in self._queue)
        )
        wrote = self._wrote and not self._failed
        return commits and (wrote or any(statement.tag is None for statement in ahead))

    def _ahead(self, asked: _Asked) -> tuple[Statement, ...]:
        if asked.kind == ord("B"):
            return (self._names.get(asked.source, UNKNOWN),)
        return (self._portals.get(asked.name, UNKNOWN),) if asked.kind == ord("E") else asked.left

    def _measure(self, statement: Statement, asked_at: float, tag: str | None) -> None:
        now = self._clock()
        seconds = now - max(asked_at, self._answered_at)
        self._answered_at = now
        if len(self._slowest) < SLOWEST or seconds > self._slowest[0].seconds:
            count = (tag or "").rpartition(" ")[2]
            ran = Ran(shape=statement.shape, seconds=seconds, rows=int(count) if count.isdigit() else None)
            self._slowest = sorted([*self._slowest, ran], key=attrgetter("seconds"))[-SLOWEST:]

    def _complain(self, complaint: Complaint) -> None:
        self._errors += 1
        if self._complaints and complaint.sqlstate == IN_FAILED_TRANSACTION:
            return  # which says that there was another error, and that one is known
        self._complaints = (self._complaints[0] if self._complaints else complaint, complaint)
