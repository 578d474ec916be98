"""What is made of a run for others than its terminal: a writer for each form, all from the same `results.Run`.

`junit` for continuous integration, `summary` for a merge request, `badge` for a README. results.json, from which each
can be made again, is written by `results`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smap_conformance import results
from smap_conformance.catalogue import Rule
from smap_conformance.report import badge, junit, summary


def write(run: results.Run, rules: Mapping[str, Rule], directory: Path) -> None:
    """Everything that belongs into the report's directory."""
    results.write(run, rules, directory)
    for name, text in (
        ("junit.xml", junit.text(run, rules)),
        ("summary.md", summary.text(run, rules)),
        ("badge.json", badge.text(run, rules)),
    ):
        (directory / name).write_text(text, encoding="utf-8")
