"""SMTP: the message. Where it ends, which dots go, and which bytes arrive."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from smap_simulator import client

from smap_conformance.arrival import Message, arrived, date_of, expect_body, the_message
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import codes, exactly, expect, miss, not_measured, shown, such_that
from smap_conformance.lab import Lab
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import (
    ALICE,
    BODY,
    CLOSING,
    GO_ON,
    OK,
    SENDER,
    ask,
    envelope,
    exchange,
    expect_replies,
    finish,
    nothing_taken,
    rows,
)

TAKEN_OR_REFUSED = codes(250, "5xx")


def begin_data(place: Place, sender: bytes = SENDER) -> Session:
    """A session with an envelope, after its 354."""
    session = place.open_session()
    envelope(session, sender)
    ask(session, b"DATA", GO_ON)
    return session


def carry(place: Place, body: bytes, *, may_refuse: bool = False) -> Message | None:
    """Send the body, dots doubled: what arrived, or None where it may be refused and was."""
    session = begin_data(place)
    session.send(stuffed(body))
    reply = session.reply()
    expect(f"reply to the end of {shown(body)}", reply, TAKEN_OR_REFUSED if may_refuse else OK)
    if reply is None or reply.code != 250:
        nothing_taken(place, f"{reply} to the message")
        return None
    message = the_message(place)
    expect_body("the message at the mailer", message.body, body)
    return message


# A message, and an empty one


@pytest.mark.rule("SMTP-02")
def test_a_message_is_taken_and_arrives(place: Place) -> None:
    session = begin_data(place)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    expect("whole files", len(place.whole()), exactly(1))
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))
    expect_body("the message at the mailer", message.body, BODY)


@pytest.mark.rule("SMTP-02", "SMTP-05")
def test_a_message_without_a_line_is_taken(place: Place) -> None:
    session = begin_data(place)
    session.send(b".\r\n")
    expect("reply to a final dot at once", session.reply(), OK)
    expect_body("the empty message at the mailer", the_message(place).body, b"")


@pytest.mark.rule("SMTP-14")
def test_a_received_line_tells_peer_and_time(place: Place) -> None:
    place.gather()
    message = the_message(place)
    if not message.trace:
        miss("the head of the message", "a Received: line", message.content[:200])
    expect("peer in the Received: line", message.trace, such_that("127.0.0.1 in it", lambda text: b"127.0.0.1" in text))
    date = date_of(message.trace)
    if date is None or date.tzinfo is None:
        miss("the Received: line", "`; ` and a date with its zone at the end (RFC 5321 4.4)", message.trace)
    here = datetime.now(UTC)
    if abs(date - here) > timedelta(hours=1):
        miss("the date in the Received: line", f"about {here:%d %b %Y %H:%M} UTC", message.trace)
    expect_body("what follows the Received: line", message.body, BODY)


# Dots

DOTS: dict[str, bytes] = {
    "a line of one dot": b"one\r\n.\r\nafter\r\n",
    "lines of two, three, four dots": b"..\r\n...\r\n....\r\nend\r\n",
    "the first line a dot": b".\r\nafter\r\n",
    "the last line a dot": b"before\r\n.\r\n",
    "only dots": b".\r\n.\r\n.\r\n",
    "dots in front of text": b".x\r\n..x\r\n...x\r\n....x\r\n",
    "dots within lines": b"a.b\r\na..b\r\n a.\r\nx .\r\nx..\r\n",
    "a dot after blanks": b"x\r\n .\r\n\t.\r\n",  # a blank in front would fold the Received: line
    "dot and blank": b". \r\n.\t\r\n",
    "after empty lines": b"\r\n\r\n.\r\n\r\n..\r\n\r\n",
    "a patch": b"--- a/x\r\n+++ b/x\r\n@@\r\n-.SH NAME\r\n+.SH SYNOPSIS\r\n..\r\n",
}


@pytest.mark.rule("SMTP-06")
@pytest.mark.parametrize("body", rows(DOTS))
def test_dots_arrive_as_the_client_meant_them(place: Place, body: bytes) -> None:
    carry(place, body)


@pytest.mark.rule("SMTP-06")
def test_a_dot_that_the_client_did_not_double_goes(place: Place) -> None:
    session = begin_data(place)
    session.send(b".x\r\n.. y\r\na.x\r\n.\r\n")
    expect("reply to the end of data", session.reply(), OK)
    expect_body("the message at the mailer", the_message(place).body, b"x\r\n. y\r\na.x\r\n")


@pytest.mark.rule("SMTP-06", "SMTP-12")
def test_dots_survive_every_cut_between_two_segments(place: Place) -> None:
    body = b"a\r\n.\r\n..b\r\n\r\n...\r\nc.\r\n"
    wire = stuffed(body)
    session = place.open_session()
    for cut in range(1, len(wire)):
        envelope(session, b"cut%03d@a.example" % cut)
        ask(session, b"DATA", GO_ON)
        session.send(wire[:cut])
        session.wait_read()
        session.send(wire[cut:])
        expect(f"reply to the end of a message cut after {wire[:cut]!r}", session.reply(), OK)
    finish(session)
    messages = {message.sender: message for message in arrived(place)}
    for cut in range(1, len(wire)):
        message = messages.get(b"cut%03d@a.example" % cut)
        if message is None:
            miss("messages that arrived", f"the one cut after {wire[:cut]!r}", sorted(messages))
        expect_body(f"the message cut after {wire[:cut]!r}", message.body, body)


@pytest.mark.rule("SMTP-12", "SMTP-05")
@pytest.mark.parametrize("pieces", [(b".", b"\r", b"\n"), (b".\r", b"\n"), (b".", b"\r\n")], ids=repr)
def test_the_final_dot_may_come_in_pieces(place: Place, pieces: tuple[bytes, ...]) -> None:
    session = begin_data(place)
    session.send(b"first\r\n")
    for piece in pieces:
        session.wait_read()
        session.send(piece)
    expect(f"reply to the final dot in the pieces {pieces}", session.reply(), OK)
    expect_body("the message at the mailer", the_message(place).body, b"first\r\n")


# Ends that are none


@pytest.mark.rule("SMTP-05")
@pytest.mark.parametrize("chunk_bytes", [0, 1], ids=["one segment", "byte by byte"])
@pytest.mark.parametrize("end", rows(client.FAKE_ENDS))
def test_only_crlf_dot_crlf_ends_a_message(place: Place, end: bytes, chunk_bytes: int) -> None:
    session = begin_data(place)
    data = client.smuggled(end) + b"QUIT\r\n"
    if chunk_bytes:
        session.send_slowly(data)
    else:
        session.send(data)
    replies = session.replies()
    what = f"a message with {end!r} in it, MAIL, RCPT, DATA and more text, the real end; QUIT"
    acceptable = [TAKEN_OR_REFUSED | codes(421), CLOSING]
    expect_replies(what, replies, acceptable[: 1 if replies and replies[0].code == 421 else 2])
    taken = replies[0].code == 250
    if len(place.whole()) != taken:
        miss(
            "whole files", f"{int(taken)}, for the one reply {replies[0]}", [file.describe() for file in place.whole()]
        )
    if taken:
        message = the_message(place)
        expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))
        expect("the message", message.body, such_that("all of it, to the end", _holds_all_of_it))


def _holds_all_of_it(body: bytes) -> bool:
    return all(text in body for text in (b"first", b"MAIL FROM:<smuggled@a.example>", b"Subject: two", b"second"))


@pytest.mark.rule("SMTP-05", "SMTP-09")
@pytest.mark.parametrize("chunk_bytes", [0, 1], ids=["one segment", "byte by byte"])
def test_crlf_dot_crlf_ends_a_message(place: Place, chunk_bytes: int) -> None:
    """The control of the case above: with a real end in the same place there are two messages."""
    session = begin_data(place)
    data = client.smuggled(client.REAL_END) + b"QUIT\r\n"
    session.send_slowly(data) if chunk_bytes else session.send(data)
    expect_replies("a message; MAIL, RCPT, DATA, a message; QUIT", session.replies(), [OK, OK, OK, GO_ON, OK, CLOSING])
    messages = arrived(place)
    expect("senders", [message.sender for message in messages], exactly([SENDER, b"smuggled@a.example"]))
    expect_body("the first message", messages[0].body, b"Subject: one\r\n\r\nfirst\r\n")
    expect_body("the second message", messages[1].body, b"Subject: two\r\n\r\nsecond\r\n")


# Bytes

EVERY_BYTE = bytes(byte for byte in range(1, 256) if byte not in b"\r\n")
BYTES: dict[str, bytes] = {
    "1 to 255": b"Subject: x\r\n\r\n" + EVERY_BYTE + b"\r\n",
    "each at a line's start": b"".join(bytes([byte]) + b"x\r\n" for byte in EVERY_BYTE),
    "each at a line's end": b"".join(b"x" + bytes([byte]) + b"\r\n" for byte in EVERY_BYTE),
    "a run of high bytes": b"\xff" * 700 + b"\r\n" + b"\x80" * 700 + b"\r\n",
    "broken UTF-8": b"\xc3\r\n\xe2\x82\r\n\xf0\x9f\x98\r\n\xed\xa0\x80\r\n",
    "format signs": b"%s%n%d%x\r\n%%\r\n\\0\\n\r\n$HOME `id`\r\n",
    "controls": bytes(range(1, 9)) + b"\x0b\x0c" + bytes(range(14, 32)) + b"\x7f\r\n",
    "end of file signs": b"\x04\r\n\x1a\r\nafter\r\n",
}


@pytest.mark.rule("SMTP-16")
@pytest.mark.parametrize("body", rows(BYTES))
def test_bytes_1_to_255_arrive(place: Place, body: bytes) -> None:
    carry(place, body)


NULS: dict[str, bytes] = {
    "within a line": b"a\0b\r\nafter\r\n",
    "at a line's start": b"\0ab\r\nafter\r\n",
    "at a line's end": b"ab\0\r\nafter\r\n",
    "alone": b"before\r\n\0\r\nafter\r\n",
    "beside a dot": b"\0.\r\n.\0\r\n.\0.\r\nafter\r\n",
    "many": b"\0" * 5000 + b"\r\nafter\r\n",
    "in a header": b"Subject: a\0b\r\n\r\nafter\r\n",
}


@pytest.mark.rule("SMTP-16")
@pytest.mark.parametrize("body", rows(NULS))
def test_a_nul_is_kept_or_the_message_refused(place: Place, body: bytes) -> None:
    carry(place, body, may_refuse=True)


BARE: dict[str, bytes] = {
    "bare LF": b"a\nb\nc\r\nd\r\n",
    "bare CR": b"a\rb\rc\r\nd\r\n",
    "LF CR": b"a\n\rb\r\n",
    "CR CR LF": b"a\r\r\nb\r\n",
    "CR at a line's start": b"\rb\r\n\rc\r\n",
    "LF before dots": b"a\n.b\n..c\n. \r\nd\r\n",
}


@pytest.mark.rule("SMTP-16")
@pytest.mark.parametrize("body", rows(BARE))
def test_a_bare_cr_or_lf_meets_one_fate(place: Place, body: bytes) -> None:
    """Kept, made a line end, or refused, but the same however the bytes were cut into segments."""
    fates: dict[str, str] = {}
    senders = {b"one-segment@a.example": 0, b"single-bytes@a.example": 1}
    for sender, chunk_bytes in senders.items():
        session = begin_data(place, sender)
        session.send_slowly(stuffed(body)) if chunk_bytes else session.send(stuffed(body))
        reply = session.reply()
        expect(f"reply to the end of {body!r}", reply, TAKEN_OR_REFUSED)
        if reply is not None and reply.code != 250:
            fates[sender.decode()] = f"refused with {reply.code}"
        finish(session)
    for message in arrived(place):
        fates[message.sender.decode()] = repr(message.body)
        if b"\n." not in body:  # where a dot may or may not stand at a line's start
            expect_body("the message at the mailer", message.body, body)
        for text in (b"a", b"b", b"c", b"d"):
            expect(f"{text!r} in the message", text in message.body, exactly(text in body))
    expect("messages that were refused or arrived", len(fates), exactly(2))
    if len(set(fates.values())) != 1:
        miss(f"the fate of {body!r}", "the same in one segment and byte by byte", fates)


INERT: dict[str, bytes] = {
    "a heading": b"FROM evil@a.example\r\nRCPT evil@localhost\r\nBODY\r\nnot a heading\r\n",
    "heading words after the header": b"Subject: x\r\n\r\nFROM y\r\nRCPT z\r\nBODY\r\nFROM: y\r\nRCPT: z\r\n\r\n",
    "From_ in front": b"From evil@a.example Thu Jan  1 00:00:00 1998\r\nSubject: x\r\n\r\nx\r\n",
    "From_ within": b"Subject: x\r\n\r\nFrom the start\r\n>From quoted\r\n",
    "no header": b"just text\r\nand more\r\n",
    "an empty line in front": b"\r\nno header\r\n",
    "no empty line": b"Subject: x\r\nTo: y\r\n",
    "only empty lines": b"\r\n\r\n\r\n",
    "a script": b"#!/bin/sh\r\ntouch /tmp/x\r\n",
    "SMTP": b"MAIL FROM:<x@a.example>\r\nRCPT TO:<evil@localhost>\r\nDATA\r\nQUIT\r\nRSET\r\n",
    "blanks at line ends": b"Subject: x  \r\n\r\n  \r\n\t\r\nx \t \r\n",
    "a folded header": b"Subject: x\r\n\ty\r\n z\r\n\r\nbody\r\n",
}


@pytest.mark.rule("SMTP-16", "GATHER-02")
@pytest.mark.parametrize("body", rows(INERT))
def test_a_body_like_something_else_is_only_a_body(place: Place, body: bytes) -> None:
    message = carry(place, body)
    assert message is not None
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))


# Segments


@pytest.mark.rule("SMTP-12")
@pytest.mark.parametrize(
    "chunk_bytes", [0, 1, 7, 64], ids=lambda size: f"segments of {size}" if size else "one segment"
)
def test_a_session_in_any_segments(place: Place, chunk_bytes: int) -> None:
    session = place.connect()
    session.greeting()
    session.send_slowly(client.SESSION, chunk_bytes) if chunk_bytes else session.send(client.SESSION)
    expect_replies("HELO, MAIL, RCPT, DATA, a message, QUIT", session.replies(), [OK, OK, OK, GO_ON, OK, CLOSING])
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))
    expect_body("the message at the mailer", message.body, client.BODY)


@pytest.mark.rule("SMTP-12", "SMTP-09")
def test_ten_messages_in_one_segment(place: Place) -> None:
    bodies = {b"p%d@a.example" % n: b"Subject: %d\r\n\r\n" % n + b"line\r\n" * n * 50 for n in range(10)}
    data = client.HELO + b"".join(client.transaction(sender, body=body) for sender, body in bodies.items())
    wanted = [OK, *[OK, OK, GO_ON, OK] * 10, CLOSING]
    expect_replies("HELO, ten transactions, QUIT", exchange(place, data + client.QUIT), wanted)
    messages = {message.sender: message for message in arrived(place)}
    expect("senders that arrived", sorted(messages), exactly(sorted(bodies)))
    for sender, body in bodies.items():
        expect_body(f"the message of {sender.decode()}", messages[sender].body, body)


# When there is nowhere to put it


@pytest.mark.rule("GATHER-08")
def test_no_message_is_taken_while_the_spool_cannot_be_written(place: Place) -> None:
    """Unless its file was there before: a smap may write the envelope as it comes. Then 250 is as good as any."""
    session = place.open_session()
    envelope(session)
    place.spool.chmod(0o555)
    try:
        reply = ask(session, b"DATA", codes("4xx", "5xx", 354))
        begun_before = bool(place.entries())
        if reply.code == 354:
            session.send(stuffed(BODY))
            reply = session.reply() or reply
            expect("reply to the end of data", reply, codes("4xx", "5xx", *([250] if begun_before else [])))
        if reply.code != 250:
            nothing_taken(place, "DATA with a spool directory of mode 555")
        else:
            expect("whole files after 250", len(place.whole()), exactly(1))
    finally:
        place.spool.chmod(0o755)
    expect("reply to the end of data, once it can be written", place.send_mail(place.open_session()), OK)


@pytest.mark.rule("FAULT-01")
def test_data_is_put_off_while_the_disk_is_full(lab: Lab) -> None:
    if not lab.sandbox.means.tmpfs:
        not_measured("no small disk can be mounted here")
    with lab.place(disk_bytes=1 << 20) as place:
        session = place.open_session()
        envelope(session)
        filler = place.disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        reply = ask(session, b"DATA", codes("4xx", 354))
        if reply.code == 354:
            session.send(stuffed(BODY))
            expect("reply to the end of data on a full disk", session.reply(), codes("4xx"))
        nothing_taken(place, "DATA on a full disk")
        filler.unlink()
        expect("reply to the end of data, with room again", place.send_mail(place.open_session()), OK)
