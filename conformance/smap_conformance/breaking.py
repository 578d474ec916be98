"""`smaplab mutants`: break the reference on purpose, and see whether that is found: by the simulator, or by the suite.

Exit status: 0 every mutant is found by what it breaks, 1 one lives, 2 usage, 3 the harness failed, 130 interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from smap_simulator.address import parse
from smap_simulator.crew import Crew
from smap_simulator.mutants import MUTANTS, Mutant
from smap_simulator.replay import COMMAND
from smap_simulator.trial import Trial, hold

from smap_conformance import teeth
from smap_conformance.mutants import table
from smap_conformance.simulating import failures_told, known, number_of_jobs, progress, writable
from smap_conformance.survey import INTERRUPTED


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-n", "--jobs", metavar="N", default="auto", show_default=True, callback=number_of_jobs, help="Processes."
)
@click.option("--black-box", is_flag=True, help="Let the suite find them, as it would find anybody's mistakes.")
@click.option("--precision", is_flag=True, help="With --black-box: also see which unrelated rules fail.")
@click.option(
    "--json", "file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Also write the matrix."
)
@click.option("--list", "listing", is_flag=True, help="Name the mutants, with what each breaks, and do nothing.")
def mutants(names: tuple[str, ...], jobs: int, black_box: bool, listing: bool, **of_the_suite: Any) -> None:
    """Break the reference on purpose, and see whether each mutant is found by what it breaks."""
    whys = {each.name: each.why for each in (table.MUTANTS if black_box else MUTANTS)}
    if listing:
        click.echo("\n".join(f"{name:40} {why}" for name, why in whys.items()))
        return
    listed_by = f"smaplab mutants {'--black-box ' if black_box else ''}--list"
    known("mutant", whys, listed_by)(click.get_current_context(), click.Argument(["names"]), names)
    if not black_box and any(of_the_suite.values()):
        raise click.ClickException("--precision and --json are about the suite: they go with --black-box")
    if black_box:
        writable(of_the_suite["file"])
        with failures_told():
            status = teeth.kill(names, jobs, **of_the_suite)
        raise click.exceptions.Exit(status)
    simulated(names, jobs)


def simulated(names: tuple[str, ...], jobs: int) -> None:
    """Let the simulator find the mutants of these names (none: all)."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    tried: dict[str, tuple[Trial, float]] = {}
    interrupted = False
    try:
        with failures_told(), progress() as bar:
            row = bar.add_task("", total=len(chosen), told="mutants")
            for trial, seconds in trials(chosen, jobs):
                tried[trial.mutant.name] = (trial, seconds)
                bar.advance(row)
    except KeyboardInterrupt:
        interrupted = True
    chosen = [mutant for mutant in chosen if mutant.name in tried]
    console = Console()
    console.print(table_of_mutants([tried[mutant.name] for mutant in chosen]))
    if names:
        for mutant in chosen:
            if minimal := tried[mutant.name][0].minimal:
                console.print(Text(f"{COMMAND} {minimal}"), soft_wrap=True)
    alive = [mutant.name for mutant in chosen if tried[mutant.name][0].found is None]
    told = f"{len(chosen) - len(alive)} of {len(chosen)} mutants found by the guarantee that they break"
    style = "bold red" if alive else "bold green"
    told += f"; not found: {', '.join(alive)}" if alive else ""
    told += "; interrupted before the others were tried" if interrupted else ""
    console.print(Text(told, style), soft_wrap=True)
    raise click.exceptions.Exit(INTERRUPTED if interrupted else int(bool(alive)))


def trials(chosen: Sequence[Mutant], jobs: int) -> Iterator[tuple[Trial, float]]:
    """Each mutant's trial with its seconds, in the order in which they are over."""
    if jobs == 1:
        yield from map(timed_trial, chosen)
        return
    with Crew(min(jobs, len(chosen))) as crew:
        for _, tried in crew.results(timed_trial, chosen):
            yield tried


def timed_trial(mutant: Mutant) -> tuple[Trial, float]:
    """In a process of the crew."""
    started = time.monotonic()
    trial = hold(mutant)
    return trial, time.monotonic() - started


def table_of_mutants(rows: Iterable[tuple[Trial, float]]) -> Table:
    """Mutant, guarantee, where it was found, and the least that must be lost to see it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("mutant", "breaks", "found under", "seconds", "the least omission"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "seconds" else "left")
    for trial, seconds in rows:
        if trial.found is None:
            found = Text(f"LIVES (found only by {' '.join(trial.others)})" if trial.others else "LIVES", "bold red")
        else:
            found = Text(f"{trial.found.rule} {' '.join(trial.models) or address_of(trial)}")
        cells = [Text(trial.mutant.name), Text(trial.mutant.breaks), found, Text(f"{seconds:.1f}")]
        table.add_row(*cells, Text(trial.minimal.partition("/")[2] or "no crash needed"))
    return table


def address_of(trial: Trial) -> str:
    """What the run of a finding has that the plain scenario has not: its fault, its seed."""
    assert trial.found is not None
    run = parse(trial.found.address.partition("/")[0])
    return str(replace(run, mutant="")).partition("+")[2] or run.scenario
