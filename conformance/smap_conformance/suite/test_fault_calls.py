"""FAULT, CRASH-08: every system call that smap makes for a message fails, once or from then on, with every errno.

A plain session is recorded; then it is run again with one call failing, and after it the next message is sent, in the
same session where that still stands, and in a new one. What a call returned stands in strace's log, so that a fault
that did not fire counts as not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from smap_simulator.recorder.strace import FORKS, Call, descriptor_of

from smap_conformance.arrival import forms
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Miss, Overdue, codes, exactly, expect, miss, not_measured, such_that
from smap_conformance.place import Place, Session
from smap_conformance.suite.aiming import (
    CLOSE,
    CREATE,
    CUT,
    LIST,
    LOCK,
    MODE,
    OPEN,
    OPENS,
    RECEIVE,
    SEND,
    SENDS,
    SYNC,
    WRITE,
    Mark,
    expect_most_fired,
    is_as_recorded,
    marks,
    of_process,
    points,
)
from smap_conformance.suite.load import a_message
from smap_conformance.tracing import Trace

# What can go wrong at each kind of call. EINTR is not among these: it is carried on from.
_MACHINE = ("EIO", "ENOMEM")
_FULL = ("ENOSPC", "EDQUOT")
_TABLES = ("EMFILE", "ENFILE")
ERRNOS: dict[str, tuple[str, ...]] = {
    CREATE: (*_MACHINE, *_FULL, *_TABLES, "EACCES", "EROFS"),
    OPEN: (*_MACHINE, *_TABLES, "EACCES"),
    LOCK: ("ENOLCK", "EIO"),
    WRITE: ("EIO", *_FULL, "EFBIG"),
    SYNC: ("EIO", *_FULL, "EROFS"),
    MODE: ("EIO", "EPERM", "EROFS", "ENOSPC", "EDQUOT"),
    CUT: ("EIO", "ENOSPC", "EFBIG"),
    CLOSE: ("EIO", *_FULL),
    LIST: ("EIO",),
    RECEIVE: ("EIO", "ECONNRESET", "ENOMEM"),
    SEND: ("EPIPE", "EIO", "ENOMEM"),
}
KINDS = [
    pytest.param((CREATE, OPEN, LIST), id="creation", marks=pytest.mark.rule("FAULT-01", "FAULT-02")),
    pytest.param((LOCK,), id="locks", marks=pytest.mark.rule("FAULT-02")),
    pytest.param((WRITE, CUT), id="writes", marks=pytest.mark.rule("FAULT-01", "FAULT-02")),
    pytest.param((SYNC,), id="fsync", marks=pytest.mark.rule("CRASH-08", "FAULT-02")),
    pytest.param((MODE,), id="the mark", marks=pytest.mark.rule("CRASH-08", "FAULT-02")),
    pytest.param((CLOSE,), id="close", marks=pytest.mark.rule("CRASH-08", "FAULT-02")),
    pytest.param((RECEIVE, SEND), id="the connection", marks=pytest.mark.rule("FAULT-02")),
]
# A failure of these that is followed by 250 is CRASH-08's. A directory that cannot be closed was only read.
NEVER_BEFORE_250 = {SYNC: ("spool", "file in spool"), MODE: ("file in spool", "name"), CLOSE: ("file in spool",)}
NO_250 = such_that("anything but 250", lambda told: told is None or told.code != 250)
BODY_BYTES = 3000
SEND_WAIT_S = 1.0  # where sending a reply fails, a client waits for it in vain
IDENTIFY, BEFORE = "identify", "before the greeting"
# What one session may start, and call in vain, before it is a crash loop
STARTS_MAX, FAILURES_MAX = 10, 50
# By these smap becomes who and where it shall be; the last opens before the greeting are of the table and its like
IDENTITY = frozenset({"chdir", "chroot", "setuid", "setgid", "setresuid", "setresgid", "setreuid", "setregid"})
IDENTITY_ERRNOS, OPEN_ERRNOS, LAST_OPENS = ("EPERM", "EIO", "ENOMEM"), ("EIO", "EMFILE", "EACCES"), 6


@dataclass(frozen=True, slots=True)
class Fault:
    """One failing call. `for_good`: that call and every later one of its name; `stuck`: nothing can be removed then."""

    mark: Mark
    errno: str
    for_good: bool = False
    stuck: bool = False

    @property
    def inject(self) -> tuple[str, ...]:
        """The rules for strace."""
        rule = self.mark.injection(f"error={self.errno}", f"{self.mark.occurrence}+" if self.for_good else "")
        return (rule, "unlink:error=EROFS:when=1+", "unlinkat:error=EROFS:when=1+") if self.stuck else (rule,)

    @property
    def forbids_250(self) -> bool:
        """Whether what failed is never to be followed by 250 (CRASH-08)."""
        return self.mark.about in NEVER_BEFORE_250.get(self.mark.kind, ())

    def __str__(self) -> str:
        later = " and all later ones" if self.for_good else ""
        return f"{self.errno} at {self.mark}{later}{', and nothing can be removed' if self.stuck else ''}"


def faults(recorded: list[Mark], kinds: tuple[str, ...]) -> Iterator[Fault]:
    """Each call of these kinds with each errno: once; once, and what was begun cannot be removed; and for good."""
    names: set[tuple[str, str]] = set()
    for at in points(recorded, frozenset(kinds)):
        mark = recorded[at]
        for number in ERRNOS[mark.kind]:
            yield Fault(mark, number)
            if (mark.kind, mark.name) not in names:
                yield Fault(mark, number, for_good=True)
        if mark.kind not in (SEND, RECEIVE):
            yield Fault(mark, ERRNOS[mark.kind][0], stuck=True)
        names.add((mark.kind, mark.name))


# One session


@dataclass(slots=True)
class Went:
    """A session: the reply to its message (None: closed before), how much was whole then, and all that smap called."""

    reply: Reply | None = None
    whole: int = 0
    calls: list[Call] = field(default_factory=list)
    seen: list[Mark] = field(default_factory=list)

    @property
    def taken(self) -> bool:
        """Whether 250 was said to the end of the data."""
        return self.reply is not None and self.reply.code == 250


def offer(session: Session, name: str, wait_s: float | None) -> Reply | None:
    """A message as far as it gets; None where the session was closed, or (SEND) where a reply never came."""
    sent = a_message(name, BODY_BYTES)
    for piece in (b"MAIL FROM:<%s>\r\n" % sent.sender, b"RCPT TO:<alice@localhost>\r\n", b"DATA\r\n"):
        session.send(piece)
        reply = hear(session, wait_s)
        if reply is None or reply.code not in (250, 354):
            return None if reply is None else Reply(reply.code if reply.code // 100 in (4, 5) else 0, reply.lines)
    session.send(stuffed(sent.body))
    return hear(session, wait_s)


def hear(session: Session, wait_s: float | None) -> Reply | None:
    """A reply. With a bound, one that does not come within it is none."""
    try:
        return session.reply(wait_s)
    except Overdue:
        if wait_s is None:
            raise
        return None


def greeting(session: Session, fault: Fault | None, wait_s: float | None) -> Reply | None:
    """The first reply; where a program cannot even be loaded, the loader's or interpreter's last words are none."""
    try:
        return hear(session, wait_s)
    except Miss:
        if fault is not None and fault.mark.about == BEFORE:
            return None
        raise


def expect_whole(place: Place, name: str, why: str, *, once: bool, rule: str | None = None) -> None:
    """What has mode 755 is the whole message; `once`: and there is one."""
    files = place.whole()
    if once:
        expect(f"whole files after {why}", len(files), exactly(1), rule=rule)
    body = a_message(name, BODY_BYTES).body
    for file in files:
        data = (place.spool / file.name).read_bytes()
        if not any(form in data for form in set(forms(body))):
            miss(f"a file of mode 755 after {why}", "the whole message", file.describe(), rule=rule)


def clear(place: Place) -> None:
    """Take away all that is in the spool."""
    for path in list(place.spool.iterdir()):
        path.unlink()


def go(place: Place, fault: Fault | None = None) -> Went:
    """One session under strace: a message, and after a fault that has passed a second one, where the session stands."""
    session = place.connect(trace=Trace(inject=fault.inject if fault else ()))
    client = session.inode_at_the_target()
    wait_s = SEND_WAIT_S * place.scale if fault and fault.mark.kind == SEND else None
    went = Went()
    reply = greeting(session, fault, wait_s)
    if reply is not None and reply.code == 220:
        session.send(b"HELO c.example\r\n")
        reply = hear(session, wait_s)
        if reply is not None and reply.code == 250:
            went.reply = offer(session, "first", wait_s)
            went.whole = len(place.whole())
            rule = "CRASH-08" if fault and fault.forbids_250 and went.taken and fault.errno != "EINTR" else None
            expect_whole(place, "first", f"the reply {went.reply} and {fault}", once=went.taken, rule=rule)
            clear(place)
            go_on(place, session, fault, wait_s)
    session.close()
    session.exit_status()
    traced = place.traces[-1]
    place.wait("strace after its program's end", "the end of its log", traced.settled)
    went.calls = of_process(traced.calls(), session.pid)
    went.seen = marks(went.calls, place, client)
    return went


def go_on(place: Place, session: Session, fault: Fault | None, wait_s: float | None) -> None:
    """The session after the message with the fault: the next one is taken, or put off."""
    session.send(b"RSET\r\n")
    told = hear(session, wait_s)
    if fault is not None and not fault.for_good and told is not None and told.code == 250:
        why = f"in the same session, after {fault}"
        reply = offer(session, "second", wait_s)
        if fault.mark.kind not in (SEND, RECEIVE):
            expect(f"reply to the next message {why}", reply, codes(250, "4xx"))
        if reply is not None and reply.code == 250:
            expect_whole(place, "second", f"250 to the next message {why}", once=True)
        clear(place)
    session.send(b"QUIT\r\n")
    hear(session, wait_s)


# Judging


def is_send(call: Call) -> bool:
    """Whether it writes to a socket that is the client's, as inetd hands it over."""
    return call.name in SENDS and descriptor_of(call.arguments[0])[0] in (0, 1)


def judge(went: Went, fault: Fault) -> None:
    """What certain calls and errnos ask for, beyond that what is whole is whole."""
    mark = fault.mark
    if fault.forbids_250:
        expect(f"reply to the end of data after {fault}", went.reply, NO_250, rule="CRASH-08")
    if fault.errno in _FULL and mark.kind in (CREATE, WRITE) and not fault.stuck:
        expect(f"reply after {fault}", went.reply, codes("4xx"), rule="FAULT-01")
        expect(f"whole files after {fault}", went.whole, exactly(0), rule="FAULT-01")
    starts = sum(call.name in FORKS or call.name == "execve" for call in went.calls)
    failures = sum(call.injected for call in went.calls)
    expect(f"processes started after {fault}", starts, such_that(f"{STARTS_MAX} at most", lambda n: n <= STARTS_MAX))
    few = such_that(f"{FAILURES_MAX} at most", lambda n: n <= FAILURES_MAX)
    expect(f"calls that failed in one session with {fault}", failures, few)


def struck(went: Went, fault: Fault, recorded: list[Mark]) -> bool:
    """Whether the fault was at the call that it was meant for."""
    mark = fault.mark
    hit = any(call.injected and (call.name, call.occurrence) == (mark.name, mark.occurrence) for call in went.calls)
    return hit and (mark not in recorded or is_as_recorded(recorded, went.seen, recorded.index(mark)))


def sweep(place: Place, recorded: list[Mark], every: Iterable[Fault], tally: Counter[str]) -> None:
    """All these faults one after the other, and after them a message as on any other day."""
    for fault in every:
        went = go(place, fault)
        fired = struck(went, fault, recorded)
        tally["calls failed" if fired else "faults not fired"] += 1
        tally["faults fired"] += fired
        if fired:
            judge(went, fault)
            if fault.mark.kind == IDENTIFY:
                expect(f"reply to the end of data after {fault}", went.reply, NO_250)
    expect_most_fired(tally, "failing calls")
    expect("reply to a message after all these faults", go(place).reply, codes(250))


@pytest.mark.parametrize("kinds", KINDS)
def test_a_call_for_a_message_fails(place: Place, kinds: tuple[str, ...], tally: Counter[str]) -> None:
    plain = go(place)
    expect("reply to a message without faults", plain.reply, codes(250))
    every = list(faults(plain.seen, kinds))
    if not every:
        not_measured(f"the process that has the connection makes no call of this kind here: {', '.join(kinds)}")
    sweep(place, plain.seen, every, tally)


@pytest.mark.rule("FAULT-02")
def test_a_call_before_the_greeting_fails(place: Place, tally: Counter[str]) -> None:
    """Those that make smap who and where it shall be, and the last files that it opens: the table among them."""
    plain = go(place)
    greeted = next((at for at, call in enumerate(plain.calls) if is_send(call)), len(plain.calls))
    before = [call for call in plain.calls[:greeted] if not call.failed]
    identity = [Mark(IDENTIFY, call.name, call.occurrence, "itself") for call in before if call.name in IDENTITY]
    opens = [Mark(OPEN, call.name, call.occurrence, BEFORE) for call in before if call.name in OPENS]
    every = [Fault(mark, number) for mark in identity for number in IDENTITY_ERRNOS]
    every += [Fault(mark, number) for mark in opens[-LAST_OPENS:] for number in OPEN_ERRNOS]
    sweep(place, plain.seen, every, tally)
