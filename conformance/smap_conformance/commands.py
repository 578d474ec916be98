"""The subcommands of `smaplab`; see `cli` for the exit status."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from smap_conformance import catalogue, results, sandbox, target
from smap_conformance.catalogue import Level
from smap_conformance.verdict import Verdict

COLOURS = {
    Verdict.PASS: "green",
    Verdict.INFO: "cyan",
    Verdict.NOT_MEASURED: "yellow",
    Verdict.SHOULD_MISSED: "magenta",
    Verdict.FAIL: "bold red",
    Verdict.HARNESS_ERROR: "bold white on red",
}
HARNESS_FAILED = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def smaplab() -> None:
    """Hold a smap and a smapd, in any language, against the rules."""


def fail(message: str) -> click.exceptions.Exit:
    """One line and status 2."""
    click.echo(f"smaplab: {message}", err=True)
    return click.exceptions.Exit(2)


def pytest_line(options: Sequence[str], workers: str | None) -> list[str]:
    """The command that `run` stands for."""
    line = [sys.executable, "-m", "pytest", "--pyargs", "smap_conformance", "-p", "no:cacheprovider", *options]
    return [*line, "-n", workers] if workers else line


def target_options(smap: str | None, smapd: str | None) -> list[str]:
    """The plugin's options for the chosen target; usage errors are told here, before pytest starts."""
    if bool(smap) != bool(smapd):
        raise fail("--smap and --smapd go together: one without the other is no pair")
    if not (smap and smapd):
        return ["--smap-target", target.REFERENCE]
    try:
        made = target.from_paths(smap, smapd)
    except target.TargetError as error:
        raise fail(str(error)) from None
    click.echo("the target, as a manifest:")
    click.echo(made.describe() + "\n")
    return ["--smap", made.smap[0], "--smapd", made.smapd[0]]


def in_own_pid_namespace(line: Sequence[str]) -> list[str]:
    """The line inside a PID namespace, so that its end, even by SIGKILL, is the end of all it started."""
    unshare = shutil.which("unshare")
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    if unshare is None:
        return list(line)
    wrapper = [unshare, *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, check=False)
    return [*wrapper, *line] if tried.returncode == 0 else list(line)


@smaplab.command()
@click.option("--smap", metavar="PATH", help="The smap to judge (default: the reference).")
@click.option("--smapd", metavar="PATH", help="The smapd to judge.")
@click.option("--level", type=click.Choice(["must", "should", "all"]), default="all", show_default=True)
@click.option("--only", metavar="RULES", help="Rules or chapters, separated by commas: CRASH,BAD-02.")
@click.option("-n", "workers", metavar="N", help="Run in N processes, or `auto`.")
@click.option("--report", "report", metavar="DIR", type=click.Path(path_type=Path), help="Keep results and artefacts.")
@click.option("--timeout-scale", metavar="X", type=float, default=1.0, help="Multiply every bound by X.")
@click.option("--user", metavar="NAME", help="As root: run the target as this user (default: nobody).")
def run(  # noqa: PLR0913
    smap: str | None,
    smapd: str | None,
    level: str,
    only: str | None,
    workers: str | None,
    report: Path | None,
    timeout_scale: float,
    user: str | None,
) -> None:
    """Run the suite against a pair of programs."""
    options = [*target_options(smap, smapd), "--smap-level", level]
    rules = catalogue.rules()
    if only:
        try:
            catalogue.matching(rules, only)
        except catalogue.CatalogueError as error:
            raise fail(f"--only: {error}") from None
        options += ["--smap-only", only]
    if user:
        options += ["--smap-user", user]
    if timeout_scale != 1.0:
        options += ["--smap-timeout-scale", str(timeout_scale)]
    directory = report or Path(tempfile.mkdtemp(prefix="smaplab-report-"))
    options += ["--smap-report", str(directory)]
    line = pytest_line(options, workers)
    console = Console()
    console.print(escape(shlex.join(line)), style="dim", soft_wrap=True)
    status, transcript = conduct(line, directory, console)
    if not (directory / "results.json").exists():
        console.print(escape(transcript.read_text(errors="backslashreplace")[-4000:]), soft_wrap=True)
        if status == 4:
            raise click.exceptions.Exit(2)
        console.print(f"the harness failed: pytest ended with status {status} and left no results", style="bold red")
        raise click.exceptions.Exit(HARNESS_FAILED)
    finished = results.read(directory)
    show(finished, console)
    kept = report is not None or any(
        verdict in results.BAD for case in finished.cases for verdict in case.verdicts.values()
    )
    if kept:
        console.print(f"report: {directory}", soft_wrap=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    raise click.exceptions.Exit(finished.conclusion(rules).status)


def conduct(line: Sequence[str], directory: Path, console: Console) -> tuple[int, Path]:
    """Run pytest with a progress bar fed by the plugin; its own output goes to a file in the report."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").unlink(missing_ok=True)
    transcript = directory / "pytest.txt"
    reading, writing = os.pipe()
    with transcript.open("wb") as output, os.fdopen(reading, encoding="utf-8") as events:
        process = subprocess.Popen(
            in_own_pid_namespace(line),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=[writing],
            env={**os.environ, "SMAPLAB_EVENTS": str(writing)},
        )
        os.close(writing)
        try:
            follow(events, console)
            return process.wait(), transcript
        except BaseException:
            process.terminate()
            process.wait()
            raise


def follow(events: IO[str], console: Console) -> None:
    """Draw the progress until the plugin hangs up."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("cases", total=None)
        for text in events:
            event = json.loads(text)
            if event["kind"] == "cases":
                progress.update(task, total=event["count"])
            else:
                progress.update(task, advance=1, description=f"{event['letter']} {event['case'][:48]:48}")


def show(finished: results.Run, console: Console) -> None:
    """The table, the counts, what was not measured, and the last line."""
    rules = catalogue.rules()
    rolled = finished.rules(rules)
    table = Table(title=f"{finished.target} against the rules", title_justify="left", expand=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("level", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases", justify="right")
    table.add_column("in a line", overflow="fold")
    for rule in rolled:
        colour = COLOURS[rule.verdict]
        verdict = f"[{colour}]{rule.verdict.value}[/]"
        table.add_row(rule.rule.id, rule.rule.level.value, verdict, str(rule.cases), escape(rule.line))
    console.print(table)
    count = {verdict: sum(rule.verdict is verdict for rule in rolled) for verdict in Verdict}
    counted = ", ".join(f"{number} {verdict.value}" for verdict, number in count.items() if number)
    console.print(f"{len(rolled)} of {len(rules)} rules judged by {len(finished.cases)} cases: {counted}")
    reasons: dict[str, list[str]] = {}
    for case in finished.cases:
        if Verdict.NOT_MEASURED in case.verdicts.values():
            reasons.setdefault(case.line, []).append(case.case)
    for reason, cases in sorted(reasons.items()):
        console.print(f"not measured ({len(cases)} cases): {escape(reason)}", style="yellow", soft_wrap=True)
    conclusion = finished.conclusion(rules)
    console.print(conclusion.line, style="bold green" if conclusion.status == 0 else "bold red", soft_wrap=True)


@smaplab.command("list")
@click.option("--untested", is_flag=True, help="Only rules without a case, with the reason.")
def list_rules(untested: bool) -> None:
    """List the rules."""
    table = Table(box=None, pad_edge=False)
    for heading in ("rule", "level", "why not" if untested else "sentence"):
        table.add_column(heading, overflow="fold")
    for rule in catalogue.rules().values():
        if not untested or rule.untested:
            table.add_row(rule.id, rule.level.value, escape(rule.untested if untested else rule.sentence))
    Console().print(table)


@smaplab.command()
@click.argument("rule")
def explain(rule: str) -> None:
    """Say what RULE asks, where it comes from, why it matters and how it is tested."""
    found = catalogue.rules().get(rule.upper())
    if found is None:
        raise fail(f"no rule {rule}: `smaplab list` shows them all")
    console = Console()
    console.print(f"[bold]{found.id}[/] ({found.level.value}) {escape(found.sentence)}")
    how = f"not tested: {found.untested}" if found.untested else f"tested: {found.tested}"
    for text in (f"source: {found.source}", f"why: {found.why}", how):
        console.print(escape(text))
    if found.level is Level.SHOULD:
        console.print("a target that misses it is still conformant")


@smaplab.command()
@click.option("--smap", metavar="PATH")
@click.option("--smapd", metavar="PATH")
@click.pass_context
def smoke(context: click.Context, smap: str | None, smapd: str | None) -> None:
    """One mail in, one mail out: does the plug fit?"""
    context.invoke(run, smap=smap, smapd=smapd, level="must", only="SCAN-02,MAILER-03", workers=None, report=None)


@smaplab.command()
def doctor() -> None:
    """Say which means this machine has, and what cannot be checked without each."""
    console = Console()
    try:
        user = sandbox.user_for_targets()
    except LookupError as error:
        raise fail(str(error)) from None
    box = sandbox.Sandbox(user)
    box.close()
    means = box.means
    table = Table(box=None, pad_edge=False)
    for heading in ("means", "here", "without it"):
        table.add_column(heading, overflow="fold")
    rows = [
        ("root", means.root, "PRIV-02, PRIV-03, PRIV-05: nothing can be dropped, so dropping is not seen"),
        ("namespaces", means.namespaces or False, "no private table, disks, log: see below"),
        ("chroot", means.chroot, "no smap can run: nothing is measured"),
        ("small disks (tmpfs)", means.tmpfs, "FAULT-01: no full disk"),
        ("log at /dev/log", means.log, "OPS-02 and the log's part of CFG-08"),
        ("unshare (util-linux)", bool(shutil.which("unshare")), "a killed run may leave processes behind"),
    ]
    for name, here, without in rows:
        shown = here if isinstance(here, str) else ("yes" if here else "no")
        table.add_row(name, f"[{'green' if here else 'yellow'}]{shown}[/]", "" if here else escape(without))
    console.print(table)
    for reason in means.reasons:
        console.print(f"because: {escape(reason)}", style="yellow")
    console.print(f"targets run as {user.name} (uid {user.uid})")
