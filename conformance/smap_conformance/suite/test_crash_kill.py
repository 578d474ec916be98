"""CRASH: SIGKILL before and after every system call that changes something, in smap, in smapd and in its copies.

A plain run is recorded first: one session with two messages; one message for delivery, one that the mailer refuses,
one that it puts off. Then the same is run again and again, each time with one process killed at one call: before the
call takes effect (SIGKILL), or after (a signal that ends a program which does not handle it; where it is handled, the
kill before the next call stands for it). Afterwards smapd is started again, once for many of them: messages do not
know of each other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from smap_conformance.arrival import forms
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, miss, not_measured
from smap_conformance.patience import WAIT_S
from smap_conformance.place import Place, Session
from smap_conformance.suite.aiming import (
    CHANGING,
    CREATE,
    KILLS,
    START,
    Kill,
    Mark,
    expect_most_fired,
    marks,
    of_process,
    points,
    was_killed_there,
)
from smap_conformance.suite.load import Sent, a_message, delivered, expect_intact, expect_none_lost
from smap_conformance.suite.talk import rows
from smap_conformance.tracing import Trace

LOAD_S = 6 * WAIT_S


def judge(place: Place, sent: list[Sent], promised: list[Sent], *, scans: int = 0) -> None:
    """smapd comes to the end of what is whole: nothing promised is lost, and nothing partial was mailed."""
    place.wait("smapd after the last kill", "a spool without whole files", lambda: not place.whole(), LOAD_S)
    place.wait_scans(scans)
    expect_intact(sent, delivered(place), rule="CRASH-05")
    expect_none_lost(place, promised, rule="CRASH-01")


# smap


@dataclass(frozen=True, slots=True)
class Spoken:
    """A session as it went: which messages got their 250, what smap called meanwhile, and how it ended."""

    promised: list[Sent]
    seen: list[Mark]
    status: int


def speak(place: Place, messages: list[Sent], trace: Trace) -> Spoken:
    """One session, as far as it goes."""
    session = place.connect(trace=trace)
    client = session.inode_at_the_target()
    promised = _say(session, messages)
    session.close()
    status = session.exit_status()
    traced = place.traces[-1]
    place.wait("strace after its program's end", "the end of its log", traced.settled)
    return Spoken(promised, marks(of_process(traced.calls(), session.pid), place, client), status)


def _say(session: Session, messages: list[Sent]) -> list[Sent]:
    promised: list[Sent] = []
    if session.reply() is None or session.command(b"HELO c.example") is None:
        return promised
    for sent in messages:
        recipients = [b"RCPT TO:<%s>\r\n" % recipient for recipient in sent.recipients]
        for piece in (b"MAIL FROM:<%s>\r\n" % sent.sender, *recipients, b"DATA\r\n", stuffed(sent.body)):
            session.send(piece)
            reply = session.reply()
            if reply is None:
                return promised
            expect(f"reply to {piece[:40]!r}", reply, codes(250, 354))
        promised.append(sent)
    session.command(b"QUIT")
    return promised


def two_messages(name: str) -> list[Sent]:
    """One that fits into any buffer, and one that does not."""
    return [a_message(f"{name}small", 300), a_message(f"{name}large", 30_000)]


def expect_marked_are_whole(place: Place, sent: list[Sent], why: str) -> None:
    """Mode 755 means whole, for whatever lies in the spool."""
    for file in place.whole():
        data = (place.spool / file.name).read_bytes()
        one = next((each for each in sent if each.sender in data), None)
        if one is None or not any(form in data for form in set(forms(one.body))):
            miss(f"a file of mode 755 after {why}", "one whole message", file.describe(), rule="CRASH-04")


@pytest.mark.rule("CRASH-01", "CRASH-04", "CRASH-05")
@pytest.mark.parametrize("kill", rows(KILLS))
def test_smap_is_killed_at_every_call(place: Place, kill: Kill, tally: Counter[str]) -> None:
    sent = two_messages("plain")
    plain = speak(place, sent, Trace())
    promised = list(plain.promised)
    expect("messages taken in a plain session", len(promised), exactly(2))
    if not any(mark.kind == CREATE for mark in plain.seen):
        not_measured("the process that has the connection creates no file here: somebody else does the work")
    for number, at in enumerate(points(plain.seen, CHANGING - {START})):  # no file changes with a new process
        mark = plain.seen[at]
        messages = two_messages(f"kill{number:03d}")
        sent += messages
        spoken = speak(place, messages, Trace(inject=(mark.injection(kill.effect),)))
        promised += spoken.promised
        fired = was_killed_there(plain.seen, spoken.seen, at, spoken.status, kill)
        tally["crash points" if fired else "faults not fired"] += 1
        tally["faults fired"] += fired
        expect_marked_are_whole(place, sent, f"a kill at {mark}")
    expect_most_fired(tally, "kills")
    place.start_smapd()
    judge(place, sent, promised, scans=2)  # what is partial has been seen, and not taken
