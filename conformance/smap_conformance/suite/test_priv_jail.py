"""PRIV: a jail without any file, and a spool file that nobody can mistake for a program."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smap_conformance.arrival import date_of, expect_body, the_message
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, miss, one_of, such_that
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import ALICE, BODY, GO_ON, OK, REFUSED, ask, envelope, finish, nothing_taken, rows


def send_body(session: Session, body: bytes) -> None:
    """Envelope, DATA and this body, with its end."""
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(body))


def good_mail(session: Session) -> None:
    """A message, taken."""
    send_body(session, BODY)
    expect("reply to the end of data", session.reply(), OK)
    finish(session)


def syntax_errors(session: Session) -> None:
    """One line of each kind that is refused."""
    for line in (b"", b"XYZZY", b"RCPT", b"MAIL FROM:", b"MAIL FROM:<a@b@c>", b"HELO", b"M\xc3\xa4IL", b"\xff\xfe\x00"):
        ask(session, line, codes("5xx", 250))
    ask(session, b"DATA", codes(503, 554))
    for line in (b"VRFY alice", b"EXPN staff", b"HELP", b"NOOP " + b"x" * 3000):
        ask(session, line, codes("2xx", "5xx"))
    finish(session)


def refused_addresses(session: Session) -> None:
    """Addresses that mean more than a mailbox."""
    ask(session, b"MAIL FROM:<>", OK)
    for address in (b"|/bin/sh", b"/etc/passwd", b"-oQ/tmp", b"alice bob", b"j\xfcrgen@localhost"):
        ask(session, b"RCPT TO:<%s>" % address, codes(250, "5xx"))
    ask(session, b"RSET", OK)
    finish(session)


def too_many_recipients(session: Session) -> None:
    """One more than maxrecip."""
    ask(session, b"MAIL FROM:<s@a.example>", OK)
    for number in range(3):
        ask(session, b"RCPT TO:<r%d@localhost>" % number, OK)
    ask(session, b"RCPT TO:<r3@localhost>", codes("4xx", "5xx"))
    ask(session, b"RSET", OK)
    finish(session)


def too_many_bytes(session: Session) -> None:
    """More than maxbytes."""
    send_body(session, b"0123456789\r\n" * 5_000)
    expect("reply to the end of a message over maxbytes", session.reply(), REFUSED)


def silence_in_data(session: Session) -> None:
    """The time-out, in the worst place."""
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(b"Subject: never ended\r\n")
    replies = [reply.code for reply in session.replies()]
    expect("last words to a client that fell silent in DATA", replies, one_of([421], []))


def reset_in_data(session: Session) -> None:
    """The client is gone with a TCP reset."""
    envelope(session)
    ask(session, b"DATA", GO_ON)
    session.send(b"Subject: never ended\r\n")
    session.wait_read()
    session.reset()


def half_close(session: Session) -> None:
    """The client has no more to say."""
    ask(session, b"NOOP", OK)
    session.half_close()
    session.read_to_eof()


SCENES: dict[str, Callable[[Session], None]] = {
    "mail": good_mail,
    "syntax errors": syntax_errors,
    "refused addresses": refused_addresses,
    "too many recipients": too_many_recipients,
    "too many bytes": too_many_bytes,
    "silence": silence_in_data,
    "reset": reset_in_data,
    "half-close": half_close,
}
ORDERLY = (good_mail, syntax_errors, refused_addresses, too_many_recipients)
BY_ITSELF = such_that("an exit, by no signal", lambda status: status >= 0)


@pytest.mark.rule("PRIV-06")
@pytest.mark.parametrize("scene", rows(SCENES))
def test_everything_works_in_an_empty_directory(place: Place, scene: Callable[[Session], None]) -> None:
    place.table(smap={"maxbytes": 10_000, "maxrecip": 3, "timeout": 1 if scene is silence_in_data else 60})
    expect("entries of the spool directory at the start", [path.name for path in place.spool.iterdir()], exactly([]))
    session = place.open_session()
    scene(session)
    session.close()
    status = session.exit_status()
    expect("the end of smap", status, exactly(0) if scene in ORDERLY else BY_ITSELF)
    if scene is not good_mail:
        nothing_taken(place, "this session")
        good_mail(place.open_session())
    strange = [entry.describe() for entry in place.entries() if entry.kind != "file"]
    expect("entries of the spool directory that are no files, at the end", strange, exactly([]))
    message = the_message(place)
    expect_body("the message at the mailer", message.body, BODY)
    if message.trace and date_of(message.trace) is None:
        miss("the Received: line", "a date that can be read", message.trace)


# The spool file is executable, and must not be a program

MAGIC = {
    "a script": b"#!/bin/sh",
    "a script with a blank": b"#! /bin/sh",
    "ELF": b"\x7fELF\x02\x01\x01",
    "a.out": b"\x0b\x01\x64",
}


def expect_no_program(place: Place, magic: bytes, where: str) -> None:
    """Every file in the spool begins with neither these bytes nor `#!`."""
    for file in place.entries():
        first = (place.spool / file.name).read_bytes()[:64]
        if first.startswith((magic, b"#!", b"\x7fELF")):
            miss(f"the first bytes of the spool file, with {magic!r} first in the {where}", "smap's own heading", first)


@pytest.mark.rule("PRIV-07")
@pytest.mark.parametrize("magic", rows(MAGIC))
def test_a_body_cannot_make_the_file_a_program(place: Place, magic: bytes) -> None:
    body = magic + b"\r\nexit 0\r\n"
    session = place.open_session()
    reply = place.send_mail(session, body=body)
    expect(f"reply to the end of a body that begins with {magic!r}", reply, codes(250, "5xx"))
    expect_no_program(place, magic, "body")
    if reply is not None and reply.code == 250:
        files = place.whole()
        expect("whole files after 250", len(files), exactly(1))
        data = (place.spool / files[0].name).read_bytes()
        first = data.find(magic)
        acceptable = such_that("after the heading, at 1 or later", lambda position: position > 0)
        expect(f"where {magic!r} stands in the spool file", first, acceptable)
        finish(session)
        expect_body("the message at the mailer", the_message(place).body, body)


@pytest.mark.rule("PRIV-07")
@pytest.mark.parametrize("where", ["sender", "recipient", "HELO"])
def test_an_envelope_cannot_make_the_file_a_program(place: Place, where: str) -> None:
    words = [b"#!/bin/sh", b'"#!/bin/sh"@localhost', b"#!/bin/sh@localhost"]
    for word in words:
        session = place.connect()
        session.greeting()
        name = b"#!/bin/sh" if where == "HELO" else b"c.example"
        if ask(session, b"HELO " + name, codes(250, "5xx")).code != 250:
            ask(session, b"HELO c.example", OK)
        sender = word if where == "sender" else b""
        if ask(session, b"MAIL FROM:<%s>" % sender, codes(250, "5xx")).code != 250:
            continue
        recipient = word if where == "recipient" else ALICE
        if ask(session, b"RCPT TO:<%s>" % recipient, codes(250, "5xx")).code != 250:
            continue
        ask(session, b"DATA", GO_ON)
        session.send(stuffed(BODY))
        expect("reply to the end of data", session.reply(), codes(250, "5xx"))
        expect_no_program(place, word, where)
