"""The report of a run, or of several, as one HTML file and as Markdown.

The page is one file: no network, no fonts or scripts from elsewhere, readable without JavaScript. Everything in it that
comes from a target is hostile text, and is escaped and made visible in one place (`page.environment`).

It is made of the directory that `smaplab run --report DIR` leaves and of nothing else. Of a failing case's artefacts it
knows these by name, and shows any other as it is:

    dialogue             the transcripts of `dialogue.Transcript`: drawn
    history.jsonl        a `smap_simulator.history` of what happened: drawn in its place
    counterexample.json  a `smap_simulator.counterexample`: where the cut is, what was left out, what would help
    spool, baddir        lines of `spool.SpoolFile.describe`: tables
"""

from smap_conformance.report.reading import Judged, ReportError, read

__all__ = ["Judged", "ReportError", "read"]
