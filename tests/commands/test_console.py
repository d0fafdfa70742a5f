"""What a terminal shows, on a real pseudo-terminal; and that nobody else ever gets anything but JSON lines."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from typing import TypedDict

import pytest
from rich.cells import cell_len

from release.output.live import Console, follow
from tests.hook import Hook, small_app

BROKEN = "ALTER TABLE learners DROP COLUMN points;\nSELECT 1 / 0;\n"
CLEAR = "\r\x1b[2K"


def on_a_terminal(
    hook: Hook, *arguments: str, columns: int = 80, typed: str = "", **changes: str | None
) -> tuple[int, str]:
    """Runs the hook with a terminal for stdin, stdout and stderr; its exit code and all that was written there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environ = hook.environ(**{"DYNO": None, "TERM": "xterm-256color", **changes})
    process = subprocess.Popen(
        [*hook.program, *arguments], cwd=hook.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        shown += piece
        if typed and b"Type the app's name" in shown:
            os.write(ours, typed.encode() + b"\n")
            typed = ""
    os.close(ours)
    return process.wait(60), shown.decode().replace("\r\n", "\n")


def settled(shown: str) -> str:
    """What is left on the screen: each line as it was last drawn, without colours."""
    lines = [line.rpartition(CLEAR)[2] for line in shown.split("\n")]
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))


def test_a_failing_release_is_told_live_and_ends_in_two_sentences(hook: Hook) -> None:
    small_app(hook.folder, {"002": BROKEN})

    exit_code, shown = on_a_terminal(hook)

    text = settled(shown)
    assert exit_code == 1
    assert "\nmigrate\n  $ ./migrate\n    applying 001\n" in text
    assert "  ✗ The migration failed: division by zero (SQLSTATE 22012, exit code 3)" in text
    assert "· column public.learners.points removed" in text
    end = " ".join(text[text.index("restored after") :].split())
    assert (
        "The migration failed: division by zero (SQLSTATE 22012, exit code 3). The database is as it was before the"
        " release, proved, from the backup b001; what was overwritten is kept in b002. What to do: Mend the migration;"
        " its output is in the log of this run." in end
    )
    assert CLEAR in shown
    assert "\x1b[32m" in shown


def test_a_live_line_never_fills_a_narrow_window(hook: Hook) -> None:
    _, shown = on_a_terminal(hook, columns=30)

    drawn = [re.sub(r"\x1b\[[0-9;]*m", "", piece).split("\n")[0] for piece in shown.split(CLEAR)[1:]]
    assert max(len(each) for each in drawn) <= 30
    assert all(len(line) <= 30 for line in settled(shown).split("\n"))


def test_no_color_is_honoured(hook: Hook) -> None:
    _, shown = on_a_terminal(hook, NO_COLOR="1")

    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown)
    assert "released after" in settled(shown)


def test_a_dumb_terminal_is_not_drawn_on(hook: Hook) -> None:
    _, shown = on_a_terminal(hook, TERM="dumb")

    assert "\x1b[2K" not in shown
    assert "released after" in shown


class Changes(TypedDict, total=False):
    """What decides for whom the output is."""

    DYNO: str
    RELEASE_LOG: str


@pytest.mark.parametrize("changes", [Changes(DYNO="release.1234"), Changes(RELEASE_LOG="json")])
def test_in_a_release_phase_and_on_request_there_are_json_lines_only(hook: Hook, changes: Changes) -> None:
    _, shown = on_a_terminal(hook, **changes)

    assert all(isinstance(json.loads(line), dict) for line in shown.strip().split("\n"))


def test_a_pipe_gets_people_s_text_only_on_request(hook: Hook) -> None:
    result = hook.run(RELEASE_LOG="console", DYNO=None)

    assert result.exit_code == 0
    assert b"\x1b" not in result.stdout
    assert b"The release is in: the migration ended well and every probe passed." in b" ".join(result.stdout.split())


def test_what_a_child_prints_cannot_draw_over_what_is_ours(hook: Hook) -> None:
    (hook.folder / "migrate").write_text("#!/bin/sh\nprintf '\\033[2J\\033]0;owned\\007\\033[31mhello\\n'; exit 1\n")

    _, shown = on_a_terminal(hook)

    assert "\x1b[2J" not in shown
    assert "]0;owned" not in shown
    assert "\n    hello\n" in settled(shown)


def events(*events: Mapping[str, object]) -> list[str]:
    head = {"timestamp": "2026-01-01T00:00:00.000Z", "run_id": "abc", "level": "info"}
    return [json.dumps({**head, **event}) for event in events]


def test_a_transfer_has_a_bar_with_bytes_and_an_estimate_from_earlier_ones() -> None:
    now = [100.0]
    console = Console(width=lambda: 80, environ={}, colours=False, live=True, now=lambda: now[0])
    console({"event": "step_started", "step": "backup"})
    console(
        {"event": "transfer_started", "kind": "backup", "transfer": "b012", "expected": 20.0, "expected_bytes": 8e6}
    )
    now[0] += 5
    console({"event": "transfer_progressed", "kind": "backup", "transfer": "b012", "bytes": 2_000_000})
    now[0] += 1

    line = console.drawing().removeprefix(CLEAR)

    assert re.fullmatch(r". backup b012 ━+╸? +2.0 MB of about 8.0 MB, 6.0 s, about 14 s left", line)
    assert line.count("━") == 4, "a quarter of the 18 columns that are left for it"
    assert len(line) < 80


@pytest.mark.parametrize("columns", [24, 60, 68])
def test_where_there_is_no_room_the_bar_gives_way_before_the_words(columns: int) -> None:
    console = Console(width=lambda: columns, environ={}, colours=False, live=True, now=lambda: 100.0)
    console({"event": "step_started", "step": "restore"})
    console({"event": "transfer_started", "kind": "restore", "transfer": "b012", "expected_bytes": 8e6})
    console({"event": "transfer_progressed", "kind": "restore", "transfer": "b012", "bytes": 4_000_000})

    line = console({"event": "retry_scheduled", "call": "GET", "caused_by": "?", "wait": 1.0}).rpartition(CLEAR)[2]
    line = line.rpartition("\n")[2]

    assert len(line) < columns
    assert ("━" in line) == (columns > 40)
    assert line.endswith("4.0 MB of about 8.0 MB, 0.0 s" if columns > 40 else "…")


def test_a_download_has_a_bar_on_a_terminal_that_is_gone_when_it_ends(hook: Hook) -> None:
    hook.run()

    exit_code, shown = on_a_terminal(hook, "download")

    assert exit_code == 0
    assert "━" * 30 in shown
    end = shown.rpartition("\x1b[2K")[2].replace("\x1b[?25h", "")
    assert re.fullmatch(r"\n?\S+-b001\.dump: .* kB; its table of contents .*\.\n", end)


def test_a_download_on_a_dumb_terminal_is_told_in_lines(hook: Hook) -> None:
    hook.run()

    exit_code, shown = on_a_terminal(hook, "download", TERM="dumb")

    assert exit_code == 0
    assert "\x1b" not in shown
    first, last = shown.strip().split("\n")
    assert re.fullmatch(r"(\S+ kB) of \1", first)
    assert "-b001.dump: " in last


def test_a_stream_of_lines_is_shown_with_what_is_foreign_in_it() -> None:
    ours, theirs = os.pipe()
    follow([*events({"event": "step_started", "step": "backup"}), "-----> Launching...\n"], theirs, {"COLUMNS": "60"})
    os.close(theirs)

    with os.fdopen(ours) as reader:
        assert reader.read() == "\nbackup\n-----> Launching...\n"


def shown(log: list[str], *, columns: int = 80) -> list[str]:
    """What `follow` makes of a log, line by line."""
    ours, theirs = os.pipe()
    follow(log, theirs, {"COLUMNS": str(columns)})
    os.close(theirs)
    with os.fdopen(ours) as reader:
        return reader.read().splitlines()


def printed(text: str, *, stream: str = "stderr") -> list[str]:
    """The log of a command that prints this."""
    lines = [{"event": "command_output", "stream": stream, "line": line} for line in text.strip("\n").split("\n")]
    return events(*lines, {"event": "command_finished", "step": "migrate", "exit_code": 1, "duration": 2})


WORDS = (
    "An earlier run was interrupted and left changes: public.learning_learner.city removed; migration"
    " public.django_migrations: learning.0014_tidy_learners added; look at it, then `release-phase recover --restore`"
)


@pytest.mark.parametrize("columns", [24, 40, 80, 100, 120])
@pytest.mark.parametrize(
    "event",
    [
        {"event": "warning_raised", "detail": WORDS},
        {"event": "command_output", "line": "    " + WORDS},
        {"event": "command_started", "command": WORDS},
        {"event": "release_finished", "outcome": "untouched", "exit_code": 1, "error": WORDS, "hint": WORDS},
    ],
    ids=lambda event: event["event"],
)
def test_text_wraps_between_words_and_hangs_behind_its_beginning(event: dict[str, object], columns: int) -> None:
    lines = shown(events(event), columns=columns)

    assert max(map(len, lines)) <= min(columns, 100)
    words = {word.rstrip(".") for line in lines for word in line.split()}
    assert {word for word in WORDS.split() if len(word) < columns // 2} <= words
    beginning = next(number for number, line in enumerate(lines) if "An earlier" in line)
    assert indent(lines[beginning + 1]) >= indent(lines[beginning]) + 2


def indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@pytest.mark.parametrize("columns", [24, 30, 80])
def test_a_word_longer_than_the_window_is_cut_between_its_parts(columns: int) -> None:
    path = "/app/.heroku/python/lib/python3.13/site-packages/django/db/backends/postgresql/schema.py"
    *lines, last = shown(printed(f"open {path}", stream="stdout")[:-1], columns=columns)

    assert path in "".join(line.strip() for line in [*lines, last])
    assert lines
    assert all(line.endswith(("/", ".", "-")) for line in lines)
    assert max(map(len, lines)) <= columns


def test_signs_of_two_columns_count_as_two() -> None:
    lines = shown(printed("移行が失敗しました。" * 20, stream="stdout"), columns=41)

    assert max(map(cell_len, lines)) <= 41
    assert "".join(line.strip() for line in lines[:-1]) == "移行が失敗しました。" * 20


PYTHON = """
Traceback (most recent call last):
  File "/app/.venv/lib/python3.13/site-packages/django/db/backends/utils.py", line 103, in _execute
    return self.cursor.execute(sql)
           ~~~~~~~~~~~~~~~~~~~^^^^^
psycopg.errors.UniqueViolation: could not create unique index "one_per_email"
DETAIL:  Key (email)=(a@example.com) is duplicated.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/manage.py", line 11, in <module>
    execute_from_command_line(sys.argv)
  File "/app/.venv/lib/python3.13/site-packages/django/db/utils.py", line 91, in __exit__
    raise dj_exc_value.with_traceback(traceback) from exc_value

django.db.utils.IntegrityError: could not create unique index "one_per_email"
DETAIL:  Key (email)=(a@example.com) is duplicated.
"""
PYTHON_WITH_ANOTHER_CAUSE = """
loading
  Traceback (most recent call last):
    File "/app/settings.py", line 3, in <module>
  KeyError: 'SECRET'

  During handling of the above exception, another exception occurred:

  Traceback (most recent call last):
    File "/app/manage.py", line 11, in <module>
  RuntimeError: SECRET is not set
giving up
"""
PYTHON_GROUP = """
  + Exception Group Traceback (most recent call last):
  |   File "/app/migrate.py", line 5, in <module>
  |     raise ExceptionGroup("two failed", failures)
  | ExceptionGroup: two failed (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/app/migrate.py", line 2, in one
    | ValueError: first
    +---------------- 2 ----------------
    | ValueError: second
    +------------------------------------
"""
RUBY = """
== 20260101000000 OnePerEmail: migrating ======================================
rails aborted!
StandardError: An error has occurred, this and all later migrations canceled:

PG::UniqueViolation: ERROR:  could not create unique index "one_per_email"
DETAIL:  Key (email)=(a@example.com) is duplicated.
/app/vendor/bundle/ruby/3.3.0/gems/rack-3.0/lib/rack.rb:56:in `exec'
/app/db/migrate/20260101000000_one_per_email.rb:3:in `change'
bin/rails:4:in `<main>'

Caused by:
PG::UniqueViolation: ERROR:  could not create unique index "one_per_email"
DETAIL:  Key (email)=(a@example.com) is duplicated.
/app/vendor/bundle/ruby/3.3.0/gems/rack-3.0/lib/rack.rb:56:in 'PG::Connection#exec'
<internal:kernel>:187:in 'loop'
Tasks: TOP => db:migrate
(See full trace by running task with --trace)
"""
RUBY_ALONE = """
migrate.rb:1:in `change': no such column (RuntimeError)
\tfrom migrate.rb:3:in `block in <main>'
\tfrom migrate.rb:5:in `<main>'
"""
NODE = """
/app/migrate.js:3
    throw new Error("it failed", { cause });
    ^

Error: could not create unique index "one_per_email"
    at Parser.parseErrorMessage (/app/node_modules/pg-protocol/dist/parser.js:285:98)
    at async Promise.all (index 0)
    at async /app/migrate.js:3:9
    at process.processTicksAndRejections (node:internal/process/task_queues:105:5) {
  [cause]: Error: the data are not unique
      at Object.<anonymous> (/app/migrate.js:1:15)
      ... 4 lines matching cause stack trace ...
}

Node.js v22.3.0
"""
JAVA = """
org.flywaydb.core.FlywayException: Migration failed
\tat org.flywaydb.core.Flyway.migrate(Flyway.java:190)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: org.postgresql.util.PSQLException: ERROR: duplicate key
\tat org.postgresql.Driver.connect(Driver.java:12)
\t... 12 more
"""
PHP = """
In Connection.php line 829:
  SQLSTATE[23505]: Unique violation
#0 /app/vendor/laravel/framework/Connection.php(783): runQueryCallback()
#1 [internal function]: run()
#2 {main}
"""


@pytest.mark.parametrize(
    ("text", "kept", "folded"),
    [
        (PYTHON, ["psycopg.errors.UniqueViolation: could not", "DETAIL:  Key (email)=(a@example.com)"], 15),
        (PYTHON_WITH_ANOTHER_CAUSE, ["loading", "KeyError: 'SECRET'", "RuntimeError: SECRET", "giving up"], 7),
        (PYTHON_GROUP, ["ExceptionGroup: two failed", "ValueError: first", "ValueError: second"], 8),
        (
            RUBY,
            [
                *("== 20260101000000 OnePerEmail", "rails aborted!", "StandardError: An error has", ""),
                *("PG::UniqueViolation: ERROR:  could", "DETAIL:  Key", "Tasks: TOP", "(See full trace"),
            ],
            9,
        ),
        (RUBY_ALONE, ["no such column (RuntimeError)"], 2),
        (NODE, ["/app/migrate.js:3", "throw new", "^", "", "Error: could", "[cause]: Error: the data", "}", "Node"], 7),
        (JAVA, ["FlywayException: Migration failed", "PSQLException: ERROR: duplicate key"], 4),
        (PHP, ["In Connection.php", "SQLSTATE[23505]"], 3),
    ],
    ids=["python", "python, two errors", "python group", "rails", "ruby", "node", "java", "php"],
)
def test_a_traceback_is_folded_to_what_the_error_says(text: str, kept: list[str], folded: int) -> None:
    *lines, note, end = shown(printed(text), columns=100)

    assert note == f"    · {folded} lines more in the log"
    assert end == "  · it ended with exit code 1 after 2.0 s"
    assert len(lines) == len(kept)
    assert all(words in line for words, line in zip(kept, lines, strict=True)), lines
    assert len(lines) + folded == len(text.strip("\n").split("\n"))


def test_what_is_no_traceback_is_shown_to_the_last_line() -> None:
    text = "at 10:30 it begins\n\n  indented\n#1 of 3\nfrom a to b\nCREATE INDEX at the end\n... 3 more to come"

    *lines, end = shown(printed(text))

    assert lines == [f"    {line}".rstrip() for line in text.split("\n")]
    assert end == "  · it ended with exit code 1 after 2.0 s"


def test_lines_of_the_other_stream_stand_within_a_traceback() -> None:
    lines = PYTHON.strip().split("\n")
    log = [*printed("\n".join(lines[:2]))[:-1], *printed("Applying 0015", stream="stdout")[:-1]]
    log += printed("\n".join(lines[2:6]))

    assert [line.strip() for line in shown(log, columns=100)[:3]] == ["Applying 0015", lines[4], lines[5]]


def test_without_a_log_beside_it_a_traceback_is_shown_whole(hook: Hook) -> None:
    (hook.folder / "migrate").write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{PYTHON.strip()}\nEND\nexit 1\n")

    _, text = on_a_terminal(hook)

    assert "execute_from_command_line(sys.argv)" in settled(text)
    assert "more in the log" not in text


def test_a_step_that_fails_with_the_one_within_it_does_not_say_it_again() -> None:
    failures = [
        {"event": "step_failed", "step": step, "error": WORDS, "duration": 1} for step in ("recover", "prepare")
    ]

    assert shown(events(*failures), columns=100)[-1] == "  ✗ prepare failed for the same reason (1.0 s)"


def test_a_probe_shows_the_status_and_the_body_that_it_saw() -> None:
    failed = {"event": "probe_failed", "probe": "boot", "detail": "status 500 after 3.0 s", "status": 500}
    passed = {"event": "probe_passed", "probe": "boot", "path": "/healthz", "status": 204, "booted_in": 1.25}

    told = shown(events({**failed, "body": "<h1>Server\tError\x1b[2J</h1>\n" * 20}, passed), columns=80)

    assert told[0] == "  ✗ probe boot: status 500 after 3.0 s"
    assert told[1].startswith("    · its answer: <h1>Server Error")
    assert told[-1] == "  ✓ probe boot passed: status 204, booted in 1.2 s"
    assert "\x1b[2J" not in "".join(told)


def test_the_rows_that_were_not_true_are_shown() -> None:
    failed = {"event": "probe_failed", "probe": "sql", "detail": "1 of 2 rows are not all true", "rows": [["a", False]]}

    assert shown(events(failed))[1] == '    · row: "a", false'


def test_restore_took_is_said_of_a_restore_only() -> None:
    def told(*within: dict[str, object]) -> str:
        begin, end = ({"event": f"step_{how}", "step": "restore"} for how in ("started", "finished"))
        return shown(events(begin, *within, {**end, "duration": 0.3}))[-1]

    restore = {"event": "transfer_finished", "kind": "restore", "transfer": "r003", "succeeded": True}
    assert told(restore) == "  ✓ restore took 0.3 s"
    assert told({"event": "restore_skipped", "why": "the database is proved unchanged"}) == "  ✓ that took 0.3 s"


def test_what_takes_up_lines_is_said_once_at_the_end() -> None:
    failed = {"event": "step_failed", "step": "recover", "error": WORDS, "duration": 1}
    end = {"event": "release_finished", "outcome": "refused", "exit_code": 3, "error": WORDS}

    told = "\n".join(shown(events(failed, {**failed, "step": "prepare"}, end), columns=100))
    other = "\n".join(shown(events(failed, {**end, "error": "The restore failed"}), columns=100))

    assert "✗ An earlier run was interrupted and left changes (1.0 s)\n" in told
    assert (told.count("learning.0014_tidy_learners"), other.count("learning.0014_tidy_learners")) == (1, 1)


def test_a_stream_that_ends_within_a_step_leaves_no_live_line() -> None:
    console = Console(width=lambda: 80, environ={}, colours=False, live=True)

    assert "backup" in console(json.loads(events({"event": "step_started", "step": "backup"})[0]))
    assert console.end() == CLEAR
    assert console.drawing() == ""
