"""SMTP: senders and recipients, the harmless and the hostile. What counts is what reaches the mailer as arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from smap_conformance.arrival import Message, address_of, arrived, the_message
from smap_conformance.dialogue import stuffed
from smap_conformance.expect import Miss, codes, exactly, expect, miss, one_of, shown, such_that
from smap_conformance.place import Place
from smap_conformance.spool import PARTIAL
from smap_conformance.suite.talk import (
    ALICE,
    BODY,
    GO_ON,
    OK,
    REFUSED,
    SENDER,
    ask,
    envelope,
    nothing_taken,
    rows,
    still_alive,
)

SIDES = pytest.mark.parametrize("side", ["sender", "recipient"])
EITHER = codes(250, "5xx")
EMPTY_FORMS = one_of("<>", "", '""')


def offer(place: Place, side: str, path: bytes) -> list[Message] | None:
    """Send `path`, brackets included, as sender or recipient: what arrived of the message, None when it was refused."""
    session = place.open_session()
    if side == "sender":
        line = b"MAIL FROM:" + path
    else:
        ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
        line = b"RCPT TO:" + path
    if ask(session, line, EITHER).code != 250:
        still_alive(session, line)
        return None
    if side == "sender":
        ask(session, b"RCPT TO:<%s>" % ALICE, OK)
    if ask(session, b"DATA", codes(354, "5xx")).code != 354:
        return None
    session.send(stuffed(BODY))
    reply = session.reply()
    expect(f"reply to the end of data after {shown(line)}", reply, EITHER)
    return arrived(place, set_aside_is_fine=True) if reply is not None and reply.code == 250 else None


def words_of(messages: list[Message], side: str) -> list[str]:
    """The argument, one for each run, that stands where the offered address belongs. Miss when there are more."""
    found = []
    for message in messages:
        run = message.run
        if len(run.recipients) != 1:
            raise Miss("arguments from one recipient", "one", run.describe())
        found.append(run.sender or "" if side == "sender" else run.recipients[0])
    return found


def expect_inert(messages: list[Message], side: str, path: bytes) -> None:
    """Miss when an argument could act: an option among the recipients, or a control character anywhere."""
    for word in words_of(messages, side):
        if side == "recipient" and word.startswith("-"):
            raise Miss(f"the mailer's argument for {path!r}", "none that begins with `-`", repr(word))
        if any(ord(c) < 0x20 or ord(c) == 0x7F for c in word):
            raise Miss(f"the mailer's argument for {path!r}", "no control characters", repr(word))


# Ordinary addresses


@pytest.mark.rule("SMTP-07")
def test_the_null_sender_is_taken_and_has_one_form(place: Place) -> None:
    for number in range(2):
        session = place.open_session()
        ask(session, b"MAIL FROM:<>", OK)
        ask(session, b"RCPT TO:<bounce%d@localhost>" % number, OK)
        ask(session, b"DATA", GO_ON)
        session.send(stuffed(BODY))
        expect("reply to the end of data", session.reply(), OK)
        ask(session, b"QUIT", codes(221))
    forms = [message.run.sender for message in arrived(place)]
    expect("number of messages from <> that arrived", len(forms), exactly(2))
    expect("what follows -f for the null sender", forms[0], EMPTY_FORMS)
    expect("what follows -f the second time", forms[1], exactly(forms[0]))


@pytest.mark.rule("SMTP-07")
def test_the_null_path_is_no_recipient(place: Place) -> None:
    session = place.open_session()
    ask(session, b"MAIL FROM:<>", OK)
    ask(session, b"RCPT TO:<>", REFUSED)
    ask(session, b"DATA", codes(503, 554))
    still_alive(session, "RCPT TO:<>")
    nothing_taken(place, "a message to nobody")


ATOM = b"a!#$%&'*+/=?^_{}b~c@b.example"
DOMAIN_255 = b".".join([b"d" * 63] * 3 + [b"e" * 63])
ORDINARY: dict[str, bytes] = {
    "plain": b"alice@b.example",
    "a user inside": b"alice",
    "postmaster": b"postmaster",
    "Postmaster": b"Postmaster",
    "dots and dashes": b"first.last-name@mail-1.b.example",
    "a tag": b"alice+list=b.example@c.example",
    "a long local part": b"l" * 64 + b"@b.example",
    "a long domain": b"a@" + DOMAIN_255,
    "capitals": b"Alice.Smith@B.Example",
}


@pytest.mark.rule("SMTP-02", "MAILER-01")
@SIDES
@pytest.mark.parametrize("address", rows(ORDINARY))
def test_an_ordinary_address_arrives_as_it_was_sent(place: Place, side: str, address: bytes) -> None:
    messages = offer(place, side, b"<%s>" % address)
    if messages is None:
        raise Miss(f"<{address.decode()}> as {side}", "250", "a refusal", "SMTP-02")
    for word in words_of(messages, side):
        expect(f"<{address.decode()}> at the mailer", address_of(word), exactly(address))
    expect("messages that arrived", len(messages), exactly(1))


@pytest.mark.rule("SMTP-10")
@SIDES
def test_every_sign_of_an_atom_is_taken_or_refused(place: Place, side: str) -> None:
    for word in words_of(offer(place, side, b"<%s>" % ATOM) or [], side):
        expect("the address at the mailer", address_of(word), exactly(ATOM))


@pytest.mark.rule("SMTP-02", "MAILER-01")
def test_recipients_arrive_in_their_order(place: Place) -> None:
    names = tuple(b"r%02d@localhost" % (number * 37 % 100) for number in range(100))
    place.gather(recipients=names)
    expect("recipients", the_message(place).recipients, exactly(names))


@pytest.mark.rule("LIMIT-02", "MAILER-09")
def test_four_thousand_recipients_get_one_copy_each(place: Place) -> None:
    place.table(smap={"maxrecip": 4000})
    names = [b"recipient-%04d-%s@department.b.example" % (number, b"x" * 30) for number in range(4000)]
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    for start in range(0, len(names), 100):
        some = names[start : start + 100]
        session.send(b"".join(b"RCPT TO:<%s>\r\n" % name for name in some))
        for name in some:
            expect(f"reply to RCPT TO:<{name.decode()}>", session.reply(), OK, rule="LIMIT-02")
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    messages = arrived(place)
    got = sorted(recipient for message in messages for recipient in message.recipients)
    if got != sorted(names):
        lost, more = sorted(set(names) - set(got)), len(got) - len(set(got))
        actual = f"{len(got)} in {len(messages)} runs; {len(lost)} missing ({lost[:3]}), {more} twice"
        raise Miss("recipients at the mailer", "each of the 4000 exactly once", actual, "MAILER-09")
    for message in messages:
        expect("body of each part", message.body, one_of(BODY, BODY.replace(b"\r\n", b"\n")), rule="MAILER-09")


@pytest.mark.rule("SMTP-02")
def test_a_recipient_given_twice_gets_one_or_two_copies(place: Place) -> None:
    place.gather(recipients=(ALICE, b"bob@localhost", ALICE))
    got = [recipient for message in arrived(place) for recipient in message.recipients]
    expect("copies for alice", got.count(ALICE), one_of(1, 2))
    expect("copies for bob", got.count(b"bob@localhost"), exactly(1))


@pytest.mark.rule("SMTP-03")
def test_data_is_refused_when_every_recipient_was(place: Place) -> None:
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    for _ in range(3):
        ask(session, b"RCPT TO:<a b@localhost>", REFUSED)
    ask(session, b"DATA", codes(503, 554))
    nothing_taken(place, "DATA without a recipient")


# Written in odd ways

ODD: dict[str, bytes] = {
    "unclosed": b"<a@localhost",
    "unopened": b"a@localhost>",
    "no brackets": b"a@localhost",
    "blank before": b" <a@localhost>",
    "double brackets": b"<<a@localhost>>",
    "garbage behind": b"<a@localhost>garbage",
    "a comment": b"<a@localhost> (comment)",
    "percent": b"<a%b@localhost>",
    "bang path": b"<x!a@localhost>",
    "two at signs": b"<a@@localhost>",
    "no domain": b"<a@>",
    "no local part": b"<@localhost>",
    "only an at sign": b"<@>",
    "two dots": b"<a..b@localhost>",
    "a dot at the end": b"<a.@localhost>",
    "an address literal": b"<s@[127.0.0.1]>",
    "a bad literal": b"<s@[127.0.0.1>",
    "a local part of 65": b"<%s@localhost>" % (b"l" * 65),
    "a local part of 300": b"<%s@localhost>" % (b"l" * 300),
    "a domain of 300": b"<a@%s>" % (b"d" * 300),
    "a backslash": b"<a\\b@localhost>",
    "equals and braces": b"<{a=b}@localhost>",
}


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("path", rows(ODD))
def test_an_odd_address_is_refused_or_one_inert_argument(place: Place, side: str, path: bytes) -> None:
    messages = offer(place, side, path)
    expect_inert(messages or [], side, path)
    plain = path.strip(b" ").removesuffix(b"garbage").strip(b"<>").removesuffix(b"> (comment)")
    for word in words_of(messages or [], side):
        expect(f"the address at the mailer for {path!r}", address_of(word).strip(b"<>"), exactly(plain))


@pytest.mark.rule("SMTP-10")
@SIDES
def test_a_source_route_is_kept_stripped_or_refused(place: Place, side: str) -> None:
    for word in words_of(offer(place, side, b"<@x.example,@y.example:s@a.example>") or [], side):
        expect("the address at the mailer", address_of(word), one_of(SENDER, b"@x.example,@y.example:s@a.example"))


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("local", [b'"a b"', b'"a\\"b"', b'"a@b"', b'"a>b"', b'"a,b"', b'""'], ids=bytes.decode)
def test_a_quoted_local_part_is_refused_or_kept_exactly(place: Place, side: str, local: bytes) -> None:
    messages = offer(place, side, b"<%s@localhost>" % local)
    for word in words_of(messages or [], side):
        expect("the address at the mailer", address_of(word), exactly(local + b"@localhost"))


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("path", [b'<"a b@localhost>', b'<a"b@localhost>', b'<"a\\"@localhost>'], ids=bytes.decode)
def test_an_unbalanced_quote_is_refused(place: Place, side: str, path: bytes) -> None:
    messages = offer(place, side, path)
    if messages is not None and path != b'<a"b@localhost>':
        miss(f"{path!r} as {side}", "5xx", "250")
    expect_inert(messages or [], side, path)


@pytest.mark.rule("SMTP-04")
@pytest.mark.parametrize(
    ("line", "may_take"),
    rows({
        "SIZE": (b"MAIL FROM:<s@a.example> SIZE=100", True),
        "BODY": (b"MAIL FROM:<s@a.example> BODY=8BITMIME", True),
        "unknown to MAIL": (b"MAIL FROM:<s@a.example> XFOO=BAR", False),
        "unknown to RCPT": (b"RCPT TO:<alice@localhost> XFOO=BAR", False),
        "NOTIFY": (b"RCPT TO:<alice@localhost> NOTIFY=NEVER", True),
    }),
)  # fmt: skip
def test_parameters_are_done_or_refused_and_no_part_of_an_address(place: Place, line: bytes, may_take: bool) -> None:
    session = place.open_session()
    if line.startswith(b"RCPT"):
        ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    taken = ask(session, line, EITHER if may_take else REFUSED).code == 250
    still_alive(session, line)
    if not taken:
        return
    ask(session, b"RCPT TO:<%s>" % ALICE, OK)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    message = the_message(place)
    expect("sender", message.sender, exactly(SENDER))
    expect("recipients", set(message.recipients), exactly({ALICE}))


# Addresses that act

OPTIONS = [
    b"-oQ/tmp/x",
    b"-C/tmp/x@localhost",
    b"-bd",
    b"--",
    b"-q",
    b"-t",
    b"-X/tmp/x@localhost",
    b"-",
    b"-@localhost",
]
PROGRAMS: dict[str, bytes] = {
    "a pipe": b"|/bin/touch CANARY",
    "a pipe with a domain": b"|touch${IFS}CANARY@localhost",
    "a quoted pipe": b'"|/bin/touch CANARY"@localhost',
    "a file": b"CANARY",
    "a file with a domain": b"CANARY@localhost",
    "a quoted file": b'"CANARY"@localhost',
    "an include": b":include:CANARY",
    "a list of commands": b";touch CANARY;",
    "an and": b"a&touch${IFS}CANARY&@localhost",
    "back quotes": b"`touch${IFS}CANARY`@localhost",
    "a substitution": b"$(touch${IFS}CANARY)@localhost",
    "a redirection": b"a>CANARY@localhost",
    "a home directory": b"~root/x",
    "a way out of the jail": b"../../../../CANARY",
}


def canary_of(place: Place) -> Path:
    """A directory in which anybody may make a file, outside the spool."""
    directory = place.root / "canary"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("address", OPTIONS, ids=bytes.decode)
def test_an_address_like_an_option_is_refused_or_inert(place: Place, side: str, address: bytes) -> None:
    messages = offer(place, side, b"<%s>" % address)
    expect_inert(messages or [], side, address)
    for word in words_of(messages or [], side):
        expect("the address at the mailer", address_of(word), exactly(address))


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("address", rows(PROGRAMS))
def test_an_address_like_a_program_or_a_file_is_refused_or_one_literal_argument(
    place: Place, side: str, address: bytes
) -> None:
    canary = canary_of(place)
    address = address.replace(b"CANARY", bytes(canary) + b"/touched")
    messages = offer(place, side, b"<%s>" % address)
    expect_inert(messages or [], side, address)
    for word in words_of(messages or [], side):
        expect("the address at the mailer", address_of(word), exactly(address))
    expect("files made by the address", [path.name for path in canary.iterdir()], exactly([]))
    left = [file for file in place.entries() if file.kind != "file" or file.mode != PARTIAL]  # the session may go on
    expect("what is left in the spool", [file.describe() for file in left], exactly([]))


SEVERAL: dict[str, bytes] = {
    "a comma": b"<a,b@localhost>",
    "two addresses in brackets": b"<alice@localhost>,<root@localhost>",
    "two addresses and a comma": b"<alice@localhost,root@localhost>",
    "two addresses and a blank": b"<alice@localhost root@localhost>",
    "two bracketed and a blank": b"<alice@localhost> <root@localhost>",
    "a blank in the local part": b"<a b@localhost>",
    "a blank and a name": b"<alice root@localhost>",
    "a blank in front": b"< root@localhost>",
}


@pytest.mark.rule("SMTP-10")
@pytest.mark.parametrize("path", rows(SEVERAL))
def test_one_rcpt_never_makes_two_recipients(place: Place, path: bytes) -> None:
    session = place.open_session()
    ask(session, b"MAIL FROM:<%s>" % SENDER, OK)
    ask(session, b"RCPT TO:" + path, REFUSED)
    ask(session, b"RCPT TO:<%s>" % ALICE, OK)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    expect("recipients", the_message(place).recipients, exactly((ALICE,)))


@pytest.mark.rule("SMTP-10")
@pytest.mark.parametrize("path", rows({k: v for k, v in SEVERAL.items() if k != "a blank in front"}))
def test_one_mail_never_makes_two_senders(place: Place, path: bytes) -> None:
    messages = offer(place, "sender", path)
    expect_inert(messages or [], "sender", path)
    plain = such_that(f"what stands in {path!r}", lambda word: address_of(word).strip(b"<>") == path.strip(b"<>"))
    for word in words_of(messages or [], "sender"):
        expect("the argument after -f", word, plain)


@pytest.mark.rule("SMTP-10")
@SIDES
@pytest.mark.parametrize("control", [b"\t", b"\v", b"\f", b"\x07", b"\x1b", b"\x7f", b"\x01", b"\r"], ids=repr)
def test_a_control_character_never_reaches_the_mailer(place: Place, side: str, control: bytes) -> None:
    for path in (b"<a%sb@localhost>" % control, b"<a@local%shost>" % control, b"<%sa@localhost>" % control):
        expect_inert(offer(place, side, path) or [], side, path)


@pytest.mark.rule("SMTP-10")
def test_hostile_and_good_recipients_in_one_message(place: Place) -> None:
    session = place.open_session()
    envelope(session)
    hostile = (b"-q", b"|/bin/sh", b"a b@localhost", b"x\ty@localhost", b"a,b@localhost")
    taken = [address for address in hostile if ask(session, b"RCPT TO:<%s>" % address, EITHER).code == 250]
    ask(session, b"RCPT TO:<bob@localhost>", OK)
    ask(session, b"DATA", GO_ON)
    session.send(stuffed(BODY))
    expect("reply to the end of data", session.reply(), OK)
    got = [recipient for message in arrived(place) for recipient in message.recipients]
    expect("recipients at the mailer", got, exactly([ALICE, *taken, b"bob@localhost"]))
    expect("recipients that begin with `-`", [name for name in got if name.startswith(b"-")], exactly([]))
