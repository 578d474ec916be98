"""`smaplab report`: one or several runs, each kept with `run --report DIR`, as a page or as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from smap_conformance import afterwards
from smap_conformance.report import markdown, page
from smap_conformance.report.judged import named

USAGE = 2


@click.command()
@click.argument("directories", metavar="DIR…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write a page (one file, no network).")
@click.option("--markdown", "md", metavar="FILE", type=click.Path(path_type=Path), help="Write Markdown.")
def report(directories: tuple[Path, ...], html: Path | None, md: Path | None) -> None:
    """Show the runs kept in each DIR side by side; without an option, as Markdown on standard output."""
    judged = named((directory, afterwards.read(directory)) for directory in directories)
    if html is None and md is None:
        click.echo(markdown.render(judged), nl=False)
    for option, file, render in (("--html", html, page.render), ("--markdown", md, markdown.render)):
        if file is not None:
            try:
                file.write_text(render(judged), encoding="utf-8")
            except OSError as error:
                message = f"{option}: {file}: {error.strerror}: name a file that you can write to"
                click.echo(f"smaplab: {message}", err=True)
                raise click.exceptions.Exit(USAGE) from None
