"""`smaplab report`: one or several runs, each kept with `run --report DIR`, as a page or as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from smap_conformance.report import ReportError, markdown, page, read

USAGE = 2


@click.command()
@click.argument("directories", metavar="DIR…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write a page (one file, no network).")
@click.option("--markdown", "md", metavar="FILE", type=click.Path(path_type=Path), help="Write Markdown.")
def report(directories: tuple[Path, ...], html: Path | None, md: Path | None) -> None:
    """Show the runs kept in each DIR side by side; without an option, as Markdown on standard output."""
    try:
        judged = read(directories)
    except ReportError as error:
        raise _fail(str(error)) from None
    if html is None and md is None:
        click.echo(markdown.render(judged), nl=False)
    for option, file, render in (("--html", html, page.render), ("--markdown", md, markdown.render)):
        if file is not None:
            try:
                file.write_text(render(judged), encoding="utf-8")
            except OSError as error:
                raise _fail(f"{option}: {file}: {error.strerror}: name a file that you can write to") from None


def _fail(message: str) -> click.exceptions.Exit:
    click.echo(f"smaplab: {message}", err=True)
    return click.exceptions.Exit(USAGE)
