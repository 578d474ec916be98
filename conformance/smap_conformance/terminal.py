"""A run's results for a person at a terminal: the table, the failures, what was not measured, the last line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from smap_conformance import catalogue, results
from smap_conformance.catalogue import Rule
from smap_conformance.failure import shortened
from smap_conformance.known import Standing
from smap_conformance.report.visible import visible
from smap_conformance.verdict import CaseResult, RuleResult, Verdict, counted

COLOURS = {
    Verdict.PASS: "green",
    Verdict.INFO: "cyan",
    Verdict.NOT_MEASURED: "yellow",
    Verdict.KNOWN: "blue",
    Verdict.SHOULD_MISSED: "magenta",
    Verdict.UNEXPECTED_PASS: "bold yellow",
    Verdict.FAIL: "bold red",
    Verdict.HARNESS_ERROR: "bold white on red",
}
STANDINGS = {
    Standing.KNOWN: "blue",
    Standing.UNEXPECTED_PASS: "bold yellow",
    Standing.OTHERWISE: "bold red",
    Standing.NOT_MEASURED: "yellow",
    Standing.NOT_ASKED: "dim",
}
PANELS_MAX = 8
SECTION_LINES_MAX = 24
LABELS = {
    "why:": "italic",
    "acceptable:": "green",
    "actual:": "red",
    "known:": "blue",
    "not known:": "bold yellow",
    "again:": "bold",
    "---": "dim",
}


def show(run: results.Run, console: Console, report: Path | None) -> None:
    """Everything, the last line last. `report` is where the artefacts are kept."""
    rules = catalogue.rules()
    rolled = run.rules(rules)
    console.print(matrix(run.target, rolled, console.width))
    bad = sorted((case for case in run.cases if case.heaviest in results.BAD), key=_worst_first)
    shown: set[tuple[str, ...]] = set()
    for case in bad:
        way = (*case.verdicts, case.heaviest.value, case.failure.outcome if case.failure else case.line)
        if way in shown or len(shown) >= PANELS_MAX:
            line = f"{case.heaviest.value}: {case.case}: {case.line}"
            console.print(Text(visible(line), COLOURS[case.heaviest]), soft_wrap=True)
        else:
            console.print(panel(case))
        shown.add(way)
    for entry, standing in run.standings():
        if standing is not Standing.NOT_ASKED:
            told = f"{standing.value}: {entry.rule} ({rules[entry.rule].level.value}): {entry.words}"
            console.print(Text(visible(told), STANDINGS[standing]), soft_wrap=True)
    for reason, cases in run.not_measured().items():
        told = f"not measured ({counted(len(cases), 'case')}): {reason}"
        console.print(Text(visible(told), "yellow"), soft_wrap=True)
    if unjudged := run.unjudged(rules):
        chapters = ", ".join(f"{name} {count}" for name, count in Counter(rule.chapter for rule in unjudged).items())
        untested = any(rule.untested for rule in unjudged)
        why = "`smaplab list --untested` says why" if untested else "no case of theirs could be chosen for this target"
        console.print(f"not judged: {chapters} ({why})", style="dim", soft_wrap=True)
    if report is not None:
        console.print(Text(f"report: {report}/report.html"), soft_wrap=True)
    if tally := run.tally():
        console.print(", ".join(f"{count} {name}" for name, count in tally.items()), style="dim", soft_wrap=True)
    count = Counter(rule.verdict for rule in rolled)
    verdicts = ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict if count[verdict])
    console.print(f"{counted(len(rolled))} judged by {counted(len(run.cases), 'case')}: {verdicts or 'none'}")
    conclusion = run.conclusion(rules)
    style = (
        "bold red" if conclusion.status else "bold yellow" if "as far as measured" in conclusion.line else "bold green"
    )
    console.print(Text(visible(conclusion.line), style), soft_wrap=True)


def card(run: results.Run, rule: Rule, console: Console) -> None:
    """All that a run says about one rule: the rule, its verdict, each of its cases, its failures in full."""
    judged = next((found for found in run.rules(catalogue.rules()) if found.rule.id == rule.id), None)
    verdict = Text(judged.verdict.value, COLOURS[judged.verdict]) if judged else Text("not judged", "dim")
    console.print(Text.assemble((visible(f"{run.target}: {rule.id}"), "bold"), f" ({rule.level.value}): ", verdict))
    for label, text in (("", rule.sentence), ("source: ", rule.source), ("why: ", rule.why)):
        console.print(Text(label + text))
    if judged is None:
        reason = f"not tested: {rule.untested}" if rule.untested else "none of its cases was run"
        console.print(Text(reason, "yellow"))
        return
    console.print(Text(f"tested: {rule.tested}", "dim"))
    for entry, standing in run.standings():
        if entry.rule == rule.id:
            told = f"known deviation ({standing.value}): {entry.words}; match: {entry.match!r}"
            console.print(Text(visible(told), STANDINGS[standing]))
    console.print()
    cases = sorted((case for case in run.cases if rule.id in case.verdicts), key=_worst_first)
    for case in cases:
        found = case.verdicts[rule.id]
        line = "" if found is Verdict.PASS else f": {case.line_for(rule.id)}"
        console.print(
            Text.assemble((f"{found.value:13}", COLOURS[found]), visible(f" {case.case}{line}")), soft_wrap=True
        )
    for case in cases:
        if case.verdicts[rule.id] in (*results.BAD, Verdict.KNOWN):
            console.print(panel(case, whole=True))


def _worst_first(case: CaseResult) -> tuple[int, str]:
    return -case.heaviest.weight, case.case


def matrix(name: str, rolled: list[RuleResult], width: int) -> Table:
    """A row a rule: one line for what is kept, as many as it takes for what is not."""
    table = Table(
        title=Text(f"{visible(name)} against the rules"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("rule", no_wrap=True)
    if wide := width >= 100:
        table.add_column("level", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("in a line", ratio=1)
    for rule in rolled:
        kept = rule.verdict is Verdict.PASS
        line = Text(visible(rule.line), "dim" if kept else "", no_wrap=kept, overflow="ellipsis" if kept else "fold")
        cells = [rule.rule.id, *([rule.rule.level.value] if wide else [])]
        table.add_row(*cells, Text(rule.verdict.value, COLOURS[rule.verdict]), str(rule.cases), line)
    return table


def panel(case: CaseResult, *, whole: bool = False) -> Panel:
    """One failing case: its text with the sections shortened and the labels marked. A missed SHOULD is told briefly."""
    text = Text()
    brief = case.heaviest is Verdict.SHOULD_MISSED and not whole
    for block in case.detail.split("\n\n"):
        lines = block.splitlines()
        if brief and block.startswith("---"):
            continue
        for line in lines if whole else shortened(lines, SECTION_LINES_MAX):
            style = next((style for label, style in LABELS.items() if line.startswith(label)), "")
            text.append(visible(line) + "\n", style)
        text.append("" if lines and lines[0].startswith("--- ") and len(lines) == 1 else "\n")
    text.rstrip()
    ids = ", ".join(rule for rule, verdict in case.verdicts.items() if verdict is case.heaviest)
    title = f"{case.heaviest.value} {ids}"
    return Panel(text, title=escape(title), title_align="left", border_style=COLOURS[case.heaviest])
