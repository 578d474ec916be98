"""LIMIT: maxbytes, maxrecip, timeout; lines and messages of any length."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from smap_conformance import offspring
from smap_conformance.arrival import Message, arrived, expect_body, the_message
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Miss, codes, exactly, expect, miss, shown, such_that
from smap_conformance.place import Place, Session
from smap_conformance.suite.talk import (
    ALICE,
    BODY,
    CLOSING,
    GO_ON,
    OK,
    REFUSED,
    SENDER,
    ask,
    envelope,
    exchange,
    expect_replies,
    finish,
    hear,
    nothing_taken,
    rows,
)

LINE = b"0123456789 123456789 123456789 123456789 12345678\r\n"  # 51 bytes, 50 with LF
TOO_MANY = codes("4xx", "5xx")


def body_of(size_bytes: int) -> bytes:
    """CRLF lines of about that size."""
    return LINE * (size_bytes // len(LINE))


# maxbytes


@pytest.mark.rule("LIMIT-01")
@pytest.mark.parametrize("size_bytes", [100, 5_000, 8_500], ids=lambda size: f"{size} of 10000 bytes")
def test_a_message_under_maxbytes_is_taken(place: Place, size_bytes: int) -> None:
    place.table(smap={"maxbytes": 10_000})
    body = body_of(size_bytes)
    place.gather(body=body)
    expect_body("the message at the mailer", the_message(place).body, body)


@pytest.mark.rule("LIMIT-01")
@pytest.mark.parametrize("size_bytes", [12_000, 100_000, 5_000_000], ids=lambda size: f"{size} of 10000 bytes")
@pytest.mark.parametrize("lines", [True, False], ids=["in lines", "in one line"])
def test_a_message_over_maxbytes_is_refused(place: Place, size_bytes: int, lines: bool) -> None:
    place.table(smap={"maxbytes": 10_000})
    session = place.open_session()
    reply = place.send_mail(session, body=body_of(size_bytes) if lines else b"x" * size_bytes + b"\r\n")
    expect(f"reply to the end of a message of {size_bytes} bytes with maxbytes 10000", reply, REFUSED)
    nothing_taken(place, "a message over maxbytes")
    after = session.command(b"NOOP")
    if after is not None:  # it may close, but what it answers must be right
        expect("reply to NOOP after a message over maxbytes", after, codes(250, 421))
        expect("reply to a small message after it", place.send_mail(session), OK)
        expect("whole files after it", len(place.whole()), exactly(1))


@pytest.mark.rule("LIMIT-01")
def test_a_message_of_exactly_maxbytes_meets_a_clear_answer(place: Place, note: Any) -> None:
    place.table(smap={"maxbytes": 5000})
    session = place.open_session()
    body = b"x" * 98 + b"\r\n"
    reply = place.send_mail(session, body=body * 50)
    expect("reply to the end of 5000 bytes, CRLF counted, with maxbytes 5000", reply, codes(250, "5xx"))
    assert reply is not None
    note("LIMIT-01", f"a message of exactly maxbytes: {reply.code}")
    expect("whole files", len(place.whole()), exactly(1 if reply.code == 250 else 0))


@pytest.mark.rule("LIMIT-01", "SMTP-09")
def test_maxbytes_is_counted_for_each_message(place: Place) -> None:
    place.table(smap={"maxbytes": 10_000})
    session = place.open_session()
    for number in range(5):
        reply = place.send_mail(session, b"s%d@a.example" % number, body=body_of(6_000))
        expect(f"reply to message {number + 1} of 6000 bytes with maxbytes 10000", reply, OK)
    expect("whole files", len(place.whole()), exactly(5))


# maxrecip


def recipients_taken(session: Session, count: int, maxrecip: int) -> list[bytes]:
    """Offer `count` recipients; those up to `maxrecip` must be taken and the others refused."""
    taken = []
    for number in range(1, count + 1):
        name = b"r%d@localhost" % number
        reply = session.command(b"RCPT TO:<%s>" % name)
        wanted = OK if number <= maxrecip else TOO_MANY
        expect(f"reply to RCPT number {number} with maxrecip {maxrecip}", reply, wanted)
        if reply is not None and reply.code == 250:
            taken.append(name)
        if reply is None or reply.code == 421:
            break
    return taken


@pytest.mark.rule("LIMIT-02")
@pytest.mark.parametrize("maxrecip", [1, 2, 3, 50])
def test_recipients_over_maxrecip_are_refused(place: Place, maxrecip: int) -> None:
    place.table(smap={"maxrecip": maxrecip})
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    taken = recipients_taken(session, maxrecip + 3, maxrecip)
    reply = session.command(b"DATA")
    if reply is None or reply.code == 421:  # the session was ended: then nothing may come of it
        nothing_taken(place, "a session ended for too many recipients")
        return
    expect("reply to DATA after too many recipients", reply, GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    expect("recipients at the mailer", the_message(place).recipients, exactly(tuple(taken)))


@pytest.mark.rule("LIMIT-02", "SMTP-09")
@pytest.mark.parametrize("between", ["a message", "RSET", "HELO"])
def test_maxrecip_is_counted_for_each_message(place: Place, between: str) -> None:
    place.table(smap={"maxrecip": 2})
    session = place.open_session()
    for _ in range(3):
        ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
        recipients_taken(session, 2, 2)
        if between == "a message":
            ask(session, b"DATA", GO_ON)
            session.send(stuffed(BODY))
            expect("reply to the end of data", session.reply(), OK)
        elif ask(session, b"RSET" if between == "RSET" else b"HELO c.example", codes(250, 503)).code == 503:
            ask(session, b"RSET", OK)
    expect("whole files", len(place.whole()), exactly(3 if between == "a message" else 0))


# timeout

SILENT_AT: dict[str, list[bytes]] = {
    "before a word": [],
    "after HELO": [b"HELO c.example"],
    "after MAIL": [b"HELO c.example", b"MAIL FROM:<s@a.example>"],
    "after RCPT": [b"HELO c.example", b"MAIL FROM:<s@a.example>", b"RCPT TO:<alice@localhost>"],
    "after DATA": [b"HELO c.example", b"MAIL FROM:<s@a.example>", b"RCPT TO:<alice@localhost>", b"DATA"],
}


def expect_let_go(session: Session, when: str) -> list[Reply]:
    """The session must come to its end by itself: what smap said before it closed."""
    try:
        replies = session.replies()
    except Miss as miss_:
        raise Miss(f"a client that fell silent {when}, with timeout 1", "the end of its session", str(miss_)) from None
    session.exit_status()
    if replies:
        expect(f"last words to a client that fell silent {when}", replies[-1], codes(421))
    return replies


@pytest.mark.rule("LIMIT-03")
@pytest.mark.parametrize("when", SILENT_AT)
def test_a_silent_client_is_let_go(place: Place, when: str, note: Any) -> None:
    place.table(smap={"timeout": 1})
    session = place.connect()
    session.greeting()
    for line in SILENT_AT[when]:
        ask(session, line, codes(250, 354))
    replies = expect_let_go(session, when)
    note("LIMIT-03", f"{when}: {replies[-1].code if replies else 'closed without a word'}")
    nothing_taken(place, f"silence {when}")


DRIBBLES: dict[str, tuple[list[bytes], bytes]] = {
    "NOOP": ([b"HELO c.example"], b"NOOP\r\n"),
    "bytes of a command": ([b"HELO c.example"], b"x"),
    "RSET": ([b"HELO c.example"], b"RSET\r\n"),
    "bytes of a body": (SILENT_AT["after DATA"], b"x"),
    "lines of a body": (SILENT_AT["after DATA"], b"a line\r\n"),
}


@pytest.mark.rule("LIMIT-04")
@pytest.mark.parametrize(("lines", "piece"), rows(DRIBBLES))
def test_a_client_that_says_a_little_now_and_then_is_let_go(place: Place, lines: list[bytes], piece: bytes) -> None:
    place.table(smap={"timeout": 1})
    session = place.connect()
    session.greeting()
    for line in lines:
        ask(session, line, codes(250, 354))
    bound_s = 8 * place.scale
    end = time.monotonic() + bound_s
    while not session.ended:
        if time.monotonic() > end:
            miss(f"a client that sends {piece!r} every 0.2 s, with timeout 1", "the end of its session",
                 f"still served after {bound_s:g} s")  # fmt: skip
        session.send(piece)
        hear(session, 0.2)
    nothing_taken(place, "a client that only dribbled")


@pytest.mark.rule("LIMIT-03")
def test_a_client_within_the_timeout_is_served(place: Place) -> None:
    place.table(smap={"timeout": 60})
    session = place.open_session()
    session.quiet(1.2)  # no proof that the limit is 60 s, but that it is not one
    expect("reply to the end of data after a pause", place.send_mail(session), OK)


# The length of command lines

EDGES = [513, 514, 600, 1000, 1001, 1023, 1024, 1025, 1026, 2048, 4096, 8192, 16_385, 65_536, 100_000, 1_000_000]


def hidden(prefix: bytes, size_bytes: int) -> bytes:
    """A line of that size, CRLF included, of which every tail is itself a line that would be answered."""
    return (prefix + b" " + b"NOOP " * (size_bytes // 5 + 1))[: size_bytes - 2] + b"\r\n"


@pytest.mark.rule("LIMIT-05")
@pytest.mark.parametrize("verb", [b"NOOP", b"VRFY", b"HELO"], ids=bytes.decode)
def test_a_line_of_512_octets_gets_one_reply(place: Place, verb: bytes) -> None:
    line = verb + b" " + b"x" * (512 - len(verb) - 3)
    replies = exchange(place, b"HELO c.example\r\n" + line + b"\r\nNOOP\r\nQUIT\r\n")
    # RFC 5321 4.5.3.1.4: it must be received; the argument itself may be refused, but not as too long to read.
    expect_replies(f"HELO, {shown(line)}, NOOP, QUIT", replies, [OK, codes("2xx", "5xx"), OK, CLOSING])


@pytest.mark.rule("LIMIT-05")
def test_a_command_of_512_octets_works(place: Place) -> None:
    """The longest that RFC 5321 lets a client send: blanks make it up, so that no address is too long."""
    session = place.open_session()
    ask(session, b"NOOP".ljust(510), OK)
    envelope(session)
    ask(session, b"RSET", OK)


@pytest.mark.rule("LIMIT-05")
@pytest.mark.parametrize("size_bytes", EDGES)
@pytest.mark.parametrize("verb", [b"NOOP", b"XYZZY"], ids=bytes.decode)
def test_the_tail_of_a_long_line_is_no_command(place: Place, verb: bytes, size_bytes: int) -> None:
    session = place.open_session()
    session.send(hidden(verb, size_bytes) + b"QUIT\r\n")
    replies = session.replies()
    what = f"`{verb.decode()} NOOP NOOP …` of {size_bytes} octets in one line, QUIT"
    if len(replies) == 1 and replies[0].code == 421:
        return
    expect_replies(what, replies, [codes(250, "5xx") if verb == b"NOOP" else REFUSED, CLOSING])


@pytest.mark.rule("LIMIT-05")
@pytest.mark.parametrize("size_bytes", EDGES)
def test_the_head_of_a_long_line_is_no_command(place: Place, size_bytes: int) -> None:
    """Cut anywhere before its end, the line would be a valid RCPT."""
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    line = b"RCPT TO:<alice@localhost>".ljust(size_bytes - 10) + b"garbage!"
    session.send(line + b"\r\nDATA\r\nQUIT\r\n")
    replies = session.replies()
    if len(replies) == 1 and replies[0].code == 421:
        return
    what = f"RCPT TO:<alice@localhost>, blanks, `garbage!` ({size_bytes} octets), DATA, QUIT"
    expect_replies(what, replies, [REFUSED, codes(503, 554), CLOSING])


@pytest.mark.rule("LIMIT-05", "SMTP-10")
@pytest.mark.parametrize("size_bytes", [600, 2000, 20_000])
@pytest.mark.parametrize("verb", [b"MAIL FROM:", b"RCPT TO:"], ids=["sender", "recipient"])
def test_a_long_address_is_refused_or_kept_whole(place: Place, verb: bytes, size_bytes: int) -> None:
    address = b"a" * size_bytes + b"@localhost"
    session = place.open_session()
    if verb == b"RCPT TO:":
        ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    if ask(session, verb + b"<%s>" % address, codes(250, "5xx")).code != 250:
        ask(session, b"NOOP", OK)
        return
    if verb == b"MAIL FROM:":
        ask(session, b"RCPT TO:<%s>" % ALICE, OK)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), codes(250, "5xx"))
    for message in arrived(place, set_aside_is_fine=True):
        expect("the address at the mailer", address in (message.sender, *message.recipients), exactly(True))


@pytest.mark.rule("LIMIT-05", "LIMIT-07")
def test_a_line_without_end_is_refused_in_bounded_memory(place: Place) -> None:
    session = place.open_session()
    ask(session, b"NOOP", OK)
    before = peak_bytes(session.pid)
    for _ in range(16):
        session.send(b"NOOP " * 200_000)
    session.wait_read()
    after = peak_bytes(session.pid)
    session.send(b"\r\nQUIT\r\n")
    codes_seen = [reply.code for reply in session.replies()]
    one_refusal = such_that("[5xx, 221], or 421 and the end", _is_one_refusal)
    if not (session.was_reset and not codes_seen):
        expect("replies to a line of 16 MB, and QUIT", codes_seen, one_refusal, rule="LIMIT-05")
    if after and before and after - before > 8_000_000:
        grown = f"{(after - before) // 1_000_000} MB more than before"
        miss("peak memory of smap after a line of 16 MB", "at most 8 MB more than before", grown, rule="LIMIT-07")


def _is_one_refusal(seen: list[int]) -> bool:
    return (len(seen) == 2 and seen[0] // 100 == 5 and seen[1] == 221) or (bool(seen) and seen[-1] == 421)


# The length of body lines

DOTTED_AT = [998, 1000, 1001, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072]


def long_line(size_bytes: int) -> bytes:
    """One line without its CRLF; dots stand where a buffer's edge may be, and just before and behind it."""
    line = bytearray(b"x" * size_bytes)
    for edge in DOTTED_AT:
        for position in range(edge - 3, edge + 3):
            if 0 < position < size_bytes:
                line[position] = ord(".")
    return bytes(line)


@pytest.mark.rule("LIMIT-06")
@pytest.mark.parametrize("size_bytes", [997, 998])
def test_lines_of_up_to_998_bytes_pass(place: Place, size_bytes: int) -> None:
    body = b"Subject: long\r\n\r\n" + (long_line(size_bytes) + b"\r\n") * 3
    place.gather(body=body)
    expect_body("the message at the mailer", the_message(place).body, body)


@pytest.mark.rule("LIMIT-06")
@pytest.mark.parametrize("size_bytes", [999, 1000, 1023, 1024, 1025, 2000, 4096, 8192, 65_536, 1_048_576])
@pytest.mark.parametrize("where", ["amid", "only"])
def test_longer_lines_pass_whole_or_the_message_is_refused(place: Place, where: str, size_bytes: int) -> None:
    line = long_line(size_bytes) + b"\r\n"
    body = b"Subject: long\r\n\r\nbefore\r\n" + line + b".after\r\n" if where == "amid" else line
    session = place.open_session()
    reply = place.send_mail(session, body=body)
    expect(f"reply to the end of a message with a line of {size_bytes} bytes", reply, codes(250, "5xx"))
    messages: list[Message] = arrived(place)
    expect("messages that arrived", len(messages), exactly(int(reply is not None and reply.code == 250)))
    for message in messages:
        expect_body("the message at the mailer", message.body, body)


# Memory


def peak_bytes(pid: int) -> int:
    """The largest peak of resident memory (VmHWM) among a process and those below it; 0 where it cannot be seen."""
    peaks = [0]
    for each in (pid, *offspring.descendants(pid)):
        try:
            status = Path(f"/proc/{each}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")]
    return max(peaks)


@pytest.mark.rule("LIMIT-07")
@pytest.mark.parametrize("shape", ["in lines", "in one line"])
def test_memory_does_not_grow_with_the_message(place: Place, shape: str) -> None:
    session = place.open_session()
    expect("reply to a small message", place.send_mail(session, body=body_of(10_000)), OK)
    small = peak_bytes(session.pid)
    if not small:
        miss("/proc of a live smap", "its peak memory", "nothing")
    large = LINE * 1_000_000 if shape == "in lines" else b"x" * 51_000_000 + b"\r\n"
    reply = place.send_mail(session, body=large)
    expect("reply to a message of 51 MB without maxbytes", reply, codes(250, "5xx") if shape != "in lines" else OK)
    grown = peak_bytes(session.pid) - small
    if grown > 8_000_000:
        miss(
            f"peak memory of smap after 51 MB {shape}",
            "at most 8 MB more than after 10 kB",
            f"{grown // 1_000_000} MB more",
        )
    finish(session)
    if reply is not None and reply.code == 250:
        sizes = sorted(file.size_bytes for file in place.whole())
        expect("size of the spool file", sizes[-1], such_that("50 MB at least", lambda size: size >= 50_000_000))
