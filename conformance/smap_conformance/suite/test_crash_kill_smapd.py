"""CRASH: SIGKILL before and after every system call that changes something, in smapd and in each of its copies.

Three messages: one that the mailer takes, one that it refuses, one that it puts off. See `test_crash_kill`.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Collection

import pytest
from smap_simulator.mailer import ACCEPTS, PERMFAIL, TEMPFAIL, Behaviour, always

from smap_conformance import offspring
from smap_conformance.expect import not_measured
from smap_conformance.lab import Lab
from smap_conformance.place import Place
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
from smap_conformance.suite.test_crash_kill import judge

FATES: dict[str, Behaviour] = {"taken": ACCEPTS, "refused": PERMFAIL, "put off": TEMPFAIL}
SETTLE_S = 0.5
TOGETHER = 8  # so many smapd at a time wait for their next scan


class Stock:
    """Messages of a place, some for each turn, all gathered at once and put into the spool when their turn comes."""

    def __init__(self, place: Place, turns: int, fates: Collection[str] = tuple(FATES)) -> None:
        self._place = place
        self._aside = place.root / "aside"
        self._aside.mkdir(exist_ok=True)
        number = len(list(self._aside.iterdir()))
        named = [  # what is aside already has had its name
            {fate: a_message(f"m{number + turn:03d}{fate.replace(' ', '')}", 2000) for fate in fates}
            for turn in range(turns)
        ]
        self.sent = [sent for three in named for sent in three.values()]
        letters = gather_all(place, {sent.sender: sent.body for sent in self.sent})
        self._turns = [{letters[sent.sender].file.name: fate for fate, sent in three.items()} for three in named]
        place.mailer.script(
            by_sender({sent.sender: FATES[fate] for three in named for fate, sent in three.items()}, ACCEPTS)
        )
        self.put_away()

    def put(self, turn: int, fates: Collection[str] = tuple(FATES)) -> dict[str, str]:
        """Put the messages of a turn that will have these fates into the spool; their fates by name."""
        chosen = {name: fate for name, fate in self._turns[turn].items() if fate in fates}
        for name in chosen:
            (self._aside / name).rename(self._place.spool / name)
        return chosen

    def put_away(self) -> None:
        """Take everything out of the spool, as it is."""
        for path in list(self._place.spool.iterdir()):
            path.rename(self._aside / path.name)

    def left(self, turn: int, fate: str) -> bool:
        """Whether the message still was there when everything was taken out of the spool."""
        return any((self._aside / name).exists() for name, its in self._turns[turn].items() if its == fate)

    def is_in_spool(self, turn: int) -> bool:
        """Whether any message of the turn is there."""
        return any((self._place.spool / name).exists() for name in self._turns[turn])

    def put_back(self) -> None:
        """Bring everything that is left back into the spool."""
        for path in list(self._aside.iterdir()):
            path.rename(self._place.spool / path.name)


def wait_mailers(place: Place) -> None:
    """Until nobody runs the mailer any more: those whose parent was killed end by themselves."""
    place.wait(
        "mailers after the kill",
        "their end",
        lambda: all(run.finished or not offspring.alive(run.pid) for run in place.mailer.runs()),
    )


# copies


def caught_copies(
    place: Place, snare: Snare, stock: Stock, *, turn: int = 0, fates: Collection[str] = tuple(FATES), rule: str = ""
) -> dict[str, Caught]:
    """smapd comes upon messages, and each copy is watched until it is over: the first one for each fate."""
    by_name = stock.put(turn, fates)
    snare.set([rule] if rule else [])
    smapd = place.start_smapd()

    def all_over() -> dict[str, int]:
        found: dict[str, int] = {}
        for pid, file in snare.over().items():
            fate = next((by_name[name] for name in by_name if name in file), "")
            if fate:
                found.setdefault(fate, pid)
        return found if len(found) == len(by_name) else {}

    pids = place.wait("copies of smapd", "the end of one for each message", all_over)
    smapd.kill()
    wait_mailers(place)
    stock.put_away()
    return {fate: snare.caught(pid) for fate, pid in pids.items()}


@pytest.mark.rule("CRASH-01", "CRASH-05")
@pytest.mark.parametrize("kill", rows(KILLS))
def test_copies_are_killed_at_every_call(place: Place, kill: Kill, tally: Counter[str]) -> None:
    snare = Snare(place)
    place.table(smapd={"executable": snare.path})
    first = Stock(place, 1)
    plain = {fate: marks(copy.calls, place) for fate, copy in caught_copies(place, snare, first).items()}
    where: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for fate, recorded in plain.items():
        for at in points(recorded, CHANGING):
            if recorded[at].name != "execve":  # its own beginning
                where.setdefault((recorded[at].name, recorded[at].occurrence), []).append((fate, at))
    if not where:
        not_measured("what `executable` names does nothing for a message here: nobody to be killed")
    stock = Stock(place, len(where))
    for turn, aims in enumerate(where.values()):
        fate, at = aims[0]
        rule = plain[fate][at].injection(kill.effect)
        copies = caught_copies(place, snare, stock, turn=turn, fates=[fate for fate, _ in aims], rule=rule)
        for fate, at in aims:
            seen = marks(copies[fate].calls, place)
            fired = was_killed_there(plain[fate], seen, at, copies[fate].status, kill)
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
        self.stock = Stock(place, turns, fates)
        self._messages = len(fates)
        with watching(place.spool) as scans:
            smapd = place.start_smapd()
            place.wait("smapd", "its first scan", scans.count)
        smapd.outcome(SETTLE_S)  # it scans already; a first process that still is there then is smapd itself
        daemons = smapd.daemons()
        if len(daemons) != 1:
            not_measured(f"{len(daemons)} processes at work where one smapd was started: none to be aimed at")
        self.pid = daemons[0]

    def meet(self, turn: int = 0, rule: str = "", *, children: bool = False) -> None:
        """Let it find the messages while it is watched."""
        self._runs = len(self.place.mailer.runs())
        os.kill(self.pid, signal.SIGSTOP)
        self.place.wait("smapd after SIGSTOP", "a halt", lambda: offspring.state(self.pid) == "T")
        self.stock.put(turn)
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
    for batch in (aims[at : at + TOGETHER] for at in range(0, len(aims), TOGETHER)):
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
