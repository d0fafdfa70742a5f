"""The README's picture: `python -m tests.picture` records a failing release and draws it into docs/release.svg.

Nothing in it is staged. The sandbox runs the release phase of the sample app on a terminal of 100 columns; what stands
on it at the end is drawn. A hint names the program by its place in this checkout; the picture, as an app has it.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests.apps.ship import assemble

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "release.svg"
APP = "learning-timeline"
TITLE = f"bin/sandbox release {APP} ./broken"
LONGEST = 5.0
"""Seconds until the last line is there: a reader does not wait for a busy machine."""
COLUMNS = 100
CLEAR = "\r\x1b[2K"
"""What the live line at the bottom is drawn over with."""

Line = tuple[float, str]
"""Seconds from the beginning to the end of the line, and the line with its colours."""

FORMAT = """<svg class="{unique_id}" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.{unique_id}-title {{ font: bold 18px system-ui, "DejaVu Sans", sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own, without the fonts that it would load from elsewhere."""


def record() -> list[Line]:
    """What a failing release of the sample app leaves on a terminal."""
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        place = Path(folder)
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": folder,
            "RELEASE_SANDBOX_HOME": f"{folder}/home",
            "TERM": "xterm-256color",
        }
        _sandbox(environ, "up", "--detach")
        try:
            _prepare(place, environ)
            words = ("release", APP, _ship("broken", place), "--description", "Deploy broken")
            lines = _on_a_terminal([str(ROOT / "bin" / "sandbox"), *words], environ)
            return [(at, line.replace(str(ROOT / "bin" / "release"), "release-phase")) for at, line in lines]
        finally:
            _sandbox(environ, "down")


def _prepare(place: Path, environ: Mapping[str, str]) -> None:
    """An app with data in it, on the last version that was good."""
    _sandbox(environ, "create", APP)
    base = _ship("base", place)
    _sandbox(environ, "release", APP, base)
    exports = shlex.split(_sandbox(environ, "env", APP))
    url = next(word for word in exports if word.startswith("DATABASE_URL="))
    seed = [sys.executable, "manage.py", "seed"]
    database = {"DATABASE_URL": url.partition("=")[2]}
    subprocess.run(seed, cwd=base, env={**environ, **database}, check=True, stdout=subprocess.DEVNULL)
    _sandbox(environ, "release", APP, _ship("good", place))


def _ship(version: str, place: Path) -> str:
    slug = assemble(version, place / version)
    procfile = slug / "Procfile"
    procfile.write_text(procfile.read_text().replace("release-phase", str(ROOT / "bin" / "release")))
    return str(slug)


def _sandbox(environ: Mapping[str, str], *words: str) -> str:
    command = [str(ROOT / "bin" / "sandbox"), *words]
    return subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout


def _on_a_terminal(command: Sequence[str], environ: Mapping[str, str]) -> list[Line]:
    """Runs a command whose stdout is a terminal; each line as it is left there, and when."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    lines, rest = [], b""
    while piece := _read(ours):
        *whole, rest = (rest + piece).split(b"\n")
        now = time.monotonic() - began
        lines += [(now, line.decode().rstrip("\r").rpartition(CLEAR)[2]) for line in whole]
    os.close(ours)
    _, complaints = process.communicate()
    if process.returncode != 1:
        raise SystemExit(f"the release was to fail; it ended with {process.returncode}: {complaints.decode()}")
    return lines


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the other end open any more
        return b""


def drawn(lines: Sequence[Line]) -> str:
    """The lines as SVG. Where the reader's system moves pictures, each appears when it did in reality, within 5 s."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for _, line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    svg = console.export_svg(title=TITLE, theme=MONOKAI, code_format=FORMAT, unique_id="release")
    return svg.replace("</style>", f"{_motion([when for when, _ in lines])}</style>", 1)


def _motion(times: Sequence[float]) -> str:
    """A style for each line: it is there from the beginning where nothing moves, so that it is never lost."""
    pace = min(1.0, LONGEST / times[-1])
    delays = "".join(
        f'[clip-path="url(#release-line-{number})"] {{ animation-delay: {when * pace:.2f}s }}\n'
        for number, when in enumerate(times)
    )
    text = ".release-matrix text { animation-name: appear; animation-duration: 1ms; animation-fill-mode: backwards }\n"
    quiet = "@media (prefers-reduced-motion: no-preference)"
    return f"@keyframes appear {{ from {{ opacity: 0 }} }}\n{quiet} {{\n{text}{delays}}}\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(record()))
