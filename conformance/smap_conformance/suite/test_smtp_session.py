"""SMTP: greeting, order, the commands and their syntax."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from smap_conformance.arrival import arrived, expect_body, the_message
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Acceptable, codes, exactly, expect, miss, shown, such_that
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import (
    ALICE,
    BOB,
    BODY,
    CLOSING,
    GO_ON,
    OK,
    OUT_OF_ORDER,
    REFUSED,
    SENDER,
    ask,
    envelope,
    exchange,
    expect_replies,
    finish,
    nothing_taken,
    rows,
    still_alive,
)

HELO, MAIL, RCPT, DATA = b"HELO c.example", b"MAIL FROM:<%s>" % SENDER, b"RCPT TO:<%s>" % ALICE, b"DATA"
NO_RECIPIENT = codes(503, 554)
WRONG_SYNTAX = codes("50x")


# The greeting and the hello


@pytest.mark.rule("SMTP-01")
def test_the_greeting_comes_before_any_input(place: Place) -> None:
    session = place.connect()
    session.greeting()
    ask(session, HELO, OK)
    finish(session)


@pytest.mark.rule("SMTP-01", "SMTP-12")
def test_a_client_that_talks_before_the_greeting_is_served_or_told_554(place: Place) -> None:
    session = place.connect()
    session.send(HELO + b"\r\nQUIT\r\n")
    first = session.reply()
    expect("first reply to a client that talks at once", first, codes(220, 554))
    if first is not None and first.code == 220:
        expect_replies("HELO, QUIT sent before the greeting", session.replies(), [OK, CLOSING])


@pytest.mark.rule("SMTP-01")
@pytest.mark.parametrize("name", [b"c.example", b"[127.0.0.1]", b"[IPv6:::1]", b"localhost"], ids=repr)
def test_helo_takes_a_domain_and_an_address_literal(place: Place, name: bytes) -> None:
    session = place.connect()
    session.greeting()
    ask(session, b"HELO " + name, OK)
    expect("reply to the end of data", place.send_mail(session), OK)


@pytest.mark.rule("SMTP-01")
def test_ehlo_is_served_or_refused_and_helo_works_after_it(place: Place) -> None:
    session = place.connect()
    session.greeting()
    reply = ask(session, b"EHLO c.example", codes(250, 500, 502))
    if reply.code != 250:
        ask(session, HELO, OK)
    expect("reply to the end of data", place.send_mail(session), OK)
    finish(session)
    expect("sender of the message", the_message(place).sender, exactly(SENDER))


def extensions(reply: Reply) -> dict[str, str]:
    """keyword → parameters, from the lines of a reply to EHLO after the first (RFC 5321 4.1.1.1)."""
    words = [line[4:].decode(errors="backslashreplace").split(None, 1) for line in reply.lines[1:]]
    return {word[0].upper(): " ".join(word[1:]).strip() for word in words if word}


# What an extension promises, put to use: what is sent, and the replies that keep the promise.
DONE = such_that("2xx or 3xx: the extension was offered", lambda reply: reply is not None and reply.kind in (2, 3))
_UNKNOWN = {500, 502, 504, 555}
KNOWN = such_that(
    "any reply but 500, 502, 504, 555: it was offered", lambda r: r is not None and r.code not in _UNKNOWN
)
PROMISES: dict[str, tuple[bytes, Acceptable]] = {
    "8BITMIME": (b"MAIL FROM:<s@a.example> BODY=8BITMIME", OK),
    "SMTPUTF8": (b"MAIL FROM:<s@a.example> SMTPUTF8", OK),
    "DSN": (b"MAIL FROM:<s@a.example> RET=HDRS", OK),
    "BINARYMIME": (b"MAIL FROM:<s@a.example> BODY=BINARYMIME", OK),
    "HELP": (b"HELP", DONE),
    "EXPN": (b"EXPN staff", KNOWN),
    "VRFY": (b"VRFY alice", KNOWN),
    "ETRN": (b"ETRN a.example", KNOWN),
    "STARTTLS": (b"STARTTLS", DONE),
    "AUTH": (b"AUTH PLAIN", KNOWN),
    "TURN": (b"TURN", DONE),
    "ATRN": (b"ATRN", KNOWN),
    "SEND": (b"SEND FROM:<s@a.example>", OK),
    "SOML": (b"SOML FROM:<s@a.example>", OK),
    "SAML": (b"SAML FROM:<s@a.example>", OK),
    "VERB": (b"VERB", DONE),
    "ONEX": (b"ONEX", DONE),
}


@pytest.mark.rule("SMTP-01")
def test_what_ehlo_offers_is_done(place: Place) -> None:
    def hello() -> tuple[Session, Reply]:
        session = place.connect()
        session.greeting()
        return session, ask(session, b"EHLO c.example", codes(250, 500, 502))

    _, reply = hello()
    offered = extensions(reply) if reply.code == 250 else {}
    for keyword in sorted(offered.keys() & PROMISES.keys()):
        line, wanted = PROMISES[keyword]
        expect(f"reply to {line!r}, for EHLO offered {keyword}", hello()[0].command(line), wanted)
    if "SIZE" in offered:
        session, _ = hello()
        ask(session, b"MAIL FROM:<s@a.example> SIZE=rabbit", REFUSED)
        ask(session, b"MAIL FROM:<s@a.example> SIZE=100", OK)
        if offered["SIZE"].isdigit() and int(offered["SIZE"]) > 0:
            ask(session, b"RSET", OK)
            ask(session, b"MAIL FROM:<s@a.example> SIZE=%d" % (int(offered["SIZE"]) + 1), REFUSED)
    if "CHUNKING" in offered:
        session, _ = hello()
        envelope(session)
        session.send(b"BDAT %d LAST\r\n%s" % (len(BODY), BODY))
        expect("reply to BDAT, for EHLO offered CHUNKING", session.reply(), OK)
    if "ENHANCEDSTATUSCODES" in offered:
        session, _ = hello()
        reply = ask(session, MAIL, OK)
        enhanced = such_that("2.x.x in front (RFC 2034)", lambda text: bool(re.match(r"2\.\d{1,3}\.\d{1,3}\b", text)))
        expect("text of a reply, for EHLO offered ENHANCEDSTATUSCODES", reply.text, enhanced)


# Every command, in any case


@pytest.mark.rule("SMTP-02")
@pytest.mark.parametrize("change", [bytes.upper, bytes.lower, bytes.swapcase], ids=["capitals", "small", "mixed"])
def test_commands_work_in_any_letter_case(place: Place, change: Callable[[bytes], bytes]) -> None:
    session = place.connect()
    session.greeting()
    mixed = change is bytes.swapcase

    def word(text: bytes) -> bytes:
        return (
            b"".join(bytes([c]).lower() if n % 2 else bytes([c]) for n, c in enumerate(text)) if mixed else change(text)
        )

    ask(session, word(b"HELO") + b" c.example", OK)
    ask(session, word(b"NOOP"), OK)
    ask(session, word(b"RSET"), OK)
    ask(session, word(b"VRFY") + b" alice", codes(252, 500, 502, "55x"))
    ask(session, word(b"MAIL FROM:") + b"<%s>" % SENDER, OK)
    ask(session, word(b"RCPT TO:") + b"<%s>" % ALICE, OK)
    ask(session, word(b"DATA"), GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    ask(session, word(b"QUIT"), CLOSING)
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))


@pytest.mark.rule("SMTP-02")
@pytest.mark.parametrize(
    "before", rows({"at once": [], "HELO": [HELO], "MAIL": [HELO, MAIL], "RCPT": [HELO, MAIL, RCPT]})
)
def test_quit_gives_221_and_the_end(place: Place, before: list[bytes]) -> None:
    session = place.connect()
    session.greeting()
    for line in before:
        ask(session, line, OK)
    ask(session, b"QUIT", CLOSING)
    expect("what follows 221", session.read_to_eof(), exactly(b""))
    expect("exit status after QUIT", session.exit_status(), exactly(0))
    nothing_taken(place, "QUIT without a message")


@pytest.mark.rule("SMTP-02", "SMTP-15")
def test_vrfy_tells_nothing_of_users(place: Place, note: Any) -> None:
    session = place.open_session()
    answers = {}
    for user in (b"root", b"nobody", b"nosuchuser8731"):
        reply = ask(session, b"VRFY " + user, codes(252, 500, 502, "55x"), rule="SMTP-02")
        answers[user] = (reply.code, reply.text.replace(user.decode(), "USER"))
    note("SMTP-15", f"VRFY root: {answers[b'root'][0]}")
    if len(set(answers.values())) != 1:
        miss("replies to VRFY", "the same for users that exist and that do not", answers, rule="SMTP-02")
    still_alive(session, "VRFY")


@pytest.mark.rule("SMTP-15")
def test_commands_that_list_users_or_tell_about_the_program(place: Place, note: Any) -> None:
    session = place.open_session()
    found = []
    for line in (b"VRFY alice", b"EXPN staff", b"HELP", b"VERB", b"ONEX", b"HELP MAIL"):
        reply = ask(session, line, codes("2xx", "50x", "55x"))
        found.append(f"{line.decode()}: {reply.code}")
    note("SMTP-15", ", ".join(found))
    nasty = b"x\x1b[2Jy<script>"
    for verb in (b"VRFY ", b"EXPN ", b"HELP ", b"VERB "):
        reply = ask(session, verb + nasty, codes("2xx", "50x", "55x"))
        if any(b"\x1b" in line or b"<script>" in line for line in reply.lines):
            miss(f"reply to {verb + nasty!r}", "no raw argument in it", reply)
    still_alive(session, "these")


# Order

EARLY: dict[str, tuple[list[bytes], bytes, Acceptable, list[bytes]]] = {
    "RCPT before HELO": ([], RCPT, OUT_OF_ORDER, [HELO, MAIL, RCPT]),
    "DATA before HELO": ([], DATA, OUT_OF_ORDER, [HELO, MAIL, RCPT]),
    "RCPT before MAIL": ([HELO], b"RCPT TO:<%s>" % BOB, OUT_OF_ORDER, [MAIL, RCPT]),
    "DATA before MAIL": ([HELO], DATA, OUT_OF_ORDER, [MAIL, RCPT]),
    "DATA before RCPT": ([HELO, MAIL], DATA, NO_RECIPIENT, [RCPT]),
    "RCPT after RSET": ([HELO, MAIL, b"RSET"], b"RCPT TO:<%s>" % BOB, OUT_OF_ORDER, [MAIL, RCPT]),
}


@pytest.mark.rule("SMTP-03")
@pytest.mark.parametrize(("before", "early", "wanted", "afterwards"), rows(EARLY))
def test_a_command_too_early_is_refused_and_changes_nothing(
    place: Place, before: list[bytes], early: bytes, wanted: Acceptable, afterwards: list[bytes]
) -> None:
    session = place.connect()
    session.greeting()
    for line in before:
        ask(session, line, OK)
    ask(session, early, wanted)
    nothing_taken(place, shown(early))
    for line in afterwards:
        ask(session, line, OK)
    ask(session, DATA, GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((SENDER, (ALICE,))))
    expect_body("body of the one message", message.body, BODY)


@pytest.mark.rule("SMTP-03")
def test_mail_before_helo_is_refused_or_taken_for_good(place: Place) -> None:
    session = place.connect()
    session.greeting()
    if ask(session, MAIL, codes(503, 250)).code == 503:
        ask(session, HELO, OK)
        ask(session, MAIL, OK)
    ask(session, RCPT, OK)
    ask(session, DATA, GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    expect("sender of the message", the_message(place).sender, exactly(SENDER))


@pytest.mark.rule("SMTP-03")
@pytest.mark.parametrize("first_recipient", [None, BOB], ids=["after MAIL", "after RCPT"])
def test_a_second_mail_is_refused_or_begins_afresh(place: Place, first_recipient: bytes | None) -> None:
    session = place.open_session()
    ask(session, b"MAIL FROM:<one@a.example>", OK)
    recipients: tuple[bytes, ...] = ()
    if first_recipient:
        ask(session, b"RCPT TO:<%s>" % first_recipient, OK)
        recipients = (first_recipient,)
    sender = b"one@a.example"
    if ask(session, b"MAIL FROM:<two@a.example>", codes(503, 250)).code == 250:
        sender, recipients = b"two@a.example", ()
        ask(session, DATA, NO_RECIPIENT)
    ask(session, RCPT, OK)
    ask(session, DATA, GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    message = the_message(place)
    expect("sender of the message", message.sender, exactly(sender))
    expect("recipients of the message", message.recipients, exactly((*recipients, ALICE)))


@pytest.mark.rule("SMTP-03")
def test_each_command_after_a_message_needs_a_new_mail(place: Place) -> None:
    session = place.open_session()
    expect("reply to the end of data", place.send_mail(session), OK)
    ask(session, b"RCPT TO:<%s>" % BOB, OUT_OF_ORDER)
    ask(session, DATA, OUT_OF_ORDER)
    expect("reply to the second end of data", place.send_mail(session, b"two@a.example"), OK)
    found = [(message.sender, message.recipients) for message in arrived(place)]
    expect("envelopes", found, exactly([(SENDER, (ALICE,)), (b"two@a.example", (ALICE,))]))


@pytest.mark.rule("SMTP-03")
def test_body_lines_after_a_refused_data_are_commands(place: Place) -> None:
    lines = [b"Subject: one", b"first", b"second"]
    data = b"\r\n".join([HELO, MAIL, DATA, *lines, b".", b"QUIT", b""])
    wanted = [OK, OK, NO_RECIPIENT, *[REFUSED] * (len(lines) + 1), CLOSING]
    expect_replies("HELO, MAIL, DATA without a recipient, body lines, QUIT", exchange(place, data), wanted)
    nothing_taken(place, "DATA without a recipient")


# Forgetting


@pytest.mark.rule("SMTP-08")
@pytest.mark.parametrize("asked", [b"RCPT TO:<%s>" % BOB, DATA], ids=["then RCPT", "then DATA"])
@pytest.mark.parametrize("recipients", [(), (BOB,)], ids=["after MAIL", "after RCPT"])
@pytest.mark.parametrize("forget", [b"RSET", b"HELO d.example", b"EHLO d.example"], ids=["RSET", "HELO", "EHLO"])
def test_the_transaction_is_forgotten(place: Place, forget: bytes, recipients: tuple[bytes, ...], asked: bytes) -> None:
    session = place.open_session()
    envelope(session, b"old@a.example", recipients)
    acceptable = (
        OK if forget == b"RSET" else codes(250, 503) if forget.startswith(b"HELO") else codes(250, 503, 500, 502)
    )
    forgotten = ask(session, forget, acceptable).code == 250
    if forgotten:
        ask(session, asked, OUT_OF_ORDER if asked != DATA else NO_RECIPIENT)
    else:  # it was refused, and so it must have changed nothing
        ask(session, b"RCPT TO:<%s>" % BOB, OK)
        ask(session, b"RSET", OK)
    expect("reply to the end of data", place.send_mail(session, b"new@a.example"), OK)
    message = the_message(place)
    expect("envelope", (message.sender, message.recipients), exactly((b"new@a.example", (ALICE,))))


@pytest.mark.rule("SMTP-08")
def test_rset_is_taken_at_any_time(place: Place) -> None:
    session = place.connect()
    session.greeting()
    for line in (b"RSET", HELO, b"RSET", b"RSET", MAIL, b"RSET", MAIL, RCPT, b"RSET"):
        ask(session, line, OK)
    expect("reply to the end of data", place.send_mail(session), OK)
    ask(session, b"RSET", OK)
    expect("whole files", len(place.whole()), exactly(1))


# Several messages


@pytest.mark.rule("SMTP-09")
def test_messages_of_one_session_are_independent(place: Place) -> None:
    place.table(smap={"maxbytes": 4000, "maxrecip": 3})
    session = place.open_session()
    sent = {
        b"m1@a.example": (
            (b"r1@localhost", b"r2@localhost", b"r3@localhost"),
            b"Subject: 1\r\n\r\n" + b"x" * 70 + b"\r\n",
        ),
        b"m2@a.example": ((b"r4@localhost",), b""),
        b"m3@a.example": ((b"r5@localhost", b"r6@localhost", b"r7@localhost"), b"1 23456789\r\n" * 200),
        b"m4@a.example": ((b"r8@localhost",), b"Subject: 4\r\n\r\n.\r\n..\r\nend\r\n"),
        b"m5@a.example": ((b"r1@localhost",), b"1 23456789\r\n" * 200),
    }
    for sender, (recipients, body) in sent.items():
        expect(f"reply to the end of {sender.decode()}", place.send_mail(session, sender, recipients, body), OK)
        if sender == b"m2@a.example":  # refused ones in between leave no trace
            reply = place.send_mail(session, b"big@a.example", (b"big@localhost",), b"0123456789\r\n" * 1000)
            expect("reply to the end of a message over maxbytes", reply, REFUSED)
            ask(session, b"MAIL FROM:<dropped@a.example>", OK)
            ask(session, b"RCPT TO:<dropped@localhost>", OK)
            ask(session, b"RSET", OK)
    finish(session)
    messages = {message.sender: message for message in arrived(place)}
    expect("senders that arrived", sorted(messages), exactly(sorted(sent)))
    for sender, (recipients, body) in sent.items():
        expect(f"recipients of {sender.decode()}", messages[sender].recipients, exactly(recipients))
        expect_body(f"body of {sender.decode()}", messages[sender].body, body)
