"""The report as Markdown: what a pull request or a chat takes; a matrix of what is not simply kept, and the counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from smap_conformance.report import overview
from smap_conformance.report.judged import Judged
from smap_conformance.report.visible import visible
from smap_conformance.verdict import counted

CASES_MAX = 10  # of a rule and an implementation
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&@])")


def render(judged: Sequence[Judged]) -> str:
    """The text. Nothing in it that a target wrote can become a link, an image, a table cell or a tag."""
    return "\n".join(_lines(overview.of(judged))) + "\n"


def _lines(page: overview.Page) -> Iterator[str]:
    for one in page.implementations:
        counts = ", ".join(f"{count} {mark.word}" for mark, count in one.counts)
        yield from (f"## {text(one.name)}: {text(one.conclusion)}", "")
        yield f"{counted(one.rules)} judged by {counted(one.cases, 'case')}: {counts or 'none'}"
        if one.tally:
            yield from ("", ", ".join(f"{count} {text(name)}" for name, count in one.tally.items()))
        for trouble in one.troubles:
            yield from ("", text(trouble))
        for reason, cases in one.not_measured.items():
            yield from ("", f"not measured ({counted(len(cases), 'case')}): {text(reason)}")
        yield ""
    yield from _matrix(page)
    for group in page.groups:
        yield from ("", f"### {text(group.rule.id)} ({group.rule.level.value}): {text(group.rule.sentence)}", "")
        yield text(group.rule.why)
        for card in (*group.cards, *group.others)[:CASES_MAX]:
            yield from ("", f"- {text(card.implementation)}: {text(card.title)} {text(card.parameters)}".rstrip())
            yield f"  {text(card.line)}"
            if card.failure.again:
                yield from ("", *(f"      {line}" for line in visible(card.failure.again).splitlines()))
        if (left := len(group.cards) + len(group.others) - CASES_MAX) > 0:
            yield from ("", f"- and {counted(left, 'more case')}")


def _matrix(page: overview.Page) -> Iterable[str]:
    """The rules that somebody does not simply keep."""
    rows = [row for chapter in page.chapters for row in chapter.rows if row.looks not in ("pass", "info pass")]
    if not rows:
        return
    yield "| rule | level | " + " | ".join(text(one.name) for one in page.implementations) + " |"
    yield "|---|---|" + "---|" * len(page.implementations)
    for row in rows:
        yield (
            f"| {text(row.rule.id)} | {row.rule.level.value} | "
            + " | ".join(cell.mark.word for cell in row.cells)
            + " |"
        )


def text(value: str) -> str:
    """One line of plain text, whatever it looks like."""
    return _SPECIAL.sub(r"\\\1", visible(" ".join(value.split())))
