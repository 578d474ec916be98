"""The subcommands of `smaplab`; see `cli` for the exit status."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smap_conformance import afterwards, breaking, catalogue, manifest, results, running, simulating, target, terminal
from smap_conformance import doctor as doctoring
from smap_conformance.catalogue import Level
from smap_conformance.command_line import Choices, joined, pytest_line
from smap_conformance.report import command as report_command
from smap_conformance.users import user_for_targets

USAGE, HARNESS_FAILED = 2, 3
PYTEST_USAGE = 4
TARGET_OPTIONS = (
    click.option("--target", metavar="FILE", help="The manifest of the implementation to judge: target.toml."),
    click.option("--smap", metavar="PATH", help="Or a smap without a manifest (neither: the reference)."),
    click.option("--smapd", metavar="PATH", help="And its smapd."),
    click.option("--user", metavar="NAME", help="As root: run the target as this user (default: nobody)."),
    click.option("--timeout-scale", metavar="X", type=float, help="Multiply every bound by X."),
    click.option("--no-isolation", is_flag=True, help="Use no namespaces even where they work."),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smaplab")
def smaplab() -> None:
    """Hold a smap and a smapd, in any language, against the rules."""


def target_options(command: Any) -> Any:
    """The options that `run` and `smoke` share."""
    for option in reversed(TARGET_OPTIONS):
        command = option(command)
    return command


def fail(message: str) -> click.exceptions.Exit:
    """One line and status 2."""
    click.echo(f"smaplab: {message}", err=True)
    return click.exceptions.Exit(USAGE)


def checked_workers(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """`auto`, or a number of processes from 1."""
    if value in (None, "auto") or (value.isdecimal() and 0 < int(value) <= 1000):
        return value
    raise click.BadParameter(f"{value!r} is neither `auto` nor a number from 1")


@smaplab.command()
@target_options
@click.option("--level", type=click.Choice(["must", "should", "all"]), default="all", show_default=True)
@click.option("--only", metavar="RULES", default="", help="Rules or chapters, separated by commas: CRASH,BAD-02.")
@click.option("--case", "cases", metavar="CASE", multiple=True, help="This case only, as a failure names it.")
@click.option(
    "-n",
    "workers",
    metavar="N",
    callback=checked_workers,
    help="Run in N processes, or `auto`, 3 a core: that is what all rules get.",
)
@click.option("--report", metavar="DIR", type=click.Path(path_type=Path), help="Keep results and artefacts there.")
@click.option("--svg", metavar="FILE", type=click.Path(path_type=Path), help="Also draw what is printed, as a picture.")
def run(workers: str | None, report: Path | None, svg: Path | None, no_isolation: bool, **chosen: Any) -> None:
    """Run the suite against a pair of programs."""
    raise click.exceptions.Exit(judge(Choices(**chosen, isolate=not no_isolation), workers, report, svg))


@smaplab.command()
@target_options
def smoke(no_isolation: bool, **chosen: Any) -> None:
    """One mail in, one mail out: does the plug fit?"""
    choices = Choices(
        **chosen, isolate=not no_isolation, cases=("sanity::test_a_mail_goes_in_and_comes_out_unchanged",)
    )
    raise click.exceptions.Exit(judge(choices, None, None, None))


def judge(choices: Choices, workers: str | None, report: Path | None, svg: Path | None) -> int:
    """One run, printed; the exit status. Usage errors are told here, before pytest starts."""
    announce(checked(choices))
    if svg is not None and not simulating.may_be_written(svg):
        raise fail(f"--svg: {svg}: cannot be written: name a file in a directory that is there")
    directory = directory_for(report)
    kept = report is not None
    console = Console(record=svg is not None)
    line = pytest_line(choices, directory, workers)
    console.print(Text(joined(line), "dim"), soft_wrap=True)
    try:
        status, said = running.conduct(line, directory)
        finished = read_results(directory, status, said)
        if missing := sorted(set(choices.cases) - {case.case for case in finished.cases}):
            raise fail(f"--case: no case {', '.join(missing)}: a failure names its case")
        kept = kept or any(case.heaviest in results.BAD for case in finished.cases)
        terminal.show(finished, console, directory if kept else None)
    except UnfinishedError as unfinished:
        kept = kept or unfinished.status == HARNESS_FAILED
        click.echo(f"smaplab: {unfinished}", err=True)
        return unfinished.status
    finally:
        if not kept:
            shutil.rmtree(directory, ignore_errors=True)
    if svg is not None:
        draw(console, svg, choices)
    return finished.conclusion(catalogue.rules()).status


def checked(choices: Choices) -> target.Target | None:
    """The target, or None for the reference. Status 2 for choices that make no sense.

    What a manifest still has to build is looked for when it has been built.
    """
    if choices.target and (choices.smap or choices.smapd):
        raise fail("--target and --smap/--smapd exclude each other: a manifest names both programs")
    if bool(choices.smap) != bool(choices.smapd):
        raise fail("--smap and --smapd go together: one without the other is no pair")
    if choices.timeout_scale is not None and not 0 < choices.timeout_scale <= manifest.SCALE_MAX:
        raise fail(f"--timeout-scale wants a number above 0, of {manifest.SCALE_MAX} at the most")
    try:
        catalogue.matching(catalogue.rules(), choices.only)
        user_for_targets(choices.user)
        if choices.smap and choices.smapd:
            return target.from_paths(choices.smap, choices.smapd)
        chosen = manifest.read(Path(choices.target)) if choices.target else None
        if chosen is not None and not chosen.build:
            manifest.check_programs(chosen)
    except catalogue.CatalogueError as error:
        raise fail(f"--only: {error}") from None
    except (LookupError, target.TargetError) as error:
        raise fail(str(error.args[0])) from None
    return chosen


def announce(chosen: target.Target | None) -> None:
    """Show what was made up."""
    if chosen is not None and chosen.made_up:
        click.echo(f"# the target, as a manifest: keep it as target.toml, and give --target\n{manifest.text(chosen)}\n")


def directory_for(report: Path | None) -> Path:
    """Where results go. Status 2 when nothing can be written there."""
    if report is None:
        return Path(tempfile.mkdtemp(prefix="smaplab-report-"))
    directory = report.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError as error:
        raise fail(f"--report: {report}: {error.strerror}: name a directory that you can write to") from None


class UnfinishedError(Exception):
    """A run without results, with what to say and the exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def read_results(directory: Path, status: int, said: str) -> results.Run:
    """The results of a finished run; UnfinishedError when pytest left none."""
    if (directory / "results.json").exists():
        return results.read(directory)
    lines = [line for line in said.splitlines() if line.strip()]
    complained = said.find("ERROR: ")
    if status == PYTEST_USAGE and complained >= 0:
        with contextlib.suppress(OSError):
            (directory / "pytest.txt").unlink()
            directory.rmdir()
        raise UnfinishedError(USAGE, said[complained:].removeprefix("ERROR: ").strip())
    told = "\n".join(lines[-30:])
    raise UnfinishedError(
        HARNESS_FAILED,
        f"the harness failed: pytest ended with status {status} and left no results; "
        f"its last words, of {directory}/pytest.txt:\n{told}",
    )


def draw(console: Console, svg: Path, choices: Choices) -> None:
    """Write what was printed as a picture."""
    words = ["smaplab", "run", *choices.as_run_options()]
    try:
        console.save_svg(os.fspath(svg), title=joined(words))
    except OSError as error:
        raise fail(f"--svg: {svg}: {error.strerror}: name a file that you can write to") from None


@smaplab.command("list")
@click.option("--untested", is_flag=True, help="Only rules without a case, with the reason.")
def list_rules(untested: bool) -> None:
    """List the rules."""
    chosen = [rule for rule in catalogue.rules().values() if not untested or rule.untested]
    if not chosen:
        click.echo("every rule has a case")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("why not" if untested else "sentence", overflow="fold")
    for rule in chosen:
        table.add_row(rule.id, rule.level.value, Text(rule.untested if untested else rule.sentence))
    Console().print(table)


@smaplab.command()
@click.argument("rule")
def explain(rule: str) -> None:
    """Say what RULE asks, where it comes from, why it matters and how it is tested."""
    rules = catalogue.rules()
    found = rules.get(rule.upper())
    if found is None:
        near = difflib.get_close_matches(rule.upper(), rules, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`smaplab list` shows them all"
        raise fail(f"no rule {rule}: {hint}")
    how = f"not tested: {found.untested}" if found.untested else f"tested: {found.tested}"
    console = Console()
    console.print(Text.assemble((found.id, "bold"), f" ({found.level.value}) {found.sentence}"))
    for text in (f"source: {found.source}", f"why: {found.why}", how):
        console.print(Text(text))
    if found.level is Level.SHOULD:
        console.print("a target that misses it is still conformant")


@smaplab.command()
def doctor() -> None:
    """Say which means this machine has, and what cannot be checked without each."""
    try:
        doctoring.examine(Console())
    except LookupError as error:
        raise fail(str(error.args[0])) from None


for command in (*simulating.COMMANDS, breaking.mutants, *afterwards.COMMANDS, report_command.report):
    smaplab.add_command(command)
