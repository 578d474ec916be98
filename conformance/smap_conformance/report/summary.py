"""summary.md: a run on one screen, for a merge request or the summary of a CI job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from smap_conformance.catalogue import Rule
from smap_conformance.known import Standing
from smap_conformance.report.visible import visible
from smap_conformance.results import Run
from smap_conformance.verdict import CaseResult, Verdict, counted

CASES_MAX = 20
DETAIL_LINES_MAX = 40
SHOWN = (Verdict.HARNESS_ERROR, Verdict.FAIL, Verdict.UNEXPECTED_PASS, Verdict.SHOULD_MISSED)


def text(run: Run, rules: Mapping[str, Rule]) -> str:
    """The file's content."""
    return "\n".join(_lines(run, rules)) + "\n"


def _lines(run: Run, rules: Mapping[str, Rule]) -> Iterator[str]:
    rolled = run.rules(rules)
    count = Counter(rule.verdict for rule in rolled)
    name = " ".join(filter(None, (run.target, run.about.version)))
    yield f"## smap conformance: {_plain(name)}\n"
    yield f"**{_plain(run.conclusion(rules).line)}**\n"
    verdicts = ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict])
    yield f"{counted(len(rolled))} judged by {counted(len(run.cases), 'case')}: {verdicts or 'none'}"
    if tally := run.tally():
        yield "\n" + ", ".join(f"{number} {what}" for what, number in tally.items())
    if wrong := [rule for rule in rolled if rule.verdict in SHOWN]:
        yield "\n| rule | level | verdict | in a line |\n|---|---|---|---|"
        for rule in sorted(wrong, key=lambda rule: -rule.verdict.weight):
            yield f"| {rule.rule.id} | {rule.rule.level.value} | {rule.verdict.value} | {_plain(rule.line)} |"
    failing = sorted((case for case in run.cases if case.heaviest in SHOWN), key=lambda case: -case.heaviest.weight)
    for case in failing[:CASES_MAX]:
        yield from _folded(case)
    if failing[CASES_MAX:]:
        yield f"\n… and {counted(len(failing) - CASES_MAX, 'case')} more"
    yield from _rest(run, rules)


def _folded(case: CaseResult) -> Iterator[str]:
    """A failing case, closed until somebody opens it. No fence of its text can end ours."""
    lines = case.detail.splitlines()
    left = lines[DETAIL_LINES_MAX:]
    rest = [f"… {counted(len(left), 'more line')}", *(line for line in left if line.startswith("again: "))]
    yield f"\n<details><summary>{_plain(case.heaviest.value)}: {_plain(case.case)}</summary>\n"
    yield from (f"    {visible(line)}" for line in (*lines[:DETAIL_LINES_MAX], *(rest if left else ())))
    yield "\n</details>"


def _rest(run: Run, rules: Mapping[str, Rule]) -> Iterator[str]:
    if entries := [(entry, standing) for entry, standing in run.standings() if standing is not Standing.NOT_ASKED]:
        yield "\nKnown deviations:\n"
        for entry, standing in entries:
            yield f"- {entry.rule} ({rules[entry.rule].level.value}): {standing.value}: {_plain(entry.words)}"
    if reasons := run.not_measured():
        yield "\nNot measured:\n"
        yield from (f"- {counted(len(cases), 'case')}: {_plain(reason)}" for reason, cases in reasons.items())


def _plain(text: str) -> str:
    """Text from outside as Markdown that shows just that."""
    for character, shown in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        ("|", "&#124;"),
        ("*", "&#42;"),
        ("_", "&#95;"),
        ("`", "&#96;"),
    ):
        text = text.replace(character, shown)
    return visible(" ".join(text.replace("\\", "&#92;").replace("[", "&#91;").split()))
