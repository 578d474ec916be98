"""One experiment at a time: play a run, cut it in every way, come up again, and ask whether every guarantee held.

    crashes    every state that a crash of a run can leave under one model, each recovered from, once for each that a
               program could tell apart; and every state that a crash of such a recovery can leave, recovered from too
    sweep      one fault at n = 1, 2, … until a run ends without it; what is left is recovered from, and after a failed
               fsync every crash state is
    room       a disk with no room, with a little, … until a run ends without missing any; the same for inodes
    schedules  every order in which the processes can take turns, up to a number of preemptions
    seeds      random schedules

A `Lab` does them with one implementation's programs. It holds what was recovered from, so that no state is twice.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from smap_simulator import check, conduct
from smap_simulator.address import SCENARIOS, Address, turns_of
from smap_simulator.check import STILL, Case, Judge, Violation
from smap_simulator.choice import Exhaustive
from smap_simulator.crash import Crashes, CrashState
from smap_simulator.fault import KILLS
from smap_simulator.history import Failed, History
from smap_simulator.image import Image
from smap_simulator.models import MODELS
from smap_simulator.past import Past
from smap_simulator.programs import Programs
from smap_simulator.scenario import recovery
from smap_simulator.world import DONE, STUCK, Finished, run

DIED = "DIED"
BLOCK_BYTES = 4096
BOUND = "bound: "  # before the name of a bound, in counts: how often it cut something off
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
Broken = tuple[str, str]  # a guarantee's word, and the message


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken guarantee and how to see it again: the address of the run, or of a crash state of it."""

    word: str
    rule: str
    sentence: str
    address: str
    model: str = ""
    message: str = ""
    detail: str = ""
    allowed: str = ""


@dataclass(slots=True)
class Result:
    """What an experiment found. `findings` are the first of each kind under each model; `counts` counts them all."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Count it, and keep the first of its kind."""
        if finding.allowed:
            self.counts[f"allowed: {finding.word}"] += 1
            return
        self.counts["violations"] += 1
        kind = (finding.word, finding.rule, finding.model)
        if not any((each.word, each.rule, each.model) == kind for each in self.findings):
            self.findings.append(finding)

    def cut_short(self, counts: Counter[str]) -> None:
        """Count how often each bound cut something off."""
        self.counts.update({BOUND + name: count for name, count in counts.items()})


class _Again:
    """A recovery, and every state that a crash of it can leave: worked out once, judged after each first crash."""

    def __init__(self, finished: Finished, model: str, result: Result) -> None:
        self.finished = finished  # kept, so that nobody else gets its id
        self.history = finished.history
        self.states: list[CrashState] = []
        seen: set[object] = set()
        crashes = Crashes(self.history, model)
        for cut in crashes.cuts():
            for state in crashes.states(cut):
                result.counts["states in recoveries"] += 1
                if state.key not in seen:
                    seen.add(state.key)
                    self.states.append(state)
        result.counts["distinct states in recoveries"] += len(self.states)
        result.cut_short(crashes.cut_short)


class Lab:
    """See the module."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self._recovered: dict[tuple[str, str, bool], Finished] = {}

    # Experiments

    def crashes(self, address: Address, model: str, *, deep: bool = True) -> Result:
        """Power cuts (or SIGKILLs of everything) at every instant of a run."""
        result = Result()
        finished = self._played(address, result)
        self._cut(address, finished.history, model, result, deep=deep)
        return result

    def sweep(self, address: Address) -> Result:
        """The fault of the address, at its first occurrence, its second, …"""
        result = Result()
        assert address.fault is not None
        while True:
            finished = address.play(self.programs)
            if address.fault not in finished.fired:
                return result
            self._judge(address, finished, result)
            self._restart(address, finished, result)
            if address.fault.call == "fsync":
                for model in MODELS:
                    self._cut(address, finished.history, model, result, deep=False)
            address = replace(address, fault=replace(address.fault, nth=address.fault.nth + 1))

    def room(self, address: Address, *, inodes: bool = False) -> Result:
        """A full disk at every position: room for nothing, for one block (or inode), for two, …"""
        result = Result()
        room = 0
        while True:
            here = replace(address, room_inodes=room) if inodes else replace(address, room_bytes=room * BLOCK_BYTES)
            finished = self._played(here, result)
            self._restart(here, finished, result)
            if not any(isinstance(event, Failed) and event.errno in NO_ROOM for event in finished.history.events):
                return result
            result.fired["full disk, " + ("inodes" if inodes else "bytes")] += 1
            room += 1

    def schedules(self, address: Address, preemptions_max: int) -> Result:
        """Every schedule up to a bound."""
        result = Result()
        every = Exhaustive(preemptions_max)
        for choice in every:
            finished = run(address.to_scenario(), self.programs, choice)
            result.counts["schedules"] += 1
            self._judge(replace(address, turns=turns_of(finished.decisions)), finished, result)
        result.counts[BOUND + "preemptions"] += every.cut_short
        return result

    def seeds(self, address: Address, seeds: Iterable[int]) -> Result:
        """Random schedules, and what a restart makes of their end."""
        result = Result()
        for seed in seeds:
            here = replace(address, seed=seed)
            self._restart(here, self._played(here, result), result)
            result.counts["schedules"] += 1
        return result

    def alone(self, address: Address) -> Result:
        """One run, and a restart."""
        result = Result()
        self._restart(address, self._played(address, result), result)
        return result

    # What they are made of

    def _played(self, address: Address, result: Result) -> Finished:
        finished = address.play(self.programs)
        self._judge(address, finished, result)
        return finished

    def _judge(self, address: Address, finished: Finished, result: Result) -> None:
        """What must hold in any run, and, where nothing was made to fail, what is to be done in the end."""
        result.counts["runs"] += 1
        result.counts[BOUND + "scans"] += finished.cut_short
        for fault in finished.fired:
            result.fired[f"{fault.program} {fault.call}"] += 1
        found = self.broken(address, finished)
        for violation in found:
            result.add(finding_of(violation, str(address)))

    def broken(self, address: Address, finished: Finished) -> Iterator[Violation]:
        """Every guarantee that a run broke."""
        past = Past(finished.history)
        if finished.uncaught:
            yield Violation(DIED, "FAULT-04", detail=finished.uncaught[0])
        if finished.ended == STUCK:
            yield Violation(check.STUCK, "SCAN-01", detail=finished.reason)
        yield from conduct.violations(past)
        plain = SCENARIOS[address.scenario]
        undisturbed = not finished.fired and address.room_bytes is None and address.room_inodes is None
        if undisturbed and not plain.mailer.rules and finished.ended != STUCK:
            yield from conduct.complete(past)
        elif _must_arrive(address, finished):
            yield from check.stuck(Case((past,), finished.image, finished.history, in_the_end=finished.image))

    def _restart(self, address: Address, finished: Finished, result: Result) -> None:
        """All processes are gone, the disk is as they saw it; smapd is started again."""
        crashes = Crashes(finished.history, STILL)
        cut = len(finished.history.events)
        state = crashes.build(cut, (crashes.pending(cut).all, ()))
        self._recover(address, Judge(finished.history), finished.history, state, result)
        result.counts[BOUND + "crashes"] += 1

    def _cut(self, address: Address, history: History, model: str, result: Result, *, deep: bool) -> None:
        judge = Judge(history)
        seen: set[object] = set()
        recoveries: dict[int, _Again] = {}
        crashes = Crashes(history, model)
        for cut in crashes.cuts():
            result.counts["cuts"] += 1
            for state in crashes.states(cut):
                result.counts["states"] += 1
                if state.key in seen:
                    continue
                seen.add(state.key)
                finished, broken = self._recover(address, judge, history, state, result)
                if deep:
                    again = recoveries.get(id(finished)) or _Again(finished, model, result)
                    recoveries[id(finished)] = again
                    self._cut_again(address, Judge(again.history, (judge.past(cut),)), state, again, result, broken)
                else:
                    result.counts[BOUND + "crashes"] += 1
        result.counts["distinct states"] += len(seen)
        result.cut_short(crashes.cut_short)

    def _cut_again(  # noqa: PLR0913, PLR0917 - where it is, and where to count
        self, address: Address, judge: Judge, state: CrashState, again: _Again, result: Result, broken: set[Broken]
    ) -> None:
        """A crash in the recovery from a crash. The same recovery comes often, after other words were said."""
        for second in again.states:
            self._recover(address, judge, again.history, second, result, f"{state.id}/", broken)
        result.counts[BOUND + "crashes"] += len(again.states)

    def _recover(  # noqa: PLR0913, PLR0917 - the same
        self,
        address: Address,
        judge: Judge,
        history: History,
        state: CrashState,
        result: Result,
        before: str = "",
        known: Collection[Broken] = (),
    ) -> tuple[Finished, set[Broken]]:
        """Recover, and judge. What was broken before (`known`) is no finding of this crash."""
        finished = self.recovered(address, state.image, history)
        result.counts["recoveries"] += 1
        result.counts[BOUND + "scans"] += finished.cut_short
        place = f"{address}/{before}{state.id}"
        case = judge.case(state, finished.history, accepts=address.accepts_after, in_the_end=finished.image)
        found = check.violations(case)
        found += [Violation(DIED, "FAULT-04", detail=line) for line in finished.uncaught[:1]]
        for violation in found:
            if (violation.word, violation.message) not in known:
                result.add(finding_of(violation, place, state.model))
        return finished, {(violation.word, violation.message) for violation in found if not violation.allowed}

    def recovered(self, address: Address, image: Image, history: History) -> Finished:
        """What smapd makes of a disk when the machine comes up again."""
        key = (address.scenario, image.digest(), address.then_accepts)
        found = self._recovered.get(key)
        if found is None or (found.history.start, found.history.messages) != (image, history.messages):
            plain = replace(address.to_scenario(), mailer=address.mailer_after())
            found = run(recovery(image, plain, messages=history.messages), self.programs)
            self._recovered[key] = found
        return found


def _must_arrive(address: Address, finished: Finished) -> bool:
    """Whether all mail is delivered before a run is over: what failed was transient, and smapd lived to try again."""
    fault = address.fault
    passing = fault is None or (not fault.persistent and not (fault.program == "smapd" and fault.effect in KILLS))
    full = address.room_bytes is not None or address.room_inodes is not None
    accepts = SCENARIOS[address.scenario].mailer.accepts_in_the_end
    return passing and accepts and not full and not finished.cut_short and finished.ended == DONE


def finding_of(violation: Violation, address: str, model: str = "") -> Finding:
    """The violation with where it was seen."""
    return Finding(
        violation.word,
        violation.rule,
        violation.sentence,
        address,
        model,
        violation.message,
        violation.detail,
        violation.allowed,
    )
