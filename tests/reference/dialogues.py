"""Whole dialogues as data: what is sent, what is answered, what arrives."""

from dataclasses import dataclass

from model import stuffed
from playing import Message
from smap_reference import limit
from smap_simulator.client import FAKE_ENDS

HELO, QUIT = b"HELO c.example\r\n", b"QUIT\r\n"
MAIL, RCPT, DATA = b"MAIL FROM:<s@a.example>\r\n", b"RCPT TO:<alice@localhost>\r\n", b"DATA\r\n"
TEXT = b"Subject: one\r\n\r\nfirst\r\n"
BODY = b"Subject: one\n\nfirst\n"
SEND = MAIL + RCPT + DATA + TEXT + b".\r\n"
MAIL_OF_OTHER = b"MAIL FROM:<t@b.example>\r\n"
OTHER = MAIL_OF_OTHER + b"RCPT TO:<root@localhost>\r\nDATA\r\nSubject: two\r\n\r\nsecond\r\n.\r\n"
ONE = Message(b"s@a.example", (b"alice@localhost",), BODY)
TWO = Message(b"t@b.example", (b"root@localhost",), b"Subject: two\n\nsecond\n")
OPEN = HELO + MAIL + RCPT + DATA


def one(body: bytes) -> tuple[Message]:
    return (Message(ONE.sender, ONE.recipients, body),)


def mails(*paths: bytes) -> bytes:
    return b"".join(b"MAIL " + path + b"\r\n" for path in paths)


def rcpts(*paths: bytes) -> bytes:
    return b"".join(b"RCPT " + path + b"\r\n" for path in paths)


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sent: bytes
    codes: str  # of the replies after the greeting; `250*3` is three of them
    messages: tuple[Message, ...] = ()
    left: str = ""
    message_bytes_max: int | None = None
    recipients_max: int | None = None

    def wanted(self) -> list[int]:
        found = [220]
        for word in self.codes.split():
            code, _, times = word.partition("*")
            found += [int(code)] * int(times or 1)
        return found


def fake_end(name: str, end: bytes) -> Case:
    """Where an end of data is expected stands none, and a second transaction follows: all of it is one message."""
    smuggled = TEXT + b"x" + end + OTHER[: -len(b".\r\n")]
    body = smuggled.replace(b"\r\n.", b"\r\n").replace(b"\r\n", b"\n")
    return Case(f"fake end {name}", OPEN + smuggled + b".\r\n" + QUIT, "250*3 354 250 221", one(body), "quit")


CASES = [
    # The session and its order
    Case("a client that says nothing", b"", ""),
    Case("quits at once", QUIT, "221", left="quit"),
    Case("what follows QUIT is not read", QUIT + HELO + SEND, "221", left="quit"),
    Case("a message", HELO + SEND + QUIT, "250*3 354 250 221", (ONE,), "quit"),
    Case("a message after EHLO", b"EHLO c.example\r\n" + SEND, "250*3 354 250", (ONE,)),
    Case("two messages", HELO + SEND + OTHER, "250*3 354 250 250*2 354 250", (ONE, TWO)),
    Case("a message needs its own MAIL", HELO + SEND + RCPT + DATA, "250*3 354 250 503*2", (ONE,)),
    Case("small letters", (HELO + MAIL + RCPT + DATA).lower() + TEXT + b".\r\n", "250*3 354 250", (ONE,)),
    Case("HELO without a name", b"HELO\r\n" + MAIL, "501 503"),
    Case("MAIL before HELO", MAIL + HELO + SEND, "503 250*3 354 250", (ONE,)),
    Case("RCPT and DATA too early", HELO + RCPT + DATA + MAIL + DATA + RCPT + DATA, "250 503*2 250 503 250 354"),
    Case(
        "a second MAIL changes nothing",
        HELO + MAIL + MAIL_OF_OTHER + SEND[len(MAIL) :],
        "250*2 503 250 354 250",
        (ONE,),
    ),
    Case("HELO forgets the sender", HELO + MAIL + HELO + RCPT + DATA, "250*3 503*2"),
    Case(
        "EHLO forgets the recipients",
        HELO + MAIL + RCPT + b"EHLO x\r\n" + DATA + OTHER,
        "250*4 503 250*2 354 250",
        (TWO,),
    ),
    Case("RSET forgets", HELO + MAIL + RCPT + b"RSET\r\n" + RCPT + DATA + OTHER, "250*4 503*2 250*2 354 250", (TWO,)),
    Case("RSET before HELO is no HELO", b"RSET\r\n" + MAIL, "250 503"),
    Case("RSET, DATA, QUIT take no argument", HELO + b"RSET x\r\nDATA x\r\nQUIT x\r\nNOOP x\r\n", "250 501*3 250"),
    Case(
        "RSET with an argument forgets nothing",
        HELO + MAIL + b"RSET x\r\n" + SEND[len(MAIL) :],
        "250*2 501 250 354 250",
        (ONE,),
    ),
    Case(
        "DATA with an argument",
        HELO + MAIL + RCPT + b"DATA x\r\n" + DATA + TEXT + b".\r\n",
        "250*3 501 354 250",
        (ONE,),
    ),
    Case("VRFY tells nothing", HELO + b"VRFY root\r\nEXPN root\r\nHELP\r\n", "250 252 502*2"),
    Case(
        "what sendmail once did",
        b"DEBUG\r\nWIZ\r\nKILL\r\nSHOWQ\r\nVERB\r\nONEX\r\nTURN\r\nSEND\r\nSOML\r\nSAML\r\n",
        "500*4 502*6",
    ),
    Case("DEBUG gains nothing", HELO + b"DEBUG\r\nMAIL FROM:<|/bin/sh>\r\nMAIL FROM:</tmp/x>\r\n", "250 500 553*2"),
    Case("no command", b"XYZZY\r\nNOO\r\nNOOPX\r\n\r\n \r\n NOOP\r\nNOOP  \r\nNOOP \t\r\n", "500*6 250*2"),
    Case("every line has one reply", b"NOOP\r\n" * 300, "250*300"),
    # Lines
    Case("a bare LF ends a line, and refuses it", b"NOOP\nHELO x\nQUIT\n" + b"NOOP\r\n", "500*3 250"),
    Case("a bare LF in an address", HELO + MAIL + b"RCPT TO:<a@x>\nRCPT TO:<b@x>\r\n" + DATA, "250*2 500 250 354"),
    Case("CR LF CR LF", b"\r\n\r\n", "500*2"),
    Case("CR within a line", b"NO\rOP\r\nNOOP\r\r\nNOOP\r\n", "500*2 250"),
    Case(
        "NUL", HELO + b"NO\0OP\r\nMAIL FROM:<a@x\0>\r\n" + MAIL + b"RCPT TO:<a\0@x>\r\n" + DATA, "250 500*2 250 500 503"
    ),
    Case(
        "8 bit",
        HELO + b"MAIL FROM:<caf\xe9@x>\r\n\xff\xfe\r\n" + MAIL + b"RCPT TO:<\xc3\xa9@x>\r\n",
        "250 553 500 250 553",
    ),
    Case("512 octets", b"NOOP " + b"x" * 505 + b"\r\n", "250"),
    Case("as long as we take", b"NOOP " + b"x" * (limit.COMMAND_LINE_BYTES_MAX - 7) + b"\r\n", "250"),
    Case("one more", b"NOOP " + b"x" * (limit.COMMAND_LINE_BYTES_MAX - 6) + b"\r\nNOOP\r\n", "500 250"),
    Case("the tail of a long line is no command", b"NOOP " + b"x" * 16380 + HELO + SEND, "500 503*3 500*4"),
    Case("100 kB", b"x" * 100_000 + b"\r\nNOOP\r\n", "500 250"),
    Case("a long line that ends in a bare LF", b"x" * 5000 + b"\nNOOP\r\n", "500 250"),
    Case("two long lines", (b"x" * 5000 + b"\r\n") * 2 + b"NOOP\r\n", "500*2 250"),
    Case("a line without an end", b"x" * 5000, "500"),
    Case("a line that might still end", b"NOOP", ""),
    Case("a command without its LF", b"NOOP\r", ""),
    Case("HELO with a literal", b"HELO [127.0.0.1]\r\nHELO [IPv6:::1]\r\n", "250*2"),
    Case(
        "HELO with 5000 octets", b"HELO " + b"x" * 5000 + b"\r\nHELO x;reboot\r\nHELO $(id)\r\n" + MAIL, "500 501*2 503"
    ),
    Case("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HELO + SEND, "421", left="not SMTP"),
    Case(
        "a page that sends mail", b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n" + HELO + SEND, "421", left="not SMTP"
    ),
    Case("with a long path", b"POST /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n" + HELO + SEND, "421", left="not SMTP"),
    Case("with a path without an end", b"POST /" + b"x" * 2000, "421", left="not SMTP"),
    Case("a browser in a transaction", HELO + MAIL + RCPT + b"PUT /x\r\n" + DATA, "250*3 421", left="not SMTP"),
    Case("as many refusals as we stand", b"XYZZY\r\n" * 100 + HELO + SEND, "500*100 250*3 354 250", (ONE,)),
    Case("one more refusal", b"XYZZY\r\n" * 101 + HELO + SEND, "500*101 421", left="too many errors"),
    Case(
        "refusals add up",
        (b"x\r\n" * 51 + HELO + SEND) * 2,
        "500*51 250*3 354 250 500*50 421",
        (ONE,),
        "too many errors",
    ),
    # MAIL and RCPT
    Case(
        "a bounce",
        HELO + b"MAIL FROM:<>\r\n" + SEND[len(MAIL) :],
        "250*3 354 250",
        (Message(b"", ONE.recipients, BODY),),
    ),
    Case("a null recipient", HELO + MAIL + b"RCPT TO:<>\r\n" + DATA, "250*2 553 503"),
    Case("no brackets", HELO + b"MAIL FROM: s@a.example\r\n" + MAIL + b"RCPT TO: a@x\r\n", "250 501 250 501"),
    Case(
        "no argument",
        HELO + mails(b"", b"FROM", b"FROM:", b"TO:<x>") + MAIL + rcpts(b"", b"TO", b"TO:", b"FROM:<x>"),
        "250 501*4 250 501*4",
    ),
    Case(
        "brackets that do not match",
        HELO + mails(b"FROM:<s@a", b"FROM:s@a>", b"FROM:<<s@a>>", b"FROM:<s@a>x"),
        "250 501*4",
    ),
    Case("parameters", HELO + mails(b"FROM:<s@a> SIZE=100", b"FROM:<s@a> SIZE=rabbit", b"FROM:<s@a> X"), "250 555*3"),
    Case(
        "a source route",
        HELO + mails(b"FROM:<@x,@y:s@a.example>") + rcpts(b"TO:<@z:alice@localhost>") + SEND[len(MAIL + RCPT) :],
        "250*3 354 250",
        (ONE,),
    ),
    Case(
        "options for the mailer",
        HELO + MAIL + rcpts(b"TO:<-oQ/tmp/x>", b"TO:<-C/tmp/x@localhost>", b"TO:<-bd>", b"TO:<-->", b"TO:<-q>") + DATA,
        "250*2 553*5 503",
    ),
    Case(
        "two recipients in one RCPT",
        HELO + MAIL + rcpts(b"TO:<a,b@x>", b"TO:<a@x>,<root@x>", b"TO:<a@x root@x>", b"TO:<a b@x>") + DATA,
        "250*2 553 501 553*2 503",
    ),
    Case(
        "no domain",
        HELO + b"MAIL FROM:<postmaster>\r\nRCPT TO:<Postmaster>\r\n" + DATA + b".\r\n",
        "250*3 354 250",
        (Message(b"postmaster", (b"Postmaster",), b""),),
    ),
    Case(
        "100 recipients",
        HELO + MAIL + rcpts(*(b"TO:<r%d@x>" % n for n in range(100))) + DATA + b".\r\n",
        "250*102 354 250",
        (Message(b"s@a.example", tuple(b"r%d@x" % n for n in range(100)), b""),),
    ),
    Case(
        "a recipient twice",
        HELO + MAIL + RCPT * 2 + DATA + b".\r\n",
        "250*4 354 250",
        (Message(ONE.sender, ONE.recipients * 2, b""),),
    ),
    Case(
        "too many recipients",
        HELO + MAIL + RCPT * 4 + DATA + TEXT + b".\r\n",
        "250*4 452*2 354 250",
        (Message(ONE.sender, ONE.recipients * 2, BODY),),
        recipients_max=2,
    ),
    Case(
        "recipients are counted for each message",
        HELO + SEND + OTHER + SEND,
        "250*3 354 250 250*2 354 250 250*2 354 250",
        (ONE, TWO, ONE),
        recipients_max=1,
    ),
    Case(
        "and afresh after RSET",
        HELO + MAIL + RCPT * 2 + b"RSET\r\n" + SEND,
        "250*3 452 250*3 354 250",
        (ONE,),
        recipients_max=1,
    ),
    Case("all recipients refused", HELO + MAIL + b"RCPT TO:<-q>\r\n" * 2 + DATA + TEXT, "250*2 553*2 503 500*3"),
    # DATA
    Case("an empty message", OPEN + b".\r\n", "250*3 354 250", one(b"")),
    Case("an empty line", OPEN + b"\r\n.\r\n", "250*3 354 250", one(b"\n")),
    Case("dots", OPEN + b"..\r\n...\r\n.x\r\n..x\r\na..\r\n.\r\n", "250*3 354 250", one(b".\n..\nx\n.x\na..\n")),
    Case("a lone dot that is text", OPEN + stuffed(b"a\n.\nb\n"), "250*3 354 250", one(b"a\n.\nb\n")),
    Case("no end yet", OPEN + TEXT + b"\r\n.\r", "250*3 354"),
    Case(
        "DATA refused, then lines of a body",
        HELO + MAIL + DATA + TEXT + b".\r\n" + QUIT,
        "250*2 503 500*4 221",
        (),
        "quit",
    ),
    Case(
        "lines of 2000 and 64 kB",
        OPEN + b"x" * 2000 + b"\r\n" + b"y" * 65536 + b"\r\n.\r\n",
        "250*3 354 250",
        one(b"x" * 2000 + b"\n" + b"y" * 65536 + b"\n"),
    ),
    Case("bare LF and CR", OPEN + b"a\nb\rc\n\rd\r\r\n.\r\n", "250*3 354 250", one(b"a\nb\rc\n\rd\r\n")),
    Case("all values", OPEN + bytes(range(256)) + b"\r\n.\r\n", "250*3 354 250", one(bytes(range(256)) + b"\n")),
    Case(
        "what a spool file could take for its own",
        OPEN + b"From x\r\nFROM y\r\nRCPT z\r\nBODY\r\n.\r\n",
        "250*3 354 250",
        one(b"From x\nFROM y\nRCPT z\nBODY\n"),
    ),
    Case(
        "commands in a body",
        OPEN + b"QUIT\r\nRSET\r\nDATA\r\n.\r\nNOOP\r\n",
        "250*3 354 250*2",
        one(b"QUIT\nRSET\nDATA\n"),
    ),
    Case("as big as may be", HELO + SEND, "250*3 354 250", (ONE,), message_bytes_max=len(BODY)),
    Case(
        "one byte too big",
        HELO + SEND + OTHER[:-3] + b"..\r\n.\r\n" + SEND,
        "250*3 354 552 250*2 354 552 250*2 354 552",
        message_bytes_max=len(BODY) - 1,
    ),
    Case(
        "too big, and the next is not",
        HELO + SEND + MAIL + RCPT + DATA + b".\r\n",
        "250*3 354 552 250*2 354 250",
        one(b""),
        message_bytes_max=5,
    ),
    Case("far too big", OPEN + b"x" * 20_000 + b"\r\n.\r\nNOOP\r\n", "250*3 354 552 250", message_bytes_max=1000),
    Case("too big, without an end", OPEN + b"x" * 5000, "250*3 354", message_bytes_max=1000),
    Case(
        "sizes do not add up",
        HELO + SEND * 3,
        "250*3 354 250 250*2 354 250 250*2 354 250",
        (ONE,) * 3,
        message_bytes_max=len(BODY),
    ),
] + [fake_end(name, end) for name, end in FAKE_ENDS.items()]
