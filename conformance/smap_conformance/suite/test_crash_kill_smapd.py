"""CRASH: SIGKILL before and after every system call that changes something, in smapd and in each of its copies.

Three messages: one that the mailer takes, one that it refuses, one that it puts off. See `test_crash_kill`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import pytest
from smap_simulator.mailer import ACCEPTS, PERMFAIL, TEMPFAIL, Behaviour, always

from smap_conformance import offspring
from smap_conformance.expect import Miss, miss, not_measured
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Smapd
from smap_conformance.scans import watching
from smap_conformance.suite.aiming import (
    CHANGING,
    KILLS,
    START,
    Kill,
    Mark,
    expect_most_fired,
    marks,
    points,
    was_killed_there,
)
from smap_conformance.suite.fate import by_sender, gather_all
from smap_conformance.suite.load import a_message
from smap_conformance.suite.talk import rows
from smap_conformance.suite.tapping import Caught, Snare, Tap
from smap_conformance.suite.test_crash import kill as end_by_kill
from smap_conformance.suite.test_crash import marked
from smap_conformance.suite.test_crash_kill import LOAD_S, judge

FATES: dict[str, Behaviour] = {"taken": ACCEPTS, "refused": PERMFAIL, "put off": TEMPFAIL}
SETTLE_S = 0.5
TOGETHER = 8  # so many smapd at a time wait for their next scan


def side_by_side(lab: Lab) -> int:
    """How many smapd may be at work at a time, each in a place and with a table of its own.

    A target that has its table compiled in knows one at a time: in the one place its mail goes the way of the other.
    """

    def obstacle() -> str:
        with lab.place() as place, lab.place():
            try:
                place.gather()
                place.start_smapd()
                place.wait_runs(1)
            except Miss as missed:
                return str(missed)
        return ""

    return 1 if lab.sandbox.remembered("side by side", obstacle) else TOGETHER


class Stock:
    """Messages of a place, one for each fate named, gathered at once and put into the spool when their turn comes."""

    def __init__(self, place: Place, fates: Sequence[str]) -> None:
        self._place = place
        self._aside = place.root / "aside"
        self._aside.mkdir(exist_ok=True)
        number = len(list(place.root.glob("stock.*")))  # no two of a place have messages of the same names
        (place.root / f"stock.{number}").touch()
        names = [f"stock{number}n{at:03d}{fate.replace(' ', '')}" for at, fate in enumerate(fates)]
        self.sent = [a_message(name, 2000) for name in names]
        letters = gather_all(place, {sent.sender: sent.body for sent in self.sent})
        self.names = [letters[sent.sender].file.name for sent in self.sent]
        decided = {sent.sender: FATES[fate] for sent, fate in zip(self.sent, fates, strict=True)}
        place.mailer.script(by_sender(decided, ACCEPTS))
        self.put_away()

    def put(self, names: Iterable[str]) -> None:
        """Put these messages into the spool."""
        for name in names:
            (self._aside / name).rename(self._place.spool / name)

    def put_away(self) -> None:
        """Take everything out of the spool, as it is."""
        for path in list(self._place.spool.iterdir()):
            path.rename(self._aside / path.name)

    def put_back(self) -> None:
        """Bring everything that is left back into the spool."""
        self.put([path.name for path in self._aside.iterdir()])

    def is_left(self, name: str) -> bool:
        """Whether the message was still there when everything was taken out of the spool."""
        return (self._aside / name).exists()

    def are_whole(self, names: Iterable[str]) -> bool:
        """Whether any of them is in the spool to be delivered: what has lost its mark is not."""
        return not marked(self._place).isdisjoint(names)


def wait_mailers(place: Place) -> None:
    """Until nobody runs the mailer any more: those whose parent was killed end by themselves."""
    place.wait(
        "mailers after the kill",
        "their end",
        lambda: all(run.finished or not offspring.alive(run.pid) for run in place.mailer.runs()),
    )


# copies


def wait_copies(place: Place, smapd: Smapd, snare: Snare, names: Collection[str]) -> dict[str, int]:
    """Until a copy for each of these messages is over: the first one for each. Miss when smapd itself ends."""

    def all_over() -> dict[str, int]:
        found: dict[str, int] = {}
        for pid, file in snare.over().items():
            if (name := file.rpartition("/")[2]) in names:
                found.setdefault(name, pid)
        if len(found) == len(names):
            return found
        if not smapd.running():
            miss("smapd while its copies are hurt", "that it stays", "it has ended")
        return {}

    return place.wait("copies of smapd", f"the end of one for each of {len(names)} messages", all_over, LOAD_S)


def caught_copies(place: Place, snare: Snare, stock: Stock, rules: Mapping[str, str] | None = None) -> list[Caught]:
    """smapd comes upon these messages, and the first copy for each is watched until it is over, hurt by its rule."""
    names = list(stock.names)
    stock.put(names)
    snare.set(rules)
    smapd = place.start_smapd()
    pids = wait_copies(place, smapd, snare, names)
    smapd.kill()
    wait_mailers(place)
    stock.put_away()
    return [snare.caught(pids[name]) for name in names]


@pytest.mark.rule("CRASH-01", "CRASH-05")
@pytest.mark.parametrize("kill", rows(KILLS))
def test_copies_are_killed_at_every_call(place: Place, kill: Kill, tally: Counter[str]) -> None:
    """All of them in one scan: each has a message, and a point, of its own."""
    snare = Snare(place)
    place.table(smapd={"executable": snare.path})
    first = Stock(place, list(FATES))
    copies = caught_copies(place, snare, first)
    plain = {fate: marks(copy.calls, place) for fate, copy in zip(FATES, copies, strict=True)}
    aims = [
        (fate, at)
        for fate, recorded in plain.items()
        for at in points(recorded, CHANGING)
        if recorded[at].name != "execve"  # its own beginning
    ]
    if not aims:
        not_measured("what `executable` names does nothing for a message here: nobody to be killed")
    stock = Stock(place, [fate for fate, _ in aims])
    rules = [plain[fate][at].injection(kill.effect) for fate, at in aims]
    killed = caught_copies(place, snare, stock, dict(zip(stock.names, rules, strict=True)))
    for (fate, at), copy in zip(aims, killed, strict=True):
        fired = was_killed_there(plain[fate], marks(copy.calls, place), at, copy.status, kill)
        tally["crash points" if fired else "faults not fired"] += 1
        tally["faults fired"] += fired
    expect_most_fired(tally, "kills")
    snare.unset()
    stock.put_back()
    place.mailer.script(always(ACCEPTS))
    sent = first.sent + stock.sent
    place.start_smapd()
    judge(place, sent, sent)


# smapd itself


class Daemon:
    """A smapd that is stopped before it comes upon the messages of a turn, and held by strace."""

    def __init__(self, place: Place, turns: int = 1, fates: Collection[str] = tuple(FATES)) -> None:
        self.place = place
        self._messages = len(fates)
        self.stock = Stock(place, [*fates] * turns)
        with watching(place.spool) as scans:
            smapd = place.start_smapd()
            place.wait("smapd", "its first scan", scans.count)
        smapd.outcome(SETTLE_S)  # it scans already; a first process that still is there then is smapd itself
        daemons = smapd.daemons()
        if len(daemons) != 1:
            not_measured(f"{len(daemons)} processes at work where one smapd was started: none to be aimed at")
        self.pid = daemons[0]

    def names(self, turn: int) -> list[str]:
        """The messages of a turn."""
        return self.stock.names[turn * self._messages : (turn + 1) * self._messages]

    def meet(self, turn: int = 0, rule: str = "", *, children: bool = False) -> None:
        """Let it find the messages while it is watched."""
        self._runs = len(self.place.mailer.runs())
        os.kill(self.pid, signal.SIGSTOP)
        self.place.wait("smapd after SIGSTOP", "a halt", lambda: offspring.state(self.pid) == "T")
        self.stock.put(self.names(turn))
        self.tap = Tap(self.place, self.pid, [rule] if rule else [], children=children)
        os.kill(self.pid, signal.SIGCONT)

    def is_decided(self) -> bool:
        """Whether it is dead, or each message has had its mailer."""
        done = len(self.place.mailer.runs(finished=True)) >= self._runs + self._messages
        return done or not offspring.alive(self.pid)

    def end(self) -> list[Mark]:
        """What it called up to the end of the scan that found the messages."""
        seen = marks(self.tap.off(), self.place)
        end_by_kill(self.place, [self.pid, *offspring.descendants(self.pid)])  # `Smapd.kill` would end others' too
        wait_mailers(self.place)
        starts = [at for at, mark in enumerate(seen) if mark.kind == START and mark.name != "execve"]
        if len(starts) < self._messages:
            return seen
        last = starts[self._messages - 1]
        return seen[: next((at for at in range(last, len(seen)) if seen[at].about == "spool"), len(seen))]


@pytest.mark.rule("CRASH-01", "CRASH-05")
@pytest.mark.parametrize("kill", rows(KILLS))
def test_smapd_is_killed_at_every_call(lab: Lab, kill: Kill, tally: Counter[str]) -> None:
    with lab.place() as place:
        daemon = Daemon(place)
        daemon.meet()
        place.wait("smapd", "a finished mailer for each message", daemon.is_decided)
        plain = daemon.end()
    aims = [at for at in points(plain, CHANGING) if plain[at].name != "execve"]
    if not aims:
        not_measured("the process of smapd that stays changes nothing here: nobody to be killed")
    together = side_by_side(lab)
    for batch in (aims[at : at + together] for at in range(0, len(aims), together)):
        with contextlib.ExitStack() as stack:
            daemons = [Daemon(stack.enter_context(lab.place())) for _ in batch]
            for daemon, at in zip(daemons, batch, strict=True):
                daemon.meet(rule=plain[at].injection(kill.effect))
            for daemon, at in zip(daemons, batch, strict=True):
                daemon.place.wait("smapd that is to be killed", "its death, or its work done", daemon.is_decided)
                seen = daemon.end()
                fired = was_killed_there(plain, seen, at, daemon.tap.status(), kill)
                tally["crash points" if fired else "faults not fired"] += 1
                tally["faults fired"] += fired
                daemon.place.mailer.script(always(ACCEPTS))
                daemon.place.start_smapd()
            for daemon in daemons:
                judge(daemon.place, daemon.stock.sent, daemon.stock.sent)
    expect_most_fired(tally, "kills")
