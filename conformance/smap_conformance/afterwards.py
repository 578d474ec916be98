"""The subcommands of `smaplab` that look at an earlier run: `show`, `rerun`, `known`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from smap_conformance import catalogue, known, results, terminal
from smap_conformance.verdict import Verdict

USAGE, NOTHING_RUN = 2, 3
AGAIN = (Verdict.FAIL, Verdict.HARNESS_ERROR)
FILLED = "name what `smaplab run --report DIR` has filled"
AGAIN_WITH_THIS = "run the suite again with this smaplab"
directory = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))


def read(where: Path) -> results.Run:
    """The results in a report's directory, or status 2 with one line."""
    try:
        return results.read(where)
    except FileNotFoundError:
        raise _fail(f"{where}: no results.json there: {FILLED}") from None
    except OSError as error:
        raise _fail(f"{where}/results.json: {error.strerror}: {FILLED}") from None
    except json.JSONDecodeError as error:
        raise _fail(f"{where}/results.json: no JSON: {error}") from None
    except KeyError as error:
        raise _fail(f"{where}/results.json: no {error} there: {AGAIN_WITH_THIS}") from None
    except (ValueError, TypeError) as error:
        raise _fail(f"{where}/results.json: {error}: {AGAIN_WITH_THIS}") from None


def _fail(message: str) -> click.exceptions.Exit:
    click.echo(f"smaplab: {message}", err=True)
    return click.exceptions.Exit(USAGE)


@click.command()
@directory
@click.argument("rule", required=False)
def show(directory: Path, rule: str | None) -> None:
    """Show the results in DIR again, or all about one RULE in them. The exit status is that of the run."""
    run = read(directory)
    console = Console()
    status = run.conclusion(catalogue.rules()).status
    if rule is None:
        terminal.show(run, console, directory)
        raise click.exceptions.Exit(status)
    found = catalogue.rules().get(rule.upper())
    if found is None:
        near = difflib.get_close_matches(rule.upper(), catalogue.rules(), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`smaplab list` shows them all"
        raise _fail(f"no rule {rule}: {hint}")
    terminal.card(run, found, console)
    raise click.exceptions.Exit(status)


@click.command()
@directory
@click.option("--failed", is_flag=True, help="Every case that failed, or in which the harness did.")
@click.option("--case", "cases", metavar="CASE", multiple=True, help="This case, as a failure names it (repeatable).")
@click.option("-n", "workers", metavar="N", help="Run in N processes, or `auto`.")
@click.option("--report", metavar="DIR", type=click.Path(path_type=Path), help="Keep results and artefacts there.")
@click.pass_context
def rerun(context: click.Context, /, directory: Path, failed: bool, cases: tuple[str, ...], **where: Any) -> None:
    """Run cases of an earlier run once more, against the same target."""
    run = read(directory)
    if failed == bool(cases):
        raise click.UsageError("rerun wants either --failed or --case CASE")
    there = {case.case: case for case in run.cases}
    if missing := [case for case in cases if case not in there]:
        near = difflib.get_close_matches(missing[0], there, n=1)
        raise _fail(f"--case: no case {missing[0]} in {directory}{f': did you mean {near[0]}?' if near else ''}")
    chosen = [name for name, case in there.items() if case.heaviest in AGAIN] if failed else list(cases)
    if not chosen:
        click.echo(f"smaplab: no case failed in {directory}: nothing was run", err=True)
        raise click.exceptions.Exit(NOTHING_RUN)
    words = list(run.about.options)
    for case in chosen:
        words += ["--case", case]
    for option, value in (("-n", where["workers"]), ("--report", where["report"])):
        words += [option, str(value)] if value is not None else []
    parent = context.parent
    assert parent is not None and isinstance(parent.command, click.Group)  # noqa: PT018 - we are one of its commands
    command = parent.command.commands["run"]
    with command.make_context("run", words, parent=parent) as again:
        command.invoke(again)


@click.command("known")
@click.option(
    "--from", "directory", metavar="DIR", required=True, type=click.Path(path_type=Path),
    help="What `smaplab run --report DIR` has filled.",
)  # fmt: skip
def known_entries(directory: Path) -> None:
    """Print the failures in DIR as known deviations, for the end of target.toml; the reasons are yours to give."""
    run = read(directory)
    entries = known.from_failures(run.cases)
    for entry, seen in entries:
        click.echo(f"# seen: {' '.join(seen.split())}\n{entry.as_toml()}\n")
    if not entries:
        click.echo(f"# no failure in {directory}")


COMMANDS = (show, rerun, known_entries)
