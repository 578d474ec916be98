"""Many experiments, on all cores: which there are, in what order, and what they found together.

The plan is a list of tasks, each small enough that a progress bar moves and large enough that starting it costs
nothing. The totals do not depend on who ran what, or when, also where the first finding (of the plan, not of the clock)
ends it. An interrupt ends it too: the totals then say so, and are of what was done.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smap_simulator import fault, mutants, programs
from smap_simulator.address import SCENARIOS, Address, word
from smap_simulator.crew import Crew, interrupts_remembered
from smap_simulator.experiment import Finding, Lab, Result
from smap_simulator.fault import Fault
from smap_simulator.models import MODELS
from smap_simulator.scenario import NAMED

SEEDS_A_TASK = 25
SEEDS_CRASHED = 2  # so many random schedules of each scenario that has them are cut as well
# Where faults strike: between them every call of every program is made.
FAULTED = (
    "one message",
    "permanent failure",
    "temporary failure, then success",
    "two messages in one session",
    "a reset in the middle of the body",
)
# Here smapd itself removes what a copy could not: the one time that it changes the disk.
OWED = "delivered, and not removed at once"
# What is cut at every instant, under every model.
CRASHED = (
    "one message",
    "two messages in one session",
    "two sessions at once",
    "two smapd",
    "the null sender",
    "a dot at the start of a line",
    "a message of several blocks",
    "temporary failure, then success",
    "permanent failure",
    "permanent failure, its name taken in baddir",
    "permanent failure, baddir inside the spool directory",
    "permanent failure, no baddir",
    "a reset in the middle of the body",
    "over maxbytes",
    "odd files in the spool directory",
)
SHALLOW = ("a message of several blocks", "two sessions at once")
REFUSING = ("permanent failure", "permanent failure, no baddir", "temporary failure, then success")
SCHEDULED = (("two smapd", 1), ("one message", 2), ("permanent failure", 1))
SEEDED = ("two smapd", "two smapd, two sessions", "two sessions at once", "permanent failure")
CHAPTERS = ("crashes", "faults", "room", "schedules", "scenarios")


class Work(Protocol):
    """A piece of work: which row of the table it counts in, which row of the fault table it sweeps, and the doing."""

    @property
    def chapter(self) -> str: ...

    @property
    def fault(self) -> Fault | None: ...

    def carry_out(self, lab: Lab) -> Result: ...


@dataclass(frozen=True, slots=True)
class Task:
    """One experiment: a method of `Lab`, and what it is given beside the address."""

    chapter: str
    method: str
    address: Address
    options: tuple[tuple[str, object], ...] = ()

    @property
    def fault(self) -> Fault | None:
        """The row of the fault table."""
        return self.address.fault

    def carry_out(self, lab: Lab) -> Result:
        """Do it."""
        found: Result = getattr(lab, self.method)(self.address, **dict(self.options))
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is asked for. Empty: everything."""

    models: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()  # as words
    chapters: tuple[str, ...] = ()
    seeds: int = 100
    first_seed: int = 1
    mutant: str = ""

    def tasks(self) -> list[Task]:
        """Every task, long ones first."""
        wanted = self.chapters or CHAPTERS
        found = [task for chapter in CHAPTERS if chapter in wanted for task in _CHAPTER_TASKS[chapter](self)]
        return [task for task in found if not self.scenarios or task.address.scenario in self.scenarios]

    def address(self, name: str, **fields: object) -> Address:
        """The address of a run in this plan."""
        return Address(word(name), self.mutant, **fields)  # type: ignore[arg-type]


def _crashes(plan: Plan) -> Iterator[Task]:
    for name in CRASHED:
        for model in plan.models or tuple(MODELS):
            options = (("model", model), ("deep", name not in SHALLOW))
            yield Task("crashes", "crashes", plan.address(name), options)
            if name in REFUSING:
                yield Task("crashes", "crashes", plan.address(name, then_accepts=True), options)
    for name in SEEDED:
        for seed in range(plan.first_seed, plan.first_seed + min(plan.seeds, SEEDS_CRASHED)):
            for model in plan.models or tuple(MODELS):
                yield Task("crashes", "crashes", plan.address(name, seed=seed), (("model", model), ("deep", False)))


def _faults(plan: Plan) -> Iterator[Task]:
    for name in FAULTED:
        for row in fault.rows():
            yield Task("faults", "sweep", plan.address(name, fault=row))
    for row in fault.rows():
        if row.program == "smapd":
            yield Task("faults", "sweep", plan.address(OWED, fault=row))


def _room(plan: Plan) -> Iterator[Task]:
    for name in (*FAULTED, "a message of several blocks"):
        for inodes in (False, True):
            yield Task("room", "room", plan.address(name), (("inodes", inodes),))


def _schedules(plan: Plan) -> Iterator[Task]:
    for name, preemptions_max in SCHEDULED:
        yield Task("schedules", "schedules", plan.address(name), (("preemptions_max", preemptions_max),))
    for name in SEEDED:
        for first in range(plan.first_seed, plan.first_seed + plan.seeds, SEEDS_A_TASK):
            last = min(first + SEEDS_A_TASK, plan.first_seed + plan.seeds)
            yield Task("schedules", "seeds", plan.address(name), (("seeds", tuple(range(first, last))),))


def _scenarios(plan: Plan) -> Iterator[Task]:
    for each in SCENARIOS:
        yield Task("scenarios", "alone", Address(each, plan.mutant))


_CHAPTER_TASKS: dict[str, Callable[[Plan], Iterator[Task]]] = {
    "crashes": _crashes, "faults": _faults, "room": _room, "schedules": _schedules, "scenarios": _scenarios,
}  # fmt: skip


@dataclass(slots=True)
class Totals:
    """What all experiments found. `interrupted`: they are not all."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)  # by chapter
    findings: list[Finding] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    struck: set[str] = field(default_factory=set)
    tasks: int = 0
    interrupted: bool = False

    def add(self, task: Work, result: Result) -> None:
        """Take in one result."""
        self.tasks += 1
        self.counts.setdefault(task.chapter, Counter()).update(result.counts)
        self.findings += result.findings
        self.fired.update(result.fired)
        if task.fault is not None and result.counts["runs"]:
            self.struck.add(task.fault.describe())

    @property
    def sums(self) -> Counter[str]:
        """The counts of all chapters together."""
        return sum(self.counts.values(), Counter())

    def not_struck(self, plan: Plan) -> list[str]:
        """The faults that found nothing to strike at: not measured."""
        planned = {task.address.fault.describe() for task in plan.tasks() if task.address.fault is not None}
        return sorted(planned - self.struck)

    def distinct(self) -> list[Finding]:
        """One finding for each guarantee and model, the shortest address first."""
        found: dict[tuple[str, str, str], Finding] = {}
        for finding in sorted(self.findings, key=lambda each: (len(each.address), each.address)):
            found.setdefault((finding.word, finding.rule, finding.model), finding)
        return sorted(found.values(), key=lambda each: (each.word, each.rule, each.model))


_lab: Lab | None = None


def _open_lab(package: Path | None) -> None:
    """What a worker does before its first task."""
    global _lab  # noqa: PLW0603 - one for each process of the crew
    _lab = Lab(programs.load(package))


def _carry_out(task: Work) -> Result:
    assert _lab is not None
    return task.carry_out(_lab)


Progress = Callable[[int, int, Totals], None]


def run(
    plan: Plan,
    *,
    jobs: int = 1,
    package: Path | None = None,
    progress: Progress | None = None,
    stop_early: bool = False,
) -> Totals:
    """Carry a plan out with so many processes. `stop_early`: the first finding will do.

    `package` is the reference that a mutant is made of, where the plan names one. MutantError when it does not fit.
    """
    with tempfile.TemporaryDirectory(prefix="smaplab-mutant-") as directory:
        where = None
        if plan.mutant:
            package = package or programs.reference_directory()
            where = mutants.apply(mutants.named(plan.mutant), package, Path(directory))
        return carry_out(plan.tasks(), jobs=jobs, package=where, progress=progress, stop_early=stop_early)


def carry_out(
    tasks: Sequence[Work],
    *,
    jobs: int = 1,
    package: Path | None = None,
    progress: Progress | None = None,
    stop_early: bool = False,
) -> Totals:
    """Carry out any pieces of work with the programs of a package (None: the reference)."""
    totals = Totals()
    if jobs > 1:
        with Crew(jobs, _open_lab, package) as crew:
            return _through(crew, tasks, progress, stop_early=stop_early)
    lab = Lab(programs.load(package))
    try:
        with interrupts_remembered() as interrupted:
            for task in tasks:
                totals.add(task, task.carry_out(lab))
                if progress is not None:
                    progress(totals.tasks, len(tasks), totals)
                totals.interrupted = interrupted()
                if totals.interrupted or (stop_early and totals.findings):
                    break
    except KeyboardInterrupt:
        totals.interrupted = True
    finally:
        programs.unload(lab.programs)
    return totals


def _through(crew: Crew, tasks: Sequence[Work], progress: Progress | None, *, stop_early: bool) -> Totals:
    """The same with a crew. Where the first finding will do, all tasks before it are done, and none after it counts."""
    results: dict[int, Result] = {}
    running = Totals()
    last = len(tasks) - 1  # the last task that counts
    try:
        for at, result in crew.results(_carry_out, tasks):
            results[at] = result
            running.add(tasks[at], result)
            if progress is not None:
                progress(len(results), len(tasks), running)
            if stop_early and result.findings and at < last:
                last = at
                crew.forget(last)
            if stop_early and running.findings and all(before in results for before in range(last)):
                break
    except KeyboardInterrupt:
        running.interrupted = True
    totals = Totals(interrupted=running.interrupted)
    for at in sorted(results):
        if at <= last:
            totals.add(tasks[at], results[at])
    return totals


def names() -> list[str]:
    """The scenarios that have a name of their own, as words."""
    return [word(name) for name in NAMED]
