"""What a campaign of the simulator came to: the tables for a person, the report for a machine.

The report is JSON, with the schema's version in `smaplab-survey`. Everything in it but `seconds` is the same each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from smap_simulator import bounds
from smap_simulator.bounds import Bound
from smap_simulator.campaign import CHAPTERS, Plan, Totals
from smap_simulator.experiment import Finding
from smap_simulator.replay import COMMAND, Replayed

from smap_conformance.verdict import counted

SCHEMA = 1
INTERRUPTED = 130
NEVER_MADE = "no run in this plan makes the call"
PANELS_MAX = 8
# A column of the table: its heading, and the counts that it sums up.
COLUMNS = (
    ("runs", ("runs",)),
    ("cuts", ("cuts",)),
    ("states", ("states", "states in recoveries")),
    ("distinct", ("distinct states", "distinct states in recoveries")),
    ("recovered", ("recoveries",)),
    ("schedules", ("schedules",)),
    ("broken", ("violations",)),
)
ALLOWED = "allowed: "


@dataclass(frozen=True, slots=True)
class Saved:
    """The history that was cut, where it was no campaign's: its file, and what it cannot be asked."""

    file: str
    title: str
    untold: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """A campaign that is over. `replays` are the distinct findings again, each with its counterexample."""

    plan: Plan
    totals: Totals
    replays: tuple[tuple[Finding, Replayed], ...]
    seconds: float
    stopped_early: bool = False
    saved: Saved | None = None

    @property
    def status(self) -> int:
        """The exit status."""
        if self.totals.interrupted:
            return INTERRUPTED
        return int(bool(self.totals.sums["violations"]))

    def allowed(self) -> dict[str, int]:
        """What was seen and is no fault: how often."""
        sums = self.totals.sums
        return {name.removeprefix(ALLOWED): sums[name] for name in sorted(sums) if name.startswith(ALLOWED)}

    def not_measured(self) -> list[str]:
        """The rows of the fault table that struck nothing; none is told of a campaign that stopped before its end."""
        return [] if self.stopped_early or self.totals.interrupted or self.saved else self.totals.not_struck(self.plan)

    def bounds(self) -> list[Bound]:
        """Where the campaign stopped by itself: what lies beyond is not measured."""
        if self.saved is not None:
            return list(bounds.of_states(self.totals.sums))
        return bounds.of_plan(self.plan, self.totals)

    def as_json(self) -> str:
        """The report."""
        plain: dict[str, Any] = {
            "smaplab-survey": SCHEMA,
            "plan": asdict(self.plan),
            "history": asdict(self.saved) if self.saved is not None else None,
            "stopped_early": self.stopped_early,
            "interrupted": self.totals.interrupted,
            "chapters": {name: dict(sorted(counts.items())) for name, counts in sorted(self.totals.counts.items())},
            "sums": dict(sorted(self.totals.sums.items())),
            "faults_fired": dict(sorted(self.totals.fired.items())),
            "not_measured": [{"fault": row, "reason": NEVER_MADE} for row in self.not_measured()],
            "bounds": [asdict(bound) for bound in self.bounds()],
            "allowed": self.allowed(),
            "findings": [_plain(finding, replayed) for finding, replayed in self.replays],
            "status": self.status,
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(plain, indent=2) + "\n"

    def show(self, console: Console) -> None:
        """Everything, the last line last."""
        console.print(coverage(self.totals))
        fired = ", ".join(f"{name} {count}" for name, count in sorted(self.totals.fired.items()))
        if fired:
            console.print(Text(f"faults fired: {fired}", "dim"), soft_wrap=True)
        for name, count in self.allowed().items():
            told = (
                f"allowed: {name} {count} times: the crash or the fault fell where nobody could know that it was done"
            )
            console.print(Text(told, "cyan"), soft_wrap=True)
        for row in self.not_measured():
            console.print(Text(f"not measured: {row}: {NEVER_MADE}", "yellow"), soft_wrap=True)
        for row in self.saved.untold if self.saved is not None else ():
            console.print(Text(f"not measured: {row}", "yellow"), soft_wrap=True)
        console.print(table_of_bounds(self.bounds()))
        show_findings(self.replays, console)
        sums = self.totals.sums
        states = sums["states"] + sums["states in recoveries"]
        told = (
            f"{sums['runs']} runs, {states} crash states, {sums['recoveries']} recoveries"
            f" in {self.seconds:.1f} s ({states / max(self.seconds, 0.001):.0f} states/s): "
        )
        rules = {(finding.word, finding.rule) for finding, _ in self.replays}
        broken = f"{counted(sums['violations'], 'violation')} of {counted(len(rules), 'guarantee')}"
        told += broken if sums["violations"] else "no violation"
        told += ", stopped at the first" if self.stopped_early else ""
        told += f", interrupted after {counted(self.totals.tasks, 'task')}" if self.totals.interrupted else ""
        console.print(Text(told, "bold red" if self.status else "bold green"), soft_wrap=True)


def coverage(totals: Totals) -> Table:
    """A row for each chapter, and their sum."""
    table = Table(
        title="what was tried", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    table.add_column("chapter", min_width=max(map(len, CHAPTERS)))
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right")
    table.add_column("allowed", justify="right")
    rows = [(name, totals.counts[name]) for name in CHAPTERS if name in totals.counts]
    for name, counts in [*rows, ("all", totals.sums)]:
        cells = [str(sum(counts[key] for key in keys)) for _, keys in COLUMNS]
        allowed = sum(count for key, count in counts.items() if key.startswith(ALLOWED))
        table.add_row(name, *cells, str(allowed), style="bold" if name == "all" else "")
    return table


def table_of_bounds(found: Iterable[Bound]) -> Table:
    """What was cut off silently nowhere: each bound, and how often there would have been more."""
    table = Table(
        title="not measured: what lies beyond", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for heading in ("bound", "at most", "met", "left out"):
        table.add_column(heading, justify="right" if heading in ("at most", "met") else "left", overflow="fold")
    for bound in found:
        met = "always" if bound.cut is None else str(bound.cut) if bound.cut else "never"
        left_out = Text(bound.leaves_out if bound.cut != 0 else "nothing")
        table.add_row(Text(bound.name), str(bound.limit), met, left_out, style="" if bound.cut != 0 else "dim")
    return table


def show_findings(replays: Iterable[tuple[Finding, Replayed]], console: Console) -> None:
    """A panel for each broken guarantee; the same guarantee under another model takes a line."""
    told: set[tuple[str, str]] = set()
    for finding, replayed in replays:
        key = (finding.word, finding.rule)
        where = f" under {finding.model}" if finding.model else ""
        again = replayed.command or f"{COMMAND} {finding.address}"
        if key in told or len(told) >= PANELS_MAX:
            console.print(Text(f"{finding.word} {finding.rule}{where}: {again}", "red"), soft_wrap=True)
            continue
        told.add(key)
        inside: Any = Text(" ".join(filter(None, (finding.message, finding.detail))) or finding.sentence)
        if replayed.counterexample is not None and replayed.violations:
            inside = replayed.counterexample
        title = Text(f"{finding.word} {finding.rule}: {finding.sentence}{where}")
        console.print(Panel(inside, title=title, title_align="left", border_style="red"))
        console.print(Text(again, "bold"), soft_wrap=True)


def _plain(finding: Finding, replayed: Replayed) -> dict[str, Any]:
    example = replayed.counterexample
    shown = example.as_json() if example is not None and replayed.violations else None
    return {**asdict(finding), "minimal": replayed.minimal or finding.address, "counterexample": shown}
