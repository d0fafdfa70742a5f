"""The log's lines, whole, as a reader gets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from release.child.output import LONGEST, Output
from release.clock import Clock
from release.log.events import Event
from release.log.logger import MAX_LINE, ROOM_FOR_OUTPUT, Log, Render, open_log
from release.log.shorten import plain, shorten

KEY = "HRKU-AAbbCCddEE-ff_00112233445566778899"
URL = "postgres://u7f:p0c4a5d0e1@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d9"


class StoppedClock(Clock):
    def now(self) -> datetime:
        return datetime(2026, 5, 4, 10, 11, 12, 345678, UTC)


HEAD = {"timestamp": "2026-05-04T10:11:12.345Z", "level": "info"}
CONTEXT = {"run_id": "0f3a", "app": "timeline", "release": "v42"}
PLAIN_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)


class Reader:
    """A log into a file, and its lines."""

    def __init__(self, path: Path, render: Render | None = None) -> None:
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR)
        self.log: Log = open_log(
            fd=self.fd,
            secrets=[KEY, URL, "p0c4a5d0e1", "release", "stdout", "00000000"],
            clock=StoppedClock(),
            render=render,
            run_id="0f3a",
            app="timeline",
            release="v42",
        )

    def raw(self) -> bytes:
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, size, 0)
        os.ftruncate(self.fd, 0)
        os.lseek(self.fd, 0, os.SEEK_SET)
        return data

    def events(self) -> list[dict[str, Any]]:
        lines = self.raw().split(b"\n")
        assert lines.pop() == b""
        assert all(len(line) < MAX_LINE for line in lines)
        return [json.loads(line) for line in lines]

    def lines(self) -> list[str]:
        return [event["line"] for event in self.events()]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "log")


class Odd:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_event_is_one_json_object_with_what_every_line_has_first(reader: Reader) -> None:
    reader.log.bind(step="backup").info(Event.TRANSFER_FINISHED, kind="backup", transfer="b012", duration=1.23456)
    assert reader.raw() == (
        b'{"timestamp":"2026-05-04T10:11:12.345Z","level":"info","event":"transfer_finished","run_id":"0f3a",'
        b'"app":"timeline","release":"v42","step":"backup","kind":"backup","transfer":"b012","duration":1.235}\n'
    )


def test_levels(reader: Reader) -> None:
    reader.log.info(Event.STEP_STARTED)
    reader.log.warning(Event.WARNING_RAISED)
    reader.log.error(Event.STEP_FAILED)
    assert [event["level"] for event in reader.events()] == ["info", "warning", "error"]


def test_a_bound_field_is_in_that_log_only(reader: Reader) -> None:
    reader.log.bind(step="migrate").info(Event.STEP_STARTED)
    reader.log.info(Event.RELEASE_FINISHED)
    assert [event.get("step") for event in reader.events()] == ["migrate", None]


def test_values_that_json_does_not_know_become_text(reader: Reader) -> None:
    reader.log.info(
        Event.STEP_STARTED,
        path=Path("/x"),
        odd=Odd(),
        number=2**100,
        nan=float("nan"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        took=timedelta(seconds=1.5),
        data=b"\xff\x00",
        surrogate="\udc80",
        items=(1, {2}, {"a": Event.STEP_FAILED}),
        none=None,
        error=ValueError("bad"),
        keys={(1, 2): True},
    )
    assert reader.events() == [
        HEAD
        | {"event": "step_started"}
        | CONTEXT
        | {
            "path": "/x",
            "odd": "<Odd, whose text raises RuntimeError>",
            "number": 2**100,
            "nan": "nan",
            "at": "2026-01-01T00:00:00+00:00",
            "took": 1.5,
            "data": "�\x00",
            "surrogate": "?",
            "items": [1, [2], {"a": "step_failed"}],
            "none": None,
            "error": "bad",
            "keys": {"(1, 2)": True},
        }
    ]


def test_something_endless_is_logged_too(reader: Reader) -> None:
    endless: list[object] = []
    endless.append(endless)
    reader.log.info(Event.STEP_STARTED, endless=endless)
    assert "[...]" in str(reader.events()[0]["endless"])


def test_a_traceback_is_in_the_line_without_its_secrets(reader: Reader) -> None:
    try:
        raise ConnectionError(f"cannot reach {URL}?sslkey={KEY}")
    except ConnectionError as error:
        reader.log.error(Event.STEP_FAILED, exc_info=error, error=error)
    [event] = reader.events()
    assert event["exception"].startswith("Traceback (most recent call last):\n")
    assert event["exception"].endswith("ConnectionError: cannot reach [redacted]?sslkey=[redacted]")
    assert event["error"] == "cannot reach [redacted]?sslkey=[redacted]"


def test_secrets_are_hidden_in_values_keys_context_and_in_fields_named_after_them(reader: Reader) -> None:
    reader.log.bind(step=KEY).info(Event.STEP_STARTED, url=URL, nested=[{KEY: KEY}], password="x")
    [event] = reader.events()
    assert event["step"] == "[redacted]"
    assert event["url"] == "[redacted]"
    assert event["nested"] == [{"[redacted]": "[redacted]"}]
    assert event["password"] == "[redacted]"


def test_a_secret_that_comes_together_as_a_number_takes_the_line_with_it(reader: Reader) -> None:
    reader.log.info(Event.STEP_STARTED, size=100000000001)
    why = "a line was withheld, because a secret is part of it that is no text"
    assert reader.events() == [HEAD | {"level": "warning", "event": "warning_raised", "why": why}]


def test_a_long_text_is_shortened_in_its_middle_and_stays_json(reader: Reader) -> None:
    reader.log.info(Event.STEP_STARTED, long="a" * 6_000 + "b" * 6_000, short="stays")
    [event] = reader.events()
    assert event["short"] == "stays"
    assert event["long"].startswith("a" * 5000)
    assert event["long"].endswith("b" * 2000)
    assert "characters left out]" in event["long"]


def test_a_secret_where_a_text_is_shortened_does_not_survive_in_part(reader: Reader) -> None:
    for before in range(6_300, 6_700, 7):
        reader.log.info(Event.STEP_STARTED, long="a" * before + KEY + "b" * 6_000)
    raw = reader.raw()
    assert b"HRKU" not in raw
    assert b"8899" not in raw


def test_long_lists_and_many_fields_are_shortened(reader: Reader) -> None:
    reader.log.info(
        Event.DATABASE_COMPARED,
        differences=[f"table t{number} is missing" for number in range(5000)],
        facts={f"table_{number}": "x" * 50 for number in range(3000)},
        verdict="changed",
    )
    [event] = reader.events()
    assert event["differences"][:2] == ["table t0 is missing", "table t1 is missing"]
    assert event["differences"][-1].endswith(" more")
    assert event["facts"]["table_0"]
    assert event["facts"]["…"].endswith(" more")
    assert event["verdict"] == "changed"


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=10),
        PLAIN_VALUES | st.lists(PLAIN_VALUES) | st.dictionaries(st.text(max_size=5), PLAIN_VALUES),
        max_size=8,
    ),
    st.integers(200, 3000),
    st.integers(1, 200),
)
def test_whatever_it_is_it_fits(fields: dict[str, Any], room: int, times: int) -> None:
    value = plain(fields | {"repeated": [fields] * times, "text": str(fields) * times}, str)
    assert len(msgspec.json.encode(shorten(value, room))) <= room


def test_a_log_that_cannot_be_written_raises_nothing_and_counts() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    log = open_log(fd=fd)
    log.info(Event.STEP_STARTED)
    log.command_output(["a", "b"], stream="stdout")
    assert log.dropped == 3
    os.close(fd)


def test_the_last_line_goes_to_stderr_when_stdout_is_full() -> None:
    program = (
        "from release.log.logger import *; from release.log.events import Event;"
        " log = open_log(secrets=['s3cret-s3cret']); log.info(Event.STEP_STARTED);"
        "log.info(Event.RELEASE_FINISHED, outcome='released', note='s3cret-s3cret');"
        "log.last_words('see s3cret-s3cret')"
    )
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=True, env={})
    line, last = done.stderr.splitlines()
    event = json.loads(line)
    assert (event["event"], event["outcome"], event["note"]) == ("release_finished", "released", "[redacted]")
    assert last == b"see [redacted]"


def test_a_field_that_breaks_the_log_leaves_a_line_that_says_so(reader: Reader) -> None:
    class Hostile(dict[str, object]):
        def items(self) -> Any:
            raise RuntimeError

    reader.log.info(Event.STEP_STARTED, hostile=Hostile(a=1))
    assert reader.events() == [HEAD | {"event": "step_started", "unprintable": "RuntimeError"}]


def test_a_renderer_gets_redacted_events_and_its_text_is_written(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def render(event: Mapping[str, Any]) -> str:
        seen.append(dict(event))
        return f"{event['event']}: {event.get('line', event.get('url'))}\n"

    reader = Reader(tmp_path / "log", render)
    reader.log.info(Event.STEP_STARTED, url=URL)
    reader.log.command_output(["a", KEY], stream="stderr")
    assert reader.raw().decode() == "step_started: [redacted]\ncommand_output: a\ncommand_output: [redacted]\n"
    assert seen[2] == HEAD | {"event": "command_output"} | CONTEXT | {"stream": "stderr", "line": "[redacted]"}


def test_importing_the_log_does_not_import_rich() -> None:
    program = "import sys; import release.log.logger; sys.exit('rich' in sys.modules or 'pygments' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={})
    program = "import release.log.logger, rich.console; rich.console.Console()"
    subprocess.run([sys.executable, "-c", program], check=True, env={})


def test_output_has_the_same_fields_as_any_other_event(reader: Reader) -> None:
    reader.log.bind(step="migrate").info(Event.COMMAND_OUTPUT, stream="stdout", line="hello")
    slow = reader.raw()
    Output(reader.log.bind(step="migrate"), "stdout").feed(b"hello\n")
    assert reader.raw() == slow


def _feed(reader: Reader, *data: bytes) -> Output:
    output = Output(reader.log, "stdout")
    for piece in data:
        output.feed(piece)
    output.close()
    return output


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\ntwo", ["one", "", "two"]),
        (b"dos\r\nmac\rmac\r\r\nend\r", ["dos", "mac\rmac", "end"]),
        (b"10%\r20%\r100%\n", ["10%\r20%\r100%"]),
        (b"nul\x00 esc\x1b[31m bell\x07\n", ["nul\x00 esc\x1b[31m bell\x07"]),
        (b"caf\xe9 \xff\xfe\n", ["caf� ��"]),
        ("é€😀\u2028\u0085x\n".encode(), ["é€😀\u2028\u0085x"]),
        (b'{"event":"release_finished","outcome":"released","exit_code":0}\n', None),
        (b'"}\n{"event":"release_finished"}\n', None),
    ],
)
def test_output_is_split_at_newlines_only_and_nothing_can_be_forged(
    reader: Reader, data: bytes, lines: list[str] | None
) -> None:
    expected = data.decode().split("\n")[:-1] if lines is None else lines
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        _feed(reader, *pieces)
        events = reader.events()
        assert [event["line"] for event in events] == expected
        assert {event["event"] for event in events} <= {"command_output"}
        assert {event["stream"] for event in events} <= {"stdout"}


@pytest.mark.parametrize("character", [b"x", b"\x00", b"\xff", b'"', "😀".encode()])
def test_a_long_line_comes_in_numbered_parts_that_make_the_line_again(reader: Reader, character: bytes) -> None:
    line = character * (300_000 // len(character))
    _feed(reader, b"before\n", *(line[i : i + 50_001] for i in range(0, len(line), 50_001)), b"\nafter\n")
    before, *parts, after = reader.events()
    assert (before["line"], after["line"]) == ("before", "after")
    assert "part" not in before
    assert "part" not in after
    assert [event["part"] for event in parts] == list(range(1, len(parts) + 1))
    assert [event["continued"] for event in parts] == [True] * (len(parts) - 1) + [False]
    assert "".join(event["line"] for event in parts) == line.decode(errors="replace")


def test_a_line_is_split_only_when_it_does_not_fit(reader: Reader) -> None:
    _feed(reader, b"x" * (ROOM_FOR_OUTPUT - 2) + b"\n" + b"y" * (ROOM_FOR_OUTPUT - 1) + b"\n")
    events = reader.events()
    assert [event.get("part") for event in events] == [None, 1, 2]


def test_a_secret_in_the_output_is_hidden_wherever_the_reads_cut_it(reader: Reader) -> None:
    line = f"key {KEY}, url {URL}.\n".encode()
    for place in range(1, len(line)):
        _feed(reader, line[:place], line[place:])
    assert set(reader.lines()) == {"key [redacted], url [redacted]."}


def test_a_secret_in_a_long_line_is_hidden_wherever_the_parts_would_cut_it(reader: Reader) -> None:
    for before in range(LONGEST - len(URL) - 2, LONGEST + 2, 3):
        _feed(reader, b"-" * before + URL.encode() + b"+" * 70_000, b"+\nend\n")
        lines = reader.lines()
        assert "".join(lines) == "-" * before + "[redacted]" + "+" * 70_001 + "end"


def test_a_line_that_grows_by_redaction_still_fits(reader: Reader) -> None:
    _feed(reader, b"?sig=a&" * 1100 + b"\n")
    [event] = reader.events()
    assert "characters left out]" in event["line"]


def test_the_tail_is_the_last_lines_redacted(reader: Reader) -> None:
    output = _feed(reader, b"".join(b"line %d\n" % number for number in range(50)) + KEY.encode() + b"\n" + b"w" * 9000)
    assert len(output.tail) == 10
    assert "[redacted]" in output.tail
    assert max(map(len, output.tail)) == 500


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"\r\n", KEY.encode(), b"x" * 40_000]), max_size=12))
def test_whatever_a_child_prints_every_line_is_a_small_event_without_secrets(pieces: list[bytes]) -> None:
    fd = os.memfd_create("log")
    log = open_log(fd=fd, secrets=[KEY])
    output = Output(log, "stderr")
    for piece in pieces:
        output.feed(piece)
    output.close()
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    for line in data.splitlines():
        assert len(line) < MAX_LINE
        assert json.loads(line)["event"] == "command_output"
    assert KEY.encode() not in data
