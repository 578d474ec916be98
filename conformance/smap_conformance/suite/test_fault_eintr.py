"""FAULT-03: interrupted calls and short writes, and how smap and smapd carry on from them.

EINTR is put into calls by strace, three times in a row. A short write is a real one: the disk has room for a part of
it, strace holds the program when the write is over, and meanwhile somebody makes room for the rest.
"""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest
from smap_simulator.recorder.strace import FORKS, Call

from smap_conformance import offspring
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, not_measured, one_of
from smap_conformance.lab import Lab
from smap_conformance.place import Place
from smap_conformance.suite.aiming import (
    CLOSE,
    CREATE,
    MODE,
    OPEN,
    READ,
    RECEIVE,
    SEND,
    SYNC,
    WRITE,
    WRITES,
    expect_most_fired,
    marks,
    points,
)
from smap_conformance.suite.disk import PAGE, body_of, clear, expect_held, fill
from smap_conformance.suite.load import delivered
from smap_conformance.suite.talk import ALICE, SENDER, envelope
from smap_conformance.suite.tapping import Snare
from smap_conformance.suite.test_crash_kill_smapd import Stock, caught_copies
from smap_conformance.suite.test_fault_calls import Fault, go, struck
from smap_conformance.tracing import Trace

# These are carried on from. After one of the others a smap may as well refuse, so long as it keeps its word: no
# signal interrupts the opening of a plain file, and what an interrupted fsync or close has done, nobody knows.
CARRIED_ON = (WRITE, RECEIVE, SEND)
OTHERS = (CREATE, OPEN, SYNC, MODE, CLOSE)
IN_A_ROW = 3
HOLD_US = 500_000
DISK_BYTES = 1 << 20
TRIES = 3


class Interrupted(Fault):
    """EINTR, and again at the next calls of that name."""

    @property
    def inject(self) -> tuple[str, ...]:
        """The rule for strace."""
        return (self.mark.injection("error=EINTR", f"{self.mark.occurrence}..{self.mark.occurrence + IN_A_ROW - 1}"),)


@pytest.mark.rule("FAULT-03")
@pytest.mark.parametrize("kinds", [CARRIED_ON, OTHERS], ids=["read and write", "the others"])
def test_smap_is_interrupted(place: Place, kinds: tuple[str, ...], tally: Counter[str]) -> None:
    plain = go(place)
    expect("reply to a message without faults", plain.reply, codes(250))
    for at in points(plain.seen, frozenset(kinds)):
        mark = plain.seen[at]
        fault = Interrupted(mark, "EINTR")
        went = go(place, fault)
        fired = struck(went, fault, plain.seen)
        tally["calls failed" if fired else "faults not fired"] += 1
        tally["faults fired"] += fired
        if fired and mark.kind in CARRIED_ON:
            expect(f"reply to a message with {fault}", went.reply, codes(250))
    expect_most_fired(tally, "interrupted calls")


# A real short write


def split_write(place: Place, calls: list[Call]) -> tuple[Call, int, int] | None:
    """The first write of a message that goes over the edge of a page: the call, where it began, and that edge."""
    at = 0
    wanted = {(mark.name, mark.occurrence) for mark in marks(calls, place) if mark.kind == WRITE}
    for call in calls:
        if (call.name, call.occurrence) in wanted:
            edge = (at // PAGE + 1) * PAGE
            if edge < at + (call.result or 0):
                return call, at, edge
            at += call.result or 0
    return None


def send_with_room(place: Place, body: bytes, trace: Trace, edge: int) -> tuple[object, list[Call]]:
    """A message for which the disk has room up to the edge, and for the rest when the file has come so far."""
    make_room = fill(place, edge)
    session = place.open_session(trace=trace)
    envelope(session, SENDER, (ALICE,))
    expect("reply to DATA", session.command(b"DATA"), codes(354))
    session.send(stuffed(body))
    place.wait(
        "the spool file",
        "its growth to the end of the disk, or a reply",
        lambda: any(path.stat().st_size >= edge for path in place.spool.iterdir()) or not session.quiet(0),
    )
    make_room()
    reply = session.reply()
    session.command(b"QUIT")
    session.close()
    session.exit_status()
    traced = place.traces[-1]
    place.wait("strace after its program's end", "the end of its log", traced.settled)
    return reply, traced.calls()


@pytest.mark.rule("FAULT-03")
def test_a_short_write_is_carried_on_from(lab: Lab, tally: Counter[str]) -> None:
    body = body_of(40_000)
    with lab.place(disk_bytes=DISK_BYTES) as place:
        plain = place.gather(body=body, trace=Trace())
        traced = place.traces[-1]
        place.wait("strace after its program's end", "the end of its log", traced.settled)
        found = split_write(place, traced.calls())
        if found is None:
            not_measured("no write of this smap goes over the edge of a page, where a small disk could cut it")
        call, at, edge = found
        hold = Trace(inject=(f"{call.name}:delay_exit={round(HOLD_US * place.scale)}:when={call.occurrence}",))
        for _ in range(TRIES):
            clear(place)
            reply, calls = send_with_room(place, body, hold, edge)
            written = [each for each in calls if each.name in WRITES and each.occurrence >= call.occurrence]
            if not written or written[0].result != edge - at or any(each.failed for each in written):
                tally["faults not fired"] += 1  # the write was another one, or room was made too late
                continue
            tally["faults fired"] += 1
            expect(f"reply to a message of which a write took {edge - at} of {call.result} bytes", reply, codes(250))
            expect("whole files", len(place.whole()), exactly(1))
            expect("bytes in the whole file", place.whole()[0].size_bytes, exactly(plain.size_bytes))
            expect_held(place, place.whole()[0].name, body)
            return
        not_measured(f"{TRIES} times no write was cut short, or the room for the rest came too late")


# smapd's copies

WAITS = ("wait4", "waitid", "pause", "rt_sigtimedwait", "poll", "ppoll", "select", "pselect6")


def waits(calls: list[Call]) -> list[str]:
    """EINTR at the first call of each name in which the copy waits for the mailer. What only looks is never broken."""
    first: dict[str, int] = {}
    begun = next((at for at, call in enumerate(calls) if call.name in FORKS), len(calls))
    for call in calls[begun:]:
        if call.name in WAITS and not any("WNOHANG" in word for word in call.arguments):
            first.setdefault(call.name, call.occurrence)
    return [f"{name}:error=EINTR:when={number}..{number + IN_A_ROW - 1}" for name, number in first.items()]


@pytest.mark.rule("FAULT-03")
def test_copies_are_interrupted(place: Place, tally: Counter[str]) -> None:
    """While they open and read the message (else they leave it alone), and while they wait for the mailer."""
    snare = Snare(place)
    place.table(smapd={"executable": snare.path})
    calls = caught_copies(place, snare, Stock(place, ["taken"]))[0].calls
    plain = marks(calls, place)
    aims = [plain[at] for at in points(plain, frozenset({OPEN, READ}))]
    rules = [mark.injection("error=EINTR", f"{mark.occurrence}..{mark.occurrence + IN_A_ROW - 1}") for mark in aims]
    rules += waits(calls)
    stock = Stock(place, ["taken"] * len(rules))
    copies = caught_copies(place, snare, stock, dict(zip(stock.names, rules, strict=True)))
    senders = [message.sender for message in delivered(place)]
    for sent, name, rule, copy in zip(stock.sent, stock.names, rules, copies, strict=True):
        if any(call.injected for call in copy.calls):
            tally["calls failed"] += 1
            tally["faults fired"] += 1
            done, untouched = (1, False), (0, True)
            wanted = one_of(done) if rule.startswith(WAITS) else one_of(done, untouched)
            what = f"runs of the mailer, and whether the message is left, after one copy with {rule}"
            expect(what, (senders.count(sent.sender), stock.is_left(name)), wanted)
        else:
            tally["faults not fired"] += 1
    expect_most_fired(tally, "interrupted calls")


# smapd itself

OVERDUE_S = 1.5  # more than the second between two scans


@pytest.mark.rule("FAULT-03", "FAULT-04")
def test_smapd_is_halted_until_its_next_scan_is_overdue(place: Place) -> None:
    """By SIGSTOP, as with the terminal of whoever started it; SIGCONT interrupts what it waits in."""
    smapd = place.start_smapd()
    place.wait_scans()
    for _ in range(2):
        smapd.signal(signal.SIGSTOP)
        place.wait("smapd after SIGSTOP", "a halt", lambda: [offspring.state(pid) for pid in smapd.daemons()] == ["T"])
        time.sleep(OVERDUE_S)  # nothing happens that could be waited for
        smapd.signal(signal.SIGCONT)
        place.wait_scans()
    expect("smapd after SIGCONT", smapd.running(), exactly(True))
