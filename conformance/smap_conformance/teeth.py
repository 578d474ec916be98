"""`smaplab mutants --black-box`: the suite against every broken variant of the reference, on all cores, as a table.

Exit status: 0 every mutant is killed by the rules that it breaks (and, with precision, by no other), 1 otherwise,
130 interrupted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from smap_simulator.crew import Crew

from smap_conformance.mutants import matrix
from smap_conformance.mutants.mutant import Mutant
from smap_conformance.mutants.table import MUTANTS
from smap_conformance.mutants.trial import Trial, hold
from smap_conformance.simulating import progress
from smap_conformance.survey import INTERRUPTED


def kill(names: Sequence[str], jobs: int, file: Path | None, *, precision: bool) -> int:
    """Try the mutants of these names (none: all), show what came of them, and write it down; the exit status."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    tried: dict[str, Trial] = {}
    interrupted = False
    try:
        with progress() as bar:
            task = bar.add_task("", total=len(chosen), told="mutants")
            for trial in trials(chosen, jobs, precision=precision):
                tried[trial.mutant.name] = trial
                told = f"mutants  {'killed' if trial.killed else 'LIVES'}: {trial.mutant.name}"
                bar.update(task, advance=1, told=told)
    except KeyboardInterrupt:
        interrupted = True
    rows = [tried[mutant.name] for mutant in chosen if mutant.name in tried]
    console = Console()
    console.print(table(rows))
    for line in conclusions(rows):
        console.print(line, soft_wrap=True)
    if interrupted:  # no matrix of a part: it would look like all of them
        console.print("interrupted before the others were tried", style="bold red")
        return INTERRUPTED
    if file is not None:
        try:
            file.write_text(matrix.as_json(map(matrix.row, rows)), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"--json: {file}: {error.strerror}: name a file to write to") from None
    return int(not all(trial.killed and trial.precise for trial in rows))


def trials(chosen: Sequence[Mutant], jobs: int, *, precision: bool) -> Iterator[Trial]:
    """The trials, in the order in which they are over."""
    with tempfile.TemporaryDirectory(prefix="smaplab-compiled-") as compiled:
        held = partial(hold, precision=precision, compiled=Path(compiled))
        with Crew(min(jobs, len(chosen))) as crew:
            for _, trial in crew.results(held, chosen):
                yield trial


def table(rows: Sequence[Trial]) -> Table:
    """Mutant, rule, case, the words of the failure, seconds."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("mutant", "rule", "killed by", "in its words"):
        drawn.add_column(heading, overflow="fold", no_wrap=heading == "rule")
    drawn.add_column("seconds", justify="right", no_wrap=True)
    for trial in rows:
        for number, found in enumerate(trial.kills):
            killed = Text(found.case) if found.is_one else Text("LIVES", "bold red")
            words = Text(shortened(found.line if found.is_one else found.complaint))
            seconds = "" if number else f"{trial.seconds:.1f}"
            drawn.add_row(Text("" if number else trial.mutant.name), Text(found.rule), killed, words, seconds)
    return drawn


def conclusions(rows: Sequence[Trial]) -> Iterator[Text]:
    """What else failed, and the last line."""
    for trial in rows:
        for rule, line in trial.unrelated or ():
            yield Text(f"imprecise: {trial.mutant.name} fails {rule} as well: {shortened(line)}", "yellow")
    alive = [trial.mutant.name for trial in rows if not trial.killed]
    told = f"{len(rows) - len(alive)} of {len(rows)} mutants killed by the rules that they break"
    if looked := [trial for trial in rows if trial.unrelated is not None]:
        precise = sum(trial.precise for trial in looked)
        told += f"; {precise} of {len(looked)} fail no unrelated MUST rule"
    bad = bool(alive) or not all(trial.precise for trial in rows)
    yield Text(told + (f"; alive: {', '.join(alive)}" if alive else ""), "bold red" if bad else "bold green")


def shortened(line: str) -> str:
    """The first words of a failure's line."""
    first = line.splitlines()[0] if line else ""
    return first if len(first) <= 160 else f"{first[:150]} …"
