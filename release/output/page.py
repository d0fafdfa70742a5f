"""The report as one page of HTML. It has no script, loads nothing, and fits dark and light, phone and paper.

The picture is inline SVG (picture.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from release import __version__
from release.output.picture import AXIS, LABEL, pictures
from release.output.report import about, advice, headline, verdict
from release.output.timeline import Moment, Step, Story
from release.output.witnessed import Statement
from release.output.words import count, seconds, title

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --dim: #59636e; --line: #d8dee4; --panel: #f6f8fa;
  --good: #1a7f37; --bad: #c4212e; --warn: #9a6700; --bar: #4d7ec9; --inner: #a9c5ee; }
@media (prefers-color-scheme: dark) { :root { --paper: #0f1419; --ink: #e3e8ee; --dim: #94a0ad; --line: #303a45;
  --panel: #171e26; --good: #4fc26a; --bad: #ff7a7f; --warn: #e0ac3f; --bar: #5b8fdd; --inner: #2c466d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.about, time, .took { color: var(--dim); } .about { font-size: .875rem; margin: 0 0 1rem; }
.verdict { border-left: .3rem solid var(--dim); background: var(--panel); padding: .75rem 1rem; border-radius: .25rem; }
.verdict p { margin: .25rem 0; } .verdict.good { border-color: var(--good); }
.verdict.bad { border-color: var(--bad); }
.odd { color: var(--warn); } figure { margin: 1.25rem 0; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: LABELpx system-ui, "DejaVu Sans", sans-serif; } .narrow { display: none; }
svg .axis { fill: var(--dim); font-size: AXISpx; }
svg .grid { stroke: var(--line); } svg .step { fill: var(--bar); } svg .bad { fill: var(--bad); }
svg .open { fill: var(--warn); } svg .inner { fill: var(--inner); stroke: var(--bar); stroke-width: .75; }
svg .mark { fill: var(--warn); }
section { border-top: 1px solid var(--line); padding: .75rem 0; } h3 { font-size: 1rem; margin: 0; }
.took { font-weight: normal; font-size: .875rem; } ul { list-style: none; margin: .25rem 0 0; padding: 0; }
li { display: grid; grid-template-columns: 4rem 1.25rem 1fr; font-size: .9375rem; padding: .125rem 0; }
time { white-space: nowrap; font-variant-numeric: tabular-nums; text-align: right; padding-right: .6rem;
  font-size: .8125rem; line-height: 1.8; }
.g-good { color: var(--good); } .g-bad, .error { color: var(--bad); } .g-warn { color: var(--warn); }
.g-note { color: var(--dim); }
li small { display: block; color: var(--dim); font-size: .875rem; } .error { margin: .35rem 0 0; font-weight: 600; }
table { grid-column: 3; border-collapse: collapse; margin: .25rem 0 .5rem; font-size: .875rem; }
caption { text-align: left; color: var(--dim); }
th { color: var(--dim); font-weight: normal; text-align: left; }
th, td { padding: .125rem .75rem .125rem 0; vertical-align: top; border-bottom: 1px solid var(--line); }
.figure { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td code { font: .8125rem/1.45 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--dim); font-size: .875rem; }
pre { background: var(--panel); border-radius: .25rem; padding: .6rem .75rem; overflow-x: auto; white-space: pre-wrap;
  font: .8125rem/1.45 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; margin: .4rem 0 0; }
pre .stderr { color: var(--bad); } footer { margin-top: 2rem; color: var(--dim); font-size: .8125rem; }
@media (max-width: 34rem) { body { padding: 1rem .75rem 2rem; } li { grid-template-columns: 3.4rem 1.1rem 1fr; }
  table { grid-column: 1 / -1; }
  .wide { display: none; } .narrow { display: block; } }
@media print { :root { --paper: #fff; --ink: #000; --dim: #444; --panel: #f4f4f4; }
body { max-width: none; padding: 0;
  font-size: 11pt; } section, figure, .verdict { break-inside: avoid; } details > pre { display: block; } }
""".replace("LABELpx", f"{LABEL}px").replace("AXISpx", f"{AXIS}px")

HUNDRED = 100
"""Seconds from which on a moment is told without tenths, which would not fit into its column."""

GLYPHS = {"good": "✓", "bad": "✗", "warn": "!", "note": "·"}


def as_html(stories: list[Story]) -> str:
    """Returns all runs on one page."""
    name = title({"release": stories[0].release, "app": stories[0].app})
    body = "\n<hr>\n".join("\n".join(_run(story)) for story in stories)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<footer>Made by release-phase {escape(__version__)} from the run's own log.</footer>\n</body>\n</html>\n"
    )


def _run(story: Story) -> Iterator[str]:
    record = story.record
    well = record is not None and record.get("exit_code") == 0
    yield f"<h1>{escape(headline(story))}</h1>"
    yield f'<p class="about">{escape(about(story))}</p>'
    for text in story.notes:
        yield f'<p class="odd">! {escape(text)}</p>'
    paragraphs = [verdict(story), *advice(story)]
    yield f'<div class="verdict {"good" if well else "bad"}">' + "".join(f"<p>{escape(p)}</p>" for p in paragraphs)
    yield "</div>"
    if story.steps:
        yield f"<figure>{pictures(story)}</figure>"
    if story.changes:
        yield "<h2>What the run changed, as it was compared</h2><ul>"
        yield from (
            f'<li><span></span><span class="g-note">·</span><span>{escape(change)}</span></li>'
            for change in story.changes
        )
        yield "</ul>"
    yield "<h2>Steps</h2>"
    for moment in story.loose:
        yield f"<ul>{_moment(moment)}</ul>"
    for step in story.steps:
        yield from _step(step, story.error_of(step))


def _step(step: Step, error: str | None) -> Iterator[str]:
    took = seconds(step.ended - step.began) if step.ended is not None else "not ended"
    yield f'<section><h3>{escape(step.label)} <span class="took">{took}</span></h3>'
    if step.moments:
        yield "<ul>" + "".join(map(_moment, step.moments)) + "</ul>"
    if error:
        yield f'<p class="error">{escape(error)}</p>'
    if step.output:
        lines = "\n".join(
            f'<span class="stderr">{escape(line)}</span>' if stream == "stderr" else escape(line)
            for stream, line in step.output
        )
        left = f", the first {step.dropped:,} left out" if step.dropped else ""
        what = f"{count(len(step.output) + step.dropped, 'line')} of output{left}"
        state = " open" if step.error else ""
        yield f"<details{state}><summary>{what}</summary><pre>{lines}</pre></details>"
    yield "</section>"


def _moment(moment: Moment) -> str:
    more = "".join(f"<small>{escape(text)}</small>" for text in moment.texts[1:])
    at = f"{moment.began:.{0 if moment.began >= HUNDRED else 1}f} s"
    return (
        f'<li><time>{at}</time><span class="g-{moment.kind}">{GLYPHS[moment.kind]}</span>'
        f"<span>{escape(moment.texts[0])}{more}</span>{_slowest(moment.slowest)}</li>"
    )


def _slowest(statements: list[Statement]) -> str:
    """Returns the slowest statements as a table; nothing when there are none."""
    if not statements:
        return ""
    rows = "".join(
        f'<tr><td class="figure">{statement.took}</td>'
        f'<td class="figure">{"" if statement.rows is None else f"{statement.rows:,}"}</td>'
        f"<td><code>{escape(statement.shape)}</code></td></tr>"
        for statement in statements
    )
    return (
        '<table><caption>The slowest statements</caption><thead><tr><th class="figure">time</th>'
        f'<th class="figure">rows</th><th>statement</th></tr></thead><tbody>{rows}</tbody></table>'
    )
