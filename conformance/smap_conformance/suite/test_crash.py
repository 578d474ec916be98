"""CRASH: SIGKILL to smap, smapd, its copies and the mailer at points that can be seen from outside, then smapd again.

A message is promised when its 250 was read. Afterwards each promised one must have reached the mailer whole, or lie in
the spool or in baddir, and the mailer must have seen no part of any. More than once is allowed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from smap_simulator.mailer import ACCEPTS, HANGS, Behaviour, Input, always

from smap_conformance import offspring
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect
from smap_conformance.patience import WAIT_S
from smap_conformance.place import Place, Smapd
from smap_conformance.spool import WHOLE
from smap_conformance.suite.load import (
    Sent,
    a_message,
    delivered,
    expect_intact,
    expect_none_lost,
    seeded,
    send_all,
)
from smap_conformance.suite.talk import GO_ON, ask, envelope, rows

LOAD_S = 3 * WAIT_S
UNREAD = Behaviour("hangs and reads nothing", reads=Input.NOTHING, hangs=True)


def kill(place: Place, pids: Iterable[int]) -> None:
    """SIGKILL to each, until they are gone; what has gone already is no matter."""
    victims = list(pids)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    place.wait("processes after SIGKILL", "their end", lambda: not any(map(offspring.alive, victims)))


def judge(place: Place, sent: list[Sent], promised: list[Sent]) -> None:
    """When smapd has had time: nothing promised is lost, and nothing partial was mailed."""
    place.wait("smapd after the last kill", "a spool without whole files", lambda: not place.whole(), LOAD_S)
    readers = [message for message in delivered(place) if message.run.behaviour != UNREAD.name]
    expect_intact(sent, readers, rule="CRASH-05")
    expect_none_lost(place, promised, rule="CRASH-01")


# smap


@dataclass(frozen=True)
class Point:
    """Where smap is killed: so many bytes into what the client sends for a message, and upon what."""

    message: int
    at_byte: int
    upon: str  # "read": when it has read them; "at once"; "mark": when 755 is seen; "reply": when the 250 has come


def wire(sent: Sent) -> list[bytes]:
    """What the client sends for one message, a piece for each reply."""
    recipients = [b"RCPT TO:<%s>\r\n" % recipient for recipient in sent.recipients]
    return [b"MAIL FROM:<%s>\r\n" % sent.sender, *recipients, b"DATA\r\n", stuffed(sent.body)]


def a_session_of(name: str) -> list[Sent]:
    """Two messages: one that fits into any buffer, and one that does not."""
    return [a_message(f"{name}small", 300), a_message(f"{name}large", 100_000)]


def points(seed: str) -> Iterator[Point]:
    """Chosen bytes of the dialogue and the body of each message, and around its end."""
    for number, sent in enumerate(a_session_of("crash00")):
        *commands, body = wire(sent)
        body_at = sum(map(len, commands))
        for turn in range(2):
            yield Point(number, seeded(f"{seed} dialogue {number} {turn}", body_at), "read")
        for turn in range(4):
            yield Point(number, body_at + seeded(f"{seed} body {number} {turn}", len(body)), "read")
        for before in (3, 1):
            yield Point(number, body_at + len(body) - before, "read")
        for upon in ("read", "at once", "mark", "reply"):
            yield Point(number, body_at + len(body), upon)


def killed_at(place: Place, sent: list[Sent], point: Point) -> list[Sent]:
    """One session up to the point, and SIGKILL; which of its messages had their 250."""
    session = place.open_session()
    send_all(place, sent[: point.message], session)
    promised = sent[: point.message]
    one = sent[point.message]
    *commands, body = wire(one)
    left = point.at_byte
    for line in commands:
        session.send(line[:left])
        if left < len(line):
            body = b""
            break
        expect(f"reply to {line!r}", session.reply(), codes(250, 354))
        left -= len(line)
    known = marked(place)
    session.send(body[:left])
    if point.upon == "read":
        session.wait_read()
    elif point.upon == "mark":
        place.wait("smap after the end of data", "755", lambda: marked(place) - known or not session.quiet(0))
    elif point.upon == "reply":
        expect("reply to the end of data", session.reply(), codes(250))
        promised = [*promised, one]
    kill(place, [session.pid, *offspring.descendants(session.pid)])
    session.exit_status()
    if body and session.read_to_eof().startswith(b"250"):
        expect("bytes of a message whose end got 250", left, exactly(len(body)), rule="CRASH-05")
        promised = [*promised, one]
    return promised


def marked(place: Place) -> set[str]:
    """Names of files of mode 755, at a glance."""
    found = set()
    for path in place.spool.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if stat.S_IMODE(path.lstat().st_mode) == WHOLE:
                found.add(path.name)
    return found


@pytest.mark.rule("CRASH-01", "CRASH-05")
@pytest.mark.parametrize("meanwhile", [True, False], ids=["smapd at work meanwhile", "smapd afterwards"])
def test_smap_is_killed_at_any_point_of_a_session(place: Place, meanwhile: bool) -> None:
    sent, promised = [], []
    if meanwhile:
        place.start_smapd()
    for number, point in enumerate(points(f"meanwhile {meanwhile}")):
        messages = a_session_of(f"crash{number:02d}")
        sent += messages
        promised += killed_at(place, messages, point)
    if not meanwhile:
        place.start_smapd()
    place.wait_scans(2)  # what is partial has been seen, and not taken
    judge(place, sent, promised)


# smapd, its copies, the mailer

Victims = Callable[[Place, Smapd], list[int]]


def parent_of(pid: int) -> list[int]:
    """The process that waits for it, if there still is one; nobody's child is ours."""
    with contextlib.suppress(OSError, IndexError):
        parent = int(Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()[1])
        return [parent] if parent not in (0, 1, os.getpid()) else []
    return []


def mailers(place: Place, *, hanging: bool = False) -> list[int]:
    """The mailers that live, or those that will never end; a number that has become somebody else's is left out."""
    path = str(place.mailer.path)
    runs = [run for run in place.mailer.runs() if not hanging or run.behaviour != ACCEPTS.name]
    return [run.pid for run in runs if path in offspring.command_line(run.pid)]


def everybody(place: Place, smapd: Smapd) -> list[int]:
    return [each for pid in smapd.daemons() for each in (pid, *offspring.descendants(pid))]


VICTIMS: dict[str, Victims] = {
    "smapd": lambda _, smapd: smapd.daemons(),
    "the mailer's parent": lambda place, _: [parent for pid in mailers(place) for parent in parent_of(pid)],
    "the mailer": lambda place, _: mailers(place),
    "everybody": everybody,
}
# What the mailer does, and whether it has read its message when the kill comes
MOMENTS: list[tuple[Behaviour, bool]] = [(HANGS, True), (ACCEPTS, True), (ACCEPTS, False), (UNREAD, False)]


@pytest.mark.rule("CRASH-01", "CRASH-05")
@pytest.mark.parametrize("victims", rows(VICTIMS))
def test_those_who_deliver_are_killed_amid_a_delivery(place: Place, victims: Victims) -> None:
    sent: list[Sent] = []
    smapd = place.start_smapd()
    for number, (behaviour, finished) in enumerate(MOMENTS):
        messages = [a_message(f"delivery{number}{letter}", 5000) for letter in "abcd"]
        sent += messages
        runs = len(place.mailer.runs(finished=finished))
        place.mailer.script(always(behaviour))
        send_all(place, messages)
        place.wait_runs(runs + 1, finished=finished)
        daemons = smapd.daemons()
        kill(place, victims(place, smapd))
        place.mailer.script(always(ACCEPTS))
        if not any(map(offspring.alive, daemons)):
            smapd = place.start_smapd()  # what the old one left behind is still at work

        def is_cleared() -> bool:
            kill(place, mailers(place, hanging=True))
            return not marked(place)

        place.wait("smapd after the kill", "a spool without whole files", is_cleared, LOAD_S)
        judge(place, sent, sent)


@pytest.mark.rule("CRASH-01", "CRASH-05")
def test_everything_is_killed_again_and_again_under_load(place: Place) -> None:
    """While clients send and mailers take: at which delivery is chosen, what else the kill meets is not."""
    sent: list[Sent] = []
    promised: list[Sent] = []
    smapd = place.start_smapd()
    for turn in range(5):
        steady = [a_message(f"load{turn}n{number}", 1000 * number) for number in range(6)]
        half = a_message(f"load{turn}half", 50_000)
        sent += [*steady, half]
        session = place.open_session()
        envelope(session, half.sender)
        ask(session, b"DATA", GO_ON)
        session.send(stuffed(half.body)[:30_000])
        runs = len(place.mailer.runs())
        send_all(place, steady)
        promised += steady
        place.wait_runs(runs + 1 + seeded(f"load {turn}", 3), finished=turn % 2 == 0)
        kill(place, [*everybody(place, smapd), session.pid])
        session.exit_status()
        smapd.wait_end()
        smapd = place.start_smapd()
    place.wait_scans(2)
    judge(place, sent, promised)
