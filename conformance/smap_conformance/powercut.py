"""Every crash state of a recorded history, and what is broken there once the target's smapd has made its best of it.

`Survey` enumerates the states under each model and takes them apart into remnants; whoever runs smapd gives the outcome
of each remnant; `broken` then judges each state by the guarantees of the simulator, as if smapd had been watched on
that very disk. No I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smap_simulator import check
from smap_simulator import history as happening
from smap_simulator.check import Case, Violation
from smap_simulator.contents import Bounds
from smap_simulator.counterexample import Counterexample
from smap_simulator.crash import Crashes, CrashState
from smap_simulator.history import Event, History
from smap_simulator.image import Image
from smap_simulator.models import MODELS
from smap_simulator.omission import minimise
from smap_simulator.past import Past

from smap_conformance.laying import Outcome
from smap_conformance.remnant import SPOOL, Left, Remnant, labels, names_made, remnants

FIRST = ("ext4-ordered", "xfs", "btrfs")  # the disks that most people have: their states are told rather than others
BOUNDS = Bounds(bad_blocks=1, places=12, torn=12)


@dataclass(frozen=True, slots=True)
class Broken:
    """A guarantee that one state breaks; `rule` is the catalogue's."""

    rule: str
    id: str
    violation: Violation


@dataclass(frozen=True)
class State:
    """A crash state and what lies there, by message."""

    crash: CrashState
    remnants: tuple[Remnant, ...]


class Survey:
    """See the module. `earlier` are the crashes before, whose recovery the history is of."""

    def __init__(self, history: History, earlier: tuple[Past, ...] = (), bounds: Bounds = BOUNDS) -> None:
        self.history, self.earlier = history, earlier
        self.counts: Counter[str] = Counter()
        self.made = names_made(history)
        self._labels = labels(history)
        for past in earlier:
            self._labels = {**past.message_of, **self._labels}
        self.states: list[State] = []
        self.remnants: dict[str, Remnant] = {}
        for model in MODELS:
            self._enumerate(model, bounds)

    def _enumerate(self, model: str, bounds: Bounds) -> None:
        crashes, seen = Crashes(self.history, model), set[str]()
        for cut in crashes.cuts():
            for crash in crashes.states(cut, bounds):
                self.counts["crash states"] += 1
                if crash.digest not in seen:
                    seen.add(crash.digest)
                    self.states.append(self.taken_apart(crash))
        self.counts["distinct crash states"] += len(seen)

    def taken_apart(self, crash: CrashState) -> State:
        """A state with its remnants, which are remembered."""
        found = remnants(crash.image, self.history, self._labels)
        for remnant in found:
            self.remnants.setdefault(remnant.digest, remnant)
        return State(crash, tuple(found))

    def past(self, state: CrashState | None = None) -> Past:
        """What happened before the cut of a state; all of it, without one."""
        return Past(self.history, state.cut if state else None, self.earlier[-1] if self.earlier else None)

    def violations(self, state: State, outcomes: Mapping[str, Outcome]) -> list[Violation]:
        """What is broken in one state, allowed things left out."""
        recovery = recovered(self.history, state, outcomes)
        case = Case((*self.earlier, self.past(state.crash)), state.crash.image, recovery, state.crash.model)
        return [each for each in check.violations(case) if not each.allowed]

    def broken(self, outcomes: Mapping[str, Outcome]) -> Iterator[Broken]:
        """Every broken guarantee of every state whose remnants have an outcome."""
        for state in self.states:
            if all(remnant.digest in outcomes for remnant in state.remnants):
                for violation in self.violations(state, outcomes):
                    if rule := rule_of(violation, state.crash.model, again=bool(self.earlier)):
                        yield Broken(rule, state.crash.id, violation)

    def state(self, id_: str) -> State:
        """The state of an id."""
        return self.taken_apart(Crashes(self.history, id_.partition(":")[0]).state(id_))

    def minimal(self, found: Broken, outcomes: Mapping[str, Outcome]) -> Broken:
        """The same guarantee broken with as few omissions as can be, as far as outcomes are known."""
        wanted = (found.violation.word, found.violation.rule, found.violation.message)

        def same(crash: CrashState) -> Violation | None:
            state = self.taken_apart(crash)
            if not all(remnant.digest in outcomes for remnant in state.remnants):
                return None
            told = self.violations(state, outcomes)
            return next((it for it in told if (it.word, it.rule, it.message) == wanted), None)

        crashes = Crashes(self.history, found.id.partition(":")[0])
        id_ = minimise(crashes, found.id, lambda crash: same(crash) is not None)
        violation = same(crashes.state(id_))
        return Broken(found.rule, id_, violation) if violation is not None else found

    def example(self, found: Broken, outcomes: Mapping[str, Outcome], replay: str) -> Counterexample:
        """The story of it, for a person."""
        state = self.state(found.id)
        recovery = recovered(self.history, state, outcomes)
        told = Counterexample.of(self.history, found.id, (found.violation,), recovery=recovery, replay=replay)
        left_alone = () if not state.remnants else ("smapd looks at it at every scan, and leaves it alone",)
        return told if told.recovery else replace(told, recovery=left_alone)


def rule_of(violation: Violation, model: str, *, again: bool = False) -> str:
    """The rule of the catalogue that a broken guarantee breaks; "" for none: an order that is the reference's own."""
    rule = violation.rule
    if violation.word in (check.LOST, check.BADDIR) and rule != "G5" and model in check.NO_JOURNAL:
        return "CRASH-03"
    if violation.word == check.DUPLICATE:
        return "CRASH-07"
    if rule == "G5":
        return ""
    if again:
        return "CRASH-06"
    return rule


# The recovery, told as a history

_INODES = ("inode", "directory", "new_directory", "replaced")


def recovered(history: History, state: State, outcomes: Mapping[str, Outcome]) -> History:
    """What smapd did with everything that lay there, as events that begin with the state's disk."""
    start = state.crash.image
    process = 1
    events: list[Event] = []
    fresh = max(start.nodes, default=0) + 1
    for remnant in state.remnants:
        told = _Telling(history, remnant, outcomes[remnant.digest], process, fresh)
        events += told.events()
        process, fresh = told.process + 1, told.fresh
    return replace(history, start=start, events=tuple(events), title="the recovery", notes=())


class _Telling:
    """One remnant's outcome as events."""

    def __init__(self, history: History, remnant: Remnant, outcome: Outcome, process: int, fresh: int) -> None:
        self.history, self.remnant, self.outcome = history, remnant, outcome
        self.process, self.fresh = process, fresh
        self._inodes = dict(enumerate(remnant.inodes))

    def events(self) -> Iterator[Event]:
        """The mailer's runs first, then what became of the names."""
        inode = self.remnant.inodes[0] if self.remnant.inodes else 0
        copy = self.process
        for given in self.outcome.runs:
            self.process += 1
            yield happening.Spawn(copy, "copy", self.process, given.argv)
            yield happening.MailerStart(self.process, "mailer", given.argv, inode)
            yield happening.MailerEnd(self.process, "mailer", given.argv, given.read, given.status, inode)
        before = {(left.place, left.path): left for left in self.remnant.files}
        after = {(left.place, left.path): left for left in self.outcome.left}
        gone = [left for name, left in before.items() if name not in after]
        new = [left for name, left in after.items() if name not in before]
        for left in new:
            yield from self._came(copy, left, gone)
        for left in gone:
            yield happening.Unlink(copy, "copy", self._inodes[left.number], self._directory(left), _name(left))
        for name, left in after.items():
            if name in before and before[name].mode != left.mode:
                yield happening.Chmod(copy, "copy", self._inodes[left.number], left.mode)

    def _came(self, copy: int, left: Left, gone: list[Left]) -> Iterator[Event]:
        """A name that was not there before: by a rename, a link, or made anew."""
        directory, name = self._directory(left), _name(left)
        if left.number in self._inodes:
            inode = self._inodes[left.number]
            old = next((each for each in gone if each.number == left.number), None)
            if old is None:
                yield happening.Link(copy, "copy", inode, directory, name)
            else:
                gone.remove(old)
                yield happening.Rename(copy, "copy", inode, self._directory(old), _name(old), directory, name)
            return
        inode = self._inodes[left.number] = self.fresh
        self.fresh += 1
        yield happening.Create(copy, "copy", inode, directory, name, left.mode, left.uid, left.gid)
        yield happening.Write(copy, "copy", inode, 0, left.data)

    def _directory(self, left: Left) -> int:
        """The inode of the directory that a name is in."""
        root = self.history.spool if left.place == SPOOL else self.history.baddir or ""
        inode = self.history.start.at("/".join([root, *left.path.split("/")[:-1]]))
        return inode if inode is not None else self.history.start.at(root) or 0


def _name(left: Left) -> str:
    return left.path.rpartition("/")[2]


def renumbered(history: History, onto: Image) -> History:
    """The same history with the inode numbers that `onto` has for what lies at the start; the paths must agree.

    So a recovery that was recorded on another disk follows upon the crash that left `onto`.
    """
    known = dict(onto.walk())
    numbers = {inode: known[path] for path, inode in history.start.walk() if path in known}
    fresh = max(onto.nodes, default=0) + 1

    def number(inode: int) -> int:
        return numbers.setdefault(inode, fresh + len(numbers)) if inode else 0

    nodes = {
        number(inode): replace(node, entries={name: number(child) for name, child in node.entries.items()})
        for inode, node in history.start.nodes.items()
    }

    def told(event: Event) -> Event:
        changed: dict[str, Any] = {each: number(getattr(event, each)) for each in _INODES if hasattr(event, each)}
        return replace(event, **changed)

    return replace(history, start=Image(nodes), events=tuple(map(told, history.events)))


def worst(found: Sequence[Broken]) -> list[Broken]:
    """The first of each rule, power cuts on the common file systems before the odd ones."""
    firsts: dict[str, Broken] = {}
    for each in sorted(found, key=lambda broken: broken.id.partition(":")[0] not in FIRST):
        firsts.setdefault(each.rule, each)
    return list(firsts.values())
