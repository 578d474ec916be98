"""A finding again, from its address: the run or the crash state is rebuilt, judged, and cut down to what matters.

    RUN              the run is played; what it did is drawn as a time line
    RUN/ID           the run is played, and the crash state built from its history
    RUN/ID/ID        and the second crash is of the recovery from the first
    ID               the same with a history that was saved before: the program that wrote it need not run

A recovery is smapd's of the programs that the run names; with an ID alone nobody recovers, and the guarantees are
judged by what lies on the disk. The same address gives the same text, byte for byte.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from smap_simulator import check, conduct
from smap_simulator.address import Address, AddressError, parse
from smap_simulator.check import Case, Violation
from smap_simulator.choice import ReplayError
from smap_simulator.counterexample import Counterexample
from smap_simulator.crash import Crashes, CrashState, IdError, split_id
from smap_simulator.experiment import DIED, Lab
from smap_simulator.history import History
from smap_simulator.mutants import loaded
from smap_simulator.omission import minimise
from smap_simulator.past import Past
from smap_simulator.timeline import draw
from smap_simulator.world import Finished

COMMAND = "smaplab replay"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What lies at an address. `violations` are no allowed ones; `history` is of the run, whose disk crashed first."""

    address: str
    history: History
    violations: tuple[Violation, ...] = ()
    allowed: tuple[Violation, ...] = ()
    counterexample: Counterexample | None = None  # None: a run, which is drawn
    minimal: str = ""  # the address with the fewest omissions that break the same guarantee
    command: str = ""  # what shows that again

    def plain(self) -> str:
        """The whole of it as text."""
        rows = [f"address: {self.address}"]
        if self.counterexample is None:
            rows += ["", draw(self.history)]
        elif self.violations:
            rows += ["", self.counterexample.plain()]
        else:
            rows += ["", *(f"left: {line}" for line in self.counterexample.left)]
            rows += [*(f"recovery: {line}" for line in self.counterexample.recovery), ""]
        for word, found in (("broken", self.violations), ("allowed", self.allowed)):
            for each in found:
                told = " ".join(filter(None, (each.message, each.detail)))
                why = f"; {each.allowed}" if each.allowed else ""
                rows.append(f"{word}: {each.word} {each.rule} {each.sentence}: {told or 'see above'}{why}")
        return "\n".join(rows if self.violations else [*rows, "nothing is broken there"]) + "\n"


class Rebuilder:
    """Rebuilds the crash states of one run, or of a history without its run, and judges them."""

    def __init__(self, lab: Lab, address: Address | None, history: History) -> None:
        self._lab, self._address, self.history = lab, address, history
        self._crashes: dict[tuple[int, str], Crashes] = {}  # by the id of a history that is kept in them

    def _of(self, history: History, id_: str) -> Crashes:
        key = (id(history), split_id(id_)[0])
        found = self._crashes.get(key)
        if found is None:
            found = self._crashes[key] = Crashes(history, key[1])
        return found

    def judge(self, ids: Sequence[str]) -> tuple[CrashState, list[Violation], History, History | None]:
        """The state of the last id, every violation there, the history that was cut, and the recovery's."""
        history, earlier = self.history, list[Past]()
        for id_ in ids[:-1]:
            state = self._of(history, id_).state(id_)
            earlier.append(Past(history, state.cut, earlier[-1] if earlier else None))
            recovered = self._recovered(state, history)
            if recovered is None:
                raise IdError(f"{'/'.join(ids)}: a crash in a recovery needs the run's address before it: RUN/ID/ID")
            history = recovered.history
        state = self._of(history, ids[-1]).state(ids[-1])
        past = Past(history, state.cut, earlier[-1] if earlier else None)
        recovered = self._recovered(state, history)
        recovery = recovered.history if recovered is not None else None
        accepts = self._address is None or self._address.accepts_after
        found = check.violations(Case((*earlier, past), state.image, recovery, state.model, accepts))
        for line in recovered.uncaught[:1] if recovered is not None else ():
            found.append(Violation(DIED, "FAULT-04", detail=line))
        return state, found, history, recovery

    def _recovered(self, state: CrashState, history: History) -> Finished | None:
        return self._lab.recovered(self._address, state.image, history) if self._address is not None else None

    def minimal(self, ids: Sequence[str], wanted: Violation) -> list[str]:
        """The ids with the last one's omissions reduced to those without which `wanted` is not broken any more."""
        before, last = list(ids[:-1]), ids[-1]
        _, _, history, _ = self.judge(ids)
        crashes = self._of(history, last)

        def holds(state: CrashState) -> bool:
            _, found, _, _ = self.judge([*before, state.id])
            return any((it.word, it.rule, it.allowed) == (wanted.word, wanted.rule, "") for it in found)

        return [*before, minimise(crashes, last, holds)]


def replay(text: str, saved: History | None = None, *, rule: str = "", source: str = "") -> Replayed:
    """What lies at an address. AddressError, IdError or MutantError where nothing does, with one line that says why.

    `saved` is the history that the first id is of, and `source` its file, for the command that shows it again; with a
    history and no text, the history is drawn. `rule` chooses among several broken guarantees.
    """
    if saved is not None and not text:
        return Replayed(source or saved.title, saved, tuple(conduct.violations(Past(saved))))
    run, ids = _split(text)
    address = parse(run) if run else None
    if saved is None and address is None:
        raise AddressError(f"{text}: an id alone needs the history that it is of (--history FILE); or name its run")
    with loaded(address.mutant if address is not None else "") as programs:
        lab = Lab(programs)
        if saved is None:
            assert address is not None
            try:
                finished = address.play(programs)
            except ReplayError as error:
                raise AddressError(f"{text}: {error}") from None
            if not ids:
                return Replayed(text, finished.history, tuple(lab.broken(address, finished)))
            saved = finished.history
        if not ids:
            return Replayed(text, saved, tuple(conduct.violations(Past(saved))))
        return _crashed(text, Rebuilder(lab, address, saved), rule, source)


def _crashed(text: str, rebuilder: Rebuilder, rule: str, source: str) -> Replayed:
    run, ids = _split(text)
    _, found, _, _ = rebuilder.judge(ids)
    broken = sorted((each for each in found if not each.allowed), key=lambda each: each.rule != rule)
    minimal = rebuilder.minimal(ids, broken[0]) if broken else ids
    _, found, history, recovery = rebuilder.judge(minimal)
    told = [each for each in found if not each.allowed]
    if broken:
        told.sort(key=lambda each: (each.word, each.rule) != (broken[0].word, broken[0].rule))
    place = "/".join([*([run] if run else []), *minimal])
    command = f"{COMMAND} {shlex.join(['--history', source])} {place}" if source and not run else f"{COMMAND} {place}"
    example = Counterexample.of(history, minimal[-1], tuple(told), recovery=recovery, replay=command)
    allowed = tuple(each for each in found if each.allowed)
    return Replayed(text, rebuilder.history, tuple(told), allowed, example, place, command)


def _split(text: str) -> tuple[str, list[str]]:
    """The run, "" where there is none, and the ids."""
    first, *others = text.split("/")
    return ("", [first, *others]) if ":" in first else (first, others)
