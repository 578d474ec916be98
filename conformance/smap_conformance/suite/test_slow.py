"""SLOW: clients that take their time, stop, or never listen, and what that means for the others."""

from __future__ import annotations

import pytest
from smap_simulator import client

from smap_conformance.arrival import arrived, expect_body, the_message
from smap_conformance.expect import Miss, codes, exactly, expect
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import ALICE, BODY, CLOSING, GO_ON, OK, SENDER, ask, envelope, expect_replies, rows
from smap_conformance.suite.test_limit import expect_let_go

HELO, MAIL, RCPT, DATA = b"HELO c.example\r\n", b"MAIL FROM:<%s>\r\n" % SENDER, b"RCPT TO:<%s>\r\n" % ALICE, b"DATA\r\n"
IN_DATA = [HELO, MAIL, RCPT, DATA]

STALLS: dict[str, tuple[list[bytes], bytes]] = {
    "at once": ([], b""),
    "inside HELO": ([], b"HEL"),
    "between CR and LF of HELO": ([], b"HELO c.example\r"),
    "after HELO": ([HELO], b""),
    "inside MAIL": ([HELO], b"MAIL FROM:<s@"),
    "after MAIL": ([HELO, MAIL], b""),
    "after RCPT": ([HELO, MAIL, RCPT], b""),
    "after RSET": ([HELO, MAIL, b"RSET\r\n"], b""),
    "inside a long line": ([HELO], b"NOOP " * 2000),
    "after 354": (IN_DATA, b""),
    "inside the header": (IN_DATA, b"Subj"),
    "inside the body": (IN_DATA, b"Subject: one\r\n\r\nfir"),
    "after CRLF": (IN_DATA, b"Subject: one\r\n\r\nfirst\r\n"),
    "after CRLF and dot": (IN_DATA, b"Subject: one\r\n\r\nfirst\r\n."),
    "before the last byte": (IN_DATA, b"Subject: one\r\n\r\nfirst\r\n.\r"),
    "after a false end": (IN_DATA, b"Subject: one\n\nfirst\n.\n"),
}


@pytest.mark.rule("SLOW-01")
def test_a_byte_at_a_time_gets_through(place: Place) -> None:
    place.table(smap={"timeout": 120})
    session = place.connect()
    session.greeting()
    body = b"Subject: slow\r\n\r\n.\r\n..\r\nlast\r\n"
    session.send_slowly(client.HELO + client.transaction(body=body) + client.QUIT)
    expect_replies("HELO, MAIL, RCPT, DATA, a message, QUIT", session.replies(), [OK, OK, OK, GO_ON, OK, CLOSING])
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))
    expect_body("the message at the mailer", message.body, body)


@pytest.mark.rule("SLOW-01")
def test_pauses_within_the_timeout_do_no_harm(place: Place) -> None:
    place.table(smap={"timeout": 120})
    session = place.connect()
    session.greeting()
    data = client.HELO + client.transaction() + client.QUIT
    for start in range(0, len(data), 12):
        session.send(data[start : start + 12])
        session.wait_read()
        session.quiet(0.02)
    expect_replies("HELO, MAIL, RCPT, DATA, a message, QUIT", session.replies(), [OK, OK, OK, GO_ON, OK, CLOSING])
    expect_body("the message at the mailer", the_message(place).body, client.BODY)


@pytest.mark.rule("SLOW-02")
@pytest.mark.parametrize(("lines", "rest"), rows(STALLS))
def test_a_client_that_stalls_is_let_go(place: Place, lines: list[bytes], rest: bytes) -> None:
    place.table(smap={"timeout": 1})
    session = place.connect()
    session.greeting()
    for line in lines:
        session.send(line)
        expect(f"reply to {line!r}", session.reply(), codes(250, 354))
    if rest:
        session.send(rest)
    sent = b"".join(lines) + rest
    try:
        session.read_to_eof()
    except Miss as late:
        raise Miss(f"a client that stalls after {sent[-60:]!r}, with timeout 1", "its end", late.actual) from None
    session.exit_status()
    expect("whole files", [file.describe() for file in place.whole()], exactly([]))


@pytest.mark.rule("SLOW-02")
def test_stalling_after_a_message_ends_the_session_and_keeps_the_message(place: Place) -> None:
    place.table(smap={"timeout": 1})
    session = place.open_session()
    expect("reply to the end of data", place.send_mail(session), OK)
    envelope(session, b"two@a.example")
    ask(session, b"DATA", GO_ON)
    session.send(b"Subject: two\r\n\r\nsec")
    expect_let_go(session, "in its second message")
    messages = arrived(place)
    expect("senders that arrived", [message.sender for message in messages], exactly([SENDER]))
    expect_body("the message at the mailer", messages[0].body, BODY)


def never_reading(place: Place, first: bytes, again: bytes) -> Session:
    """A client that has sent until nothing moved any more, and has read nothing since its greeting."""
    session = place.connect(receive_bytes=2048)
    session.greeting()
    session.send_what_fits(first + again * (8_000_000 // len(again)), stall_s=0.3)
    return session


@pytest.mark.rule("SLOW-03")
@pytest.mark.parametrize("again", [b"NOOP\r\n", b"VRFY alice\r\n", b"MAIL FROM:<s@a.example>\r\nRSET\r\n"], ids=repr)
def test_a_client_that_never_reads_is_let_go(place: Place, again: bytes) -> None:
    place.table(smap={"timeout": 1})
    session = never_reading(place, HELO, again)
    try:
        session.exit_status()
    except Miss as late:
        what = f"a client that sends {again!r} for ever and reads nothing, with timeout 1"
        raise Miss(what, "the end of its smap", late.actual) from None
    expect("whole files", [file.describe() for file in place.whole()], exactly([]))


@pytest.mark.rule("SLOW-04")
@pytest.mark.parametrize("mode", ["nowait", "wait"])
def test_stalled_clients_do_not_keep_others_out(lab: Lab, mode: str) -> None:
    with lab.place(mode=mode) as place:
        stalled = []
        for number in range(20):
            session = place.connect()
            if number % 4:
                session.greeting()
            if number % 4 > 1:
                ask(session, HELO[:-2], OK)
                envelope(session, b"stalled%d@a.example" % number)
            if number % 4 > 2:
                ask(session, b"DATA", GO_ON)
                session.send(b"Subject: half\r\n\r\nhal")
            stalled.append(session)
        deaf = place.connect(receive_bytes=2048)
        deaf.send_what_fits(HELO + b"NOOP\r\n" * 200_000, stall_s=0.3)
        for number in range(3):
            session = place.open_session()
            reply = place.send_mail(session, b"quick%d@a.example" % number)
            expect("reply to the end of data beside 20 stalled clients and a deaf one", reply, OK)
            ask(session, b"QUIT", CLOSING)
        expect("whole files", len(place.whole()), exactly(3))
        for number, session in enumerate(stalled):  # and those who come to their senses are served still
            if number % 4 == 3:
                session.send(b"f\r\n.\r\n")
                expect("reply to the end of data of a client that had stalled", session.reply(), OK)
        messages = arrived(place)
        expect("messages that arrived", len(messages), exactly(8))


@pytest.mark.rule("SLOW-04")
@pytest.mark.parametrize("mode", ["wait"])
def test_many_at_once_where_smap_accepts_by_itself(lab: Lab, mode: str) -> None:
    with lab.place(mode=mode) as place:
        sessions = [place.connect() for _ in range(30)]
        for number, session in enumerate(sessions):
            session.greeting()
            session.send(HELO + client.transaction(b"s%02d@a.example" % number) + client.QUIT)
        for session in reversed(sessions):
            expect_replies(
                "HELO, MAIL, RCPT, DATA, a message, QUIT", session.replies(), [OK, OK, OK, GO_ON, OK, CLOSING]
            )
        expect("whole files", len(place.whole()), exactly(30))
