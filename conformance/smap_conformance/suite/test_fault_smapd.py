"""FAULT-04, FAULT-05: calls of smapd and its copies fail, scan after scan, and then no more: it has outlived them.

A plain run is recorded first (`test_crash_kill_smapd`). Then smapd is held by strace, or its copies are, while it comes
upon a message for the mailer to take, one to refuse and one to put off, and every call of the scan fails in its turn,
once, or from then on until it has been seen to fail again. Several smapd, each in a place of its own, at a time.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from smap_simulator.recorder.strace import FORKS

from smap_conformance import offspring
from smap_conformance.expect import exactly, expect, not_measured, such_that
from smap_conformance.lab import Lab
from smap_conformance.patience import WAIT_S
from smap_conformance.place import Place
from smap_conformance.suite.aiming import (
    CLOSE,
    LINK,
    LIST,
    LOCK,
    MOVE,
    OPEN,
    READ,
    REMOVE,
    START,
    SYNC,
    Mark,
    expect_most_fired,
    marks,
    points,
)
from smap_conformance.suite.load import Sent, a_message, delivered, expect_intact, expect_none_lost, send_all
from smap_conformance.suite.tapping import Snare
from smap_conformance.suite.test_crash_kill import LOAD_S
from smap_conformance.suite.test_crash_kill_smapd import Daemon, Stock, caught_copies, side_by_side, wait_copies

_DISK = ("EIO", "EROFS", "EACCES")
ERRNOS: dict[str, tuple[str, ...]] = {
    OPEN: ("EMFILE", "ENFILE", "EIO", "EACCES"),
    LIST: ("EIO", "ENOMEM"),
    READ: ("EIO", "ENOMEM"),
    LOCK: ("ENOLCK", "EIO"),
    START: ("EAGAIN", "ENOMEM"),
    REMOVE: (*_DISK, "EPERM"),
    MOVE: (*_DISK, "ENOSPC", "EXDEV"),
    LINK: (*_DISK, "ENOSPC", "EMLINK"),
    SYNC: ("EIO", "ENOSPC"),
    CLOSE: ("EIO",),
}
AGAIN = 2  # a call that fails for good is seen to do so this often before it is let be
FAILURES_MAX = 300  # of one smapd in the few scans meanwhile: thousands would be a loop


@dataclass(frozen=True, slots=True)
class Trouble:
    """What strace is told, how often it has to be seen, and the words for it."""

    rule: str
    times: int
    words: str
    children: bool = False


def troubles(mark: Mark) -> list[Trouble]:
    """This call with each errno for good, and with the first of them once."""
    errnos = ERRNOS[mark.kind]
    for_good = [
        Trouble(mark.injection(f"error={name}", f"{mark.occurrence}+"), AGAIN, f"{name} at {mark} for good")
        for name in errnos
    ]
    return [Trouble(mark.injection(f"error={errnos[0]}"), 1, f"{errnos[0]} at {mark}"), *for_good]


NO_EXEC = [
    Trouble(f"execve:error={name}:when=1+", AGAIN, f"{name} at execve for good", children=True)
    for name in ("ENOMEM", "EACCES", "E2BIG")
]


def expect_all_well(place: Place, sent: list[Sent], why: str) -> None:
    """When nothing fails any more: what the mailer takes is gone, what it refuses is in baddir, later mail goes on."""
    later = a_message("later", 300)
    send_all(place, [later])
    place.wait(f"smapd after {why}", "a spool without whole files", lambda: not place.whole(), 2 * WAIT_S)
    everything = [*sent, later]
    expect_intact(everything, delivered(place), rule="FAULT-04")
    expect_none_lost(place, everything, rule="FAULT-04")


# smapd itself


class Hurt:
    """A smapd, and the troubles that it will meet one after the other, each with a message of its own."""

    def __init__(self, place: Place, every: list[Trouble]) -> None:
        self.daemon = Daemon(place, len(every), ("taken",))
        self.every = every

    def is_over(self, turn: int) -> bool:
        """Whether the call has failed as often as it shall, or all was done without, or smapd is dead."""
        daemon, times = self.daemon, self.every[turn].times
        return daemon.tap.failures() >= times or (times == 1 and daemon.is_decided()) or not offspring.alive(daemon.pid)

    def judge(self, turn: int) -> bool:
        """Let it be, and look at it; whether it was hurt at all."""
        daemon, trouble = self.daemon, self.every[turn]
        few = such_that(f"{FAILURES_MAX} at most", lambda number: number <= FAILURES_MAX)
        expect(f"failing calls of smapd with {trouble.words}", daemon.tap.failures(), few, rule="FAULT-02")
        calls = daemon.tap.off()
        fired = any(call.injected for call in calls)
        expect(f"smapd after {trouble.words}", offspring.alive(daemon.pid), exactly(True), rule="FAULT-04")
        forks = sum(call.name in FORKS for call in calls)
        expect(f"forks of smapd with {trouble.words}", forks, few, rule="FAULT-02")
        daemon.place.wait(
            f"smapd after {trouble.words}", "delivery", lambda: not daemon.stock.are_whole(daemon.names(turn))
        )
        return fired


def meet_all(every: Sequence[Hurt], tally: Counter[str]) -> None:
    """All of them side by side, since each waits for its next scan."""
    for turn in range(max(len(hurt.every) for hurt in every)):
        at_work = [hurt for hurt in every if turn < len(hurt.every)]
        for hurt in at_work:
            hurt.daemon.meet(turn, hurt.every[turn].rule, children=hurt.every[turn].children)
        for hurt in at_work:
            what = f"smapd with {hurt.every[turn].words}"
            hurt.daemon.place.wait(what, "that failure, or its work done", lambda: hurt.is_over(turn))  # noqa: B023
        for hurt in at_work:
            fired = hurt.judge(turn)
            tally["calls failed" if fired else "faults not fired"] += 1
            tally["faults fired"] += fired
    for hurt in every:
        expect_all_well(hurt.daemon.place, hurt.daemon.stock.sent, "all that")


@pytest.mark.rule("FAULT-02", "FAULT-04")
@pytest.mark.parametrize("kinds", [(OPEN, LIST), (LOCK, CLOSE, START)], ids=["look", "lock, fork, exec, close"])
def test_smapd_outlives_failing_calls(lab: Lab, kinds: tuple[str, ...], tally: Counter[str]) -> None:
    """Those of a scan: on the directory, and on a message."""
    with lab.place() as place:
        daemon = Daemon(place, fates=("taken",))
        daemon.meet()
        place.wait("smapd", "a finished mailer", daemon.is_decided)
        plain = daemon.end()
    together = side_by_side(lab)
    aims = [troubles(plain[at]) for at in points(plain, frozenset(kinds)) if plain[at].name != "execve"]
    if START in kinds:
        aims.append(NO_EXEC)
    if together == 1:  # each would have to wait for scans alone: one errno stands for all
        aims = [[replace(every[0], times=1)] for every in aims]
    for batch in (aims[at : at + together] for at in range(0, len(aims), together)):
        with contextlib.ExitStack() as stack:
            meet_all([Hurt(stack.enter_context(lab.place()), every) for every in batch], tally)
    expect_most_fired(tally, "failing calls")


# Its copies


def aims_at_copies(plain: dict[str, list[Mark]], kinds: tuple[str, ...]) -> Iterator[tuple[str, Mark]]:
    """Each call of these kinds that a copy makes for a message, and for which end of it."""
    known: set[tuple[str, int]] = set()
    for fate, recorded in plain.items():
        for mark in (recorded[at] for at in points(recorded, frozenset(kinds))):
            if mark.name != "execve" and (mark.name, mark.occurrence) not in known:
                known.add((mark.name, mark.occurrence))
                yield fate, mark


@pytest.mark.rule("FAULT-02", "FAULT-04")
@pytest.mark.parametrize("kinds", [(OPEN, READ, LOCK, START), (REMOVE, MOVE, LINK, SYNC, CLOSE)], ids=["take", "end"])
def test_smapd_outlives_copies_with_failing_calls(place: Place, kinds: tuple[str, ...], tally: Counter[str]) -> None:
    """All of them in one scan: each has a message, and a call that fails for good, of its own."""
    ends = ("taken", "refused")
    snare = Snare(place)
    place.table(smapd={"executable": snare.path})
    first = Stock(place, ends)
    plain = {end: marks(copy.calls, place) for end, copy in zip(ends, caught_copies(place, snare, first), strict=True)}
    aims = [(fate, each) for fate, mark in aims_at_copies(plain, kinds) for each in troubles(mark)[1:]]
    if not aims:
        not_measured("what `executable` names makes no such call here")
    stock = Stock(place, [fate for fate, _ in aims])
    snare.set({name: trouble.rule for name, (_, trouble) in zip(stock.names, aims, strict=True)})
    stock.put(stock.names)
    smapd = place.start_smapd()
    pids = wait_copies(place, smapd, snare, stock.names)
    for name in stock.names:
        fired = any(call.injected for call in snare.caught(pids[name]).calls)
        tally["calls failed" if fired else "faults not fired"] += 1
        tally["faults fired"] += fired
    expect("smapd after copies with failing calls", smapd.running(), exactly(True))
    snare.unset()
    what = "smapd after copies with failing calls"
    place.wait(what, "an end with each message", lambda: not stock.are_whole(stock.names), LOAD_S)
    expect_all_well(place, first.sent + stock.sent, "copies with failing calls")
    expect_most_fired(tally, "failing calls")
