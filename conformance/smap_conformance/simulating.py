"""The subcommands of `smaplab` that simulate: `simulate` and `replay`.

Exit status: 0 nothing is broken, 1 something is, 2 usage, 3 the simulator failed, 130 interrupted. What a person
watches goes to stderr, what was found to stdout.
"""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from smap_simulator import campaign, history, soundness
from smap_simulator.address import GRAMMAR, SCENARIOS, AddressError
from smap_simulator.campaign import CHAPTERS, Plan, Totals
from smap_simulator.crash import IdError
from smap_simulator.history import History, HistoryError
from smap_simulator.inquest import Inquest, untold
from smap_simulator.models import MODELS
from smap_simulator.mutants import MUTANTS, MutantError
from smap_simulator.replay import Replayed
from smap_simulator.replay import replay as replay_address

from smap_conformance.survey import Saved, Survey

SIMULATOR_FAILED = 3
JOBS_MAX = 1000


def known(
    kind: str, names: Iterable[str], listed_by: str = "smaplab simulate --list"
) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A check that each value of an option or argument is one of these names; else one line with the nearest."""

    def check(_: click.Context, __: click.Parameter, value: Any) -> Any:
        there = list(names)
        for name in [value] if isinstance(value, str) else value or ():
            if name not in there:
                near = difflib.get_close_matches(name, there, n=3, cutoff=0.4)
                hint = f"did you mean {' or '.join(near)}?" if near else f"`{listed_by}` names them"
                raise click.ClickException(f"no {kind} {name}: {hint}")
        return value

    return check


def number_of_jobs(_: click.Context, __: click.Parameter, value: str) -> int:
    """`auto` is one for each core."""
    if value == "auto":
        return len(os.sched_getaffinity(0))
    if value.isdecimal() and 0 < int(value) <= JOBS_MAX:
        return int(value)
    raise click.ClickException(f"--jobs: {value!r} is neither `auto` nor a number from 1 to {JOBS_MAX}")


MUTANT_NAMES = tuple(mutant.name for mutant in MUTANTS)
jobs_option = click.option(
    "--jobs", metavar="N", default="auto", show_default=True, callback=number_of_jobs, help="Processes."
)


@click.command()
@click.option(
    "--model", "models", metavar="NAME", multiple=True, callback=known("model", MODELS), help="This disk only."
)
@click.option(
    "--scenario",
    "scenarios",
    metavar="WORD",
    multiple=True,
    callback=known("scenario", SCENARIOS),
    help="This scenario only.",
)
@click.option(
    "--chapter",
    "chapters",
    metavar="NAME",
    multiple=True,
    callback=known("chapter", CHAPTERS),
    help=f"Only this: {', '.join(CHAPTERS)}.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Random schedules of each scenario that has them.",
)
@click.option("--first-seed", metavar="N", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--mutant",
    metavar="NAME",
    default="",
    callback=known("mutant", ("", *MUTANT_NAMES)),
    help="A broken variant instead of the reference; stops at the first finding.",
)
@click.option(
    "--history",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The crash states of a saved history, judged by what lies on the disk; no program runs.",
)
@jobs_option
@click.option(
    "--json", "report", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Also write a report."
)
@click.option("--list", "listing", is_flag=True, help="List scenarios, models, chapters and mutants, and do nothing.")
def simulate(jobs: int, report: Path | None, listing: bool, source: Path | None, **chosen: Any) -> None:
    """Hurt the reference in every way, and say which guarantees broke. An interrupt says what was found so far."""
    if listing:
        list_everything(Console())
        return
    plan = Plan(**chosen)
    if source is not None:
        must_go_with_a_history(chosen)
        saved = history_in(source)
    elif not plan.tasks():
        raise click.ClickException("nothing to do: these chapters do not have these scenarios")
    writable(report)
    with failures_told():
        survey = carry_out(plan, jobs) if source is None else hold_inquest(source, saved, plan, jobs)
    survey.show(Console())
    if report is not None:
        try:
            report.write_text(survey.as_json(), encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"--json: {report}: {error.strerror}: name a file to write to") from None
    raise click.exceptions.Exit(survey.status)


def must_go_with_a_history(chosen: Iterable[str]) -> None:
    """Only a model can be chosen of a history: it is one run already."""
    context = click.get_current_context()
    for name in chosen:
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name != "models":
            option = next(each.opts[0] for each in context.command.params if each.name == name)
            raise click.ClickException(f"{option} does not go with --history, which is one run already; leave it out")


def history_in(file: Path) -> History:
    """A saved history that can have happened, or one line that says what to mend."""
    try:
        return soundness.load(file)
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}: name a file that can be read") from None
    except HistoryError as error:
        raise click.ClickException(str(error)) from None


def writable(file: Path | None) -> None:
    """One line at once, and not after minutes, where a report cannot be written."""
    if file is not None and not may_be_written(file):
        raise click.ClickException(f"--json: {file}: cannot be written: name a file in a directory that is there")


def may_be_written(file: Path) -> bool:
    """Whether there is a file that we may write, or a directory in which we may make it."""
    there = file if file.exists() else file.absolute().parent
    return not file.is_dir() and (file.exists() or there.is_dir()) and os.access(there, os.W_OK)


@contextmanager
def failures_told() -> Iterator[None]:
    """Status 3 with one line for whatever the simulator itself could not do; a mutant that does not fit is one."""
    try:
        yield
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:  # a program's faults are findings; this one is ours
        click.echo(f"smaplab: the simulator failed: {type(error).__name__}: {error}", err=True)
        raise click.exceptions.Exit(SIMULATOR_FAILED) from error


def carry_out(plan: Plan, jobs: int) -> Survey:
    """The campaign under a progress bar, and each distinct finding once more for its counterexample."""
    started = time.monotonic()
    early = bool(plan.mutant)
    with telling(started) as tell:
        totals = campaign.run(plan, jobs=jobs, progress=tell, stop_early=early)
    seconds = time.monotonic() - started
    replays = tuple((each, replay_address(each.address, rule=each.rule)) for each in totals.distinct())
    return Survey(plan, totals, replays, seconds, stopped_early=early and bool(totals.findings))


def hold_inquest(file: Path, saved: History, plan: Plan, jobs: int) -> Survey:
    """The crash states of a saved history under each model."""
    started = time.monotonic()
    tasks = [Inquest(saved, model) for model in plan.models or MODELS]
    with telling(started) as tell:
        totals = campaign.carry_out(tasks, jobs=min(jobs, len(tasks)), progress=tell)
    seconds = time.monotonic() - started
    replays = tuple(
        (each, replay_address(each.address, saved, rule=each.rule, source=str(file))) for each in totals.distinct()
    )
    return Survey(plan, totals, replays, seconds, saved=Saved(str(file), saved.title, tuple(untold(saved))))


@contextmanager
def telling(started: float) -> Iterator[campaign.Progress]:
    """The progress bar of a campaign."""
    with progress() as bar:
        row = bar.add_task("", total=None, told="tasks")

        def tell(done: int, total: int, totals: Totals) -> None:
            sums = totals.sums
            states = sums["states"] + sums["states in recoveries"]
            rate = f"{states / max(time.monotonic() - started, 0.001):.0f}/s"
            told = f"tasks  {states} states  {rate}  {sums['violations']} violations"
            bar.update(row, completed=done, total=total, told=told)

        yield tell


def progress() -> Progress:
    """How far it is, on stderr, and only where somebody is looking."""
    console = Console(stderr=True)
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def list_everything(console: Console) -> None:
    """What there is to choose from."""
    for title, rows in (
        ("models", [(model.name, model.stands_for) for model in MODELS.values()]),
        ("chapters", [(name, "") for name in CHAPTERS]),
        ("mutants", [(mutant.name, mutant.why) for mutant in MUTANTS]),
        ("scenarios", [(name, scenario.name) for name, scenario in SCENARIOS.items()]),
    ):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, told in rows:
            table.add_row(Text(name), Text("" if told == name else told))
        console.print(table)
        console.print()


@click.command(epilog=f"\b\n{GRAMMAR.replace(chr(10) * 2, chr(10))}")
@click.argument("address", default="")
@click.option(
    "--history",
    "source",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The history that the crash id is of; its program need not run. Without an ADDRESS the history is drawn.",
)
@click.option(
    "--save",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the run's history there, as JSON lines.",
)
def replay(address: str, source: Path | None, target: Path | None) -> None:
    """Show a run, RUN, or a crash state, RUN/ID, again; with a saved history, ID alone will do."""
    if not address and source is None:
        raise click.UsageError("Missing argument 'ADDRESS'.")
    saved = history_in(source) if source is not None else None
    try:
        with failures_told_but_usage():
            found = replay_address(address, saved, source=str(source) if source is not None else "")
        if target is not None:
            history.save(found.history, target)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    except (AddressError, IdError, MutantError) as error:
        raise click.ClickException(str(error)) from None
    show_replay(found)
    raise click.exceptions.Exit(int(bool(found.violations)))


@contextmanager
def failures_told_but_usage() -> Iterator[None]:
    """`failures_told`, where a wrong address is the user's."""
    try:
        yield
    except (AddressError, IdError, MutantError):
        raise
    except Exception:
        with failures_told():
            raise


def show_replay(found: Replayed) -> None:
    """In colours for a person, the same words for a file."""
    console = Console()
    if console.is_terminal and found.counterexample is not None and found.violations:
        console.print(found.counterexample)
    else:
        sys.stdout.write(found.plain())


COMMANDS = (simulate, replay)
