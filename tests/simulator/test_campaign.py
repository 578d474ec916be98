"""A campaign: it finds nothing in the reference, and the same whoever did what, and whenever."""

import errno
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from smap_simulator import campaign, client, mailer
from smap_simulator.address import SCENARIOS, Address, word
from smap_simulator.campaign import Plan, Task, Totals
from smap_simulator.experiment import Finding, Lab, Result
from smap_simulator.fault import Effect, Fault
from smap_simulator.history import dump
from smap_simulator.models import MODELS
from smap_simulator.mutants import loaded
from smap_simulator.process import Process
from smap_simulator.programs import load

SMALL = Plan(
    models=("strict-posix", "process-crash"), scenarios=("one-message",), chapters=("crashes", "room", "scenarios")
)
SCHEDULES = Plan(scenarios=("permanent-failure",), chapters=("schedules",), seeds=6)


def shown(totals: Totals) -> tuple[object, ...]:
    return totals.counts, totals.fired, totals.findings, totals.struck, totals.tasks


def test_the_reference_breaks_nothing() -> None:
    totals = campaign.run(SMALL)
    assert totals.findings == []
    assert totals.sums["violations"] == 0
    assert totals.counts["crashes"]["distinct states"] > 20
    assert totals.counts["crashes"]["states in recoveries"] > 100
    assert totals.fired["full disk, bytes"] >= 1
    assert set(totals.counts) == {"crashes", "room", "scenarios"}


def test_totals_do_not_depend_on_the_number_of_processes() -> None:
    assert shown(campaign.run(SMALL, jobs=2)) == shown(campaign.run(SMALL, jobs=1))


def test_random_schedules_are_the_same_each_time() -> None:
    first, second = (campaign.run(SCHEDULES) for _ in range(2))
    assert shown(first) == shown(second)
    assert first.counts["schedules"]["schedules"] > 6  # the exhaustive ones too


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_seed_is_one_history_and_another_seed_another(seed: int) -> None:
    lab = load()
    first, again, other = (dump(Address("two-smapd", seed=each).play(lab).history) for each in (seed, seed, seed + 10))
    assert first == again
    assert first != other


def test_the_hash_seed_of_python_changes_nothing() -> None:
    script = (
        "from smap_simulator import campaign\n"
        "from smap_simulator.campaign import Plan\n"
        "plan = Plan(models=('ext2',), scenarios=('one-message', 'permanent-failure'), chapters=('crashes',),"
        " mutant='no-fsync-of-baddir')\n"
        "totals = campaign.run(plan)\n"
        "print(totals.counts, totals.findings)\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(said) == 1
    assert "BADDIR" in said.pop()


def test_a_mutant_is_found_and_the_first_finding_ends_it() -> None:
    plan = Plan(
        models=("ext2", "xfs"), scenarios=("one-message",), chapters=("crashes",), mutant="no-fsync-of-the-mark"
    )
    early, all_of_it = (campaign.run(plan, stop_early=stop) for stop in (True, False))
    assert early.tasks < all_of_it.tasks == len(plan.tasks())
    assert {finding.word for finding in early.findings} == {"LOST"}


def test_a_crash_in_the_recovery_counts_what_was_promised_before_the_first() -> None:
    """The disk before the promise and after it is the same. What the first crash loses is not told a second time."""
    with loaded("removed-before-the-mailer") as programs:
        lab = Lab(programs)
        accepted, refused = (
            {finding.rule: finding.address for finding in lab.crashes(Address(name), "process-crash").findings}
            for name in ("one-message", "permanent-failure")
        )
    assert accepted["CRASH-06"].count("process-crash:c") == 2
    assert "CRASH-01" in refused  # the first recovery has lost it already, whatever comes after
    assert "CRASH-06" not in refused


@dataclass(frozen=True)
class Late:
    """A task that finds something: number 1 at once, number 0 only when number 1 is done."""

    number: int
    done: Path
    chapter: str = "crashes"
    fault: Fault | None = None

    def carry_out(self, _lab: Lab) -> Result:
        while self.number == 0 and not self.done.exists():
            os.sched_yield()
        result = Result()
        result.add(Finding("LOST", "CRASH-02", "", str(self.number)))
        if self.number == 1:
            self.done.touch()
        return result


def test_the_first_finding_is_the_first_of_the_plan_and_not_of_the_clock(tmp_path: Path) -> None:
    tasks = [Late(number, tmp_path / "done") for number in (0, 1, 2, 3)]
    totals = campaign.carry_out(tasks, jobs=2, stop_early=True)
    assert [finding.address for finding in totals.findings] == ["0"]
    assert (totals.tasks, totals.sums["violations"]) == (1, 1)


def test_with_any_number_of_processes_the_first_finding_ends_it_at_the_same_task() -> None:
    plan = Plan(models=("xfs", "ext2"), scenarios=("one-message", "two-smapd"), mutant="no-fsync-of-the-mark")
    one, two = (campaign.run(plan, jobs=jobs, stop_early=True) for jobs in (1, 2))
    assert shown(one) == shown(two)
    assert one.findings


def test_every_violation_is_counted_and_each_model_keeps_its_own_finding() -> None:
    address = Address("one-message", "retried-fsync", Fault("smap", "fsync", 5))
    with loaded("retried-fsync") as programs:
        result = Lab(programs).sweep(address)
    assert {finding.model for finding in result.findings if finding.word == "LOST"} == set(MODELS) - {"process-crash"}
    plain = Result()
    for model, place in (("xfs", "a"), ("xfs", "b"), ("ext2", "c")):
        plain.add(Finding("LOST", "CRASH-02", "", place, model))
    assert plain.counts["violations"] == 3
    assert [(finding.model, finding.address) for finding in plain.findings] == [("xfs", "a"), ("ext2", "c")]


@pytest.mark.parametrize("row", [Fault("copy", "spawn", 11), Fault("mailer", "*", effect=Effect.KILL_BEFORE)])
def test_after_a_fault_that_passes_all_mail_arrives_without_a_restart(row: Fault) -> None:
    address = Address("one-message", fault=row)
    assert Lab(load()).sweep(address).findings == []
    with loaded("tried-only-once") as programs:
        found = Lab(programs).sweep(replace(address, mutant="tried-only-once")).findings
    assert {(finding.word, finding.rule) for finding in found} == {("STUCK", "SCAN-02")}
    lasting = replace(address, fault=replace(row, persistent=True))
    with loaded("tried-only-once") as programs:
        assert Lab(programs).sweep(lasting).findings == []  # nobody can wait for mail that cannot go


def test_the_plan_is_what_is_asked_for() -> None:
    everything = Plan().tasks()
    assert {task.chapter for task in everything} == set(campaign.CHAPTERS)
    only = Plan(models=("xfs",), scenarios=("two-smapd",), chapters=("crashes",)).tasks()
    wanted = [("two-smapd", "xfs"), ("two-smapd+seed=1", "xfs"), ("two-smapd+seed=2", "xfs")]
    assert [(str(task.address), dict(task.options)["model"]) for task in only] == wanted
    assert Plan(scenarios=("over-maxbytes",), chapters=("room",)).tasks() == []


def test_seeds_are_as_many_as_asked_for_and_begin_where_asked_for() -> None:
    tasks = Plan(scenarios=("two-smapd",), chapters=("schedules",), seeds=60, first_seed=7).tasks()
    seeds = [seed for task in tasks if task.method == "seeds" for seed in dict(task.options)["seeds"]]  # type: ignore[attr-defined]
    assert seeds == list(range(7, 67))


def test_a_fault_that_struck_nothing_is_not_measured() -> None:
    plan = Plan(scenarios=("one-message",), chapters=("faults",))
    row = Fault("copy", "rename", 5)  # nobody renames where the mailer accepts
    task = Task("faults", "sweep", Address("one-message", fault=row))
    totals = Totals()
    totals.add(task, task.carry_out(Lab(load())))
    assert row.describe() in totals.not_struck(plan)
    struck = Task("faults", "sweep", Address("one-message", fault=Fault("copy", "lstat", 5)))
    totals.add(struck, struck.carry_out(Lab(load())))
    assert "copy: EIO at lstat number 1" not in totals.not_struck(plan)


# wait(2) is for one's own children and can only be interrupted; a kill(2) that is not permitted leaves a mailer that
# hangs and holds the lock, and nothing that a program could do about it.
CANNOT_FAIL = {("smapd", "wait"), ("copy", "wait"), ("copy", "kill")}


def test_every_call_of_every_program_is_made_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that come only after another has failed."""
    made: set[tuple[str, str]] = set()
    before = Process.before

    def watched(self: Process, call: str) -> None:
        made.add((self.program, call))
        before(self, call)

    monkeypatch.setattr(Process, "before", watched)
    lab = load()
    for name in SCENARIOS:
        if "-after-" not in name:  # the many where a client leaves at each byte
            Address(name).play(lab)
    tasks = Plan(chapters=("faults",)).tasks()
    struck: set[tuple[str, str]] = set()
    for task in tasks:
        row = task.fault
        assert row is not None
        if row.effect is Effect.ERROR and row.errno != errno.EINTR and (row.program, row.call) not in struck:
            fired = task.address.play(lab).fired
            struck |= {(row.program, row.call)} if row in fired else set()
    by_programs = {(program, call) for program, call in made if program != "mailer"}
    assert by_programs - struck == CANNOT_FAIL


def test_every_scripted_mailer_and_every_silence_is_a_scenario() -> None:
    played = {rule.behaviour for scenario in SCENARIOS.values() for rule in scenario.mailer.rules}
    others = {mailer.SLOW, mailer.FLOODS, mailer.HANGS, mailer.HANGS_DEAF, mailer.FORKS_AWAY}
    assert others | {*mailer.EXITS.values(), *mailer.DEATHS.values(), *mailer.INPUTS} <= played
    lines = client.SESSION.split(client.CRLF)[:-1]
    before_each = [sum(len(line) + 2 for line in lines[:number]) for number in range(len(lines) + 1)]
    assert {word(f"Stall after {at} of {len(client.SESSION)} bytes") for at in before_each} <= set(SCENARIOS)
    tasks = {task.address.scenario for task in Plan(chapters=("scenarios",)).tasks()}
    assert tasks == set(SCENARIOS)


def test_allowed_findings_are_counted_apart() -> None:
    result = Result()
    result.add(Finding("DUPLICATE", "CRASH-07", "", "a", allowed="the crash fell in between"))
    assert result.findings == []
    result.add(Finding("LOST", "CRASH-02", "", "a"))
    result.add(Finding("LOST", "CRASH-02", "", "b"))
    assert result.counts == Counter({"allowed: DUPLICATE": 1, "violations": 2})
    assert [finding.address for finding in result.findings] == ["a"]
