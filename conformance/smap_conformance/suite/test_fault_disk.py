"""FAULT: disks that are full to the page or the inode, full while smapd works, or read-only from one moment on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from smap_simulator.mailer import PERMFAIL, TEMPFAIL

from smap_conformance.dialogue import Reply
from smap_conformance.expect import exactly, expect, miss, not_measured, such_that
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.sandbox import ALLOW_NAMESPACES
from smap_conformance.suite.disk import (
    DISK_BYTES,
    PAGE,
    body_of,
    clear,
    expect_held,
    expect_mail_again,
    expect_put_off,
    fill,
    offer,
    use_up_inodes,
)
from smap_conformance.suite.fate import (
    ASIDE,
    KEPT,
    KEPT_OR_ASIDE,
    by_sender,
    expect_fate,
    gather_all,
    settle,
    small,
    wait_scans,
)
from smap_conformance.suite.gate import Gate
from smap_conformance.suite.talk import BODY, rows

NOT_TAKEN = such_that("anything but 250", lambda reply: reply is None or reply.code != 250)
DELIVERED, ASKED_AGAIN, REFUSED = b"delivered@a.example", b"again@a.example", b"refused@a.example"
MANY_SCANS = 4


# The way in


def next_session(place: Place, session: Session) -> Session:
    """The same session where it still stands, else a new one."""
    told = session.command(b"RSET")
    return session if told is not None and told.code == 250 else place.open_session()


@pytest.mark.rule("FAULT-01", "FAULT-03")
@pytest.mark.parametrize("size_bytes", [300, 5_000, 20_000, 120_000])
def test_the_disk_is_full_at_every_page_of_a_message(lab: Lab, size_bytes: int) -> None:
    """Room for no page, one, two … until it is taken: the last page that fits is often written short (tmpfs)."""
    body = body_of(size_bytes)
    with lab.place(disk_bytes=DISK_BYTES + 2 * size_bytes) as place:
        session = place.open_session()
        taken = 0
        for pages in range(size_bytes // PAGE + 8):
            make_room = fill(place, pages * PAGE)
            answer = offer(session, body)
            why = f"{size_bytes} bytes to write and room for {pages} pages"
            if answer[0] is not None and answer[0].code == 250 and pages * PAGE >= size_bytes:
                taken += 1
                expect(f"whole files after 250 with {why}", len(place.whole()), exactly(1))
                expect_held(place, place.whole()[0].name, body)
            else:
                expect_put_off(place, answer, why)
                session = next_session(place, session)
            clear(place)
            make_room()
        if not taken:
            miss(f"replies to {size_bytes} bytes with up to {size_bytes // PAGE + 7} pages of room", "a 250", "none")


@pytest.mark.rule("FAULT-01")
def test_there_are_few_inodes(lab: Lab) -> None:
    """None, one, two or three: a target may need more than one for a message."""
    with lab.place(inodes=40) as place:
        session = place.open_session()
        for left in range(4):
            make_room = use_up_inodes(place, left)
            answer = offer(session, BODY)
            why = f"{left} inodes left"
            if left and answer[0] is not None and answer[0].code == 250:
                expect(f"whole files after 250 with {why}", len(place.whole()), exactly(1))
                expect_held(place, place.whole()[0].name, BODY)
            else:
                expect_put_off(place, answer, why)
                session = next_session(place, session)
            clear(place)
            make_room()
        expect_mail_again(place, session, "a lack of inodes")


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    """The target may read the spool and baddir, and change nothing there."""
    if not place.sandbox.means.tmpfs:
        not_measured(f"no disk that can be made read-only: {ALLOW_NAMESPACES}")
    place.sandbox.lock_disk(place.disk, read_only=True)
    try:
        yield
    finally:
        place.sandbox.lock_disk(place.disk, read_only=False)


def expect_not_taken(place: Place, answer: tuple[Reply | None, str], why: str) -> None:
    """No 250, and nothing whole."""
    reply, to = answer
    expect(f"reply to {to} with {why}", reply, NOT_TAKEN)
    expect(f"whole files after {reply} with {why}", [file.describe() for file in place.whole()], exactly([]))


@pytest.mark.rule("FAULT-02")
def test_the_spool_is_read_only(lab: Lab) -> None:
    with lab.place(disk_bytes=DISK_BYTES) as place:
        session = place.open_session()
        with read_only(place):
            expect_not_taken(place, offer(session, BODY), "a spool read-only since HELO")
            other = place.connect()
            greeting = other.reply()
            if greeting is not None and greeting.code == 220:
                hello = other.command(b"HELO c.example")
                if hello is not None and hello.code == 250:
                    expect_not_taken(place, offer(other, BODY), "a spool read-only before the client came")
        expect_mail_again(place, next_session(place, session), "a read-only spool")


# The way out

FULL: dict[str, tuple[dict[str, int], Callable[[Place], Callable[[], None]]]] = {
    "no bytes": ({"disk_bytes": DISK_BYTES}, fill),
    "no inodes": ({"inodes": 60}, use_up_inodes),
}


@pytest.mark.rule("FAULT-01", "FAULT-04")
@pytest.mark.parametrize(("shape", "fault"), rows(FULL))
def test_smapd_works_on_a_full_disk(
    lab: Lab, shape: dict[str, int], fault: Callable[[Place], Callable[[], None]]
) -> None:
    """What can be delivered is; what must go to baddir does, or waits; nothing is lost, and later all is well."""
    with lab.place(**shape) as place:
        place.mailer.script(by_sender({ASKED_AGAIN: TEMPFAIL, REFUSED: PERMFAIL}))
        letters = gather_all(place, small((DELIVERED, ASKED_AGAIN, REFUSED)))
        make_room = fault(place)
        smapd = place.start_smapd()
        settle(place, list(letters.values()))
        place.wait("smapd on a full disk", "delivery", lambda: not letters[DELIVERED].is_here(place))
        expect_fate(place, "a refusal on a full disk", letters[REFUSED], KEPT_OR_ASIDE)
        expect_fate(place, "EX_TEMPFAIL on a full disk", letters[ASKED_AGAIN], KEPT)
        expect("smapd on a full disk", smapd.running(), exactly(True), rule="FAULT-04")
        make_room()
        place.wait("a refused message with room again", "its move", lambda: not letters[REFUSED].is_here(place))
        expect_fate(place, "a refusal, with room again", letters[REFUSED], ASIDE)
        expect_fate(place, "EX_TEMPFAIL, with room again", letters[ASKED_AGAIN], KEPT)
        place.wait_scans()


@contextmanager
def directory_without_write(place: Place) -> Iterator[None]:
    """The target's user may not create, rename or remove anything in the spool directory."""
    place.spool.chmod(0o555)
    try:
        yield
    finally:
        place.spool.chmod(0o755)


@pytest.mark.rule("FAULT-04", "FAULT-05")
@pytest.mark.parametrize("fault", rows({"read-only": read_only, "not ours to write": directory_without_write}))
def test_what_was_delivered_cannot_be_removed(
    lab: Lab, fault: Callable[[Place], contextlib.AbstractContextManager[None]]
) -> None:
    """From the moment on when the mailer has begun. How it lies there is smapd's affair: the mailer has it."""
    with lab.place(disk_bytes=DISK_BYTES) as place:
        gate = Gate(place)
        place.table(smapd={"sendmail": gate.path})
        place.gather()
        smapd = place.start_smapd()
        place.wait("the mailer", "its beginning", gate.started)
        with fault(place):
            gate.open()
            place.wait("the mailer", "its end", gate.done)
            wait_scans(place, MANY_SCANS)
            expect("smapd when it cannot remove", smapd.running(), exactly(True), rule="FAULT-04")
            fewer = such_that(f"fewer than the {MANY_SCANS} scans meanwhile, once at best", lambda n: n <= 2)
            expect("deliveries of a message that cannot be removed", len(gate.started()), fewer, rule="FAULT-05")
        place.gather()  # of the first one a smapd may have taken the mark away, which leaves it for ever
        place.wait("later mail", "delivery", lambda: not place.whole())
