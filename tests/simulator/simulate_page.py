"""The drawn part of docs/simulate.md: what becomes of smap and smapd with one fsync less. Run as a program it draws it
again, into the page; with `-` it prints it.
"""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from smap_simulator.models import MODELS
from smap_simulator.mutants import named
from smap_simulator.trial import Trial, hold

PAGE = Path(__file__).resolve().parents[2] / "docs/simulate.md"
# Each fsync of the reference by its sign in the source, and the mutant that is the reference without it.
FSYNCS = {
    "G1 the bytes": "no-fsync-of-the-data",
    "G2 the mark": "no-fsync-of-the-mark",
    "G3 the name": "no-fsync-of-the-name",
    "G4 the removal": "no-fsync-of-the-removal",
    "G5 held in baddir": "not-held",
    "G5 there, in baddir": "no-fsync-of-baddir",
    "G5 not here, in the spool": "no-fsync-of-the-spool",
}


@cache
def held(mutant: str) -> Trial:
    """The trial of a mutant, in its own run alone."""
    return hold(named(mutant), everything=False)


def fsync_table() -> Iterator[str]:
    """For each fsync: the guarantee that goes with it, and under which models."""
    yield "| without the fsync of | breaks | under | not under | the least omission |"
    yield "|---|---|---|---|---|"
    for what, mutant in FSYNCS.items():
        trial = held(mutant)
        assert trial.found is not None
        kept = [model for model in MODELS if model not in trial.models]
        models = [model for model in MODELS if model in trial.models]
        yield f"| {what} | {trial.mutant.breaks} | {', '.join(models)} | {', '.join(kept)} | `{trial.minimal}` |"


def drawn(page: str) -> str:
    """The page with its drawn part as it should be."""
    before, start, rest = page.partition("<!-- fsyncs -->")
    _, end, after = rest.partition("<!-- end -->")
    assert start
    assert end
    return "\n".join([before + start, *fsync_table(), end + after])


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        print("\n".join(fsync_table()))
    else:
        PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
