"""The grammar of command lines: what is taken, what is refused and how, and that there is nothing else."""

import errno

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from smap_reference import command, envelope, limit, reply
from smap_reference.command import Command, parse
from smap_reference.reply import Reply

REPLIES: set[Reply] = {value for value in vars(reply).values() if isinstance(value, Reply)}


def by_code(said: Reply) -> tuple[int, str]:
    return said.code, said.text


IN_ORDER = sorted(REPLIES, key=by_code)


WORDS = st.sampled_from([
    b"MAIL", b"RCPT", b"HELO", b"GET", b"NOOP", b" ", b"FROM:", b"TO:", b"<", b">", b"@", b":", b",", b"a",
    b"x.example", b"a" * 300,
    b"-", b"|", b"/", b"~", b".", b'"', b"\\", b"[", b"]", b"\t", b"\r", b"\n", b"\0", b"\xe9", b"SIZE=1",
])  # fmt: skip
LINES = (st.lists(WORDS, max_size=12).map(b"".join) | st.binary(max_size=40)).flatmap(
    lambda line: st.sampled_from(
        [line, line + b"\r\n", b"MAIL FROM:<" + line + b">\r\n", b"RCPT TO:<" + line + b">\r\n"]
    )
)


def asked(line: bytes) -> tuple[bytes, bytes] | Reply:
    found = parse(line)
    return (found.verb, found.argument) if isinstance(found, Command) else found


@given(LINES)
@example(b"")
@example(b"\r\n")
@example(b"RCPT\r\n")
@example(b"MAIL FROM:<@\r\n")
@example(b"MAIL FROM:<[>\r\n")
def test_every_line_is_a_command_or_a_refusal(line: bytes) -> None:
    found = parse(line)
    if isinstance(found, Reply):
        assert found in REPLIES
        assert found.refuses
        return
    assert found.verb in command.VERBS
    assert line.endswith(b"\r\n")
    assert len(line) <= limit.COMMAND_LINE_BYTES_MAX
    if found.verb in (b"MAIL", b"RCPT") and found.argument:
        assert envelope.is_inert(found.argument)
        assert not set(found.argument) & set(b' \t\r\n\0,"\\<>()|`')
        assert found.argument[:1] not in (b"-", b"/", b"|", b":", b"~", b".", b"@")
        assert found.argument in line
    if found.verb == b"RCPT":
        assert found.argument, "only a sender can be null"
    if found.verb in (b"HELO", b"EHLO"):
        assert found.argument
        assert not set(found.argument) & set(b" \t\r\n\0,\"\\<>()|`;$&'/")


@given(st.binary(max_size=30))
def test_an_address_that_is_taken_can_be_handed_to_a_mailer(address: bytes) -> None:
    assert not command.is_mailbox(address) or envelope.is_inert(address)


@pytest.mark.parametrize("byte", range(256))
def test_each_byte_in_and_before_an_address(byte: int) -> None:
    letter = bytes([byte])
    for address in (letter + b"a@x.example", b"a" + letter + b"b@x.example", b"a@x" + letter + b"y.example", letter):
        assert not command.is_mailbox(address) or envelope.is_inert(address)
    inside = letter.isalnum() or letter in b"!#$%&'*+-/=?^_{}~."
    assert command.is_mailbox(b"a" + letter + b"b") == (inside or letter == b"@")
    assert command.is_mailbox(letter + b"ab") == (inside and letter not in b"-/.~")


@pytest.mark.parametrize("verb", sorted(command.VERBS))
def test_the_case_of_letters_means_nothing(verb: bytes) -> None:
    rest = {b"HELO": b" x", b"EHLO": b" x", b"MAIL": b" FROM:<a@x>", b"RCPT": b" TO:<a@x>"}.get(verb, b"")
    wanted = asked(verb + rest + b"\r\n")
    assert isinstance(wanted, tuple)
    assert wanted[0] == verb
    assert asked(verb.lower() + rest.lower() + b"\r\n") == asked(verb.capitalize() + rest + b"\r\n") == wanted


TAKEN = [
    (b"NOOP", b"NOOP", b""),
    (b"NOOP  ", b"NOOP", b""),
    (b"NOOP \t", b"NOOP", b""),
    (b"NOOP anything at all", b"NOOP", b""),
    (b"VRFY postmaster", b"VRFY", b""),
    (b"VRFY", b"VRFY", b""),
    (b"QUIT ", b"QUIT", b""),
    (b"QUIT\t", b"QUIT", b""),
    (b"HELO \t c.example\t ", b"HELO", b"c.example"),
    (b"MAIL FROM:\t<s@a.example>", b"MAIL", b"s@a.example"),
    (b"HELO c.example", b"HELO", b"c.example"),
    (b"HELO   c.example  ", b"HELO", b"c.example"),
    (b"HELO [127.0.0.1]", b"HELO", b"[127.0.0.1]"),
    (b"EHLO [IPv6:::1]", b"EHLO", b"[IPv6:::1]"),
    (b"HELO under_score", b"HELO", b"under_score"),
    (b"HELO " + b"x" * 255, b"HELO", b"x" * 255),
    (b"MAIL FROM:<>", b"MAIL", b""),
    (b"MAIL FROM:<s@a.example>", b"MAIL", b"s@a.example"),
    (b"MAIL FROM: <s@a.example>", b"MAIL", b"s@a.example"),
    (b"MAIL  FROM:<s@a.example>  ", b"MAIL", b"s@a.example"),
    (b"MAIL FROM:<s@[127.0.0.1]>", b"MAIL", b"s@[127.0.0.1]"),
    (b"MAIL FROM:<@x.example,@[10.0.0.1]:s@a.example>", b"MAIL", b"s@a.example"),  # a source route is stripped
    (b"RCPT TO:<postmaster>", b"RCPT", b"postmaster"),
    (b"RCPT TO:<Postmaster>", b"RCPT", b"Postmaster"),
    (b"RCPT TO:<@x.example:postmaster>", b"RCPT", b"postmaster"),
    (b"RCPT TO:<a%b@x>", b"RCPT", b"a%b@x"),
    (b"RCPT TO:<x!a@x>", b"RCPT", b"x!a@x"),
    (b"RCPT TO:<a-b/c~d=e@x>", b"RCPT", b"a-b/c~d=e@x"),
    (b"RCPT TO:<$HOME{}@x>", b"RCPT", b"$HOME{}@x"),  # no shell ever sees it
    (b"RCPT TO:<" + b"l" * 64 + b"@" + b"d" * 255 + b">", b"RCPT", b"l" * 64 + b"@" + b"d" * 255),
]


@pytest.mark.parametrize(("line", "verb", "argument"), TAKEN, ids=lambda value: repr(value[:40]))
def test_taken(line: bytes, verb: bytes, argument: bytes) -> None:
    assert asked(line + b"\r\n") == (verb, argument)


REFUSED: list[tuple[Reply, list[bytes]]] = [
    (reply.NOT_RECOGNIZED, [b"", b" ", b"XYZZY", b"NOO", b"NOOPX", b" NOOP", b"\tNOOP", b"NOOP\tx", b"DEBUG", b"WIZ"]),
    (reply.NOT_RECOGNIZED, [b"KILL", b"SHOWQ", b"NO\rOP", b"NOOP\0", b"\0", b"RCPT TO:<a@x\0>", b"\xe9", b"."]),
    (
        reply.NOT_IMPLEMENTED,
        [b"EXPN staff", b"HELP", b"TURN", b"SEND FROM:<a@x>", b"SOML", b"saml x", b"VERB", b"ONEX"],
    ),
    (reply.NOT_IMPLEMENTED, [b"STARTTLS", b"AUTH PLAIN AAAA", b"BDAT 5 LAST", b"ETRN x"]),
    (reply.NO_ARGUMENT, [b"DATA x", b"RSET x", b"QUIT x", b"QUIT  x "]),
    (reply.HELLO_SYNTAX, [b"HELO", b"HELO ", b"EHLO", b"HELO a b", b"HELO " + b"x" * 256, b"HELO x;y", b"HELO $(id)"]),
    (
        reply.HELLO_SYNTAX,
        [b"HELO -x", b"HELO .x", b"HELO a..b", b"HELO []", b"HELO [a b]", b"HELO [127.0.0.1", b"HELO [a,b]"],
    ),
    (reply.HELLO_SYNTAX, [b"HELO caf\xe9", b"HELO <x>", b'HELO "x"']),
    (reply.MAIL_SYNTAX, [b"MAIL", b"MAIL FROM", b"MAIL FROM:", b"MAIL TO:<x>", b"MAIL FROM:s@a", b"MAIL FROM:<s@a"]),
    (reply.MAIL_SYNTAX, [b"MAIL FROM:s@a>", b"MAIL FROM:<s@a>garbage", b"MAIL FROM:<<s@a>>", b"MAIL FROM :<s@a>"]),
    (reply.MAIL_SYNTAX, [b'MAIL FROM:<"a>b"@x>', b"MAIL FROM:<a@x>,<b@x>", b"MAIL FROM:<a@x>\tSIZE=1"]),
    (
        reply.RCPT_SYNTAX,
        [b"RCPT", b"RCPT ", b"RCPT TO", b"RCPT TO:", b"RCPT FROM:<x>", b"RCPT TO:a@x", b"RCPT TO:<a@x"],
    ),
    (reply.RCPT_SYNTAX, [b"RCPT TO:<a@x>,<root@x>", b"RCPT TO:(x)<a@x>", b"RCPT TO:\xe9<a@x>"]),
    (
        reply.PARAMETERS_REFUSED,
        [b"MAIL FROM:<s@a> SIZE=100", b"MAIL FROM:<> BODY=8BITMIME", b"RCPT TO:<a@x> NOTIFY=NEVER"],
    ),
    (
        reply.NOT_SMTP,
        [b"GET / HTTP/1.1", b"get /", b"POST /x HTTP/1.1", b"GET", b"CONNECT x:25 HTTP/1.1", b"OPTIONS *"],
    ),
    (reply.NOT_SMTP, [b"POST /" + b"x" * 5000, b"POST /\0", b"POST /\r"]),  # whatever the rest of the line is
    (reply.LINE_TOO_LONG, [b"NOOP " + b"x" * 1018, b"x" * 100_000, b"RCPT TO:<" + b"x" * 5000 + b"@x>"]),
]
# Refused as sender and as recipient alike
NEVER = [
    b" ", b"a b@x", b" a@x", b"a@x ", b"a@x root@x", b"a,b@x", b"a@x,root@x", b"a\tb@x", b"a\x0bb@x", b"a\x7f@x",
    b"caf\xe9@x", b"a@caf\xe9", b"a\nb@x", b"a@x\nRCPT TO:<b@x",
    b"-q", b"-bd", b"--", b"-oQ/tmp/x", b"-C/tmp/x@localhost",
    b"|/bin/sh", b'"|/bin/sh"@x', b"/tmp/x", b"/tmp/x@y", b":include:/etc/passwd", b"~root@x", b";sleep 5;",
    b"`id`@x", b"$(id)@x", b"a|b@x", b"a;b@x",
    b'"a b"@x', b'"a\\"b"@x', b'"a@x', b'"a"@x', b"a\\b@x", b"a(x)@x", b"a@x(y)", b"<a@x",
    b"a@@x", b"a@", b"@x", b"@", b"@x:", b"@:a@x", b"@x,y:a@x", b"@x@y:a@z", b"@-x:a@y", b"@x,:a@y", b"@x:-a@y",
    b"a@b@x", b".a@x", b"a.@x", b"a..b@x", b"a@-x", b"a@.x", b"a@x..y", b"a@[]", b"a@[x", b"a@x]", b"a@[a b]",
    b"l" * 65 + b"@x", b"l" * 65, b"a@" + b"d" * 256, b"a@x:25", b"a@x/y",
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "refusal"),
    [(line, refusal) for refusal, lines in REFUSED for line in lines],
    ids=lambda value: repr(value)[:40],
)
def test_refused(line: bytes, refusal: Reply) -> None:
    assert asked(line + b"\r\n") is refusal


@pytest.mark.parametrize("address", NEVER, ids=lambda value: repr(value)[:40])
def test_no_address(address: bytes) -> None:
    syntax = (reply.MAIL_SYNTAX, reply.RCPT_SYNTAX)
    assert asked(b"MAIL FROM:<" + address + b">\r\n") in (reply.ADDRESS_REFUSED, *syntax)
    assert asked(b"RCPT TO:<" + address + b">\r\n") in (reply.ADDRESS_REFUSED, *syntax)


def test_only_a_sender_can_be_null() -> None:
    assert asked(b"RCPT TO:<>\r\n") is reply.ADDRESS_REFUSED


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\n\r", b" \n"])
@pytest.mark.parametrize("line", [b"NOOP", b"QUIT", b"MAIL FROM:<a@x>", b"XYZZY", b""])
def test_a_line_ends_with_crlf_only(line: bytes, end: bytes) -> None:
    assert asked(line + end) is reply.BARE_LINE_END


def test_a_line_is_at_most_so_long() -> None:
    room = limit.COMMAND_LINE_BYTES_MAX - len(b"NOOP \r\n")
    assert asked(b"NOOP " + b"x" * room + b"\r\n") == (b"NOOP", b"")
    assert asked(b"NOOP " + b"x" * (room + 1) + b"\r\n") is reply.LINE_TOO_LONG


@given(st.binary(min_size=1, max_size=40).filter(lambda text: b"\n" not in text), st.integers(0, 900))
@example(b"GET", 0)
@example(b"GET ", 0)
@example(b"POST / ", 3)
def test_the_beginning_of_a_long_line_is_judged_as_the_line(text: bytes, more: int) -> None:
    """A session answers a line as soon as it is too long, so the rest of it must not change the answer."""
    beginning = (text + b"x" * limit.COMMAND_LINE_BYTES_MAX)[: limit.COMMAND_LINE_BYTES_MAX + 1]
    assert asked(beginning) is asked(beginning + b" " * more + b"\r\n")


def test_what_a_command_is_shown_as() -> None:
    assert repr(parse(b"helo x\r\n")) == "Command(b'HELO', b'x')"


# Replies


@pytest.mark.parametrize("said", IN_ORDER, ids=lambda said: said.text)
def test_a_reply_is_one_line(said: Reply) -> None:
    line = said.line("h" * 255)
    assert len(line) <= 512
    assert line.endswith(b"\r\n")
    assert not set(line[:-2]) - set(range(0x20, 0x7F))
    assert line[:4] == b"%d " % said.code
    assert 200 <= said.code < 600


def test_each_reply_has_a_name_of_its_own() -> None:
    assert len({(said.code, said.text) for said in REPLIES}) == len(REPLIES)


def test_a_host_name_that_is_not_ascii_is_no_fault() -> None:
    assert reply.HELLO.line("caf\xe9") == b"250 caf?\r\n"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("ENOSPC", reply.NO_ROOM), ("EDQUOT", reply.NO_ROOM), ("EFBIG", reply.NO_ROOM)]
    + [(name, reply.LOCAL_ERROR) for name in ("EIO", "EACCES", "EROFS", "EMFILE", "ENOENT")],
)
def test_the_machines_fault_is_always_temporary(name: str, refusal: Reply) -> None:
    number: int = getattr(errno, name)
    assert reply.refusal(OSError(number, name)) is refusal
    assert refusal.code // 100 == 4


def test_an_error_without_a_number_is_temporary_too() -> None:
    assert reply.refusal(OSError("what?")) is reply.LOCAL_ERROR
