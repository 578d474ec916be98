"""What is made of a run for others than its terminal: a writer for each form, all from the same `results.Run`.

`page` for whoever wants to see what went wrong, `junit` for continuous integration, `summary` for a merge request,
`badge` for a README; `markdown` sets several runs side by side, and so does the page. results.json, from which each can
be made again, is written by `results`.

The page is one file: no network, no fonts or scripts from elsewhere, readable without JavaScript. Everything in it that
comes from a target is hostile text, escaped and made visible in one place (`page.environment`). Of a failing case's
artefacts it knows these by name, and shows any other as it is:

    dialogue             the transcripts of `dialogue.Transcript`: drawn
    history.jsonl        a `smap_simulator.history` of what happened: drawn in its place
    counterexample.json  a `smap_simulator.counterexample`: where the cut is, what was left out, what would help
    spool, baddir        lines of `spool.SpoolFile.describe`: tables
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smap_conformance import results
from smap_conformance.catalogue import Rule
from smap_conformance.report import badge, junit, page, summary
from smap_conformance.report.judged import named


def write(run: results.Run, rules: Mapping[str, Rule], directory: Path) -> None:
    """Everything that belongs into the report's directory; results.json last, for whoever takes it for the whole."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("junit.xml", junit.text(run, rules)),
        ("summary.md", summary.text(run, rules)),
        ("badge.json", badge.text(run, rules)),
        ("report.html", page.render(named([(directory, run)]))),
    ):
        (directory / name).write_text(text, encoding="utf-8")
    results.write(run, rules, directory)
