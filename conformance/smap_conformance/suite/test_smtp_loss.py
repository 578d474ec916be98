"""SMTP: the client goes, at any point and in any way. Only a message whose end was read may be whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from smap_simulator import client

from smap_conformance.arrival import arrived, expect_body
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import Miss, codes, exactly, expect, miss, one_of
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import ALICE, BODY, CLOSING, GO_ON, OK, SENDER, ask, envelope, nothing_taken, rows

HELO, MAIL, RCPT, DATA = b"HELO c.example\r\n", b"MAIL FROM:<%s>\r\n" % SENDER, b"RCPT TO:<%s>\r\n" % ALICE, b"DATA\r\n"

# What had been sent when the client went; each line was answered before the next.
POINTS: dict[str, tuple[list[bytes], bytes]] = {
    "before a word": ([], b""),
    "inside HELO": ([], b"HEL"),
    "after HELO": ([HELO], b""),
    "inside MAIL": ([HELO], b"MAIL FROM:<s@a.exa"),
    "after MAIL": ([HELO, MAIL], b""),
    "inside RCPT": ([HELO, MAIL], b"RCPT TO:<alice@localhost>\r"),
    "after RCPT": ([HELO, MAIL, RCPT], b""),
    "inside DATA": ([HELO, MAIL, RCPT], b"DATA"),
    "after 354": ([HELO, MAIL, RCPT, DATA], b""),
    "inside the header": ([HELO, MAIL, RCPT, DATA], b"Subject: on"),
    "inside the body": ([HELO, MAIL, RCPT, DATA], b"Subject: one\r\n\r\nfir"),
    "after a line": ([HELO, MAIL, RCPT, DATA], b"Subject: one\r\n\r\nfirst\r\n"),
    "after CRLF and dot": ([HELO, MAIL, RCPT, DATA], b"Subject: one\r\n\r\nfirst\r\n."),
    "after CRLF, dot, CR": ([HELO, MAIL, RCPT, DATA], b"Subject: one\r\n\r\nfirst\r\n.\r"),
    "after LF, dot, LF": ([HELO, MAIL, RCPT, DATA], b"Subject: one\n\nfirst\n.\n"),
    "after a dot alone": ([HELO, MAIL, RCPT, DATA], b"."),
    "after much of a body": ([HELO, MAIL, RCPT, DATA], b"0123456789\r\n" * 20_000),
}
WAYS: dict[str, Callable[[Session], None]] = {
    "closes": Session.close,
    "half-closes": Session.half_close,
    "resets": Session.reset,
}


def lead_to(place: Place, lines: list[bytes], rest: bytes) -> Session:
    """A session in which the lines were answered, and the rest has been sent and read."""
    session = place.connect()
    session.greeting()
    for line in lines:
        session.send(line)
        expect(f"reply to {line!r}", session.reply(), codes(250, 354))
    if rest:
        session.send(rest)
    session.wait_read()
    return session


@pytest.mark.rule("SMTP-13", "GATHER-10")
@pytest.mark.parametrize("leave", rows(WAYS))
@pytest.mark.parametrize(("lines", "rest"), rows(POINTS))
def test_no_message_is_whole_when_the_client_goes(
    place: Place, lines: list[bytes], rest: bytes, leave: Callable[[Session], None]
) -> None:
    session = lead_to(place, lines, rest)
    leave(session)
    session.exit_status()
    if leave is Session.half_close:
        late = session.replies()
        if any(reply.code in (250, 354) for reply in late):
            expect("replies after a half-close in mid-session", ", ".join(map(str, late)), one_of("", "421", "5xx"))
    nothing_taken(place, f"a client that sent {b''.join(lines) + rest[:200]!r} and was gone", rule="SMTP-13")


@pytest.mark.rule("SMTP-13")
def test_half_a_session_leaves_no_whole_message_wherever_it_is_cut(place: Place) -> None:
    """Every byte of a pipelined session as the last one, and then FIN."""
    end = client.SESSION.index(client.QUIT)
    for cut in range(len(client.SESSION) - len(client.QUIT)):
        session = place.connect()
        session.greeting()
        session.send(client.SESSION[:cut])
        session.half_close()
        replies = session.replies()
        session.exit_status()
        nothing_taken(place, f"FIN after {client.SESSION[:cut][-40:]!r}, and {[reply.code for reply in replies]}")
    session = place.connect()
    session.greeting()
    session.send(client.SESSION[:end])
    session.half_close()
    found = [reply.code for reply in session.replies()]
    expect("replies to a whole message and FIN", found[:5], exactly([250, 250, 250, 354, 250]))
    expect("whole files after the final dot and FIN", len(place.whole()), exactly(1))


@pytest.mark.rule("SMTP-13")
def test_half_closed_after_the_final_dot_is_taken(place: Place) -> None:
    session = lead_to(place, [HELO, MAIL, RCPT, DATA], b"")
    session.send(stuffed(BODY))
    session.half_close()
    expect("reply to the end of data, half-closed", session.reply(), OK)
    session.read_to_eof()
    session.exit_status()
    messages = arrived(place)
    expect("messages that arrived", len(messages), exactly(1))
    expect_body("the message at the mailer", messages[0].body, BODY)


@pytest.mark.rule("SMTP-13")
@pytest.mark.parametrize("leave", rows({name: way for name, way in WAYS.items() if way is not Session.half_close}))
@pytest.mark.parametrize("is_read", [False, True], ids=["at once", "when the dot was read"])
def test_gone_after_the_final_dot_is_whole_or_absent(
    place: Place, is_read: bool, leave: Callable[[Session], None]
) -> None:
    body = b"Subject: big\r\n\r\n" + b"0123456789\r\n" * 5000
    for _ in range(3):
        session = lead_to(place, [HELO, MAIL, RCPT, DATA], b"")
        session.send(stuffed(body))
        if is_read:
            session.wait_read()
        leave(session)
        session.exit_status()
    for message in arrived(place):
        expect_body("a message whose client was gone before the 250", message.body, body)


@pytest.mark.rule("SMTP-13", "GATHER-08")
@pytest.mark.parametrize("last", [b"QUIT", b"RSET"], ids=bytes.decode)
def test_a_transaction_that_is_given_up_leaves_nothing(place: Place, last: bytes) -> None:
    session = place.open_session()
    envelope(session)
    ask(session, last, codes(250, 221))
    session.half_close()
    session.read_to_eof()
    session.exit_status()
    nothing_taken(place, f"MAIL, RCPT, {last.decode()}")


@pytest.mark.rule("SMTP-13")
def test_a_lost_message_is_sent_again_and_arrives_once(place: Place) -> None:
    session = lead_to(place, [HELO, MAIL, RCPT, DATA], b"Subject: one\r\n\r\nfir")
    session.reset()
    session.exit_status()
    expect("reply to the end of data, the second time", place.send_mail(place.open_session()), OK)
    messages = arrived(place)
    expect("messages that arrived", len(messages), exactly(1))
    expect_body("the message at the mailer", messages[0].body, BODY)


def two_at_once(place: Place, mails: list[tuple[bytes, bytes, bytes]]) -> None:
    """As many sessions as mails (sender, recipient, body), each a step ahead of the next, the last one done first."""
    sessions = [place.open_session() for _ in mails]
    pairs = list(zip(sessions, mails, strict=True))
    for session, (sender, _, _) in pairs:
        ask(session, b"MAIL FROM:<%s>" % sender, OK)
    for session, (_, recipient, _) in pairs:
        ask(session, b"RCPT TO:<%s>" % recipient, OK)
        ask(session, b"DATA", GO_ON)
    for part in (slice(0, 20), slice(20, None)):
        for session, (_, _, body) in pairs:
            session.send(stuffed(body)[part])
            session.wait_read()
    for session in reversed(sessions):
        expect("reply to the end of data", session.reply(), OK)
    for session in sessions:
        ask(session, b"QUIT", CLOSING)


@pytest.mark.rule("SMTP-09", "GATHER-01")
def test_a_hundred_sessions_of_two_clients_cross_nothing_over(place: Place) -> None:
    tokens = [b"%s%03d" % (side, number) for number in range(50) for side in (b"x", b"y")]
    mails = [
        (token + b"@a.example", token + b"-to@localhost", b"Subject: %s\r\n\r\n%s\r\n" % (token, token * 10))
        for token in tokens
    ]
    for number in range(0, len(mails), 2):
        two_at_once(place, mails[number : number + 2])
    names = [file.name for file in place.whole()]
    expect("whole files", len(names), exactly(len(mails)))
    if any(token.decode() in name for token in tokens for name in names):
        miss("names of spool files", "nothing in them that a client sent", names[:5])
    messages = {message.sender: message for message in arrived(place)}
    if sorted(messages) != sorted(sender for sender, _, _ in mails):
        raise Miss("senders that arrived", "each of the 100 once", f"{len(messages)}: {sorted(messages)[:5]}…")
    for sender, recipient, body in mails:
        expect(f"recipients of {sender.decode()}", messages[sender].recipients, exactly((recipient,)))
        expect_body(f"the message of {sender.decode()}", messages[sender].body, body)
