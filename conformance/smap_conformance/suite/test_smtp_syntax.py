"""SMTP: lines that are malformed, unknown, obsolete or no SMTP at all. Each gets one reply, and none does anything."""

from __future__ import annotations

import pytest

from smap_conformance.arrival import arrived, the_message
from smap_conformance.dialogue import Reply, stuffed
from smap_conformance.expect import Acceptable, codes, exactly, expect, miss, not_measured, one_of, shown, such_that
from smap_conformance.lab import Lab
from smap_conformance.place import Place
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
    nothing_taken,
    rows,
    still_alive,
)

WRONG_SYNTAX, UNKNOWN = codes(500, 501), codes(500, 502)
HELO, MAIL, RCPT = b"HELO c.example", b"MAIL FROM:<%s>" % SENDER, b"RCPT TO:<%s>" % ALICE

MALFORMED: dict[str, tuple[bytes, Acceptable]] = {
    "HELO alone": (b"HELO", WRONG_SYNTAX),
    "MAIL": (b"MAIL", WRONG_SYNTAX),
    "MAIL FROM": (b"MAIL FROM", WRONG_SYNTAX),
    "MAIL FROM colon": (b"MAIL FROM:", WRONG_SYNTAX),
    "MAIL TO": (b"MAIL TO:<x@a.example>", WRONG_SYNTAX),
    "MAIL without the colon": (b"MAIL FROM <s@a.example>", WRONG_SYNTAX),
    "RCPT": (b"RCPT", codes("50x")),
    "RCPT TO": (b"RCPT TO", codes("50x")),
    "RCPT TO colon": (b"RCPT TO:", codes("50x")),
    "RCPT FROM": (b"RCPT FROM:<x@a.example>", codes("50x")),
    "an unknown verb": (b"XYZZY", UNKNOWN),
    "a verb cut short": (b"NOO", UNKNOWN),
    "a verb too long": (b"NOOPX", UNKNOWN),
    "a verb glued to its argument": (b"MAILFROM:<s@a.example>", codes("50x")),
    "punctuation": (b"!@#$%^&*()", codes(500, 501, 502)),
    "a lone dot": (b".", codes(500, 501, 502)),
    "8-bit verb": (b"\xe4\xf6\xfc\xff", codes(500, 501, 502)),
    "CR inside a verb": (b"NO\rOP", REFUSED),
    "NUL inside a verb": (b"NO\0OP", REFUSED),
    "NUL after a verb": (b"NOOP\0", REFUSED),
    "NUL before a verb": (b"\0NOOP", REFUSED),
}


@pytest.mark.rule("SMTP-04")
@pytest.mark.parametrize("after", [HELO, MAIL], ids=["after HELO", "after MAIL"])
@pytest.mark.parametrize(("line", "wanted"), rows(MALFORMED))
def test_a_bad_line_gets_one_reply_and_the_session_goes_on(
    place: Place, after: bytes, line: bytes, wanted: Acceptable
) -> None:
    session = place.open_session()
    if after == MAIL:
        ask(session, MAIL, OK)
        wanted |= codes(503) if line.startswith((b"MAIL", b"HELO")) else wanted
    elif line.startswith(b"RCPT"):
        wanted |= codes(503)
    ask(session, line, wanted)
    still_alive(session, line)
    ask(session, b"RSET", OK)
    expect(f"reply to the end of data, after {shown(line)}", place.send_mail(session), OK)
    expect("whole files", len(place.whole()), exactly(1))


@pytest.mark.rule("SMTP-04")
@pytest.mark.parametrize("verb", [b"RSET", b"NOOP", b"DATA", b"QUIT"])
def test_a_needless_argument_is_overlooked_or_refused(place: Place, verb: bytes) -> None:
    session = place.open_session()
    envelope(session)
    taken = {b"DATA": (), b"QUIT": (221,)}.get(verb, (250,))
    reply = ask(session, verb + b" x", codes(*taken, 500, 501, 504))
    if reply.kind == 5:
        still_alive(session, verb + b" x")
        expect("reply to QUIT", session.command(b"QUIT"), CLOSING)
    nothing_taken(place, shown(verb + b" x"))


@pytest.mark.rule("SMTP-04")
def test_an_empty_line_is_refused_once_or_overlooked(place: Place) -> None:
    replies = exchange(place, HELO + b"\r\n\r\nNOOP\r\nQUIT\r\n")
    if len(replies) == 4:
        expect_replies("HELO, an empty line, NOOP, QUIT", replies, [OK, WRONG_SYNTAX | codes(502), OK, CLOSING])
    else:
        expect_replies("HELO, an empty line (overlooked), NOOP, QUIT", replies, [OK, OK, CLOSING])


@pytest.mark.rule("SMTP-04")
@pytest.mark.parametrize(
    "line", [b" NOOP", b"NOOP  ", b"NOOP\t", b"\tNOOP", b"RSET \t ", b"HELO  c.example "], ids=repr
)
def test_blanks_about_a_command_give_one_reply(place: Place, line: bytes) -> None:
    replies = exchange(place, HELO + b"\r\n" + line + b"\r\nNOOP\r\nQUIT\r\n")
    expect_replies(f"HELO, {line!r}, NOOP, QUIT", replies, [OK, codes(250, "5xx"), OK, CLOSING])


@pytest.mark.rule("SMTP-04")
def test_twenty_bad_commands_are_refused_one_by_one(place: Place) -> None:
    session = place.open_session()
    for number in range(1, 21):
        reply = session.command(b"XYZZY%d" % number)
        expect(f"reply to bad command number {number}", reply, codes(500, 502, 421))
        if reply is not None and reply.code == 421:
            expect("what follows 421", session.read_to_eof(), exactly(b""))
            return
    still_alive(session, "20 bad commands")
    expect("reply to the end of data", place.send_mail(session), OK)


# Line ends


@pytest.mark.rule("SMTP-04")
def test_a_bare_lf_ends_every_command_or_none(place: Place) -> None:
    """Three ways are open: it ends a line; the line is refused for it; it is part of a line that CRLF ends."""
    found = {}
    stages: dict[bytes, bytes] = {
        HELO: b"",
        b"NOOP": HELO + b"\r\n",
        b"RSET": HELO + b"\r\n",
        MAIL: HELO + b"\r\n",
        RCPT: HELO + b"\r\n" + MAIL + b"\r\n",
    }
    for line, before in stages.items():
        replies = exchange(place, before + line + b"\nNOOP\r\nQUIT\r\n")
        found[line] = _bare_lf(line, replies[before.count(b"\r\n") :])
    if len(set(found.values())) != 1:
        miss(
            "a command that ends with a bare LF", "the same treatment for each", {shown(k): v for k, v in found.items()}
        )
    nothing_taken(place, "commands only")


def _bare_lf(line: bytes, replies: list[Reply]) -> str:  # noqa: RET503 - a miss is the end
    """What became of `line LF NOOP CRLF QUIT CRLF`."""
    ways = {
        "it ends the line": [OK, OK, CLOSING],
        "the line is refused": [REFUSED, OK, CLOSING],
        "it ends no line": [REFUSED, CLOSING],
    }
    for name, wanted in ways.items():
        if len(wanted) == len(replies) and all(a.holds(r) for a, r in zip(wanted, replies, strict=True)):
            return name
    acceptable = " · or ".join(f"{name}: {', '.join(a.words for a in wanted)}" for name, wanted in ways.items())
    miss(f"replies to {line!r} LF NOOP CRLF QUIT CRLF", acceptable, ", ".join(map(str, replies)) or "none")


@pytest.mark.rule("SMTP-04", "SMTP-10")
def test_two_rcpt_parted_by_a_bare_lf_are_two_commands_or_one_bad_one(place: Place) -> None:
    lines = [HELO, MAIL, b"RCPT TO:<a@localhost>\nRCPT TO:<b@localhost>", b"NOOP", b"RSET", b"QUIT", b""]
    replies = exchange(place, b"\r\n".join(lines))
    one, either = [REFUSED], [codes(250, "5xx")] * 2
    wanted = [OK, OK, *(one if len(replies) == 6 else either), OK, OK, CLOSING]
    expect_replies("HELO, MAIL, RCPT LF RCPT (two replies, or one 5xx), NOOP, RSET, QUIT", replies, wanted)


@pytest.mark.rule("SMTP-10")
def test_a_bare_lf_never_becomes_part_of_an_address(place: Place) -> None:
    session = place.open_session()
    ask(session, MAIL, OK)
    session.send(b"RCPT TO:<a@localhost>\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost\nRCPT d@localhost>\r\n")
    session.send(b"RCPT TO:<alice@localhost>\r\nDATA\r\n")
    while (reply := session.reply()) is not None and reply.code != 354:
        expect("reply to RCPT", reply, codes(250, "5xx"))
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    message = the_message(place)
    taken = {b"a@localhost", b"b@localhost", ALICE}
    expect("recipients", message.recipients, such_that(f"some of {sorted(taken)}", lambda found: set(found) <= taken))


# What no smap does

OBSOLETE = [b"DEBUG", b"WIZ", b"KILL", b"SHOWQ", b"VERB", b"ONEX", b"XADR", b"ADMIN"]
TURNS = [b"TURN", b"SEND FROM:<s@a.example>", b"SOML FROM:<s@a.example>", b"SAML FROM:<s@a.example>"]


@pytest.mark.rule("SMTP-11")
@pytest.mark.parametrize("line", OBSOLETE, ids=bytes.decode)
def test_a_command_of_old_does_nothing(place: Place, line: bytes) -> None:
    canary = place.root / "canary"
    canary.mkdir()
    canary.chmod(0o1777)
    program = b"|/bin/touch %s/touched" % bytes(canary)
    plain = place.open_session()
    control = [plain.command(b"MAIL FROM:<%s>" % program), plain.command(b"RCPT TO:<%s>" % program)]
    plain.close()
    session = place.open_session()
    ask(session, line, codes("5xx", "2xx"))
    for verb, without in zip((b"MAIL FROM:", b"RCPT TO:"), control, strict=True):
        reply = session.command(verb + b"<%s>" % program)
        assert without is not None
        expect(f"reply to {verb!r} with a program, after {line!r}", getattr(reply, "code", None), exactly(without.code))
    ask(session, b"RSET", OK)
    expect("reply to the end of data", place.send_mail(session), OK)
    expect("envelope", the_message(place).recipients, exactly((ALICE,)))
    expect("files made by the program address", [path.name for path in canary.iterdir()], exactly([]))


@pytest.mark.rule("SMTP-11")
@pytest.mark.parametrize("line", TURNS, ids=lambda line: line[:4].decode())
def test_no_mail_flows_back_and_none_to_terminals(place: Place, line: bytes) -> None:
    place.gather()
    session = place.open_session()
    ask(session, line, REFUSED)
    ask(session, b"RCPT TO:<%s>" % ALICE, codes(503))
    still_alive(session, line)
    expect("whole files after it", len(place.whole()), exactly(1))


HTTP = b"%s / HTTP/1.1\r\nHost: firewall.example:25\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n"
SMUGGLED = b"\r\n".join([HELO, MAIL, RCPT, b"DATA", b"Subject: from a browser", b"", b"x", b".", b"QUIT", b""])


@pytest.mark.rule("SMTP-11")
@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT"], ids=bytes.decode)
def test_a_web_browser_delivers_nothing(place: Place, method: bytes) -> None:
    """A web page can make a browser behind the firewall send to port 25, with SMTP in the body of its request."""
    session = place.connect()
    session.greeting()
    session.send(HTTP % method + SMUGGLED)
    session.half_close()
    first = session.reply()
    closed = such_that("a closed connection", lambda reply: reply is None)
    expect(f"reply to {method.decode()} / HTTP/1.1", first, codes("5xx", 421) | closed)
    session.read_to_eof()
    session.exit_status()
    nothing_taken(place, f"an HTTP {method.decode()} whose body holds SMTP commands")


# The client's name, which comes from anybody

NAMES: dict[str, bytes] = {
    "5000 octets": b"a" * 5000,
    "shell characters": b"$(id>/tmp/x);`id`|id",
    "quotes": b"a\"b'c",
    "a header line": b"x\ty: z",
    "an escape sequence": b"a\x1b[2Jb",
    "8-bit": b"\xe4\xf6\xfc.example",
    "a heading line": b"x RCPT evil@localhost",
}


@pytest.mark.rule("SMTP-04", "SMTP-14")
@pytest.mark.parametrize("name", rows(NAMES))
def test_a_strange_name_in_helo_gets_one_reply_and_no_place_in_the_message(place: Place, name: bytes) -> None:
    session = place.connect()
    session.greeting()
    if ask(session, b"HELO " + name, codes(250, "5xx"), rule="SMTP-04").code != 250:
        ask(session, HELO, OK, rule="SMTP-04")
    expect("reply to the end of data", place.send_mail(session), OK, rule="SMTP-04")
    message = the_message(place)
    expect("recipients", message.recipients, exactly((ALICE,)), rule="SMTP-04")
    if name in message.trace:
        miss("the Received: line", f"not the client's name as it came ({shown(name)})", message.trace, rule="SMTP-14")
    strange = [byte for byte in message.trace if byte >= 0x7F or (byte < 0x20 and byte not in b"\t\r\n")]
    expect("control and 8-bit characters in the Received: line", bytes(strange), exactly(b""), rule="SMTP-14")


@pytest.mark.rule("OPS-02")
@pytest.mark.parametrize("where", [b"HELO %s", b"MAIL FROM:<%s>", b"%s"], ids=["HELO", "MAIL", "a verb"])
def test_nothing_the_client_says_reaches_the_log_raw(lab: Lab, where: bytes) -> None:
    if not lab.sandbox.means.log:
        not_measured("the log cannot be caught without namespaces")
    with lab.place() as place:
        session = place.open_session()
        reply = session.command(where % b"x\x1b[2Jy\x07\xff z")
        expect("reply", reply, codes(250, "5xx"))
        session.command(b"QUIT")
        session.read_to_eof()
        session.exit_status()
        raw = [line for line in place.log() if any(ord(c) < 0x20 or ord(c) == 0x7F for c in line)]
        expect("log lines with control characters in them", raw, exactly([]))


@pytest.mark.rule("SMTP-04", "SMTP-10")
@pytest.mark.parametrize(
    "line",
    rows({
        "sender": b"MAIL FROM:<s@a.example\0.evil>",
        "end of the sender": b"MAIL FROM:<s@a.example>\0",
        "recipient": b"RCPT TO:<alice@localhost\0.evil>",
        "end of the recipient": b"RCPT TO:<alice@localhost>\0 evil",
        "HELO": b"HELO c\0.example",
    }),
)  # fmt: skip
def test_a_nul_is_refused_and_cuts_nothing(place: Place, line: bytes) -> None:
    session = place.open_session()
    if line.startswith(b"RCPT"):
        ask(session, MAIL, OK)
    ask(session, line, REFUSED)
    still_alive(session, line)


@pytest.mark.rule("SMTP-10")
@pytest.mark.parametrize("verb", [b"MAIL FROM:", b"RCPT TO:"], ids=["sender", "recipient"])
def test_8_bit_in_an_address_is_refused_or_kept_raw(place: Place, verb: bytes) -> None:
    strange = b"j\xfcrgen\xff@localhost"
    session = place.open_session()
    if verb == b"RCPT TO:":
        ask(session, MAIL, OK)
    taken = ask(session, verb + b"<%s>" % strange, codes(250, "5xx")).code == 250
    still_alive(session, "an 8-bit address")
    if not taken:
        return
    if verb == b"MAIL FROM:":
        ask(session, RCPT, OK)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    for message in arrived(place, set_aside_is_fine=True):
        found = message.sender if verb == b"MAIL FROM:" else message.recipients[0]
        expect("the address at the mailer", found, one_of(strange))
