"""The log: one JSON object a line, below 10,000 bytes, without secrets, on a file descriptor that may break.

structlog carries the context and runs the processors. Nothing global is configured: a `Log` is opened at the edge and
handed down. Child output takes a shorter way to the same redactor and the same sink, because it comes by the thousand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import cached_property
from threading import RLock
from typing import Any

import msgspec

from release.clock import Clock
from release.log.events import OWN_WORDS, Event
from release.log.redact import Redactor
from release.log.shorten import plain, shorten
from release.log.sink import Sink, hold_standard_streams, last_words

# structlog imports rich, pygments and colorama for its development console where they are installed. The hook renders
# with none of them through structlog, and they cost 105 of its 220 ms and 5 MB. So they are hidden meanwhile.
_hidden = {"rich", "colorama"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_hidden))  # type: ignore[arg-type]
try:
    import structlog
finally:
    for _name in _hidden:
        del sys.modules[_name]

MAX_LINE = 9_900
"""Bytes of a line with its newline. Heroku splits lines over 10,000 bytes, whoever else puts a prefix before them."""
ROOM_FOR_OUTPUT = 8_000
"""Bytes that the line of a `command_output` event may take as JSON, quotes included."""
ROOM_FOR_HEAD = 300
"""Bytes for timestamp, level, event, stream and part; what is left is the context's."""

Fields = dict[str, Any]
Render = Callable[[Mapping[str, Any]], str]
"""A function that turns an event (redacted, plain values) into text for people, newlines included; it may be empty."""
Observe = Callable[[Mapping[str, Any]], None]
"""A function that is shown every event but `command_output`, as it was given; it must not raise."""

_encode = msgspec.json.Encoder().encode


class _Writer:
    """What structlog wraps: it takes finished lines to the sink, and the last one to stderr when the sink is broken."""

    def __init__(
        self, sink: Sink, redactor: Redactor, clock: Clock, render: Render | None, observe: Observe | None
    ) -> None:
        self.sink = sink
        self.redactor = redactor
        self.clock = clock
        self.render = render
        self.observe = observe
        self.turn = RLock()
        """Held while one event is written: questions that are asked side by side log in threads of their own."""
        self.ended = False
        """Whether the last line is written. What a thread that nobody waits for has to say comes too late then."""

    def timestamp(self) -> str:
        return self.clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def line(self, line: bytes, *, last: bool) -> None:
        self.ended = last
        if not self.sink.write(line, insist=last) and last:
            last_words(line.decode())

    def checked(self, lines: bytes) -> bytes:
        """Looks once more through lines that were redacted as text, now as they will be written.

        A secret that is found now came together by the encoding itself. Redacting JSON can break it, and a line that is
        broken by it gives way to one that only says so.
        """
        if not self.redactor.leaks(lines):
            return lines
        return b"".join(self._cleaned(line) + b"\n" for line in lines.split(b"\n")[:-1])

    def _cleaned(self, line: bytes) -> bytes:
        line = self.redactor.data(line)
        try:
            msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            why = "a line was withheld, because a secret is part of it that is no text"
            head = {"timestamp": self.timestamp(), "level": "warning", "event": Event.WARNING_RAISED}
            return _encode({**head, "why": why})
        return line


class Log(structlog.BoundLoggerBase):
    """The log as the hook uses it: `log.info(Event.STEP_STARTED, backup="b012")`.

    `log.bind(step="backup")` returns a log with fields that stay. Logging never raises. Fields may hold anything: what
    JSON does not know is written as `str()` of it.
    """

    _logger: _Writer

    def info(self, event: Event, **fields: object) -> None:
        """Logs that something happened as it should."""
        self._log("info", event, fields)

    def warning(self, event: Event, **fields: object) -> None:
        """Logs what somebody should look at, while the run goes on."""
        self._log("warning", event, fields)

    def error(self, event: Event, **fields: object) -> None:
        """Logs that a step or the run failed. `exc_info=error` adds the traceback as `exception`."""
        self._log("error", event, fields)

    def command_output(self, lines: Sequence[str], *, clean: bool = False, **fields: str | int) -> Sequence[str]:
        """Logs one `command_output` event for each line; returns the lines as they were logged, redacted.

        A line must take at most `ROOM_FOR_OUTPUT` bytes as JSON (child/output.py sees to it). `clean` lines have been
        redacted already.
        """
        writer = self._logger
        if writer.render is not None:
            lines = writer.redactor.text("\n".join(lines)).split("\n")
            for line in lines:
                self._log("info", Event.COMMAND_OUTPUT, {**fields, "line": line})
            return lines
        data = self._output_events(lines, fields)
        if not clean and writer.redactor.suspects(data):
            lines = [shorten(line, ROOM_FOR_OUTPUT) for line in writer.redactor.text("\n".join(lines)).split("\n")]
            data = writer.checked(self._output_events(lines, fields))
        with writer.turn:
            writer.sink.write(data)
        return lines

    @property
    def redactor(self) -> Redactor:
        """What keeps the secrets out, for text that goes elsewhere than into the log."""
        return self._logger.redactor

    @property
    def dropped(self) -> int:
        """How many lines could not be written."""
        return self._logger.sink.dropped

    def hurry(self) -> None:
        """Shortens all waits for whoever reads the log: a signal came, and time is short."""
        self._logger.sink.hurry()

    def last_words(self, text: str) -> None:
        """Writes a text on stderr, redacted. A failure to do so is ignored."""
        last_words(self._logger.redactor.text(text))

    def _log(self, level: str, event: Event, fields: Fields) -> None:
        with self._logger.turn:
            if self._logger.ended:
                return
            try:
                args, _ = self._process_event(level, event, fields)
                line = args[0]
            except Exception as error:  # noqa: BLE001 -- a log must not raise into the work it reports on
                line = _encode({**self._head(level, event), "unprintable": type(error).__name__}) + b"\n"
            self._logger.line(line, last=event is Event.RELEASE_FINISHED)

    def _head(self, level: str, event: Event) -> Fields:
        return {"timestamp": self._logger.timestamp(), "level": level, "event": str(event)}

    def _output_events(self, lines: Sequence[str], fields: Mapping[str, str | int]) -> bytes:
        head = _encode(self._head("info", Event.COMMAND_OUTPUT))
        start = b'%b%b,%b,"line":' % (head[:-1], self._context_as_json, _encode(fields)[1:-1])
        return start + (b"}\n" + start).join(map(_encode, lines)) + b"}\n"

    @cached_property
    def _context_as_json(self) -> bytes:
        """The context as it stands within an object, with a comma before it."""
        context = shorten(plain(self._context, self.redactor.text), MAX_LINE - ROOM_FOR_OUTPUT - ROOM_FOR_HEAD)
        return b"," + _encode(context)[1:-1] if context else b""


def open_log(
    *,
    fd: int = 1,
    secrets: Iterable[str] = (),
    clock: Clock | None = None,
    render: Render | None = None,
    observe: Observe | None = None,
    patience: float = 5.0,
    **context: object,
) -> Log:
    """Opens a log on a file descriptor, with the fields that every line has: `run_id`, `app`, `release`.

    `patience` is how many seconds a reader may stop before lines are dropped. Closed standard streams are filled with
    /dev/null, so this has to come before the first connection is opened.
    """
    sink = Sink(fd, patience=patience)  # before the gap is filled: a closed stdout is to be known as such
    hold_standard_streams()
    writer = _Writer(sink, Redactor(secrets, spare=OWN_WORDS), clock or Clock(), render, observe)
    processors: list[structlog.typing.Processor] = [
        structlog.processors.format_exc_info,
        _with_head,
        _observed,
        _made_plain,
        _rendered,
    ]
    log: Log = structlog.wrap_logger(writer, processors=processors, wrapper_class=Log, context_class=dict).bind(
        **context
    )
    return log


def _with_head(writer: _Writer, level: str, event: MutableMapping[str, Any]) -> Fields:
    name = str(event.pop("event"))
    return {"timestamp": writer.timestamp(), "level": level, "event": name, **event}


def _observed(writer: _Writer, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if writer.observe is not None and event["event"] != Event.COMMAND_OUTPUT:
        writer.observe(event)
    return event


def _made_plain(_writer: _Writer, _level: str, event: MutableMapping[str, Any]) -> Fields:
    result: Fields = plain(event, _valid)
    return result


def _rendered(writer: _Writer, _level: str, event: MutableMapping[str, Any]) -> bytes:
    if writer.render is not None:
        return writer.render(plain(event, writer.redactor.text)).encode("utf-8", "replace")
    line = _encode(event) + b"\n"
    if len(line) <= MAX_LINE and not writer.redactor.suspects(line):
        return line
    # Redacted first: half a secret would not be known for one.
    return writer.checked(_encode(shorten(plain(event, writer.redactor.text), MAX_LINE - 1)) + b"\n")


def _valid(text: str) -> str:
    """Replaces lone surrogates, which UTF-8 cannot hold, by question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
