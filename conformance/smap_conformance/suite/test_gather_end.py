"""GATHER: endings at which a message is not completely gathered, and the end of smap."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from smap_conformance import offspring
from smap_conformance.expect import codes, exactly, expect
from smap_conformance.lab import Lab
from smap_conformance.locker import needs_visible_locks
from smap_conformance.place import Place, Session
from smap_conformance.suite.load import delivered
from smap_conformance.suite.talk import GO_ON, OK, REFUSED, ask, envelope, rows
from smap_conformance.suite.test_gather import LINES

# Endings at which a message is not completely gathered

WITHIN = b"Subject: half\r\n\r\n" + LINES[:29_000] + b"the last li"


def begun(place: Place) -> Session:
    """A session amid a message of which 29 kB have been read."""
    session = place.open_session()
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(WITHIN)
    session.wait_read()
    return session


def quits(place: Place) -> Session:
    session = place.open_session()
    envelope(session)
    ask(session, b"QUIT", codes(221))
    return session


def starts_again(word: bytes) -> Callable[[Place], Session]:
    def end(place: Place) -> Session:
        session = place.open_session()
        envelope(session)
        ask(session, word, codes(250, 503))
        ask(session, b"QUIT", codes(221))
        return session

    return end


def says_quit_in_the_message(place: Place) -> Session:
    session = begun(place)
    session.send(b"ne\r\nQUIT\r\nRSET\r\nQUIT\r\n")
    session.wait_read()
    session.close()
    return session


def goes(leave: Callable[[Session], None]) -> Callable[[Place], Session]:
    def end(place: Place) -> Session:
        session = begun(place)
        leave(session)
        return session

    return end


def after_data_at_once(place: Place) -> Session:
    session = place.open_session()
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.close()
    return session


def times_out(place: Place) -> Session:
    place.table(smap={"timeout": 1})
    session = begun(place)
    session.read_to_eof()
    return session


def exceeds_maxbytes(place: Place) -> Session:
    place.table(smap={"maxbytes": 10_000})
    session = place.open_session()
    expect("reply to a message of 145 kB with maxbytes 10000", place.send_mail(session, body=LINES), REFUSED)
    session.close()
    return session


def exceeds_maxbytes_and_goes(place: Place) -> Session:
    place.table(smap={"maxbytes": 10_000})
    return goes(Session.close)(place)


def fills_the_disk(place: Place) -> Session:
    session = place.open_session()
    reply = place.send_mail(session, body=LINES)
    expect("reply to a message of 145 kB on a disk of 64 kB", reply, codes("4xx", "5xx"))
    session.close()
    return session


ENDINGS: dict[str, Callable[[Place], Session]] = {
    "QUIT after RCPT": quits,
    "RSET after RCPT": starts_again(b"RSET"),
    "HELO after RCPT": starts_again(b"HELO c.example"),
    "QUIT within the message": says_quit_in_the_message,
    "closed right after 354": after_data_at_once,
    "closed within the message": goes(Session.close),
    "half-closed within the message": goes(Session.half_close),
    "reset within the message": goes(Session.reset),
    "time-out within the message": times_out,
    "over maxbytes": exceeds_maxbytes,
    "over maxbytes, and closed": exceeds_maxbytes_and_goes,
    "disk full": fills_the_disk,
}


def place_for(lab: Lab, ending: Callable[[Place], Session]) -> Place:
    return lab.place(disk_bytes=65_536) if ending is fills_the_disk else lab.place()


@pytest.mark.rule("GATHER-08")
@pytest.mark.parametrize("ending", rows(ENDINGS))
def test_a_message_that_is_not_completely_gathered_is_never_marked(
    lab: Lab, ending: Callable[[Place], Session]
) -> None:
    with place_for(lab, ending) as place:
        session = ending(place)

        def is_over() -> bool:
            gone = not offspring.alive(session.pid)
            marked = [file.describe() for file in place.whole()]
            expect("files of mode 755 for a message that was not completed", marked, exactly([]))
            return gone

        place.wait("smap after such a message", "its exit", is_over)
        if place.entries():  # a wreck: then smapd must know it for one
            place.table()
            place.start_smapd()
            place.wait_scans(2)
            expect("what smapd delivered of it", [m.run.describe() for m in delivered(place)], exactly([]))


@pytest.mark.rule("GATHER-09")
@pytest.mark.parametrize("ending", rows(ENDINGS))
def test_a_message_that_is_not_completely_gathered_leaves_no_file(lab: Lab, ending: Callable[[Place], Session]) -> None:
    with place_for(lab, ending) as place:
        ending(place).exit_status()
        left = [file.describe() for file in place.entries()]
        expect("files in the spool when smap was gone", left, exactly([]))


# The end of smap

GOODBYES: dict[str, tuple[bytes, Callable[[Session], None] | None]] = {
    "QUIT, and the client stays": (b"QUIT\r\n", None),
    "QUIT first of all": (b"", lambda session: session.send(b"QUIT\r\n")),
    "QUIT, and more behind it": (b"QUIT\r\nNOOP\r\nMAIL FROM:<s@a.example>\r\n", None),
    "QUIT, and a reset": (b"QUIT\r\n", Session.reset),
    "end of input": (b"NOOP\r\n", Session.half_close),
    "end of input amid a command": (b"NOO", Session.half_close),
    "closed with replies unread": (b"NOOP\r\n" * 50, Session.close),
    "reset": (b"MAIL FROM:<s@a.example>\r\n", Session.reset),
    "silence": (b"MAIL FROM:<s@a.example>\r\n", None),
}


@pytest.mark.rule("GATHER-10")
@pytest.mark.parametrize(("last", "leave"), rows(GOODBYES))
def test_smap_is_gone_when_the_session_is_over(
    place: Place, last: bytes, leave: Callable[[Session], None] | None
) -> None:
    place.table(smap={"timeout": 1})
    before = set(offspring.descendants(os.getpid()))
    session = place.open_session() if last else place.connect()
    if not last:
        session.greeting()
    session.send(last)
    session.wait_read()
    if leave is not None:
        leave(session)
    session.exit_status()
    place.wait(
        "what smap had started", "its end",
        lambda: not [pid for pid in set(offspring.descendants(os.getpid())) - before if offspring.alive(pid)],
    )  # fmt: skip


@pytest.mark.rule("GATHER-10")
def test_smap_is_gone_after_a_message_and_holds_nothing(place: Place) -> None:
    needs_visible_locks(place)
    session = place.open_session()
    expect("reply to the end of data", place.send_mail(session), OK)
    ask(session, b"QUIT", codes(221))
    session.exit_status()
    files = [file.describe() for file in place.entries() if file.locks]
    expect("files that are locked still", files, exactly([]))
