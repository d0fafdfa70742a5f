"""What a terminal shows, on a real pseudo-terminal; and that nobody else ever gets anything but JSON lines."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TypedDict

import pytest

from release.reading.console import Console, follow
from tests.hook import ROOT, Hook, small_app

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
    assert "  ✗ The migration failed: it ended with exit code 3" in text
    assert "· column public.learners.points removed" in text
    end = " ".join(text[text.index("restored after") :].split())
    assert (
        "The migration failed: it ended with exit code 3. The database is as it was before the release, proved, from"
        " the backup b001; what was overwritten is kept in b002. What to do: Mend the migration; its output is above."
        in end
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


def events(*events: dict[str, object]) -> list[str]:
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

    assert "backup b012" in line
    assert line.endswith(" ━━━━────────────── 2.0 MB of about 8.0 MB, 6.0 s, about 14 s left")
    assert len(line) < 80


def test_a_stream_of_lines_is_shown_with_what_is_foreign_in_it() -> None:
    ours, theirs = os.pipe()
    follow([*events({"event": "step_started", "step": "backup"}), "-----> Launching...\n"], theirs, {"COLUMNS": "60"})
    os.close(theirs)

    with os.fdopen(ours) as reader:
        assert reader.read() == "\nbackup\n-----> Launching...\n"


def test_a_release_phase_with_nothing_pending_imports_no_command_line_no_rich_and_no_http_client(hook: Hook) -> None:
    program = (
        "import sys; sys.path.append(sys.argv.pop(1)); from release.cli import main; main();"
        "unwanted = {'click', 'rich', 'requests', 'release.people.commands', 'release.reading.console'};"
        "print(*unwanted & set(sys.modules), file=sys.stderr)"
    )
    hook.run()
    hook.program = (sys.executable, "-I", "-c", program, str(ROOT))

    result = hook.run(RELEASE_BACKUP="off")

    assert result.last["outcome"] == "released"
    assert result.stderr.strip() == b""
